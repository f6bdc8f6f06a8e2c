"""The file ledger for the operator: what became of each file, and the hand that lets one in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from streaming_jobs import ledger
from streaming_jobs.contract import Contract
from streaming_jobs.errors import UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.ledger import FileRow, Status
from streaming_jobs.settings import Settings

_SHORT = ("dataset", "path", "status", "rows", "malformed_rows", "decided_at", "reason")


def newest(contracts: Sequence[Contract], settings: Settings, status: Status | None = None, *, full: bool = False) -> Rows:
    """The newest ledger row of every path of these datasets, or only of those in one status; full: every column."""
    found = ledger.latest_files(settings, [c.dataset for c in contracts], status)
    columns = tuple(f.name for f in fields(FileRow)) if full else _SHORT
    return Rows(columns, tuple(tuple(getattr(row, c) for c in columns) for row in found), len(found))


def accept(path: str, contracts: Sequence[Contract], settings: Settings) -> tuple[FileRow, ...]:
    """Let the content that was held back under `path` in; the next Bronze run applies it.

    path: relative to the landing folder. Only that very content: a file that changes once more is judged
    again. Raises UsageError when no dataset holds such a file back.
    """
    accepted = []
    for contract in contracts:
        state = ledger.known(settings, contract.dataset).states.get(path)
        if state is not None and state.is_held_back:
            row = replace(state.last, status=Status.HELD, reason=ledger.ACCEPTED, decided_at=ledger.now())
            # Without a lock, and so beside a running watch: it is one append, and takes no number that Bronze might take.
            ledger.append_files(settings, [row], None)
            accepted.append(row)
    if not accepted:
        raise UsageError(
            f"no held-back file {path!r}; nothing was changed. `streaming-jobs files --status held` lists them, "
            "with paths relative to the landing folder."
        )
    return tuple(accepted)
