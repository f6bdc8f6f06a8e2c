"""Ledger, tables, checkpoints and landing folders, read into the model. No JVM, no lock, nothing written.

A dataset that is damaged is looked at as far as it can be: what cannot be read is left empty, and the damage is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from streaming_jobs import agreement, checkpoints, damage, ledger, locks, marks, meaning, pending, snapshots
from streaming_jobs.contract import Contract, Redelivery
from streaming_jobs.contract.load import examine_all
from streaming_jobs.damage import Damage
from streaming_jobs.errors import DamagedState, Failure, as_failure
from streaming_jobs.facts import arrivals
from streaming_jobs.facts.hands import command, hands
from streaming_jobs.facts.model import Arrival, Balance, Damaged, Dataset, Facts, Gap, Layer, Quarantined, RefusedFile, Table
from streaming_jobs.ledger import FileState, Known, Status
from streaming_jobs.pending import Pending
from streaming_jobs.settings import Settings

_BALANCES = """
SELECT layer, count(*) AS runs, sum(rows_in) AS rows_in, sum(accepted) AS accepted, sum(superseded) AS superseded,
       sum(quarantined) AS quarantined, sum(deleted) AS deleted, sum(seconds) AS seconds,
       sum(CASE WHEN rows_in <> accepted + superseded + quarantined THEN 1 ELSE 0 END) AS off
FROM runs WHERE dataset = {dataset} GROUP BY layer
"""
_LAST = """
SELECT * FROM (
  SELECT *, row_number() OVER (PARTITION BY layer ORDER BY started_at DESC) AS n,
         max(CASE WHEN outcome = 'done' THEN started_at END) OVER (PARTITION BY layer) AS newest_done
  FROM runs WHERE dataset = {dataset}) AS t
WHERE n = 1 OR started_at = newest_done
"""
_FIRST = """
SELECT path, min(modified_at) AS came, min(decided_at) AS taken FROM files
WHERE dataset = {dataset} AND status IN ('ingested', 'repeat') GROUP BY path
"""
_RULES = """
SELECT rule, "column", count(*) AS rows, count(DISTINCT file) AS files, min(at) AS since, max(at) AS newest,
       sum(CASE WHEN at > {recent} THEN 1 ELSE 0 END) AS recent FROM (
  SELECT r['rule'] AS rule, r['column'] AS "column", _file AS file, quarantined_at AS at
  FROM (SELECT _file, quarantined_at, unnest(reasons) AS r FROM quarantine))
