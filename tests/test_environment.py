"""The machine lets a run down: a full or read-only disk, a clock that jumps, the bare environment of a scheduler."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streaming_jobs import ledger, space
from streaming_jobs.errors import UsageError
from tests import oracle
from tests.conftest import ORDERS, Home, forget_tables, home_at
from tests.test_containment import elsewhere
from tests.test_processes import deliver, gold_is_written, watching

pytestmark = pytest.mark.slow


def assert_right(home: Home) -> None:
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []
    assert home.ok().notes == ()


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 8 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)):
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_home(disk: Path, spark: SparkSession) -> Iterator[Home]:
    """A home on that disk."""
    made = home_at(spark, disk / "home")
    yield Home(made.path, made.settings.model_copy(update={"min_free_mb": 0}), spark)
    forget_tables(spark)


def fill(disk: Path, leaving: int) -> Path:
    """Fill the disk up to so many bytes."""
    file = disk / "filler"
    file.write_bytes(b"\0" * (shutil.disk_usage(disk).free - leaving))
    return file


def assert_one_line(home: Home) -> None:
    """A run that fails, with one line per failure."""
    outcome = home.run()
    assert outcome.exit_code in (1, 2)
    lines = [str(failure) for _, _, failure in outcome.failures]
    assert lines
    assert all("\n" not in line and len(line) < 600 for line in lines), lines


@pytest.mark.parametrize("leaving", [90 << 10, *(pytest.param(kib << 10, marks=pytest.mark.deep) for kib in (20, 50, 140, 200, 300))])
def test_a_disk_that_fills_up_during_a_run_loses_and_doubles_nothing(
    small_home: Home, disk: Path, leaving: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "require", lambda *_: None)
    small_home.land("a.csv", *(f"{n},open,2026-01-01,1.00" for n in range(500)))
    small_home.ok()
    small_home.land("b.csv", *(f"{n},paid,2026-01-02,2.{n % 100:02}" for n in range(400, 9000)))
    small_home.land("a.csv", *(f"{n},sent,2026-01-03,1.00" for n in range(450)))
    filler = fill(disk, leaving)
    assert_one_line(small_home)
    filler.unlink()
    small_home.ok()
    assert_right(small_home)


def test_a_disk_that_becomes_read_only_is_said_and_the_next_run_goes_on(small_home: Home, disk: Path) -> None:
    small_home.land("a.csv", "1,open,2026-01-01,1.00")
    small_home.ok()
    small_home.land("b.csv", "1,paid,2026-01-02,1.00")
    assert mount("-o", "remount,ro", str(disk))
    try:
        with pytest.raises(UsageError, match="Read-only file system; nothing was read or written"):
            small_home.run()
    finally:
        assert mount("-o", "remount,rw", str(disk))
    small_home.ok()
    assert_right(small_home)


def test_a_run_that_finds_too_little_room_does_not_begin(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 255 << 20))
    with pytest.raises(UsageError, match=r"has 255 MiB of free space, this run may need 257; nothing was read or written"):
        home.run()
    assert home.versions() == {}


def test_the_room_for_what_silver_holds_while_it_works_is_asked_for_before_and_of_bronze_alone_is_not(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land("a.csv", f"1,{'x' * (1 << 20)},2026-01-01,1.00")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 258 << 20))
    with pytest.raises(UsageError, match=r"has 258 MiB of free space, this run may need 261; nothing was read or written"):
        home.run()
    assert home.versions() == {}
    home.ok("bronze")


def test_a_clock_that_was_set_back_changes_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,2.00", at=1_767_600_000)
    home.ok()
    monkeypatch.setattr(ledger, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    home.land("a.csv", "1,paid,2026-01-02,1.50", at=978_300_000)
    home.land("b.csv", "3,open,2026-01-01,3.00", at=978_300_000)
    home.ok()
    assert_right(home)


def test_the_bare_environment_of_a_scheduler_is_enough_and_its_secrets_are_written_nowhere(bare_home: Path) -> None:
    """Like cron: no HOME, no locale, no terminal, umask 0, a relative home."""
    secret, person = "canary-secret-4471", "canary.person.7731"
    (bare_home / "data/raw/a.csv").write_text(f"id,state,at,amount\n1,\u00f6ffen,2026-01-01,1.00\n{person},open,{person},1\n{person}\n")
    environment = {"PATH": "/usr/bin:/bin", "AWS_SECRET_ACCESS_KEY": secret}
    environment |= {name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ}
    command = [sys.executable, "-m", "streaming_jobs", "--home", bare_home.name, "run", "-v"]
    done = subprocess.run(command, cwd=bare_home.parent, env=environment, capture_output=True, text=True, check=False, umask=0, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    made = [p for p in (bare_home / "data").rglob("*") if not p.is_relative_to(bare_home / "data/raw")]
    assert made
    assert [str(p) for p in made if p.stat().st_mode & 0o077] == []
    assert oracle.differences(bare_home / "data", bare_home / "data/raw", oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []
    for text in (secret, person):
        assert text not in done.stdout
        assert elsewhere(bare_home, text) == []


@pytest.mark.deep
def test_a_heap_of_512_mb_is_enough_for_a_file_of_200_mb(bare_home: Path) -> None:
    rows = 5_000_000
    with (bare_home / "data/raw/large.csv").open("w") as file:
        file.write("id,state,at,amount\n")
        file.writelines(f"{n},{('open', 'paid')[n % 2]},2026-01-01 10:00:00,{n % 1000}.25\n" for n in range(rows))
    assert (bare_home / "data/raw/large.csv").stat().st_size > 190_000_000
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(bare_home), "run"]
    small = os.environ | {"STREAMING_JOBS_DRIVER_MEMORY": "512m"}
    done = subprocess.run(command, env=small, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr
    for table in ("bronze/orders", "silver/orders"):
        assert ledger.query({"t": bare_home / "data" / table}, "SELECT count(*) AS n FROM t") == [{"n": rows}]
    states = ledger.query({"t": bare_home / "data/gold/by_state"}, "SELECT state, orders FROM t ORDER BY state")
    assert states == [{"state": "open", "orders": rows // 2}, {"state": "paid", "orders": rows // 2}]


@pytest.mark.deep
def test_a_temporary_folder_that_is_wiped_while_watch_runs_loses_nothing(bare_home: Path) -> None:
    with watching(bare_home) as process:
        deliver(bare_home, "a.csv", "id,state,at,amount\n1,open,2026-01-01,1.00\n")
        gold_is_written(process)
        for entry in (bare_home / "checkpoints/tmp").iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        deliver(bare_home, "b.csv", "id,state,at,amount\n1,paid,2026-01-02,1.00\n2,open,2026-01-02,1.00\n")
        gold_is_written(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert oracle.differences(bare_home / "data", bare_home / "data/raw", oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []
