"""`plan`: what a run would do now. Writes nothing, starts no JVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streaming_jobs import pending
from streaming_jobs.contract import Contract
from streaming_jobs.grid import Rows
from streaming_jobs.pending import Pending
from streaming_jobs.settings import Settings

COLUMNS = ("dataset", "layer", "what", "path", "bytes")


def plan(contracts: Sequence[Contract], settings: Settings) -> Rows:
    """One row per file that a run would look at, note or leave, and one per reason of a layer.

    Raises UsageError when a landing folder is missing.
    """
    rows = [row for c in contracts for of in pending.OF.values() for row in _rows(of(c, settings))]
    return Rows(COLUMNS, tuple(rows), len(rows))


def _rows(found: Pending) -> Iterator[tuple[str, str, str, str | None, int | None]]:
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
