"""Room on the disk, looked at before work begins: a full disk loses nothing, but stops a run half-way, every time."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence

from streaming_jobs.errors import UsageError
from streaming_jobs.pending import Pending
from streaming_jobs.settings import Settings

# Of what a layer reads. Bronze holds text again as columns, which is less. Silver holds a batch while it works on it, on disk what the heap
# has no place for: with a small heap 3.2 times the text, or 9 times its columns in Bronze, at the same moment (measured, docs/bigger.md).
_TEXT_ALONE, _TEXT_TO_SILVER, _COLUMNS_TO_SILVER, _COLUMNS_TO_GOLD = 1, 4, 10, 1


def require(work: Sequence[Pending], settings: Settings) -> None:
    """Raise UsageError when less is free than `min_free_mb` and what this work may need at once, on the side of care."""
    layers = {p.layer for p in work}
    needed = (settings.min_free_mb << 20) + sum((p.size or 0) * _times(p.layer, layers) for p in work)
    free = shutil.disk_usage(settings.home).free
    if free < needed:
        raise UsageError(
            f"{settings.home} has {free >> 20} MiB of free space, this run may need {-(-needed >> 20)}; nothing was read or written. "
            "Make room, then run again; or lower min_free_mb."
        )


def _times(layer: str, layers: Collection[str]) -> int:
    if layer == "bronze":
        return _TEXT_TO_SILVER if "silver" in layers else _TEXT_ALONE
    return _COLUMNS_TO_SILVER if layer == "silver" else _COLUMNS_TO_GOLD
