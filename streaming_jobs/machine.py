"""What the machine has to offer this process."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of control groups, version 2 and 1, as a container sees its own


def memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may use: the machine's, or what its container is limited to where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _LIMITS:
        try:
            found.append(int((groups / name).read_text("ascii")))
        except (OSError, ValueError):
            continue  # no such group, or `max`
    return min(found)


def heap(total: int) -> str:
    """The JVM's heap on a machine with so many bytes: a quarter, at least 1 GiB and at most 8; as Java takes it."""
    return f"{min(max(total >> 22, 1024), 8192)}m"
