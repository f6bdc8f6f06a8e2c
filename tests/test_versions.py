"""Which row of a key is the newest, and what a batch of changes means for Silver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs.contract import Contract, Redelivery
from streaming_jobs.rules import versions
from tests.conftest import assert_rows

SILVER = "id string, state string, at timestamp, amount decimal(10,2), _file string, _row bigint"
SHORT = "id string, state string, at string, _file string, _row bigint"


def silver(spark: SparkSession, rows: Sequence[tuple[Any, ...]]) -> DataFrame:
    """(id, state, at, _file, _row) as Silver rows."""
    short = spark.createDataFrame(list(rows), SHORT)
    return short.select("id", "state", F.col("at").cast("timestamp"), F.lit(None).cast("decimal(10,2)").alias("amount"), "_file", "_row")


def test_the_order_is_total_and_ends_in_file_and_row(orders: Contract) -> None:
    assert versions.order(orders) == ("at", "_file", "_row")
    appended = replace(orders, bronze=replace(orders.bronze, on_redelivery=Redelivery.APPEND))
    assert versions.order(appended) == ("at", "_file", "_file_modified_at", "_row")
    by_row = replace(orders, silver=replace(orders.silver, sequence_by=("_row", "at")))
    assert versions.order(by_row) == ("_row", "at", "_file")


def test_the_newest_row_of_a_key_wins_and_a_missing_sequence_is_the_oldest(spark: SparkSession, orders: Contract) -> None:
    rows = silver(
        spark,
        [
            ("a", "new", "2026-01-02", "a.csv", 9),
            ("a", "old", "2026-01-01", "z.csv", 1),
            ("b", "none", None, "z.csv", 1),
            ("b", "some", "1999-01-01", "a.csv", 1),
            ("c", "same", "2026-01-01", "a.csv", 1),
            ("c", "later file", "2026-01-01", "b.csv", 1),
            ("c", "later row", "2026-01-01", "b.csv", 2),
            ("d", "alone", None, "a.csv", 1),
        ],
    )
    newest = versions.newest_per_key(rows, orders.silver.keys, versions.order(orders))
    assert_rows(
        newest.select("id", "state", "_versions"),
        [("a", "new", 2), ("b", "some", 2), ("c", "later row", 3), ("d", "alone", 1)],
        "id string, state string, _versions bigint",
    )


def test_a_row_that_came_and_went_in_one_batch_is_in_neither_part(spark: SparkSession) -> None:
    changes = spark.createDataFrame(
        [
            (1, "f", 1, True, 5),
            (1, "f", 1, False, 6),
            (1, "f", 2, True, 5),
            (0, "g", 1, False, 6),
            (0, "h", 1, False, 5),
            (0, "h", 1, True, 7),
        ],
        "_ingest_id bigint, _file string, _row bigint, _change boolean, _commit_version bigint",
    )
    arrived, gone = versions.net(changes)
    assert_rows(arrived.select("_file", "_row"), [("f", 2), ("h", 1)], "_file string, _row bigint")
    assert_rows(gone.select("_file", "_row"), [("g", 1), ("h", 1)], "_file string, _row bigint")


# What arrived, what went away (file, row), what Silver holds -> verdict. One key; (state, at, file, row).
DECISIONS: list[tuple[str, tuple[Any, ...] | None, list[tuple[str, int]], tuple[Any, ...] | None, str]] = [
    ("a new key", ("x", "2026-01-02", "b", 1), [], None, versions.INSERT),
    ("a newer row", ("x", "2026-01-02", "b", 1), [], ("y", "2026-01-01", "a", 1), versions.UPDATE),
    ("an older row, late", ("x", "2026-01-01", "b", 1), [], ("y", "2026-01-02", "a", 1), versions.STALE),
    ("a row without sequence", ("x", None, "b", 1), [], ("y", "2026-01-02", "a", 1), versions.STALE),
    ("the same row again", ("x", "2026-01-01", "a", 1), [], ("x", "2026-01-01", "a", 1), versions.KEEP),
    ("the same place, other content", ("x", "2026-01-01", "a", 1), [], ("y", "2026-01-01", "a", 1), versions.UPDATE),
    ("the winner corrected in place", ("x", "2026-01-01", "a", 1), [("a", 1)], ("y", "2026-01-01", "a", 1), versions.UPDATE),
    ("the winner moved up in its file", ("x", "2026-01-01", "a", 1), [("a", 2)], ("y", "2026-01-01", "a", 2), versions.UPDATE),
    ("the winner replaced by a newer row", ("x", "2026-01-03", "a", 1), [("a", 1)], ("y", "2026-01-01", "a", 1), versions.UPDATE),
    ("the winner became older", ("x", "2025-01-01", "a", 1), [("a", 1)], ("y", "2026-01-01", "a", 1), versions.REDECIDE),
    ("the winner vanished", None, [("a", 1)], ("y", "2026-01-01", "a", 1), versions.REDECIDE),
    ("a loser vanished", None, [("b", 1)], ("y", "2026-01-01", "a", 1), versions.NOTHING),
    ("a row vanished that Silver never had", None, [("b", 1)], None, versions.NOTHING),
    ("a loser was corrected to be newer", ("x", "2026-01-03", "b", 1), [("b", 1)], ("y", "2026-01-01", "a", 1), versions.UPDATE),
    ("unchanged in a replaced file", ("x", "2026-01-01", "a", 1), [("a", 1)], ("x", "2026-01-01", "a", 1), versions.KEEP),
]


def test_every_case_of_arrival_and_removal_has_its_verdict(spark: SparkSession, orders: Contract) -> None:
    newest = silver(spark, [(case, *new) for case, new, _, _, _ in DECISIONS if new]).withColumn("_versions", F.lit(1).cast("bigint"))
    gone = silver(spark, [(case, None, None, *place) for case, _, lost, _, _ in DECISIONS for place in lost])
    current = silver(spark, [(case, *old) for case, _, _, old, _ in DECISIONS if old])
    decided = versions.decide(newest, gone, current, orders)
    assert_rows(decided.select("id", "_verdict"), [(case, verdict) for case, *_, verdict in DECISIONS], "id string, _verdict string")


def test_a_key_decided_again_may_go_back_to_an_older_row_or_disappear(spark: SparkSession, orders: Contract) -> None:
    newest = silver(spark, [("back", "x", "2025-01-02", "a", 1), ("older arrival wins", "x", "2025-01-02", "a", 2)])
    gone = silver(spark, [(k, None, None, "a", n) for n, k in enumerate(("back", "older arrival wins", "away"), 1)])
    current = silver(spark, [(k, "y", "2026-01-01", "a", n) for n, k in enumerate(("back", "older arrival wins", "away"), 1)])
    decided = versions.decide(newest.withColumn("_versions", F.lit(1).cast("bigint")), gone, current, orders)
    winners = silver(spark, [("back", "z", "2025-06-01", "b", 1), ("older arrival wins", "x", "2025-01-02", "a", 2)])
    settled = versions.settle(decided, winners, orders)
    assert_rows(
        settled.select("id", F.col("_new.state").alias("state"), "_verdict", "_accepted"),
        [("back", "z", "update", False), ("older arrival wins", "x", "update", True), ("away", None, "delete", False)],
        "id string, state string, _verdict string, _accepted boolean",
    )
