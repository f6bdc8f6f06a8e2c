"""Small tables and frames held in memory are the same rows, whatever they hold."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from delta.tables import DeltaTable as SparkTable
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

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
    assert_same(held.frame.selectExpr("* EXCEPT (extra)", "to_json(extra)"), frame.selectExpr("* EXCEPT (extra)", "to_json(extra)"))


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
    for mine, theirs in zip(_rows_and_changes(spark, every_kind, 1), _rows_and_changes(spark, other, 1), strict=True):
        assert_same(mine, theirs)


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
        assert_same(found.frame.drop("extra"), rows.where(f"`{column}` = {literal(row[column])}").drop("extra"))


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
        assert_same(found.frame.drop("extra"), rows.where(rows["place"] == "it's"))
    nowhere = small.having(spark, every_kind, "key", keys, {"day": [date(2026, 3, 2)]})
    assert nowhere is not None
    assert_same(nowhere.frame.drop("extra"), rows.limit(0))
    assert small.having(spark, every_kind, "ratio", [5.5], {}) is None
    monkeypatch.setattr(small, "MAX_ROWS", 2)
    assert small.having(spark, every_kind, "key", keys, {}) is None
    monkeypatch.setattr(small, "_READ_BYTES", 1)
    assert small.having(spark, every_kind, "key", ["z"], {}) is None


MOVED: dict[str, list[Any]] = {"place": ["a/b=c %", "it's", None], "day": [date(1, 1, 1), date(2026, 3, 1), None]}


def _changed(table: Path) -> pa.Table:
    """For a merge: two rows updated, one of them into another partition; one taken out; a new one; one taken out that is not there."""
    first, second, third = (dict(zip(KINDS, row, strict=True)) for row in EVERY_KIND)
    rows = [
        first | {"place": "elsewhere", "_put": True},
        third | {"whole": 7, "ratio": float("nan"), "_put": True},
        second | {"_put": False},
        second | {"key": "new", "_put": True},
        second | {"key": "never there", "_put": False},
    ]
    held = pa.schema(DeltaTable(str(table)).schema().to_arrow())
    return pa.Table.from_pylist(rows, held.append(pa.field("_put", pa.bool_())))


def _rows_and_changes(spark: SparkSession, table: Path, since: int) -> tuple[DataFrame, DataFrame]:
    feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", since).load(str(table))
    return (
        tables.read(spark, table).selectExpr("* EXCEPT (extra)", "to_json(extra)"),
        feed.selectExpr("* EXCEPT (extra, _commit_timestamp)", "to_json(extra)"),
    )


def test_a_merge_without_spark_leaves_the_rows_and_the_changes_of_sparks(spark: SparkSession, tmp_path: Path, every_kind: Path) -> None:
    other, columns = tmp_path / "other", {f"`{name}`": f"new.`{name}`" for name in KINDS}
    shutil.copytree(every_kind, other)
    assert small.merge(_changed(every_kind), every_kind, ["key"], MOVED, Txn("test", 2))
    source = small.local(spark.createDataFrame(_changed(every_kind).drop_columns(["extra"])))
    assert source is not None
    changes = source.frame.withColumn("extra", F.lit(None).cast("map<string,string>"))
    (
        SparkTable.forPath(spark, str(other)).alias("old").merge(changes.alias("new"), "old.key = new.key")
        .whenMatchedDelete("NOT new._put").whenMatchedUpdate(set={**columns, "`extra`": "old.`extra`"})
        .whenNotMatchedInsert("new._put", {**columns, "`extra`": "map()"}).execute()
    )  # fmt: skip
    for mine, theirs in zip(_rows_and_changes(spark, every_kind, 2), _rows_and_changes(spark, other, 2), strict=True):
        assert_same(mine, theirs)
    assert tables.rows(every_kind) == 3


def test_a_merge_that_the_table_has_is_not_done_again_and_one_of_too_much_not_at_all(
    spark: SparkSession, every_kind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables.read(spark, every_kind).drop("extra").localCheckpoint()
    assert small.merge(_changed(every_kind), every_kind, ["key"], MOVED, Txn("test", 1))
    assert not small.merge(_changed(every_kind), every_kind, ["key", "ratio"], MOVED, Txn("test", 2))
    monkeypatch.setattr(small, "_READ_BYTES", 1)
    assert not small.merge(_changed(every_kind), every_kind, ["key"], MOVED, Txn("test", 2))
    assert tables.version(every_kind) == 1
    assert_same(tables.read(spark, every_kind).drop("extra"), before)


def test_part_of_a_table_is_replaced_without_spark_as_spark_replaces_it(spark: SparkSession, tmp_path: Path, every_kind: Path) -> None:
    other, part = tmp_path / "other", small.Part("key", frozenset({"z", LONG, "not there"}))
    shutil.copytree(every_kind, other)
    fresh = _changed(every_kind).slice(1, 1).drop_columns(["_put"])
    assert small.put(fresh, every_kind, part, Txn("test", 2))
    kept = tables.read(spark, every_kind).where("key = 'z'").localCheckpoint()
    tables.replace(kept, other, f"key IN ('z', '{LONG}')", Txn("test", 2))
    for mine, theirs in zip(_rows_and_changes(spark, every_kind, 2), _rows_and_changes(spark, other, 2), strict=True):
        assert_same(mine, theirs)
    assert small.put(fresh, every_kind, part, Txn("test", 2))
    assert tables.version(every_kind) == 2


def test_of_a_part_only_files_that_may_hold_it_are_counted(every_kind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = snapshots.existing(every_kind)
    sizes = [small.Part("key", frozenset({key})).size(table) for key in ("a" * 70, LONG, "z", "b")]
    assert [size > 0 for size in sizes] == [True, True, True, False]
    assert sum(sizes) == snapshots.amount(table).size == small.Part("extra", frozenset({"no statistics"})).size(table)
    monkeypatch.setattr(small, "_READ_BYTES", sizes[0] - 1)
    none = pa.schema(table.schema().to_arrow()).empty_table()
    assert not small.put(none, every_kind, small.Part("key", frozenset({"a" * 70})), Txn("test", 2))
    assert tables.version(every_kind) == 1


def test_the_rows_of_partitions_are_held_where_they_are_few(spark: SparkSession, every_kind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tables.read(spark, every_kind).drop("extra")
    inside: list[tuple[dict[str, list[Any]], str]] = [
        ({"place": ["it's", "elsewhere"]}, "place = 'it\\'s'"),
        ({"place": ["a/b=c %", None], "day": [date(1, 1, 1), None]}, "place = 'a/b=c %' OR place IS NULL"),
        ({"day": [date(2026, 3, 2)]}, "false"),
    ]
    for places, where in inside:
        held = small.inside(spark, every_kind, places)
        assert held is not None
        assert_same(held.drop("extra"), rows.where(where))
    assert [small.inside(spark, every_kind, places) for places in ({}, {"place": [Decimal("1")]})] == [None, None]
    monkeypatch.setattr(small, "MAX_PART_ROWS", 1)
    assert small.inside(spark, every_kind, MOVED) is None


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
