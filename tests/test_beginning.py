"""Where a new stream over a change feed begins: with the commits of a table that only gained rows, else with the table as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs import checkpoints, tables
from tests.conftest import Home, assert_same, crash_at, jobs


def two_files(home: Home) -> None:
    home.contract()
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,x", at=1)
    home.ok("bronze")
    home.land("b.csv", "1,paid,2026-01-02,2.00", "3,paid,2026-01-02,2.00", at=2)
    home.ok("bronze")


def corrected(home: Home) -> None:
    two_files(home)
    home.land("a.csv", "1,open,2026-01-01,1.00", "4,open,2026-01-01,1.00", at=3)
    home.ok("bronze")


def widened(home: Home) -> None:
    two_files(home)
    tables.add_columns(home.spark, home.settings.table("bronze/orders"), [("late", "STRING")])
    home.land("c.csv", "5,open,2026-01-01,1.00", at=3)
    home.ok("bronze")


def cleaned(home: Home) -> None:
    """Its first commits are gone, as Delta removes them once a checkpoint has them."""
    two_files(home)
    table = home.settings.table("bronze/orders")
    DeltaTable(str(table)).create_checkpoint()
    for version in (0, 1):
        (table / "_delta_log" / f"{version:020}.json").unlink()


def results(home: Home) -> list[DataFrame]:
    quarantine = home.table("quarantine/orders").select("id", "_file", "_row", "reasons.rule")
    return [home.table("silver/orders"), quarantine, home.table("gold/by_state")]


@pytest.mark.parametrize(("lay", "expected"), [(two_files, 0), (corrected, None), (widened, None), (cleaned, None)])
def test_silver_and_gold_are_the_same_wherever_their_streams_begin(
    home: Home, other_home: Home, lay: Callable[[Home], None], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(home)
    checkpoint, bronze = home.settings.checkpoint("silver", "orders"), home.settings.table("bronze/orders")
    assert checkpoints.beginning(checkpoint, bronze) == expected
    home.ok("silver", "gold")
    assert checkpoints.beginning(checkpoint, bronze) is None, "it is not new any more"
    monkeypatch.setattr(checkpoints, "beginning", lambda *_: None)
    lay(other_home)
    other_home.ok("silver", "gold")
    for here, there in zip(results(home), results(other_home), strict=True):
        assert_same(here, there)


@pytest.mark.parametrize("point", ["silver.judged", "silver.merged", "gold.touched"])
def test_a_batch_that_began_with_commits_comes_again_after_a_crash_though_the_table_lost_rows_meanwhile(
    home: Home, other_home: Home, point: str
) -> None:
    two_files(home)
    with crash_at(point):
        home.run("silver", "gold")
    for at in (home, other_home):
        corrected(at)
        at.ok()
    for here, there in zip(results(home), results(other_home), strict=True):
        assert_same(here, there)


def test_the_commits_of_a_table_that_only_gained_rows_are_read_without_a_query_over_its_log(
    home: Home, other_home: Home, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_silver_and_gold(at: Home) -> int:
        two_files(at)
        before = jobs(spark)
        at.ok("silver", "gold")
        return jobs(spark) - before

    from_commits = of_silver_and_gold(home)
    monkeypatch.setattr(checkpoints, "beginning", lambda *_: None)
    assert of_silver_and_gold(other_home) > from_commits


def test_a_long_log_is_not_read_commit_by_commit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    two_files(home)
    table, checkpoint = home.settings.table("bronze/orders"), home.settings.checkpoint("silver", "orders")
    monkeypatch.setattr(checkpoints, "_FEW_COMMITS", 3)
    assert checkpoints.beginning(checkpoint, table) == 0
    monkeypatch.setattr(checkpoints, "_FEW_COMMITS", 2)
    assert checkpoints.beginning(checkpoint, table) is None
