"""One exclusive OS lock per layer and dataset, taken before Spark starts.

Two writers on one local Delta table can lose a commit without an error, so every writer holds the
lock of what it writes. It is the kernel's `flock`, not a pid file: it ends with the last process
that holds the descriptor, and the JVM inherits ours.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streaming_jobs.errors import Locked, UsageError
from streaming_jobs.settings import Settings

_MOST = 300  # bytes of a command line that are kept
_NO_KEY = re.compile(r"^(--key=).*", re.DOTALL)


@contextmanager
def hold(settings: Settings, layers: Iterable[str], datasets: Iterable[str]) -> Iterator[tuple[int, ...]]:
    """Hold the locks of every layer of every dataset; yields their descriptors for the JVM.

    Raises Locked at once, without waiting, when another process holds one, and UsageError when they cannot be written.
    """
    folder = settings.home / "checkpoints" / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(folder, error) from None
    # One order for everybody, so that two processes never wait for each other's second lock.
    names = sorted(f"{layer}.{dataset}.lock" for layer in layers for dataset in datasets)
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_hold_one(folder / name)) for name in names)


def holder(settings: Settings, layers: Iterable[str], dataset: str) -> str | None:
    """The process that holds one of a dataset's locks now, in words; None: nobody does. Writes nothing and keeps nothing held."""
    for layer in layers:
        try:
            fd = os.open(settings.home / "checkpoints" / "locks" / f"{layer}.{dataset}.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(os.pread(fd, _MOST, 0).decode(errors="replace"))
        finally:
            os.close(fd)
    return None


@contextmanager
def _hold_one(file: Path) -> Iterator[int]:
    fd = _open_locked(file)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {_command()}\n".encode(), 0)
        yield fd
    finally:
        # Not LOCK_UN: that would also take it from a JVM that is still writing.
        os.close(fd)


def _open_locked(file: Path) -> int:
    try:
        fd = try_lock(file)
    except OSError as error:
        raise _unwritable(file, error) from None
    if fd is None:
        holder = _holder(file.read_bytes()[:_MOST].decode(errors="replace"))
        layer, dataset = file.stem.split(".", 1)
        raise Locked(f"{layer} of {dataset} is in use by {holder}; nothing was read or written. Run again when it has ended.")
    return fd


def try_lock(file: Path) -> int | None:
    """The descriptor of a lock that is ours from now on; None: another process holds it. Raises OSError."""
    while True:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        try:
            if file.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)  # somebody removed the file between our open and our lock: take the new one


def _unwritable(place: Path, error: OSError) -> UsageError:
    return UsageError(f"{place} cannot be written: {error.strerror}; nothing was read or written. Correct that, then run again.")


def _command() -> str:
    """The command line, without keys: what is forgotten must not stay here."""
    words = [_NO_KEY.sub(r"\1…", word) for word in sys.argv[1:]]
    shown = ["…" if before == "--key" else word for before, word in zip(["", *words], words, strict=False)]
    return shlex.join(["streaming-jobs", *shown])[:_MOST]


def _holder(written: str) -> str:
    """Who holds a lock, by what it wrote into the file."""
    pid, _, command = written.strip().partition(" ")
    if not pid.isdecimal():
        return "a process that is just starting"
    if Path("/proc/self").exists() and not Path("/proc", pid).exists():
        return f"the JVM of process {pid} ({command}), which was killed; it ends by itself"
    return f"process {pid} ({command})"
