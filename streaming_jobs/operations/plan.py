"""`plan`: what a run would do now. Writes nothing, starts no JVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streaming_jobs import pending
from streaming_jobs.contract import Contract
from streaming_jobs.contract.load import examine_all
from streaming_jobs.grid import Rows
from streaming_jobs.pending import Pending
from streaming_jobs.settings import Settings

COLUMNS = ("dataset", "layer", "what", "path", "bytes")

_Row = tuple[str | None, str, str, str | None, int | None]


def plan(contracts: Sequence[Contract], settings: Settings) -> Rows:
    """One row per file that a run would look at, note or leave, one per reason of a layer, one per Gold table that no contract names.

    Raises UsageError when a landing folder is missing.
    """
    rows: list[_Row] = [row for c in contracts for of in pending.OF.values() for row in _rows(of(c, settings))]
    rows += [(None, "gold", "in no contract, stays as it is", name, None) for name in _forgotten(settings)]
    return Rows(COLUMNS, tuple(rows), len(rows))


def _forgotten(settings: Settings) -> Iterator[str]:
    """Gold tables that were dropped from their contract; nothing while a contract has findings, which may name them."""
    examined = examine_all(settings.conf)
    if any(e.findings for e in examined):
        return
    named = {g.path for e in examined if e.contract for g in e.contract.gold}
    for log in sorted(settings.table("gold").glob("*/_delta_log")):
        name = f"gold/{log.parent.name}"
        if name not in named:
            yield name


def _rows(found: Pending) -> Iterator[_Row]:
    files = found.files
    for what, entries in (("new", files.new), ("changed", files.changed), ("refused", files.refused)):
        for entry in entries:
            yield found.dataset, found.layer, what, entry.path, entry.size
    for what, paths in (("missing", files.missing), ("unclaimed", files.unclaimed)):
        for path in paths:
            yield found.dataset, found.layer, what, path, None
    listed = tuple(f"{len(e)} {what}" for what, e in vars(files).items())
    for reason in found.reasons:
        if reason not in listed:
            yield found.dataset, found.layer, reason, None, found.size
