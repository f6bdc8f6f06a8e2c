"""A short part of `make chaos`, always the same seeds: killed processes, and code that dies at failpoints in one session."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests import chaos
from tests.conftest import forget_tables

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [12, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(13, 33))])
def test_after_deaths_at_failpoints_two_quiet_runs_give_what_the_files_say(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    chaos.make_home(tmp_path / "home")
    landing, tally, run = chaos.in_process(tmp_path / "home", seed, 5)
    assert tally.kills
    assert list(chaos.differences(tmp_path / "home", landing, run)) == []
    forget_tables(spark)


def test_after_killed_processes_two_quiet_runs_give_what_the_files_say(tmp_path: Path) -> None:
    chaos.make_home(tmp_path / "home")
    landing, tally, run = chaos.by_processes(tmp_path / "home", 4, 4)
    assert tally.kills
    assert list(chaos.differences(tmp_path / "home", landing, run)) == []


def test_a_lost_a_doubled_and_a_stale_row_would_be_found(spark: SparkSession, tmp_path: Path) -> None:
    """The check itself: tables that are right for other files are not right for these."""
    chaos.make_home(tmp_path / "home")
    landing, _, run = chaos.in_process(tmp_path / "home", 11, 2)
    assert list(chaos.differences(tmp_path / "home", landing, run)) == []
    read = {path for path, rows in landing.bronze(tmp_path / "home/data").items() if rows}
    name = sorted(read & landing.present().keys())[0]
    content, at = landing.history[name][-1]
    landing.history[name][-1] = (content + b"\n77,open,2026-01-01,1.00\n", at)
    found = list(chaos.differences(tmp_path / "home", landing, run))
    assert [line for line in found if line.startswith("bronze/orders: missing 1x")]
    assert [line for line in found if line.startswith("silver/orders: missing 1x")]
    assert [line for line in found if line.startswith("gold/by_state: ")]
    assert [line for line in found if line.startswith("ledger: ")]
    forget_tables(spark)
