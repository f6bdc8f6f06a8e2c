"""The peers of the benchmarks hold the tables that we hold: a comparison of times means nothing otherwise."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import ROOT

equal = pytest.importorskip("benchmarks.equal", reason="duckdb compares the tables; it is in requirements-dev.txt")
deliveries = pytest.importorskip("benchmarks.deliveries", reason="duckdb writes the files; it is in requirements-dev.txt")

pytestmark = pytest.mark.slow

ROWS = 1000  # a day: each kind of bad row of the deliveries stands there once at least
NEEDS = {"naive": "pyspark", "streaming_merge": "pyspark", "declarative": "grpc"}
"""Peer -> the package that it needs."""
SEES_CORRECTIONS = ("naive",)


def deliver(home: Path, files: Iterable[Path]) -> None:
    for file in files:
        target = home / "data/raw" / file.name
        target.unlink(missing_ok=True)
        os.link(file, target)


def run(home: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True, env={**os.environ, "HEAP": "2g"}
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def goes(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path], list[Path]]:
    """The files of two days, those of one day more, and the first one corrected."""
    folder = tmp_path_factory.mktemp("files")
    for name, days, corrected in (("first", (0, 1), False), ("second", (2,), False), ("third", (0,), True)):
        deliveries.deliver(folder / name, days, ROWS, corrected=corrected)
    first, second, third = (sorted((folder / name).glob("*.csv")) for name in ("first", "second", "third"))
    return first, second, third


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, goes) -> tuple[Path, Path]:
    """Our home after the second go, and our home after the third."""
    first, second, third = goes
    corrected = deliveries.home(tmp_path_factory.mktemp("ours") / "corrected", deliveries.contract())
    deliver(corrected, [*first, *second])
    run(corrected, "streaming_jobs", "--home", str(corrected), "run")
    plain = deliveries.copied(corrected, corrected.with_name("plain"))
    deliver(corrected, third)
    run(corrected, "streaming_jobs", "--home", str(corrected), "run")
    return plain, corrected


@pytest.mark.parametrize("peer", NEEDS)
def test_a_peer_holds_our_tables_after_two_goes_and_after_a_corrected_file_where_it_sees_one(peer, goes, ours, tmp_path):
    if importlib.util.find_spec(NEEDS[peer]) is None:
        pytest.skip(f"{NEEDS[peer]} is in requirements-bench.txt")
    first, second, third = goes
    plain, corrected = ours
    home = deliveries.home(tmp_path / "home", deliveries.contract())
    for files in (first, second):
        deliver(home, files)
        run(home, f"benchmarks.peers.{peer}", str(home))
    assert equal.differences(home, plain) == []
    if peer in SEES_CORRECTIONS:
        deliver(home, third)
        run(home, f"benchmarks.peers.{peer}", str(home))
        assert equal.differences(home, corrected) == []
