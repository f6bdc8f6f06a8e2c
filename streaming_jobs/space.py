"""Room on the disk, looked at before work begins: a full disk loses nothing, but stops a run half-way, every time."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from streaming_jobs.errors import UsageError
from streaming_jobs.pending import Pending
from streaming_jobs.settings import Settings


def require(work: Sequence[Pending], settings: Settings) -> None:
    """Raise UsageError when less is free than `min_free_mb` and the bytes that this work reads.

    What is read once more as columns takes less room than it does as text, so this is on the side of care.
    """
    needed = (settings.min_free_mb << 20) + sum(p.size or 0 for p in work)
    free = shutil.disk_usage(settings.home).free
    if free < needed:
        raise UsageError(
            f"{settings.home} has {free >> 20} MiB of free space, this run may need {-(-needed >> 20)}; nothing was read or written. "
            "Make room, then run again; or lower min_free_mb."
        )
