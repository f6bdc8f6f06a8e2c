"""What a layer would find to do now, told without Spark and without writing anything.

One answer for `plan`, for the decision not to start a JVM, and for how much machine a run needs. It errs
on the side of work: only what is surely done is called done. Asked under the layers' locks it cannot be
outrun by another writer; a file that lands afterwards is the next run's, as with any listing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from streaming_jobs import apps, archive, checkpoints, damage, definition, landing, ledger, meaning, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.landing import Comparison
from streaming_jobs.settings import Settings


@dataclass(frozen=True)
class Pending:
    """One layer of one dataset. reasons: empty when there is nothing to do. size: bytes to read, None: unknown."""

    layer: str
    dataset: str
    reasons: tuple[str, ...]
    size: int | None = 0
    files: Comparison = field(default_factory=Comparison)


def of_bronze(contract: Contract, settings: Settings) -> Pending:
    """Compare the landing folder with the ledger. Raises UsageError when the folder is missing, DamagedState as all of these do."""
    damage.require_none("bronze", contract, settings)
    dataset, table = contract.dataset, settings.table(contract.bronze_table)
    entries = landing.list_folder(settings.landing(contract.landing.folder))
    known, stored = ledger.known(settings, dataset), ledger.transaction_version(table, apps.bronze(dataset))
    found = landing.compare(entries, known.states, contract.landing, changed_at(contract))
    counts = {"new": found.new, "changed": found.changed, "refused": found.refused, "missing": found.missing}
    reasons = [f"{len(names)} {what}" for what, names in counts.items() if names]
    if movable := archive.movable(settings.landing(contract.landing.folder), found.ingested, contract, settings):
        reasons.append(f"{len(movable)} to archive")
    if known.intents:
        reasons.append("a crashed run to finish")
    if stored > known.last_ingest_id:
        reasons.append("the table is ahead of the ledger")
    if known.last_loaded_id > stored:
        reasons.append("the ledger is ahead of the table")
    reasons += _new_columns(settings, contract.bronze_table, [c.name for c in contract.bronze.columns])
    return Pending("bronze", dataset, tuple(reasons), sum(e.size for e in found.candidates), found)


def of_silver(contract: Contract, settings: Settings) -> Pending:
    """Compare Silver's stream with Bronze, and the table with its contract. Raises UsageError as `meaning.require_same`."""
    damage.require_none("silver", contract, settings)
    anew = meaning.require_same(contract, settings.table(contract.silver_table))
    reasons = [f"{contract.silver_table} lacks columns of its contract"] if anew else []
    if not checkpoints.is_new(settings.checkpoint("silver", contract.dataset)):
        held = (contract.silver_table, contract.quarantine_table)
        reasons += [f"{name} is gone" for name in held if snapshots.newest(settings.table(name)) is None]
    return _of_stream("silver", contract, contract.bronze_table, reasons, settings)


def of_gold(contract: Contract, settings: Settings) -> Pending:
    """Compare Gold's stream with Silver, and the tables with their definitions."""
    damage.require_none("gold", contract, settings)
    unbuilt = [g.name for g in contract.gold if not definition.is_built(g, contract, settings.table(g.path))]
    exists = snapshots.newest(settings.table(contract.silver_table)) is not None
    reasons = [f"{name} is not built as its contract says" for name in unbuilt] if exists else []
    return _of_stream("gold", contract, contract.silver_table, reasons, settings)


OF: Mapping[str, Callable[[Contract, Settings], Pending]] = {"bronze": of_bronze, "silver": of_silver, "gold": of_gold}


def is_small(pending: Sequence[Pending], against: int, settings: Settings) -> bool:
    """True when what is to be read, and the bytes that it is set against, stay below `small_work_mb`."""
    sizes = [p.size for p in pending]
    return None not in sizes and against + sum(s or 0 for s in sizes) < settings.small_work_mb << 20


def set_against(contract: Contract, files: int, settings: Settings) -> int:
    """Bytes of Silver that the rows of so many files are likely to be set against.

    All of it; where partitions say in which the rows of a key and of a group are, those of as many partitions as there are files, and
    of the `mergeWindow` around each. Not Bronze: it is read again only for a row that went away without another to follow it.
    """
    table = snapshots.newest(settings.table(contract.silver_table))
    if table is None:
        return 0
    size = snapshots.amount(table).size
    if not contract.is_placed:
        return size
    wanted = max(1, files) * (2 * (contract.silver.merge_window_days or 0) + 1)
    return size * wanted // max(wanted, snapshots.partitions(table))


def changed_at(contract: Contract) -> datetime:
    """When the contract last changed: a refusal older than that is tried again."""
    return landing.modified_at(contract.file.stat())


def _of_stream(layer: str, contract: Contract, source: str, reasons: list[str], settings: Settings) -> Pending:
    table, checkpoint = settings.table(source), settings.checkpoint(layer, contract.dataset)
    if snapshots.newest(table) is None:
        return Pending(layer, contract.dataset, tuple(reasons))
    if checkpoints.is_behind(checkpoint, table):
        reasons = [*reasons, f"behind {source}"]
    return Pending(layer, contract.dataset, tuple(reasons), checkpoints.bytes_behind(checkpoint, table) if reasons else 0)


def _new_columns(settings: Settings, table: str, columns: Sequence[str]) -> list[str]:
    found = snapshots.newest(settings.table(table))
    if found is None:
        return []
    have = {f.name.lower() for f in found.schema().fields}
    return [f"{table} lacks the column {c}" for c in columns if c.lower() not in have]
