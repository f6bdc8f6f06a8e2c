"""The two ledger tables, through delta-rs: no JVM, one commit in about 5 ms.

`files` holds one row per decision about a file, `runs` one per layer and micro-batch. Rows are only
ever appended. Each append names itself with an application transaction; delta-rs records the
number but does not skip a repeat, so the writer compares first. It may do so without a race
because it holds the lock of the layer and dataset that the transaction is named after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import arro3.core as arrow
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from streaming_jobs import snapshots
from streaming_jobs.failpoints import hit
from streaming_jobs.settings import Settings

FILES = "ledger/files"
RUNS = "ledger/runs"
FORGOTTEN = "ledger/forgotten"
_COMPACT_EVERY = 100  # commits
_FILE_BYTES = 16 << 20  # a file of this size is not written again
RETENTION = {
    "delta.checkpointInterval": "20",  # commits; every opening reads those since the last one
    "delta.logRetentionDuration": "interval 10 minutes",
    "delta.deletedFileRetentionDuration": "interval 10 minutes",
}
ACCEPTED = "accepted by hand; the next run applies it"
VANISHED = "planned, and gone before it could be read"
ARCHIVED = "moved to data/archive"
UNKNOWN = "unknown"  # a hash: the bytes that were read cannot be told any more, so whatever lies there counts as changed
CHANGED_CONTENT = "changed content under a known name, and the contract says onRedelivery: reject"


class Status(StrEnum):
    """What was decided about a file."""

    READING = "reading"  # intent: written before the Bronze commit it announces
    INGESTED = "ingested"
    REPEAT = "repeat"  # touched, but the content Bronze already holds
    REJECTED = "rejected"
    HELD = "held"  # a replacement that would lose too many rows
    MISSING = "missing"  # known, and gone from landing or no longer claimed; its rows, if any, stay


LOADED = (Status.INGESTED, Status.REPEAT)
"""After these Bronze holds rows of the file: a repeat carries the rows of the content it repeats, so one row tells."""


@dataclass(frozen=True)
class FileRow:
    """One decision. modified_at, decided_at: UTC. sha256 None: what was read is not certain, read again."""

    dataset: str
    path: str
    size: int | None
    modified_at: datetime | None
    sha256: str | None
    status: Status
    reason: str | None
    rows: int | None
    malformed_rows: int | None
    encoding: str | None
    delimiter: str | None
    header: tuple[str, ...] | None
    ingest_id: int
    bronze_version: int | None
    decided_at: datetime


@dataclass(frozen=True)
class FileState:
    """A path as the ledger knows it: its newest decision, and what Bronze holds of it.

    loaded: the newest decision that left rows of this path in Bronze; None: there are none.
    """

    last: FileRow
    loaded: FileRow | None

    @property
    def status(self) -> Status:
        return self.last.status

    @property
    def reason(self) -> str | None:
        return self.last.reason

    @property
    def size(self) -> int | None:
        return self.last.size

    @property
    def modified_at(self) -> datetime | None:
        return self.last.modified_at

    @property
    def sha256(self) -> str | None:
        return self.last.sha256

    @property
    def decided_at(self) -> datetime:
        return self.last.decided_at

    @property
    def accepted(self) -> bool:
        return self.last.reason == ACCEPTED

    @property
    def is_held_back(self) -> bool:
        """Readable, but not let in: by `maxShrink` or by `onRedelivery: reject`."""
        return (self.status is Status.HELD and not self.accepted) or self.reason == CHANGED_CONTENT


@dataclass(frozen=True)
class RunRow:
    """The balance of one micro-batch: rows_in = accepted + quarantined + superseded.

    batch_id: of the stream; None for a sweep. deleted: rows that left the layer's table. stages: JSON, stage -> seconds.
    """

    run_id: str
    dataset: str
    layer: str
    batch_id: int | None
    started_at: datetime
    seconds: float
    files: int
    rows_in: int
    accepted: int
    superseded: int
    quarantined: int
    deleted: int
    table_version: int | None
    outcome: str
    stages: str | None


@dataclass(frozen=True)
class ForgottenRow:
    """A key that is to be forgotten: by one digest, when the erasure began, or when it had been done to the end (see `forgotten`)."""

    dataset: str
    salt: str
    digest: str
    begun_at: datetime | None
    ended_at: datetime | None


_TEXT, _LONG, _DOUBLE = arrow.DataType.utf8(), arrow.DataType.int64(), arrow.DataType.float64()
_TIME = arrow.DataType.timestamp("us", tz="UTC")
_LIST = arrow.DataType.list(arrow.Field("element", _TEXT))
_FILE_TYPES = {
    **dict.fromkeys([f.name for f in fields(FileRow)], _TEXT),
    **dict.fromkeys(["size", "rows", "malformed_rows", "ingest_id", "bronze_version"], _LONG),
    **dict.fromkeys(["modified_at", "decided_at"], _TIME),
    "header": _LIST,
}
_RUN_TYPES = {
    **dict.fromkeys([f.name for f in fields(RunRow)], _LONG),
    **dict.fromkeys(["run_id", "dataset", "layer", "outcome", "stages"], _TEXT),
    "started_at": _TIME,
    "seconds": _DOUBLE,
}
_FORGOTTEN_TYPES = {"dataset": _TEXT, "salt": _TEXT, "digest": _TEXT, "begun_at": _TIME, "ended_at": _TIME}


@dataclass(frozen=True)
class Known:
    """What the file ledger says of a dataset.

    states: of every path; an intent never counts as a decision. last_ingest_id: the highest handed out, 0 before the first.
    last_loaded_id: the highest of an ingest known to have put rows into Bronze, -1: none. intents: of the newest ingest, where
    no decision followed because the process died in between; sorted by path.
    """

    states: Mapping[str, FileState] = field(default_factory=dict)
    last_ingest_id: int = 0
    last_loaded_id: int = -1
    intents: tuple[FileRow, ...] = ()


def known(settings: Settings, dataset: str) -> Known:
    """The file ledger as it is now; read again only when it has a new commit."""
    table = settings.table(FILES)
    commit = snapshots.commit(table)
    if commit is None:
        return Known()
    held = _held.get((table, dataset))
    if held is None or held[0] != commit:
        held = _held[table, dataset] = (commit, _known(table, dataset))
    return held[1]


_held: dict[tuple[Path, str], tuple[snapshots.Commit, Known]] = {}
"""What was read last, with what was appended here since; an older one would hold every file once more."""


def _known(table: Path, dataset: str) -> Known:
    """Of most rows only a few columns become values of Python: every file has an intent, and a decision for each of its deliveries."""
    batches = _execute({"files": table}, f"SELECT * FROM files WHERE dataset = {text(dataset)}")
    last_loaded_id = -1
    announced: dict[int, list[_At]] = {}  # by ingest: its intents
    newest: dict[tuple[str, bool], tuple[_Rank, _At]] = {}  # of a path: the last decision that left rows in Bronze, and the last other one
    for number, batch in enumerate(batches):
        columns = (batch.column(name).to_pylist() for name in ("path", "status", "reason", "ingest_id", "rows"))
        for at, (path, status, reason, ingest_id, rows) in enumerate(zip(*columns, strict=True)):
            if status == Status.READING:
                announced.setdefault(ingest_id, []).append((number, at))
                continue
            if _put_rows(status, rows, reason):
                last_loaded_id = max(last_loaded_id, ingest_id)
            rank, kind = _rank(ingest_id, reason), (path, status in LOADED)
            if kind not in newest or newest[kind][0] < rank:
                newest[kind] = rank, (number, at)
    telling = [at for _, at in newest.values()] + announced.get(max(announced, default=0), [])
    told = sorted(_picked(batches, telling), key=lambda row: (row.path, _rank(row.ingest_id, row.reason)))
    return _after(Known(last_loaded_id=last_loaded_id), told)


_At = tuple[int, int]
"""Batch, and row in it."""

_Rank = tuple[int, bool]


def _rank(ingest_id: int, reason: str | None) -> _Rank:
    """Orders the decisions about a path.

    A file accepted by hand has two of one ingest: the decision, and the acceptance, which may be written beside a Bronze batch and so
    takes no number of its own.
    """
    return ingest_id, reason == ACCEPTED


def _put_rows(status: str, rows: int | None, reason: str | None) -> bool:
    """True when the ingest of a decision committed to Bronze."""
    return status == Status.INGESTED and bool(rows) and reason != ARCHIVED


def _picked(batches: Sequence[arrow.RecordBatch], places: Sequence[_At]) -> tuple[FileRow, ...]:
    wanted: dict[int, list[int]] = {}
    for number, at in places:
        wanted.setdefault(number, []).append(at)
    return _rows([batches[number].take(arrow.Array(rows, type=_LONG)) for number, rows in wanted.items()])


def _after(known: Known, rows: Sequence[FileRow]) -> Known:
    """What `known` says after these rows of its dataset, in a ledger that is not read again for them."""
    states = dict(known.states)
    last_id = max([known.last_ingest_id, *(r.ingest_id for r in rows)])
    newest = [r for r in rows if r.ingest_id == last_id]
    # The newest ingest of `known` is one that was decided, unless it has intents.
    earlier = known.intents if last_id == known.last_ingest_id else ()
    decided = last_id == known.last_ingest_id and not earlier
    intents = () if decided or any(r.status is not Status.READING for r in newest) else (*earlier, *newest)
    for row in rows:
        if row.status is Status.READING:
            continue
        state = states.get(row.path, FileState(row, None))
        last, loaded = state.last, state.loaded
        if _rank(row.ingest_id, row.reason) >= _rank(last.ingest_id, last.reason):
            last = row
        if row.status in LOADED and (loaded is None or row.ingest_id >= loaded.ingest_id):
            loaded = row
        states[row.path] = FileState(last, loaded)
    loads = [r.ingest_id for r in rows if _put_rows(r.status, r.rows, r.reason)]
    return Known(states, last_id, max([known.last_loaded_id, *loads]), tuple(sorted(intents, key=lambda r: r.path)))


def latest_files(settings: Settings, datasets: Sequence[str], status: Status | None = None) -> tuple[FileRow, ...]:
    """The newest row of each path, intents included; sorted by dataset and path."""
    if not datasets or snapshots.newest(settings.table(FILES)) is None:
        return ()
    sql = _LATEST.format(datasets=", ".join(text(d) for d in datasets), accepted=text(ACCEPTED))
    batches = _execute({"files": settings.table(FILES)}, sql)
    return tuple(r for r in _rows(batches) if status is None or r.status is status)


_LATEST = """
SELECT * FROM (
  SELECT *, row_number() OVER (
    PARTITION BY dataset, path ORDER BY ingest_id DESC, status = 'reading', reason IS DISTINCT FROM {accepted}) AS n
  FROM files WHERE dataset IN ({datasets})) AS t
