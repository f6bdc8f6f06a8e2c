"""What one command takes, as a process from its start to its end, and what it wrote to the tables.

Linux only: processes are looked at under /proc, and orphans of the command are waited for as a subreaper.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

LAYERS = ("bronze", "silver", "gold")
LOOK = 0.05  # seconds between two looks at the memory
_TREE = 5  # looks between two searches for new processes
_SAMPLES = 60  # kept of a command's memory over time
_ORPHANS = 60.0  # seconds; a JVM that its Python does not wait for ends within one or two
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMMIT = re.compile(r"(\d{20})\.json")


class Stopped(Exception):
    """The benchmark cannot go on; the text says why and where to look."""


class TooLong(Exception):
    """The command was ended at its limit."""


@dataclass(frozen=True)
class Written:
    """Of the tables of one layer: commits, and the files and bytes they added, change data included."""

    commits: int
    files: int
    bytes: int


@dataclass(frozen=True)
class Taken:
    """One command.

    seconds: until the command itself has ended. cpu_seconds: user and system, of it and all its descendants, also of those that end after
    it. peak_mib: the largest sum of the resident memory of all its processes, looked at every 50 ms, of each from a quarter of a second
    after its start on; a page that two of them share counts twice. samples: (seconds since the start, MiB), some of these looks. written:
    by layer. None: not measured.
    """

    seconds: float
    cpu_seconds: float | None = None
    peak_mib: int | None = None
    exit_code: int = 0
    written: Mapping[str, Written] = field(default_factory=dict)
    samples: Sequence[tuple[float, int]] = ()


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def run(command: Sequence[str], log: Path, *, cwd: Path, environment: Mapping[str, str] | None = None, limit: float | None = None) -> Taken:
    """Run it to its end; what it prints goes to `log`.

    Any exit code is returned. After `limit` seconds it and its descendants are killed, and TooLong is raised.
    """
    _reap_orphans(True)
    before = _children(os.getpid())
    try:
        with log.open("wb") as out:
            began = time.monotonic()
            process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            memory = _Memory(process.pid, before)
            memory.start()
            late = threading.Timer(limit or 0, memory.end_at_limit)
            if limit:
                late.start()
            _, status, usage = os.wait4(process.pid, 0)
            taken = time.monotonic() - began
            late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime + _orphans(before, memory)
    finally:
        _reap_orphans(False)
    memory.stop()
    if memory.killed:
        raise TooLong(f"not finished in {(limit or 0) / 60:g} min")
    return Taken(taken, cpu, memory.peak >> 20, process.returncode, samples=memory.thinned())


def must(command: Sequence[str], log: Path, taken: Taken) -> Taken:
    """The same, if the command ended in 0. Raises Stopped with the end of its output otherwise."""
    if taken.exit_code:
        said = log.read_text("utf-8", "replace").splitlines()[-30:]
        raise Stopped("\n".join([*said, f"exit code {taken.exit_code}: {' '.join(command)}", f"its whole output: {log}"]))
    return taken


class _Memory(threading.Thread):
    """Looks at the resident memory of a process and its descendants until it is told to stop."""

    def __init__(self, root: int, others: Iterable[int]) -> None:
        super().__init__(daemon=True)
        self.root, self.others = root, frozenset(others)  # others: children of ours that are no part of it
        self.peak, self.killed = 0, False
        self._looks: list[tuple[float, int]] = []
        self._end = threading.Event()

    def run(self) -> None:
        began, pids, seen = time.monotonic(), [self.root], {self.root}
        for look in range(1 << 62):
            if look % _TREE == 0:
                found = self.processes()
                # A process that was just forked still has the memory of its parent, which would count twice.
                pids, seen = [pid for pid in found if pid in seen], set(found)
            size = sum(_resident(pid) for pid in pids)
            self.peak = max(self.peak, size)
            self._looks.append((time.monotonic() - began, size >> 20))
            if self._end.wait(LOOK):
                return

    def processes(self) -> list[int]:
        """The command's, and those that have lost their parent to us."""
        parents = _parents()
        adopted = [pid for pid, parent in parents.items() if parent == os.getpid() and pid not in self.others]
        found = list({self.root, *adopted})
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid and child not in found]
        return found

    def end_at_limit(self) -> None:
        self.killed = True
        self.kill()

    def kill(self) -> None:
        for pid in reversed(self.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def stop(self) -> None:
        self._end.set()
        self.join()

    def thinned(self) -> list[tuple[float, int]]:
        every = -(-len(self._looks) // _SAMPLES)
        return [(round(at, 1), size) for at, size in self._looks[::every]]


def _orphans(before: Iterable[int], memory: _Memory) -> float:
    """CPU seconds of the descendants that the command did not wait for; waits until they have ended."""
    used, given_up = 0.0, time.monotonic() + _ORPHANS
    while left := _children(os.getpid()) - set(before):
        for pid in left:
            ended, _, usage = os.wait4(pid, os.WNOHANG)
            used += usage.ru_utime + usage.ru_stime if ended else 0.0
        if time.monotonic() > given_up:
            memory.kill()
        time.sleep(LOOK)
    return used


def _reap_orphans(wanted: bool) -> None:
    """Whether processes whose parent has ended become children of this one."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, int(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("utf-8", "replace")
            except OSError:
                continue  # it has ended
            found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def _children(pid: int) -> set[int]:
    return {child for child, parent in _parents().items() if parent == pid}


def _resident(pid: int) -> int:
    """Bytes; 0 of a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def versions(home: Path) -> dict[str, int]:
    """Table below data/ -> its newest version, of the three layers."""
    tables = [log.parent for layer in LAYERS for log in (home / "data" / layer).glob("*/_delta_log")]
    return {str(table.relative_to(home / "data")): max(_commits(table), default=-1) for table in tables}


def written(home: Path, before: Mapping[str, int]) -> dict[str, Written]:
    """By layer, what its tables were committed since they had these versions; a table made anew counts from its start."""
    found = dict.fromkeys(LAYERS, Written(0, 0, 0))
    for name, newest in versions(home).items():
        old, layer = before.get(name, -1), name.partition("/")[0]
        for version, file in _commits(home / "data" / name).items():
            if version > old or newest < old:
                sizes = list(_added(file))
                had = found[layer]
                found[layer] = Written(had.commits + 1, had.files + len(sizes), had.bytes + sum(sizes))
    return found


def with_written(taken: Taken, home: Path, before: Mapping[str, int]) -> Taken:
    return replace(taken, written=written(home, before))


def _commits(table: Path) -> dict[int, Path]:
    named = ((_COMMIT.fullmatch(file.name), file) for file in (table / "_delta_log").iterdir())
    return {int(match[1]): file for match, file in named if match}


def _added(commit: Path) -> Iterable[int]:
    """Bytes of each file that a commit adds: rows, and change data where it is kept in files of its own."""
    for line in commit.read_text("utf-8").splitlines():
        action = json.loads(line)
        for kind in ("add", "cdc"):
            if kind in action:
                yield int(action[kind]["size"])
