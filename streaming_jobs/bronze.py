"""Bronze: every accepted file, once, as delivered.

New files are appended; a file that changed replaces its own rows in one commit. A checkpointed file
stream finds what is new; the sweep behind it compares the folder with the ledger and finds the rest:
corrected files, and names the stream passed over. Both end in `_ingest`.

Once, whatever dies when. An ingest has a number from the ledger, higher each time, which is also
the version of its Delta transaction. Intent (what the probe saw) goes to the ledger before the Bronze
commit, the decision after it. After a crash the table itself says whether the number was committed:
if so the intent is confirmed from the rows that carry it, never from the file as it is now; if not,
the files are simply not ingested yet. A batch that comes again finds its files in the ledger.

Rows are read before they are committed, where they are few or replace others, and a file that was touched
meanwhile is left to the next look: Spark may have opened other bytes than were probed. Of many rows at once
that is seen only afterwards; then the hash is left out, and the file is read again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs import (
    agreement,
    apps,
    archive,
    checkpoints,
    damage,
    forgotten,
    landing,
    ledger,
    lines,
    machine,
    pending,
    probe,
    reading,
    small,
    sqltext,
    streams,
    tables,
)
from streaming_jobs.contract import Contract, Redelivery
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.failpoints import hit
from streaming_jobs.landing import Comparison, Entry
from streaming_jobs.ledger import LOADED, FileRow, FileState, Status
from streaming_jobs.probe import Facts, Refusal
from streaming_jobs.run import Clock, Healed, Run, record, require_rows
from streaming_jobs.tables import Txn

_READ_FIRST_BYTES = 64 << 20  # of files that replace rows; more would be as much again on disk


@dataclass
class _Ingest:
    """One dataset during one run: the ledger's view of its files, kept current as decisions are written."""

    run: Run
    contract: Contract
    folder: Path
    states: dict[str, FileState]
    last_id: int
    contract_changed_at: datetime
    batch_id: int | None = None
    twins: dict[str, str] = field(default_factory=dict)  # content hash -> a path that Bronze holds it under

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def compare(self, entries: tuple[Entry, ...]) -> Comparison:
        return landing.compare(entries, self.states, self.contract.landing, self.contract_changed_at)