WHERE n = 1 ORDER BY dataset, path
"""


def append_files(settings: Settings, rows: Sequence[FileRow], txn: tuple[str, int] | None) -> None:
    """Append decisions; the same transaction twice is written once, one without a transaction each time."""
    table = settings.table(FILES)
    columns = {f.name: [getattr(r, f.name) for r in rows] for f in fields(FileRow)}
    before = snapshots.commit(table)
    held = {of: known for (at, of), (commit, known) in _held.items() if (at, commit) == (table, before)}
    if not _append(table, columns, _FILE_TYPES, txn):
        return
    after = snapshots.commit(table)
    if before and after and after[0] == before[0] + 1:  # nobody else has written meanwhile, and files were not joined
        for dataset, known in held.items():
            appended = [replace(r, header=r.header or ()) for r in rows if r.dataset == dataset]  # as it is stored
            _held[table, dataset] = (after, _after(known, appended))


def append_runs(settings: Settings, rows: Sequence[RunRow], txn: tuple[str, int] | None) -> None:
    """Append balances; the same transaction twice is written once, one without a transaction each time."""
    columns = {f.name: [getattr(r, f.name) for r in rows] for f in fields(RunRow)}
    _append(settings.table(RUNS), columns, _RUN_TYPES, txn)


def append_forgotten(settings: Settings, rows: Sequence[ForgottenRow]) -> None:
    columns = {f.name: [getattr(r, f.name) for r in rows] for f in fields(ForgottenRow)}
    _append(settings.table(FORGOTTEN), columns, _FORGOTTEN_TYPES, None)


def unfinished_erasure(settings: Settings, dataset: str) -> datetime | None:
    """When the oldest erasure of a dataset began that did not come to its end; None: there is none."""
    table = settings.table(FORGOTTEN)
    if snapshots.newest(table) is None:
        return None
    found = query({"forgotten": table}, _UNFINISHED.format(dataset=text(dataset)))[0]["at"]
    return found.replace(tzinfo=UTC) if found else None


_UNFINISHED = """
SELECT min(begun_at) AS at FROM (
  SELECT min(begun_at) AS begun_at FROM forgotten WHERE dataset = {dataset} GROUP BY digest
  HAVING max(begun_at) > coalesce(max(ended_at), to_timestamp('1970-01-01'))) AS open
