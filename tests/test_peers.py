"""The peers of the benchmark hold what we hold, from the same files: a comparison of times means nothing otherwise."""

import os
import shutil
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from deltalake import DeltaTable

pytest.importorskip("duckdb", reason="writes the files and compares the tables")

from benchmarks import deliveries, equal
from benchmarks.contestants import OWN_PACKAGES
from streaming_jobs import ledger

TOOLS = {
    "polars_delta": "polars", "duckdb_delta": "duckdb", "dlt_delta": "dlt", "naive": "pyspark", "streaming_merge": "pyspark",
    "declarative": "grpc",
}  # fmt: skip
"""Peer -> the package that it needs."""
BLIND = ("streaming_merge", "declarative")  # they do not look at a name twice
RESTLESS = ("naive", "declarative")  # they write everything again, news or not
ROWS = 10_000
GOES = ("two days", "one more", "a corrected one")
TABLES = ("bronze/events", *equal.TABLES)
BESIDE = {"PYTHONPATH": str(deliveries.ROOT / ".bench")}  # packages of the peers, installed beside ours

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def delivered(tmp_path_factory) -> list[Path]:
    """Folders of what is delivered in each go."""
    folders = [tmp_path_factory.mktemp("go") for _ in GOES]
    deliveries.deliver(folders[0], [0, 1], ROWS)
    deliveries.deliver(folders[1], [2], ROWS)
    deliveries.deliver(folders[2], [0], ROWS, corrected=True)
    return folders


@pytest.fixture(scope="module")
def ours(tmp_path_factory, delivered) -> list[Path]:
    """A copy of our tables after each go."""
    home = deliveries.home(tmp_path_factory.mktemp("ours") / "home", deliveries.contract())
    copies = []
    for number, folder in enumerate(delivered):
        land(folder, home)
        run("streaming_jobs", "--home", str(home), "run", "-q")
        copies.append(home.with_name(f"after{number}"))
        shutil.copytree(home / "data", copies[-1] / "data")
    return copies


def land(folder: Path, home: Path) -> None:
    for file in sorted(folder.iterdir()):
        shutil.copyfile(file, home / "data/.staged")
        (home / "data/.staged").rename(home / "data/raw" / file.name)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.deep] if name in ("naive", *BLIND) else []) for name in TOOLS])
def peer(request) -> str:
    tool = TOOLS[request.param]
    if python("-c", f"import {tool}", **BESIDE).returncode:
        pytest.skip(f"{tool} is not installed: it is in requirements-bench.txt")
    return str(request.param)


def run(*command: str, **environment: str) -> None:
    done = python("-m", *command, HEAP="2g", **environment)
    assert done.returncode == 0, done.stderr


def increment(peer: str, home: Path) -> None:
    run(f"benchmarks.peers.{peer}", str(home), **(BESIDE if peer in OWN_PACKAGES else {}))


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=os.environ | environment, cwd=deliveries.ROOT, check=False, capture_output=True, text=True)


def rows(home: Path, table: str, *columns: str) -> list[tuple[object, ...]]:
    found = ledger.query({"held": home / "data" / table}, f"SELECT {', '.join(columns)} FROM held")
    return [tuple(row.values()) for row in found]


def versions(home: Path) -> list[int]:
    return [DeltaTable(home / "data" / name).version() for name in TABLES]


def test_a_peer_holds_what_we_hold_after_every_go_and_changes_nothing_without_news(peer, delivered, ours, tmp_path):
    home = deliveries.home(tmp_path / "home", deliveries.contract())
    goes = list(zip(GOES, delivered, ours, strict=True))
    for go, folder, expected in goes[:2] if peer in BLIND else goes:
        land(folder, home)
        increment(peer, home)
        assert (go, equal.differences(expected, home)) == (go, [])
    if peer not in RESTLESS:
        before = versions(home)
        increment(peer, home)
        assert versions(home) == before


def test_a_late_older_file_does_not_replace_the_row_of_a_later_one(peer, tmp_path):
    home = deliveries.home(tmp_path / "home", deliveries.contract())
    for day, moment, amount in ((3, "2026-01-02", "3.00"), (2, "2026-01-04", "2.00"), (4, "2026-01-05", "4.00")):
        lines = [",".join(deliveries.COLUMNS), f"e,u,purchase,{moment} 10:00:00,IT,{amount}"]
        (home / f"data/raw/events_2026-01-{day:02}.csv").write_text("\n".join(lines) + "\n")
        increment(peer, home)
        held = rows(home, "silver/events", "event_id", "amount")
        assert held == [("e", Decimal("3.00" if day < 4 else "4.00"))]
    assert rows(home, "gold/events_per_day", "event_date", "revenue") == [(date(2026, 1, 5), Decimal("4.00"))]
