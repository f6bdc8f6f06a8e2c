"""A folder for what the JVM spills, of one process at a time, removed with it or, where it was killed, by the next one.

What lies there are rows: it is below the home, closed to others, and does not outlive its use.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from streaming_jobs import locks
from streaming_jobs.settings import Settings

_LOCK = ".lock"
_PARTS = 64  # folders into which Spark's block manager spreads its files: spark.diskStore.subDirectories


@dataclass(frozen=True)
class Scratch:
    """lock: descriptor of its lock, for the JVM to inherit: the folder is in use until the last process that holds it has ended."""

    folder: Path
    lock: int
    made: set[Path] = field(default_factory=set)

    def note(self) -> None:
        """Remember the folders that the JVM has made; to be called when it has started."""
        self.made.update(entry for entry in self.folder.rglob("*") if entry.is_dir())

    def restore(self) -> None:
        """Make what a cleaner of temporary files took away: Spark makes its folders once, and writes into them for as long as it lives."""
        if all(folder.is_dir() for folder in self.made):
            return
        for folder in self.made:
            parts = [f"{n:02x}" for n in range(_PARTS)] if folder.name.startswith("blockmgr-") else ["."]
            for part in parts:
                (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_suffix(_LOCK).unlink(missing_ok=True)
        os.close(self.lock)


def make(settings: Settings) -> Scratch:
    """A folder of our own under checkpoints/tmp. What others left there that have ended is removed."""
    parent = settings.home / "checkpoints" / "tmp"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        folder = parent / uuid.uuid4().hex
        # Locked before it is made: one without a lock is nobody's.
        lock = locks.try_lock(folder.with_suffix(_LOCK))
        if lock is not None:
            break
    folder.mkdir(mode=0o700)
    _remove_left_over(parent)
    return Scratch(folder, lock)


def _remove_left_over(parent: Path) -> None:
    for file in parent.glob(f"*{_LOCK}"):
        lock = locks.try_lock(file)
        if lock is not None:
            Scratch(file.with_suffix(""), lock).remove()
    locked = {file.stem for file in parent.glob(f"*{_LOCK}")}
    for entry in parent.iterdir():
        if entry.name not in locked and entry.suffix != _LOCK:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