"""


def transaction_version(table: Path, app: str) -> int:
    """The newest version that `app` committed to a table; -1: none, or no table."""
    held = snapshots.newest(table)
    found = held.transaction_version(app) if held else None
    return -1 if found is None else found


def stamp(settings: Settings) -> object:
    """Another value after every commit to the file ledger; costs a look at two names."""
    return snapshots.commit(settings.table(FILES))


def query(tables: dict[str, Path], sql: str) -> list[dict[str, Any]]:
    """Run SQL over Delta tables in DataFusion. Small results only: rows come back as Python values."""
    rows: list[dict[str, Any]] = []
    for batch in _execute(tables, sql):
        columns = [column.to_pylist() for column in batch.columns]
        rows += [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
    return rows


def now() -> datetime:
    return datetime.now(UTC)


def _rows(batches: Sequence[arrow.RecordBatch]) -> tuple[FileRow, ...]:
    """By column: it runs over every file known, on every run."""
    rows: list[FileRow] = []
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for batch in batches:
        values: dict[str, Any] = {f.name: batch.column(f.name).to_pylist() for f in fields(FileRow)}
        values["status"] = [Status(s) for s in values["status"]]
        values["header"] = [None if h is None else shared.setdefault(header := tuple(h), header) for h in values["header"]]
        rows += map(FileRow, *values.values())
    return tuple(rows)


def _execute(tables: dict[str, Path], sql: str) -> list[arrow.RecordBatch]:
    builder = QueryBuilder()
    for name, folder in tables.items():
        builder.register(name, snapshots.existing(folder))
    return builder.execute(sql).read_all().to_batches()


def _append(table: Path, columns: dict[str, list[Any]], types: dict[str, arrow.DataType], txn: tuple[str, int] | None) -> bool:
    """False when the transaction was there already."""
    found = DeltaTable(str(table)) if DeltaTable.is_deltatable(str(table)) else None
    done = found.transaction_version(txn[0]) if found and txn else None
    if txn and done is not None and done >= txn[1]:
        return False
    data = arrow.Table.from_arrays([_array(values, types[name]) for name, values in columns.items()], names=list(columns))
    named = CommitProperties(app_transactions=[Transaction(*txn)]) if txn else None
    if found is None:
        write_deltalake(str(table), data, mode="append", commit_properties=named, configuration=RETENTION)
        return True
    write_deltalake(found, data, mode="append", commit_properties=named)
    if found.version() % _COMPACT_EVERY == 0:
        # Another process may be doing the same to this table, for another dataset; next time, then.
        with suppress(DeltaError):
            _compact(found)
    return True


def _compact(table: DeltaTable) -> None:
    """Join the small files of many commits, and let go of what no reader needs after ten minutes."""
    table.optimize.compact(target_size=_FILE_BYTES)
    hit("ledger.joined")
    table.vacuum(dry_run=False, enforce_retention_duration=False)
    table.create_checkpoint()
    table.cleanup_metadata()


def _array(values: list[Any], kind: arrow.DataType) -> arrow.Array:
    if kind is _TIME:
        return arrow.Array([None if v is None else _micros(v) for v in values], type=_LONG).cast(_TIME)
    if kind is _LIST:
        # A missing header is stored as an empty list: arro3 builds no nullable lists from Python values.
        ends = [0]
        for v in values:
            ends.append(ends[-1] + len(v or ()))
        return arrow.list_array(
            arrow.Array(ends, type=arrow.DataType.int32()), arrow.Array([h for v in values for h in v or ()], type=_TEXT)
        ).cast(_LIST)
    return arrow.Array([str(v) if isinstance(v, StrEnum) else v for v in values], type=kind)


def _micros(value: datetime) -> int:
    delta = value - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def text(value: str) -> str:
    """A string as a DataFusion literal."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as DataFusion takes it."""
    return '"' + name.replace('"', '""') + '"'
