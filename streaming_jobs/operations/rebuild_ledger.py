"""`rebuild ledger`: the file ledger again from what Bronze holds. Starts no JVM.

Of a file that lies in the landing folder as it was read (its modification time, and as many records as Bronze
has of it) all is known again, its hash included. Of any other only that Bronze holds it: its hash is `unknown`, so the
next run looks at the file, if it is there, as at one with changed content. Decisions about files that Bronze
holds nothing of are lost: they are made again. So are the balances, where `ledger/runs` itself cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streaming_jobs import agreement, apps, damage, ledger, locks, probe, snapshots
from streaming_jobs.agreement import Held
from streaming_jobs.contract import Contract
from streaming_jobs.contract.load import examine_all
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.ledger import FileRow, Status
from streaming_jobs.probe import Facts
from streaming_jobs.settings import Settings

COLUMNS = ("dataset", "files", "with their hash")


def rebuild(contracts: Sequence[Contract], settings: Settings) -> tuple[Rows, tuple[str, ...]]:
    """Make the ledger again where it is lost, older than Bronze or cannot be read. Result: a row per dataset, and what was moved.

    Raises Locked; UsageError when it cannot be read and datasets that it also belongs to were left out; DamagedState when
    Bronze cannot be read. Done again it does nothing.
    """
    with locks.hold(settings, damage.LAYERS, [c.dataset for c in contracts]):
        moved = tuple(_move_unreadable(contracts, settings))
        rows = tuple(row for contract in contracts if (row := _of_dataset(contract, settings)))
    return Rows(COLUMNS, rows, len(rows)), moved


def _move_unreadable(contracts: Sequence[Contract], settings: Settings) -> Iterator[str]:
    unreadable = [found.place for found in damage.of_ledger(settings)]
    left_out = {e.dataset for e in examine_all(settings.conf)} - {c.dataset for c in contracts}
    if unreadable and left_out:
        raise UsageError(
            f"{' and '.join(unreadable)} cannot be read, and also belongs to {', '.join(sorted(left_out))}. Nothing was changed. "
            "`streaming-jobs rebuild ledger`, without a dataset, makes it again for all."
        )
    for place in unreadable:
        yield f"{place} was moved to {damage.move_aside(place.removeprefix('data/'), settings)}"


def _of_dataset(contract: Contract, settings: Settings) -> tuple[str, int, int] | None:
    table = settings.table(contract.bronze_table)
    if flaw := snapshots.flaw(table):
        raise DamagedState(f"data/{contract.bronze_table} {flaw}. Nothing was changed. {damage.repair('bronze', contract.dataset)}")
    stored = ledger.transaction_version(table, apps.bronze(contract.dataset))
    known = ledger.known(settings, contract.dataset)
    if stored <= known.last_ingest_id:
        return None
    rows = [*_rows(contract, settings, stored + 1)]
    ledger.append_files(settings, rows, (apps.files(contract.dataset, "decision"), stored + 1))
    return contract.dataset, len(rows), sum(row.sha256 != ledger.UNKNOWN for row in rows)


def _rows(contract: Contract, settings: Settings, ingest_id: int) -> Iterator[FileRow]:
    """One row per file of Bronze, a repeat: it says what Bronze holds, without being an ingest that Bronze would have to know."""
    folder = settings.landing(contract.landing.folder)
    bronze = snapshots.newest(settings.table(contract.bronze_table))
    if bronze is None:
        return
    held = agreement.held(contract, settings)
    there = [path for path in held if (folder / path).is_file()]
    probed = probe.probe_all(folder, there, contract.landing, contract.bronze.columns, settings.probe_threads)
    facts = {f.path: f for f in probed if isinstance(f, Facts) and _is_what_was_read(f, held[f.path], folder, contract)}
    for path, rows in held.items():
        found = facts.get(path)
        archived = (settings.table("archive") / contract.dataset / path).exists()
        yield FileRow(
            contract.dataset,
            path,
            found.size if found else None,
            found.modified_at if found else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=rows.newest),
            found.sha256 if found else ledger.UNKNOWN,
            Status.REPEAT,
            ledger.ARCHIVED if archived and path not in there else "known again from bronze: the ledger was lost",
            rows.rows,
            rows.malformed,
            found.encoding if found else None,
            found.delimiter if found else None,
            found.header if found else None,
            ingest_id,
            bronze.version(),
            ledger.now(),
        )


def _is_what_was_read(found: Facts, held: Held, folder: Path, contract: Contract) -> bool:
    read_at = int(found.modified_at.timestamp() * 1000)
    return {held.oldest, held.newest} == {read_at} and probe.count_records(folder, found, contract.landing) == held.rows