GROUP BY rule, "column" ORDER BY rows DESC, rule, "column"
"""
_COUNTS_ROWS = re.compile(r"count\(\s*(\*|1)\s*\)", re.IGNORECASE)


def gather(datasets: Sequence[str], settings: Settings, now: datetime) -> Facts:
    """Everything about these datasets, about all without a name. Raises UsageError for a name without a contract."""
    examined = examine_all(settings.conf, datasets)
    broken = [(e.dataset, tuple(_of_home(line, settings) for line in e.findings)) for e in examined if e.findings]
    unreadable = tuple(damage.of_ledger(settings))
    found = tuple(_of(e.contract, unreadable, settings, now) for e in examined if e.contract)
    return Facts(now, found, hands(found, broken, now))


def _of(contract: Contract, ledger_damage: Sequence[Damage], settings: Settings, now: datetime) -> Dataset:
    damages = tuple(map(_damaged, dict.fromkeys([*ledger_damage, *_damages(contract, settings)]))) or _disagreement(contract, settings)
    tables = tuple(_table(layer, name, settings) for layer, name in _names(contract))
    one = Dataset(contract.dataset, tables, damaged=damages)
    if ledger_damage:
        return one
    known = ledger.known(settings, contract.dataset)
    last, balances = _runs(contract, settings)
    changed, replayable = _changed(contract, settings)
    work = _work(contract, settings)
    layers = tuple(_layer(last.get(name, Layer(name)), work[name], tables, changed, contract, settings) for name in damage.LAYERS)
    taken = _arrivals(contract, known, settings)
    there = [*taken, *_waiting(work["bronze"], now)]
    return replace(
        one,
        layers=layers,
        balances=balances,
        gaps=() if damages else _gaps(contract, known, layers, settings),
        files=_counts(known.states.values()),
        refused=_refused(known.states.values()),
        quarantined=_quarantined(contract, settings, now),
        newest=taken[-1] if taken else None,
        rhythm=arrivals.rhythm(there, now),
        unusual=arrivals.unusual(taken, now),
        promises=tuple(arrivals.kept(p, there, lambda column: _newest_value(column, contract, settings), now) for p in contract.promises),
        changed=changed,
        replayable=replayable,
        forgetting_since=None if damages else ledger.unfinished_erasure(settings, contract.dataset),
    )


def came(contract: Contract, settings: Settings) -> tuple[Arrival, ...]:
    """Every file that Bronze holds, in the order in which they were taken in; none where the ledger cannot be read."""
    if any(damage.of_ledger(settings)):
        return ()
    return _arrivals(contract, ledger.known(settings, contract.dataset), settings)


def _names(contract: Contract) -> Iterator[tuple[str, str]]:
    """Every table, with the first part of its path."""
    for layer in damage.LAYERS:
        for name in marks.tables(layer, contract):
            yield name.partition("/")[0], name


def _damages(contract: Contract, settings: Settings) -> Iterator[Damage]:
    for layer in damage.LAYERS:
        yield from damage.of_layer(layer, contract, settings)
        yield from damage.of_files(layer, contract, settings)


def _damaged(found: Damage) -> Damaged:
    """The repair in two: the command, and what is said before it, which is another way out."""
    before, quoted, after = found.repair.partition("`")
    words = f". {before.strip().rstrip(':')}" if before.strip() else ""
    return Damaged(found.place, found.what, words, after.partition("`")[0] if quoted else command("doctor"))


def _disagreement(contract: Contract, settings: Settings) -> tuple[Damaged, ...]:
    """Bronze and the file ledger, where one lacks what the other has. Looked at twice: a load may have been committed in between."""
    said = ""
    for _ in range(2):
        try:
            agreement.require(contract, settings)
        except DamagedState as error:
            said = str(error)
        else:
            return ()
    place, _, rest = said.replace(" Nothing was read.", "").partition(" ")
    found = _damaged(Damage(place, "", rest))
    return (Damaged(place, found.remedy.removeprefix(". "), "", found.command),)


def _table(layer: str, name: str, settings: Settings) -> Table:
    path = settings.table(name)
    found = None if snapshots.flaw(path) else snapshots.newest(path)
    if found is None:
        return Table(layer, name)
    amount = snapshots.amount(found)
    return Table(layer, name, amount.rows, amount.size, found.version(), _changed_at(path, found.version()))


def _changed_at(table: Path, version: int) -> datetime | None:
    """When rows last changed: joined files and new properties are passed over, and what was cleaned away is not known."""
    while version >= 0:
        try:
            actions = checkpoints.actions(table, version)
        except (OSError, ValueError):
            return None
        made = next((a["commitInfo"].get("timestamp") for a in actions if "commitInfo" in a), None)
        if version == 0 or checkpoints.has_changed_rows(actions):
            return None if made is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(made))
        version -= 1
    return None


def _runs(contract: Contract, settings: Settings) -> tuple[Mapping[str, Layer], tuple[Balance, ...]]:
    table, dataset = settings.table(ledger.RUNS), ledger.text(contract.dataset)
    if snapshots.newest(table) is None:
        return {}, ()
    last: dict[str, Layer] = {}
    for row in ledger.query({"runs": table}, _LAST.format(dataset=dataset)):
        before = last.get(row["layer"], Layer(row["layer"]))
        if row["n"] == 1:
            before = replace(before, started_at=row["started_at"], outcome=row["outcome"], rows=row["rows_in"], seconds=row["seconds"])
        if row["outcome"] == "done":
            before = replace(before, succeeded_at=row["started_at"] + timedelta(seconds=row["seconds"]))
        last[row["layer"]] = before
    sums = {row["layer"]: row for row in ledger.query({"runs": table}, _BALANCES.format(dataset=dataset))}
    return last, tuple(Balance(**sums[layer]) for layer in damage.LAYERS if layer in sums)


def _work(contract: Contract, settings: Settings) -> Mapping[str, Pending | Failure]:
    """What a run would find to do in each layer, or why that cannot be told."""
    found: dict[str, Pending | Failure] = {}
    for layer, of in pending.OF.items():
        try:
            found[layer] = of(contract, settings)
        except Exception as error:
            found[layer] = as_failure(error)
    return found


def _layer(
    last: Layer, work: Pending | Failure, tables: Sequence[Table], changed: Sequence[str], contract: Contract, settings: Settings
) -> Layer:
    """The newest work of a layer, with what lies before it; of a layer that is stopped by what is said elsewhere, without."""
    if isinstance(work, DamagedState) or (isinstance(work, Failure) and changed and last.layer == "silver"):
        return last
    if isinstance(work, Failure):
        return replace(last, problem=_of_home(str(work), settings))
    # A file may be older than its arrival, but had it lain there at the newest success, it would not be waiting.
    waits: list[datetime] = [entry.modified_at for entry in work.files.candidates]
    if work.reasons and last.layer != "bronze":
        waits = [table.changed_at for table in tables if table.layer == damage.ABOVE[last.layer] and table.changed_at]
    planned = checkpoints.unfinished(settings.checkpoint(last.layer, contract.dataset))
    at_work = planned is not None and locks.holder(settings, damage.LAYERS, contract.dataset)
    return replace(
        last,
        pending=work.reasons,
        pending_bytes=work.size,
        waiting_since=max(min(waits), last.succeeded_at or min(waits)) if waits else None,
        unfinished_batch=None if at_work else planned,
    )


def _of_home(said: str, settings: Settings) -> str:
    """A message in one line, without the end of its sentence, and with places relative to the home."""
    return " ".join(said.split()).rstrip(".").replace(f"{settings.home}/", "")


def _arrivals(contract: Contract, known: Known, settings: Settings) -> tuple[Arrival, ...]:
    table = settings.table(ledger.FILES)
    if not known.states or snapshots.newest(table) is None:
        return ()
    first = {row["path"]: row for row in ledger.query({"files": table}, _FIRST.format(dataset=ledger.text(contract.dataset)))}
    found = [
        Arrival(path, min(first[path]["came"] or first[path]["taken"], first[path]["taken"]), first[path]["taken"], state.loaded.rows or 0)
        for path, state in known.states.items()
        if state.loaded and path in first
    ]
    return tuple(sorted(found, key=lambda a: (a.taken, a.came, a.path)))


def _waiting(work: Pending | Failure, now: datetime) -> tuple[Arrival, ...]:
    """Files that lie there and are not read yet: they have come."""
    new = work.files.new if isinstance(work, Pending) else ()
    return tuple(Arrival(entry.path, min(entry.modified_at, now), now, None) for entry in new)


def _counts(states: Iterable[FileState]) -> tuple[tuple[str, int], ...]:
    held = [state.status for state in states]
    return tuple((str(status), held.count(status)) for status in Status if status in held)


def _refused(states: Iterable[FileState]) -> tuple[RefusedFile, ...]:
    """The newest first. What was accepted by hand, or left for the archive, is not refused."""
    wanted = (Status.REJECTED, Status.HELD, Status.MISSING)
    found = [
        RefusedFile(
            s.last.path,
            str(s.status),
            s.reason,
            s.decided_at,
            (s.loaded.rows or 0) if s.loaded else 0,
            by_contract=s.reason == ledger.CHANGED_CONTENT,
        )
        for s in states
        if s.status in wanted and not s.accepted
    ]
    return tuple(sorted(found, key=lambda file: (-file.decided_at.timestamp(), file.path)))


def _quarantined(contract: Contract, settings: Settings, now: datetime) -> tuple[Quarantined, ...]:
    table = settings.table(contract.quarantine_table)
    if snapshots.flaw(table) or snapshots.newest(table) is None:
        return ()
    recent = f"TIMESTAMP '{(now - arrivals.RECENT).isoformat()}'"
    try:
        return tuple(Quarantined(**row) for row in ledger.query({"quarantine": table}, _RULES.format(recent=recent)))
    except Exception:  # a query that fails while it reads is a bare Exception of deltalake; lost files are named as damage
        return ()


def _changed(contract: Contract, settings: Settings) -> tuple[tuple[str, ...], bool]:
    """How the contract differs from what Silver was made by, where the next run does not put that right by itself."""
    table = settings.table(contract.silver_table)
    found = () if snapshots.flaw(table) else meaning.changed(contract, table)
    if all(difference.effect is meaning.Effect.ADDS for difference in found):
        return (), False
    return tuple(map(str, found)), meaning.can_be_replayed(found)


def _newest_value(column: str, contract: Contract, settings: Settings) -> datetime | date | None:
    table = settings.table(contract.silver_table)
    if snapshots.flaw(table) or snapshots.newest(table) is None:
        return None
    try:
        found: datetime | date | None = ledger.query({"silver": table}, f"SELECT max({ledger.quoted(column)}) AS newest FROM silver")[0][
            "newest"
        ]
    except Exception:  # the column is not there yet, or files are lost, which is named as damage
        return None
    return found


def _gaps(contract: Contract, known: Known, layers: Sequence[Layer], settings: Settings) -> tuple[Gap, ...]:
    """Sums that have to agree once nobody writes: looked at again before anything is said, because a run may have been at work."""
    if known.intents or not any(_differing(contract, layers, settings)) or locks.holder(settings, damage.LAYERS, contract.dataset):
        return ()
    return tuple(_differing(contract, layers, settings))


def _differing(contract: Contract, layers: Sequence[Layer], settings: Settings) -> Iterator[Gap]:
    dataset = contract.dataset
    rows = {name: _table(layer, name, settings).rows for layer, name in _names(contract)}
    bronze, silver, quarantine = (rows[t] for t in (contract.bronze_table, contract.silver_table, contract.quarantine_table))
    said = sum(state.loaded.rows or 0 for state in ledger.known(settings, dataset).states.values() if state.loaded)
    # Under append the ledger counts a file's newest delivery, and Bronze holds the earlier ones as well.
    appends = contract.bronze.on_redelivery is Redelivery.APPEND
    if bronze is not None and (said > bronze if appends else said != bronze):
        what = f"data/{contract.bronze_table} holds {bronze} rows, the ledger says {'at least ' if appends else ''}{said}"
        yield Gap(what, command("doctor", dataset) if appends else command("rebuild", "bronze", dataset))
    up_to_date = {layer.layer for layer in layers if not layer.pending and not layer.problem}
    if "silver" in up_to_date and None not in (bronze, silver, quarantine) and (silver or 0) + (quarantine or 0) > (bronze or 0):
        what = f"silver and quarantine hold {silver} + {quarantine} rows of {bronze} in bronze"
        yield Gap(what, command("rebuild", "silver", dataset))
    for gold in contract.gold if {"silver", "gold"} <= up_to_date and silver is not None else ():
        counted = next((c.name for c in gold.aggregates if _COUNTS_ROWS.fullmatch(c.expression.strip())), None)
        if counted and gold.source is None and gold.where is None and rows[gold.path] is not None:
            total = _sum(counted, settings.table(gold.path))
            if total != silver:
                yield Gap(f"data/{gold.path} counts {total} rows, silver holds {silver}", command("rebuild", "gold", dataset))


def _sum(column: str, table: Path) -> int:
    row: dict[str, Any] = ledger.query({"gold": table}, f"SELECT coalesce(sum({ledger.quoted(column)}), 0) AS total FROM gold")[0]
    return int(row["total"])
