"""Small tables and frames held in memory are the same rows, whatever they hold."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from streaming_jobs import small, snapshots, tables
from streaming_jobs.sqltext import literal
from streaming_jobs.tables import Txn
from tests.conftest import assert_same

EVERY = """
SELECT id, timestamp_micros(id) AS at, CAST(id AS DECIMAL(12,2)) AS amount, IF(id = 2, NULL, map('k', CAST(id AS STRING))) AS extra,
       IF(id = 1, NULL, named_struct('at', timestamp_micros(id), 'kept', 'x', 'reasons', array(named_struct('rule', 'cast')))) AS bronze,
       CAST(NULL AS DATE) AS day, double('NaN') AS ratio
FROM range({rows})
"""


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_small_frame_held_in_memory_is_the_same_frame(spark: SparkSession, rows: int) -> None:
    frame = spark.sql(EVERY.format(rows=rows))
    held = small.local(frame)
    assert held is not None
    assert_same(held.selectExpr("* EXCEPT (extra)", "to_json(extra)"), frame.selectExpr("* EXCEPT (extra)", "to_json(extra)"))


@pytest.mark.parametrize("rows", [0, 2])
def test_a_small_table_is_the_same_frame(spark: SparkSession, tmp_path: Path, rows: int) -> None:
    table = tmp_path / "table"
    spark.sql(EVERY.format(rows=rows)).drop("extra").write.format("delta").save(str(table))
    held = small.frame(spark, table)
    assert held is not None
    assert_same(held, spark.read.format("delta").load(str(table)))


def test_what_is_too_large_is_not_held(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "MAX_ROWS", 2)
    frame = spark.range(3)
    frame.write.format("delta").save(str(tmp_path / "table"))
    assert (small.local(frame), small.held(tmp_path / "table")) == (None, None)


KINDS = {
    "key": "STRING", "day": "DATE", "at": "TIMESTAMP", "ratio": "DOUBLE", "exact": "DECIMAL(38,10)", "money": "DECIMAL(12,2)",
    "whole": "BIGINT", "place": "STRING", "extra": "MAP<STRING,STRING>",
}  # fmt: skip
# Python cannot make the very first and last days of a timestamp.
EARLY, LATE = datetime(1, 1, 3, microsecond=1, tzinfo=UTC), datetime(9999, 12, 29, 23, 59, 59, 999999, tzinfo=UTC)
LONG = "é" * 40 + "\U0010ffff" * 40  # longer than statistics keep, and nothing comes after its characters
EVERY_KIND: tuple[tuple[Any, ...], ...] = (
    (
        "a" * 70,
        date(1, 1, 1),
        EARLY,
        float("nan"),
        Decimal("12345678901234567890.1234567891"),
        Decimal("0.10"),
        2**62 + 1,
        "a/b=c %",
        [("k", "v")],
    ),
    (LONG, date(2026, 3, 1), LATE, -0.0, None, Decimal("9999999999.99"), None, "it's", []),
    ("z", None, None, 5.5, Decimal("-1.1"), None, -5, None, None),
)


@pytest.fixture
def every_kind(spark: SparkSession, tmp_path: Path) -> Path:
    """A partitioned table with a row of every kind in a file of its own, appended without Spark."""
    table = tmp_path / "every kind"
    tables.create(table, tables.schema(list(KINDS.items())), retention_days=7, partitioned_by=("place", "day"))
    schema = pa.schema(DeltaTable(str(table)).schema().to_arrow())
    small.append(pa.Table.from_pylist([dict(zip(KINDS, row, strict=True)) for row in EVERY_KIND], schema), table, Txn("test", 1))
    return table


def test_rows_appended_without_spark_are_what_spark_would_have_written(spark: SparkSession, tmp_path: Path, every_kind: Path) -> None:
    schema, other = tables.schema(list(KINDS.items())), tmp_path / "other"
    values = [tuple(dict(v) if isinstance(v, list) else v for v in row) for row in EVERY_KIND]
    tables.create(other, schema, retention_days=7, partitioned_by=("place", "day"))
    tables.append(spark.createDataFrame(values, schema), other, Txn("test", 1))
    comparable = "* EXCEPT (extra)", "to_json(extra)"
    assert_same(tables.read(spark, every_kind).selectExpr(*comparable), tables.read(spark, other).selectExpr(*comparable))
    changes = [
        spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 1).load(str(t)) for t in (every_kind, other)
    ]
    assert_same(*(c.selectExpr("* EXCEPT (extra, _commit_timestamp)") for c in changes))


@pytest.mark.parametrize(
    "predicate",
    [
        f"key = '{'a' * 70}'",
        f"key >= '{LONG}'",
        "at <= TIMESTAMP'0001-01-03 00:00:00.000001'",
        "at >= TIMESTAMP'9999-12-29 23:59:59.999999'",
        "ratio > 100",  # NaN is more than any number
        "exact >= 12345678901234567890.1234567891",
        "money >= 9999999999.99",
        "whole = 4611686018427387905",
        "place IS NULL AND day IS NULL",
        "place = 'a/b=c %' AND day = DATE'0001-01-01'",
    ],
)
def test_no_file_is_passed_over_for_what_its_statistics_say(spark: SparkSession, every_kind: Path, predicate: str) -> None:
    kept = tables.read(spark, every_kind)
    assert kept.where(predicate).count() == kept.localCheckpoint().where(predicate).count() > 0


def test_rows_of_a_transaction_that_the_table_has_are_not_appended_again(spark: SparkSession, every_kind: Path) -> None:
    rows = tables.read(spark, every_kind).toArrow()
    small.append(rows, every_kind, Txn("test", 1))
    small.append(rows, every_kind, Txn("test", 0))
    assert tables.rows(every_kind) == len(EVERY_KIND)
    small.append(rows.drop_columns(["money"]), every_kind, Txn("test", 2))
    tables.append(tables.read(spark, every_kind), every_kind, Txn("test", 2))
    assert (tables.rows(every_kind), tables.read(spark, every_kind).where("money IS NULL").count()) == (2 * len(EVERY_KIND), 4)


@pytest.mark.parametrize("column", ["key", "day", "at", "exact", "money", "whole", "place"])
def test_rows_with_some_values_are_found_without_spark(spark: SparkSession, every_kind: Path, column: str) -> None:
    rows = tables.read(spark, every_kind)
    for row in rows.where(f"`{column}` IS NOT NULL").select(column).collect():
        found = small.having(spark, every_kind, column, [row[column]], {})
        assert found is not None
        assert_same(found.drop("extra"), rows.where(f"`{column}` = {literal(row[column])}").drop("extra"))


def test_rows_are_looked_for_only_where_they_can_be(spark: SparkSession, every_kind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["a" * 70, LONG, "z"]
    rows = tables.read(spark, every_kind).drop("extra")
    nearby: list[dict[str, list[Any]]] = [
        {"place": ["it's", "elsewhere"]},
        {"day": [date(2026, 3, 1)]},
        {"place": ["it's"], "day": [date(2026, 3, 1)]},
    ]
    for places in nearby:
        found = small.having(spark, every_kind, "key", keys, places)
        assert found is not None
        assert_same(found.drop("extra"), rows.where(rows["place"] == "it's"))
    nowhere = small.having(spark, every_kind, "key", keys, {"day": [date(2026, 3, 2)]})
    assert nowhere is not None
    assert_same(nowhere.drop("extra"), rows.limit(0))
    assert small.having(spark, every_kind, "ratio", [5.5], {}) is None
    monkeypatch.setattr(small, "MAX_ROWS", 2)
    assert small.having(spark, every_kind, "key", keys, {}) is None
    monkeypatch.setattr(small, "_READ_BYTES", 1)
    assert small.having(spark, every_kind, "key", ["z"], {}) is None


def test_small_files_are_joined_where_there_are_many_and_no_row_changes(
    spark: SparkSession, every_kind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "_JOIN_FILES", 2)
    small.join_files(every_kind)
    assert tables.version(every_kind) == 1  # a file in each of three partitions
    tables.append(tables.read(spark, every_kind), every_kind, Txn("test", 2))
    before = tables.read(spark, every_kind).selectExpr("* EXCEPT (extra)", "to_json(extra)").localCheckpoint()
    small.join_files(every_kind)
    assert (tables.version(every_kind), snapshots.files(snapshots.existing(every_kind)).num_rows) == (3, 3)
    assert_same(tables.read(spark, every_kind).selectExpr("* EXCEPT (extra)", "to_json(extra)"), before)
    changes = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 3).load(str(every_kind))
    assert changes.count() == 0
    assert tables.read(spark, every_kind).where("ratio > 100").count() == 2


def test_a_table_is_read_as_its_newest_commit_left_it(spark: SparkSession, every_kind: Path) -> None:
    before = snapshots.existing(every_kind)
    assert snapshots.newest(every_kind) is before
    tables.append(tables.read(spark, every_kind), every_kind, Txn("test", 2))
    assert (tables.version(every_kind), before.version()) == (2, 1)
