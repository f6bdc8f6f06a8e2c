"""The two ledger tables, through delta-rs: no JVM, one commit in about 5 ms.

`files` holds one row per decision about a file, `runs` one per layer and micro-batch. Rows are only
ever appended. Each append names itself with an application transaction; delta-rs records the
number but does not skip a repeat, so the writer compares first. It may do so without a race
because it holds the lock of the layer and dataset that the transaction is named after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import arro3.core as arrow
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake

from streaming_jobs.settings import Settings

FILES = "ledger/files"
RUNS = "ledger/runs"
ACCEPTED = "accepted by hand; the next run applies it"
VANISHED = "planned, and gone before it could be read"
ARCHIVED = "moved to data/archive"
CHANGED_CONTENT = "changed content under a known name, and the contract says onRedelivery: reject"


class Status(StrEnum):
    """What was decided about a file."""

    READING = "reading"  # intent: written before the Bronze commit it announces
    INGESTED = "ingested"
    REPEAT = "repeat"  # touched, but the content Bronze already holds
    REJECTED = "rejected"
    HELD = "held"  # a replacement that would lose too many rows
    MISSING = "missing"  # known, and gone from landing or no longer claimed; its rows, if any, stay


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

    batch_id: of the stream; None for a sweep. deleted: rows that left the layer's table.
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
    **dict.fromkeys(["run_id", "dataset", "layer", "outcome"], _TEXT),
    "started_at": _TIME,
    "seconds": _DOUBLE,
}


def file_states(settings: Settings, dataset: str) -> dict[str, FileState]:
    """The state of every path the ledger knows of a dataset; an intent never counts as a decision."""
    rows = _read_files(settings, _NEWEST.format(dataset=text(dataset)))
    states: dict[str, FileState] = {}
    for row in rows:
        known = states.get(row.path)
        loaded = row if row.status in (Status.INGESTED, Status.REPEAT) else None
        # Newest first: the first row of a path is its last decision, a later one can only be what was loaded.
        states[row.path] = replace(known, loaded=known.loaded or loaded) if known else FileState(row, loaded)
    return states


# A repeat carries the rows of the content it repeats, so one row tells what Bronze holds.
_NEWEST = """
WITH decided AS (
  SELECT *, status IN ('ingested', 'repeat') AS loads FROM files WHERE dataset = {dataset} AND status <> 'reading'),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY path ORDER BY ingest_id DESC) AS n,
            row_number() OVER (PARTITION BY path, loads ORDER BY ingest_id DESC) AS n_loads FROM decided)
SELECT * FROM ranked WHERE n = 1 OR (loads AND n_loads = 1) ORDER BY path, ingest_id DESC
"""


def latest_files(settings: Settings, datasets: Sequence[str], status: Status | None = None) -> tuple[FileRow, ...]:
    """The newest row of each path, intents included; sorted by dataset and path."""
    if not datasets:
        return ()
    names = ", ".join(text(d) for d in datasets)
    rows = _read_files(
        settings,
        f"""SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY dataset, path ORDER BY ingest_id DESC, status = 'reading') AS n
            FROM files WHERE dataset IN ({names})) AS t WHERE n = 1 ORDER BY dataset, path""",
    )
    return tuple(r for r in rows if status is None or r.status is status)


def open_intents(settings: Settings, dataset: str) -> tuple[FileRow, ...]:
    """Intents of the newest ingest that no decision followed: the process died in between."""
    return _read_files(
        settings,
        f"""WITH mine AS (SELECT * FROM files WHERE dataset = {text(dataset)})
            SELECT * FROM mine WHERE status = 'reading' AND ingest_id = (SELECT max(ingest_id) FROM mine)
              AND NOT EXISTS (SELECT 1 FROM mine d WHERE d.ingest_id = mine.ingest_id AND d.status <> 'reading')
            ORDER BY path""",
    )


def last_ingest_id(settings: Settings, dataset: str) -> int:
    """The highest ingest id handed out; 0 before the first."""
    found = _execute_files(settings, f"SELECT max(ingest_id) AS id FROM files WHERE dataset = {text(dataset)}")
    return int(found[0].column("id")[0].as_py() or 0) if found else 0


def last_loaded_id(settings: Settings, dataset: str) -> int:
    """The highest id of an ingest that is known to have put rows into Bronze; -1: none."""
    found = _execute_files(
        settings,
        f"""SELECT max(ingest_id) AS id FROM files
            WHERE dataset = {text(dataset)} AND status = 'ingested' AND rows > 0 AND reason IS DISTINCT FROM {text(ARCHIVED)}""",
    )
    loaded = found[0].column("id")[0].as_py() if found else None
    return -1 if loaded is None else int(loaded)


def append_files(settings: Settings, rows: Sequence[FileRow], txn: tuple[str, int]) -> None:
    """Append decisions; the same transaction twice is written once."""
    columns = {f.name: [getattr(r, f.name) for r in rows] for f in fields(FileRow)}
    _append(settings.table(FILES), columns, _FILE_TYPES, txn)


def append_run(settings: Settings, row: RunRow, txn: tuple[str, int]) -> None:
    """Append one balance; the same transaction twice is written once."""
    _append(settings.table(RUNS), {f.name: [getattr(row, f.name)] for f in fields(RunRow)}, _RUN_TYPES, txn)


def transaction_version(table: Path, app: str) -> int:
    """The newest version that `app` committed to a table; -1: none, or no table."""
    if not DeltaTable.is_deltatable(str(table)):
        return -1
    found = DeltaTable(str(table)).transaction_version(app)
    return -1 if found is None else found


def query(tables: dict[str, Path], sql: str) -> list[dict[str, Any]]:
    """Run SQL over Delta tables in DataFusion. Small results only: rows come back as Python values."""
    rows: list[dict[str, Any]] = []
    for batch in _execute(tables, sql):
        columns = [column.to_pylist() for column in batch.columns]
        rows += [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
    return rows


def now() -> datetime:
    return datetime.now(UTC)


def _read_files(settings: Settings, sql: str) -> tuple[FileRow, ...]:
    """Rows of a query over the file ledger as `files`. By column: it runs over every file known, on every run."""
    rows: list[FileRow] = []
    for batch in _execute_files(settings, sql):
        values = {f.name: batch.column(f.name).to_pylist() for f in fields(FileRow)}
        values["status"] = [Status(s) for s in values["status"]]
        values["header"] = [None if h is None else tuple(h) for h in values["header"]]
        rows += map(FileRow, *values.values())
    return tuple(rows)


def _execute_files(settings: Settings, sql: str) -> list[arrow.RecordBatch]:
    """A query over the file ledger as `files`; nothing before anything was written."""
    table = settings.table(FILES)
    return _execute({"files": table}, sql) if DeltaTable.is_deltatable(str(table)) else []


def _execute(tables: dict[str, Path], sql: str) -> list[arrow.RecordBatch]:
    builder = QueryBuilder()
    for name, folder in tables.items():
        builder.register(name, DeltaTable(str(folder)))
    return builder.execute(sql).read_all().to_batches()


def _append(table: Path, columns: dict[str, list[Any]], types: dict[str, arrow.DataType], txn: tuple[str, int]) -> None:
    app, version = txn
    if transaction_version(table, app) >= version:
        return
    data = arrow.Table.from_arrays([_array(values, types[name]) for name, values in columns.items()], names=list(columns))
    write_deltalake(str(table), data, mode="append", commit_properties=CommitProperties(app_transactions=[Transaction(app, version)]))


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