def start(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Ingest everything that lies in the landing folder now, then return.

    Raises UsageError when the landing folder is missing, DamagedState when table and ledger contradict
    each other. A file that cannot be read is rejected alone and reported through `run.notify`.
    """
    landing.require_folder(run.settings.landing(contract.landing.folder))
    stored = agreement.require(contract, run.settings)
    create(spark, contract, run)
    _take_in(spark, _begin(contract, run, stored))


def rebuild(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Read every ingested file of the landing folder again, as the contract is now, and whatever is new there after it.

    One commit replaces the rows of the files that were ingested; rows of files that no longer lie there stay.
    Raises UsageError under `onRedelivery: append`, and InputRefused when the files give a tenth less than
    Bronze holds of them; nothing is written then. With `run.force` a table that was lost is made from the files
    that lie there; the ledger then says of all others that Bronze holds nothing of them.
    """
    folder = run.settings.landing(contract.landing.folder)
    landing.require_folder(folder)
    damage.set_aside("bronze", contract, run)
    stored = agreement.require(contract, run.settings, forced=run.force)
    lost = ledger.known(run.settings, contract.dataset).last_loaded_id > stored
    if contract.bronze.on_redelivery is Redelivery.APPEND and not lost:
        raise UsageError(
            f"bronze of {contract.dataset}: under onRedelivery: append Bronze keeps deliveries that no longer lie in the landing folder, "
            "so it cannot be made again from it. Nothing was read."
        )
    create(spark, contract, run)
    ingest = _begin(contract, run, stored)
    if lost:
        _give_up(ingest)
    else:
        _read_again(spark, ingest)
    _take_in(spark, ingest)


def create(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Create the Bronze table; a column that is new in the contract is added, its older rows read NULL."""
    table = run.settings.table(contract.bronze_table)
    tables.create(
        table,
        tables.schema([(c.name, "STRING") for c in contract.bronze.columns] + reading.PROVENANCE),
        retention_days=run.settings.change_feed_retention_days,
        # Statistics on the payload cost 0.8 s of 2.8 s per 120 MB, and nothing prunes by it.
        statistics=("_file", "_ingest_id"),
    )
    tables.add_columns(spark, table, [(c.name, "STRING") for c in contract.bronze.columns])


def _take_in(spark: SparkSession, ingest: _Ingest) -> None:
    checkpoint = ingest.run.settings.checkpoint("bronze", ingest.contract.dataset)
    _heal(checkpoint, ingest)
    _stream(spark, ingest, checkpoint)
    hit("bronze.streamed")
    _sweep(spark, ingest)
    if ingest.run.settings.archive_ingested:
        _archive(ingest)


def _stream(spark: SparkSession, ingest: _Ingest, checkpoint: Path) -> None:
    """Take in what the stream finds. What lies in the folder and is not awaited is known, so of few awaited files it lists these only."""
    awaited = [entry.path for entry in ingest.compare(landing.list_folder(ingest.folder)).candidates]
    if not awaited and checkpoint.exists() and checkpoints.unfinished(checkpoint) is None:
        return
    few = streams.exactly(ingest.folder, awaited)
    if few:
        checkpoints.begin_anew(checkpoint)
    claimed = landing.name_filter(ingest.contract.landing)
    names = streams.read_file_names(spark, few or streams.everything(ingest.folder), claimed, ingest.run.settings.max_files_per_batch)
    streams.run_available(names, _discovered(ingest, checkpoint), checkpoint, ingest.run.stop)


def _heal(checkpoint: Path, ingest: _Ingest) -> None:
    """Let the stream start over where its checkpoint was lost or damaged: what was read is in the ledger."""
    known, dataset = sum(state.loaded is not None for state in ingest.states.values()), ingest.contract.dataset
    flaw = checkpoints.flaw(checkpoint)
    if flaw:
        checkpoints.discard(checkpoint)
    elif checkpoint.exists() or not known:
        return
    what = f"checkpoints/bronze/{dataset}/{flaw}" if flaw else f"checkpoints/bronze/{dataset} was lost"
    ingest.run.notify(
        Healed("bronze", dataset, f"{what}: the stream starts over; of the {known} files that the ledger knows none is read again")
    )


def _give_up(ingest: _Ingest) -> None:
    """Of a table that was lost or is an older one: keep in the ledger what it holds, and read every file that lies there."""
    held = agreement.rows_per_file(ingest.contract, ingest.run.settings)
    new_id = ingest.next_id()
    rows = []
    for path, state in ingest.states.items():
        if state.loaded:
            count, malformed = held.get(path, (0, 0))
            lost = replace(state.loaded, status=Status.REPEAT, reason="the Bronze table was lost", sha256=None)
            rows.append(replace(lost, rows=count, malformed_rows=malformed, ingest_id=new_id, decided_at=ledger.now()))
    ledger.append_files(ingest.run.settings, rows, (apps.files(ingest.contract.dataset, "decision"), new_id))
    hit("bronze.given_up")
    _note(ingest, rows)


def _read_again(spark: SparkSession, ingest: _Ingest) -> None:
    """Replace the rows of every ingested file that still lies there, and of files that the ledger does not know, in one commit."""
    contract, settings, clock = ingest.contract, ingest.run.settings, Clock()
    paths = [e.path for e in ingest.compare(landing.list_folder(ingest.folder)).ingested]
    probed = probe.probe_all(ingest.folder, paths, contract.landing, contract.bronze.columns, settings.probe_threads)
    new_id = ingest.next_id()
    _decide(ingest, [_refused(ingest, new_id, found) for found in probed if isinstance(found, Refusal)])
    files, rows = _counted(spark, ingest, [found for found in probed if not isinstance(found, Refusal)])
    if files:
        held = sum(state.loaded.rows or 0 for f in files if (state := ingest.states[f.path]).loaded)
        require_rows(ingest.run, "bronze", contract.dataset, contract.bronze_table, held, rows)
        _load(spark, ingest, files, clock, in_place=True, unknown=agreement.rows_per_file(contract, settings).keys() - ingest.states.keys())


def _counted(spark: SparkSession, ingest: _Ingest, files: Sequence[Facts]) -> tuple[Sequence[Facts], int]:
    """The files that Spark can read, and their rows; the others are rejected."""
    try:
        return files, _read(spark, ingest, files, 0).count()
    except (PySparkException, Py4JJavaError):
        readable = _without_unreadable(spark, ingest, files)
        if len(readable) == len(files):
            raise  # not the fault of a file
        return _counted(spark, ingest, readable)


def _begin(contract: Contract, run: Run, stored: int) -> _Ingest:
    settings, dataset = run.settings, contract.dataset
    folder = settings.landing(contract.landing.folder)
    _recover(contract, run, folder, stored)
    known = ledger.known(settings, dataset)
    states = dict(known.states)
    twins = {s.loaded.sha256: path for path, s in states.items() if s.loaded and s.loaded.sha256}
    return _Ingest(run, contract, folder, states, known.last_ingest_id, pending.changed_at(contract), twins=twins)


def _recover(contract: Contract, run: Run, folder: Path, stored: int) -> None:
    """Finish the ingest that a crash left between intent and decision.

    Not committed: nothing to do, its files count as not ingested; one that has gone since is noted.
    """
    known = ledger.known(run.settings, contract.dataset)
    intents = known.intents
    if intents and intents[0].ingest_id <= stored:
        _confirm(contract, run, folder, known.states, intents, Clock(), None)
        return
    gone = [i for i in intents if not (folder / i.path).exists()]
    if gone:
        _decide_rows(run, contract, [replace(i, status=Status.REJECTED, reason=ledger.VANISHED, decided_at=ledger.now()) for i in gone])


def _discovered(ingest: _Ingest, checkpoint: Path) -> streams.BatchFunction:
    """The batch function of the file stream."""

    def apply(batch: DataFrame, batch_id: int, clock: Clock) -> None:
        ingest.batch_id = batch_id
        logged = checkpoints.files_of(checkpoint, batch_id)
        paths = [row.path for row in batch.collect()] if logged is None else logged
        # Distinct by set: a name with glob characters may list other files again.
        names = {_relative(path, ingest.folder) for path in paths}
        found = ingest.compare(landing.named(ingest.folder, names))
        clock.lap("list")
        _ingest(batch.sparkSession, ingest, found.candidates, clock)
        ingest.batch_id = None

    return apply


def _sweep(spark: SparkSession, ingest: _Ingest) -> None:
    """Close what a path-only source cannot see: changed, skipped, refused and vanished files."""
    clock = Clock()
    found = ingest.compare(landing.list_folder(ingest.folder))
    new_id = ingest.next_id()
    _decide(
        ingest,
        [_refused(ingest, new_id, Refusal(e.path, e.problem or "", e.size, e.modified_at)) for e in found.refused]
        + [_gone(ingest, new_id, path) for path in found.missing],
    )
    for chunk in _chunks(found.candidates, ingest.run.settings.max_files_per_batch):
        ingest.run.stop.check()
        clock.lap("list")
        _ingest(spark, ingest, chunk, clock)
        clock = Clock()


def _archive(ingest: _Ingest) -> None:
    """Put ingested files away where the setting says so. The ledger knows first, so that a file on its way is never taken for missing."""
    found = ingest.compare(landing.list_folder(ingest.folder))
    movable = archive.movable(ingest.folder, found.ingested, ingest.contract, ingest.run.settings)
    if not movable:
        return
    new_id = ingest.next_id()
    held = [ingest.states[e.path].last for e in movable]
    rows = [replace(row, reason=ledger.ARCHIVED, ingest_id=new_id, decided_at=ledger.now()) for row in held]
    ledger.append_files(ingest.run.settings, rows, (apps.files(ingest.contract.dataset, "decision"), new_id))
    hit("bronze.archived")
    for entry in movable:
        archive.put_away(ingest.folder, entry, ingest.contract.dataset, new_id, ingest.run.settings)
        hit("bronze.moved")
    _note(ingest, rows)


def _ingest(spark: SparkSession, ingest: _Ingest, entries: Sequence[Entry], clock: Clock) -> None:
    """Probe files and do with each what its content and the contract say."""
    if not entries:
        return
    contract, settings = ingest.contract, ingest.run.settings
    probed = probe.probe_all(ingest.folder, [e.path for e in entries], contract.landing, contract.bronze.columns, settings.probe_threads)
    hit("bronze.probed")
    new_id = ingest.next_id()
    decided: list[FileRow] = []
    append: list[Facts] = []
    replaced: list[Facts] = []
    for found in probed:
        if isinstance(found, Refusal):
            decided.append(_refused(ingest, new_id, found))
        elif decision := _without_reading(ingest, new_id, found):
            decided.append(decision)
        else:
            state = ingest.states.get(found.path)
            (replaced if state and _gives_way(contract, state) else append).append(found)
    _decide(ingest, decided)
    clock.lap("probe")
    if of_lines := [f for f in append if lines.may_be(f)]:
        loaded = {f.path for f in _load_lines(ingest, of_lines, clock)}
        append = [f for f in append if f.path not in loaded]
        clock = Clock()
    for files, in_place in ((append, False), (replaced, True)):
        if files:
            _load(spark, ingest, files, clock, in_place=in_place)
            clock = Clock()
    machine.give_back()


def _without_reading(ingest: _Ingest, new_id: int, found: Facts) -> FileRow | None:
    """The decision about a known file that needs no look at its rows; None: read it."""
    state = ingest.states.get(found.path)
    if state is None or state.loaded is None:
        return None
    held, bronze = state.loaded, ingest.contract.bronze
    if held.sha256 == found.sha256:
        return replace(
            held, size=found.size, modified_at=found.modified_at, status=Status.REPEAT, reason=None,
            ingest_id=new_id, decided_at=ledger.now(),
        )  # fmt: skip
    if state.accepted and state.sha256 == found.sha256:
        return None
    # A hash that was left open: what was read is unsure, so it is read again even where changed content is not let in.
    if bronze.on_redelivery is Redelivery.REJECT and held.sha256:
        return _facts_row(ingest, new_id, found, Status.REJECTED, ledger.CHANGED_CONTENT)
    if bronze.on_redelivery is Redelivery.REPLACE and held.rows:
        rows = probe.count_records(ingest.folder, found, ingest.contract.landing)
        if 1 - rows / held.rows > bronze.max_shrink:
            reason = f"{rows} rows instead of {held.rows}; if that is right: streaming-jobs files accept {found.path}"
            return _facts_row(ingest, new_id, found, Status.HELD, reason)
    return None


def _gives_way(contract: Contract, state: FileState) -> bool:
    """True when what Bronze holds of a file is replaced by what is read of it next.

    Under `append` that is only what was read while the file was changing.
    """
    return state.loaded is not None and not (contract.bronze.on_redelivery is Redelivery.APPEND and state.loaded.sha256)


def _load(
    spark: SparkSession, ingest: _Ingest, files: Sequence[Facts], clock: Clock, *, in_place: bool, unknown: Collection[str] = ()
) -> None:
    """Write files to Bronze in one commit. A file that Spark cannot read is rejected, the others go in.

    in_place: instead of the rows that Bronze holds of them, and of `unknown` files.
    """
    contract, run = ingest.contract, ingest.run
    table, new_id = run.settings.table(contract.bronze_table), ingest.next_id()
    intents = _intend(ingest, files, new_id, clock)
    txn = Txn(apps.bronze(contract.dataset), new_id)
    try:
        rows = _read(spark, ingest, files, new_id)
        if in_place:
            with _read_now(rows, files) as held:
                steady = _untouched(ingest.folder, files)
                if len(steady) == len(files):
                    _replace(ingest, held, [*(f.path for f in files), *unknown], new_id, txn, few=_are_few(files))
        elif any(f.header for f in files) and _are_few(files):
            in_memory = rows.toArrow()
            steady = _untouched(ingest.folder, files)
            if len(steady) == len(files):
                small.append(in_memory, table, txn)
        else:
            steady = files
            if any(f.header for f in files):
                tables.append(rows, table, txn)
    except (PySparkException, Py4JJavaError):
        readable = _without_unreadable(spark, ingest, files)
        if len(readable) == len(files):
            raise  # not the fault of a file
        if readable:
            _load(spark, ingest, readable, clock, in_place=in_place, unknown=unknown)
        return
    if len(steady) < len(files):  # what is touched while it is read is the next look's; the others are read without it
        if steady:
            _load(spark, ingest, steady, clock, in_place=in_place, unknown=unknown)
        return
    _settle(ingest, intents, clock)


def _intend(ingest: _Ingest, files: Sequence[Facts], new_id: int, clock: Clock) -> list[FileRow]:
    """Write down what the probe saw of the files that a commit is about to hold."""
    intents = [_facts_row(ingest, new_id, f, Status.READING, None) for f in files]
    ledger.append_files(ingest.run.settings, intents, (apps.files(ingest.contract.dataset, "intent"), new_id))
    hit("bronze.intended")
    clock.lap("ledger")
    return intents


def _settle(ingest: _Ingest, intents: Sequence[FileRow], clock: Clock) -> None:
    """After the commit: the decisions that make its files known."""
    hit("bronze.committed")
    clock.lap("write")
    decided = _confirm(ingest.contract, ingest.run, ingest.folder, ingest.states, intents, clock, ingest.batch_id)
    _note(ingest, decided)


def _load_lines(ingest: _Ingest, files: Sequence[Facts], clock: Clock) -> Collection[Facts]:
    """Append files in which every line is a record, in one commit and without Spark; returns those that were, all others are left."""
    contract, run = ingest.contract, ingest.run
    if forgotten.of(run.settings, contract.dataset):
        return ()  # which rows to leave out is judged by Spark
    table, new_id = run.settings.table(contract.bronze_table), ingest.next_id()
    written = lines.write(ingest.folder, table, contract, files, new_id, run.settings.cores)
    hit("bronze.written")
    clock.lap("write")
    steady = _untouched(ingest.folder, written.files)
    if len(steady) < len(written.files) or not steady:  # what is touched while it is read is the next look's; the others again
        lines.discard(table, written.data)
        again = _load_lines(ingest, steady, clock) if steady else ()
        return [*again, *(f for f in written.files if f not in steady)]
    intents = _intend(ingest, written.files, new_id, clock)
    lines.commit(table, written, Txn(apps.bronze(contract.dataset), new_id))
    _settle(ingest, intents, clock)
    return written.files


def _read(spark: SparkSession, ingest: _Ingest, files: Sequence[Facts], new_id: int) -> DataFrame:
    rows = reading.read(spark, ingest.contract, ingest.folder, files, new_id)
    return forgotten.left_out(rows, ingest.contract, ingest.run.settings)


@contextmanager
def _read_now(rows: DataFrame, files: Sequence[Facts]) -> Iterator[DataFrame]:
    """The same rows, read before any of those is replaced that they are to replace; as they are where they are very many."""
    if sum(f.size for f in files) > _READ_FIRST_BYTES:
        yield rows
        return
    held = small.local(rows)
    if held is not None:
        yield held.frame
        return
    stored = rows.persist(StorageLevel.DISK_ONLY)
    try:
        stored.count()
        yield stored
    finally:
        stored.unpersist()


def _untouched(folder: Path, files: Sequence[Facts]) -> Sequence[Facts]:
    """The files that lie there as they were probed."""
    return [f for f in files if _is_untouched(folder, f)]


def _is_untouched(folder: Path, known: Facts | FileRow) -> bool:
    return _stamp(folder / known.path) == (known.size, known.modified_at)


def _are_few(files: Sequence[Facts]) -> bool:
    """True when all rows of these files can be held in memory."""
    return sum(f.size for f in files) <= small.MAX_CSV_BYTES and not any(probe.is_packed(f.path) for f in files)


def _without_unreadable(spark: SparkSession, ingest: _Ingest, files: Sequence[Facts]) -> list[Facts]:
    """Reject the files that Spark cannot read; returns the others."""
    unreadable = dict(reading.unreadable(spark, ingest.contract, ingest.folder, files))
    new_id = ingest.next_id()
    refused = [
        Refusal(f.path, unreadable[f.path] if (ingest.folder / f.path).exists() else ledger.VANISHED, f.size, f.modified_at, f.sha256)
        for f in files
        if f.path in unreadable
    ]
    _decide(ingest, [_refused(ingest, new_id, refusal) for refusal in refused])
    return [f for f in files if f.path not in unreadable]


def _replace(ingest: _Ingest, rows: DataFrame, paths: Sequence[str], new_id: int, txn: Txn, *, few: bool) -> None:
    """Put rows where Bronze holds those of these files, in one commit. few: they fit into memory."""
    table = ingest.run.settings.table(ingest.contract.bronze_table)
    whole = ingest.contract.bronze.on_redelivery is not Redelivery.APPEND
    if not (few and whole and small.put(rows.toArrow(), table, small.Part("_file", frozenset(paths)), txn)):
        tables.replace(rows, table, _replaced(ingest, paths, new_id), txn)


def _replaced(ingest: _Ingest, paths: Sequence[str], new_id: int) -> str:
    """SQL for the rows that give way: those of the files; under `append` only those of each file's last, uncertain delivery."""
    of_files = sqltext.any_of("`_file`", paths)
    if ingest.contract.bronze.on_redelivery is not Redelivery.APPEND:
        return of_files
    uncertain = {state.loaded.ingest_id for path in paths if (state := ingest.states[path]).loaded}
    # The new rows have to match as well.
    return f"{of_files} AND {sqltext.any_of('`_ingest_id`', {*uncertain, new_id})}"


def _confirm(
    contract: Contract,
    run: Run,
    folder: Path,
    states: Mapping[str, FileState],
    intents: Sequence[FileRow],
    clock: Clock,
    batch_id: int | None,
) -> list[FileRow]:
    """Turn intents into decisions by what the table holds of them.

    The content hash is kept only when it surely belongs to the rows: they carry the modification time
    that the probe saw, and the file has not been touched since. Otherwise it is left out, and the next
    sweep reads the file again.
    """
    table = run.settings.table(contract.bronze_table)
    found = {row["_file"]: row for row in ledger.query({"bronze": table}, _LOADED.format(ingest_id=intents[0].ingest_id))}
    version = tables.version(table)
    decided = []
    for intent in intents:
        held = found.get(intent.path) or {"rows": 0, "malformed": 0, "last": 0}
        lacking = held["last"] - held["rows"]
        if lacking and (lacking < 0 or not forgotten.of(run.settings, contract.dataset)):
            raise DamagedState(
                f"data/{contract.bronze_table}: {held['rows']} rows of {intent.path} carry record numbers up to {held['last']}. "
                "The file stays unconfirmed in the ledger. Restore data/ and checkpoints/ from one backup."
            )
        same = _is_untouched(folder, intent)
        read_at = {held["oldest"], held["newest"]} if held["rows"] else set()
        certain = same and read_at <= {intent.modified_at and probe.milliseconds(intent.modified_at)}
        decided.append(
            replace(
                intent,
                status=Status.INGESTED,
                sha256=intent.sha256 if certain else None,
                rows=held["rows"],
                malformed_rows=held["malformed"],
                bronze_version=version,
                decided_at=ledger.now(),
            )
        )
    clock.lap("confirm")
    total = sum(d.rows or 0 for d in decided)
    before = [state.loaded for i in intents if (state := states.get(i.path)) and _gives_way(contract, state)]
    new_id = intents[0].ingest_id
    record(
        run, clock, layer="bronze", dataset=contract.dataset, txn=(apps.runs("bronze", contract.dataset), new_id), batch_id=batch_id,
        files=len(decided), rows_in=total, accepted=total, deleted=sum(row.rows or 0 for row in before if row), table_version=version,
    )  # fmt: skip
    hit("bronze.balanced")
    ledger.append_files(run.settings, decided, (apps.files(contract.dataset, "decision"), new_id))
    hit("bronze.confirmed")
    return decided


_LOADED = """
SELECT _file, count(*) AS rows, count(_malformed) AS malformed, max(_row) AS last,
       CAST(arrow_cast(min(_file_modified_at), 'Timestamp(Millisecond, None)') AS BIGINT) AS oldest,
       CAST(arrow_cast(max(_file_modified_at), 'Timestamp(Millisecond, None)') AS BIGINT) AS newest
FROM bronze WHERE _ingest_id = {ingest_id} GROUP BY _file
"""


def _decide(ingest: _Ingest, rows: list[FileRow]) -> None:
    _decide_rows(ingest.run, ingest.contract, rows)
    _note(ingest, rows)


def _decide_rows(run: Run, contract: Contract, rows: list[FileRow]) -> None:
    """Write decisions that no Bronze commit belongs to, and say those that need a look."""
    if not rows:
        return
    ledger.append_files(run.settings, rows, (apps.files(contract.dataset, "decision"), rows[0].ingest_id))
    hit("bronze.decided")
    for row in rows:
        run.notify(row)


def _note(ingest: _Ingest, rows: Iterable[FileRow]) -> None:
    for row in rows:
        known = ingest.states.get(row.path)
        loads = row.status in LOADED
        if loads and row.sha256:
            ingest.twins.setdefault(row.sha256, row.path)
        ingest.states[row.path] = FileState(row, row if loads else known.loaded if known else None)


def _refused(ingest: _Ingest, new_id: int, refusal: Refusal) -> FileRow:
    state = ingest.states.get(refusal.path)
    if refusal.reason == ledger.VANISHED and state and state.loaded:
        return _gone(ingest, new_id, refusal.path)
    return FileRow(
        ingest.contract.dataset, refusal.path, refusal.size, refusal.modified_at, refusal.sha256, Status.REJECTED, refusal.reason,
        None, None, None, None, None, new_id, None, ledger.now(),
    )  # fmt: skip


def _gone(ingest: _Ingest, new_id: int, path: str) -> FileRow:
    loaded = ingest.states[path].loaded
    rows = "its rows stay" if loaded and loaded.rows else "Bronze holds nothing of it"
    return FileRow(
        ingest.contract.dataset, path, None, None, None, Status.MISSING, f"no longer in the landing folder; {rows}",
        None, None, None, None, None, new_id, None, ledger.now(),
    )  # fmt: skip


def _facts_row(ingest: _Ingest, new_id: int, found: Facts, status: Status, reason: str | None) -> FileRow:
    twin = ingest.twins.get(found.sha256)
    if twin == found.path:
        twin = None
    return FileRow(
        ingest.contract.dataset, found.path, found.size, found.modified_at, found.sha256, status,
        reason or (f"same content as {twin}" if twin else None), None, None, found.encoding, found.delimiter, found.header,
        new_id, None, ledger.now(),
    )  # fmt: skip


def _relative(uri: str, folder: Path) -> str:
    """A path of the file stream, `file:/…` in raw text, relative to the landing folder."""
    return ("/" + uri.removeprefix("file:").lstrip("/")).removeprefix(f"{folder}/")


def _stamp(file: Path) -> tuple[int, datetime] | None:
    try:
        return probe.stamp(file)
    except OSError:
        return None


def _chunks(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    for at in range(0, len(entries), size):
        yield entries[at : at + size]
