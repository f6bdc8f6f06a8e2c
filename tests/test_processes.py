"""Real processes: one writer, signals to a group, a killed Python, sockets, modes of files. Each starts a JVM of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from streaming_jobs import ledger, locks, settings
from streaming_jobs.errors import Locked
from tests.conftest import ROOT, call

pytestmark = pytest.mark.slow


@pytest.fixture
def home(bare_home: Path) -> Path:
    return bare_home


ROWS = "id,state,at,amount\n1,open,2026-01-01,1.00\n2,open,2026-01-02,1.00\n"


@contextmanager
def watching(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A `watch` of this home that says it watches, in a process group of its own; ended by whoever uses it, killed otherwise."""
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(home), "watch", "--every", "100ms"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, umask=0
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("watching orders")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def deliver(home: Path, name: str, text: str) -> None:
    (home / "data/raw/.staged").write_text(text)
    (home / "data/raw/.staged").rename(home / f"data/raw/{name}")


def gold_is_written(process: subprocess.Popen[str]) -> None:
    """Waits for the line of a Gold batch, which comes last."""
    assert process.stdout is not None
    assert any(line.startswith("gold orders batch=") for line in process.stdout)


def children(pid: int) -> set[int]:
    """Of a process that is gone: none."""
    try:
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def jvm_of(process: subprocess.Popen[str]) -> int:
    """The JVM is a child of Python; what a JVM itself starts for an instant (`bash`, `chmod`) is a child of that."""
    [jvm] = children(process.pid)
    assert Path(f"/proc/{jvm}/exe").resolve().name == "java"
    return jvm


def open_sockets(pid: int) -> Iterator[str]:
    """As the kernel names them: `socket:[inode]`. A file that is closed meanwhile is none."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(descriptor.readlink())


def listening(pids: list[int]) -> list[str]:
    """Local addresses, as the kernel writes them, of the sockets that these processes listen on."""
    inodes = {name for pid in pids for name in open_sockets(pid)}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.append(fields[1].split(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def test_watch_lets_nobody_else_write_listens_on_loopback_only_and_ends_clean_when_its_group_is_told_to(home: Path) -> None:
    with watching(home) as process:
        deliver(home, "a.csv", ROWS)
        gold_is_written(process)
        busy = call(home, "run")
        assert busy.returncode == 75
        assert f"is in use by process {process.pid} (streaming-jobs --home" in busy.stderr
        sockets = listening([process.pid, jvm_of(process)])
        assert sockets
        assert set(sockets) <= LOOPBACK
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == 143
    assert list((home / "checkpoints/tmp").iterdir()) == []
    made = [p for root in ("data", "checkpoints") for p in (home / root).rglob("*") if not p.is_relative_to(home / "data/raw")]
    assert len(made) > 30
    assert [str(p) for p in made if p.stat().st_mode & 0o077] == []
    assert ledger.known(settings.load(home), "orders").states["a.csv"].last.rows == 2
    done = call(home, "run")
    assert (done.returncode, done.stdout.split(" (")[0]) == (0, "nothing to do")


def test_a_killed_python_leaves_the_locks_to_its_jvm_until_that_is_gone_too(home: Path) -> None:
    found = settings.load(home)
    with watching(home) as process:
        jvm = jvm_of(process)
        os.kill(jvm, signal.SIGSTOP)  # it can neither end nor let go
        process.kill()
        process.wait()
        busy = call(home, "run")
        assert busy.returncode == 75
        assert f"the JVM of process {process.pid}" in busy.stderr
        assert "which was killed; it ends by itself" in busy.stderr
        os.kill(jvm, signal.SIGCONT)
        while True:  # the JVM sees the end of its standard input
            try:
                with locks.hold(found, ["bronze", "silver", "gold"], ["orders"]):
                    break
            except Locked:
                time.sleep(0.05)
        assert not is_running(jvm)


def is_running(pid: int) -> bool:
    """False for a process that is gone, or is only waiting to be noticed as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.deep
def test_sixty_rounds_of_a_start_and_a_signal_at_a_random_time_leave_tables_that_verify(home: Path) -> None:
    import random

    order = random.Random(20261126)
    for number in range(60):
        deliver(home, f"{number % 25:02}.csv", ROWS.replace("1.00", f"{number}.00"))
        command = [sys.executable, "-m", "streaming_jobs", "--home", str(home), "watch", "--every", "100ms"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                process.wait(order.uniform(0, 14))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
            _, said = process.communicate()
            # Before the handler is set, at the very start, a signal ends it as it ends any process.
            assert process.returncode in (143, -signal.SIGTERM), said
    assert call(home, "run").returncode == 0
    assert call(home, "verify").returncode == 0
    assert call(home, "run").stdout.startswith("nothing to do")


@pytest.mark.deep
def test_a_run_in_a_loop_beside_watch_always_finds_it_busy_and_doubles_nothing(home: Path) -> None:
    with watching(home) as process:
        for number in range(40):
            deliver(home, f"{number % 25:02}.csv", ROWS.replace("1.00", f"{number}.00"))
            assert call(home, "run").returncode == 75
        gold_is_written(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert call(home, "run").returncode == 0
    assert call(home, "verify").returncode == 0
    states = ledger.known(settings.load(home), "orders").states
    assert [state.last.rows for state in states.values()] == [2] * 25
    bronze = ledger.query({"bronze": settings.load(home).table("bronze/orders")}, "SELECT count(*) AS n FROM bronze")
    assert bronze == [{"n": 50}]
