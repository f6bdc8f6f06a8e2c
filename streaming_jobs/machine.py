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


def young(heap: str, most: int) -> str:
    """A bound for what was just allocated: at most so many MiB, never more than the third of the heap that is Java's own.

    Without one the parallel collector lets it grow as long as there is heap: garbage that takes twice the memory, and longer, because
    each of its pages is new to the process (measured, docs/spark.md).
    """
    size = int(heap[:-1]) << (10 if heap.endswith("g") else 0)
    return f"{min(most, size // 3)}m"


def give_back() -> None:
    """Let the system have the memory that this process's C libraries freed, of which they keep a store per thread.

    Of 20 000 files read by threads that came to 30 MB (measured, docs/spark.md). With C libraries other than glibc nothing happens.
    """
    import ctypes  # here: every command imports this module, and one without work has no use for it

    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
