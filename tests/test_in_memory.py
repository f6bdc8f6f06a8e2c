"""A small batch is netted, decided and quarantined in memory as Spark does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from streaming_jobs import silver, small
from streaming_jobs.contract import Contract, Redelivery
from streaming_jobs.contract.model import SilverColumn
from streaming_jobs.rules import in_memory, versions
from tests.conftest import Home, assert_same

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SILVER = "id string, state string, at timestamp, amount decimal(10,2), ratio double, _file string, _row bigint"
JUDGED = f"{SILVER}, _reasons array<struct<rule: string>>"
AT = [None, datetime(2026, 1, 1), datetime(2026, 1, 1, microsecond=1), datetime(9999, 12, 29)]
CELLS = st.tuples(
    st.sampled_from(["x", "y", None]),
    st.sampled_from(AT),
    st.sampled_from([None, Decimal("1.00"), Decimal("-0.50")]),
    st.sampled_from([None, 0.0, -0.0, float("nan"), 1.5]),
    st.sampled_from(["f", "g", "\U0001f600", "\uffff"]),
    st.integers(1, 3),
)
KEY = st.sampled_from(["a", "b", "ä"])
REASONS = st.sampled_from([[], [], [], ["cast"]])
ROWS = st.lists(st.tuples(KEY, CELLS, REASONS), max_size=6, unique_by=lambda row: row[1][4:])
HELD = st.dictionaries(KEY, CELLS)


def contract_with_ratio(orders: Contract) -> Contract:
    return replace(orders, silver=replace(orders.silver, columns=(*orders.silver.columns, SilverColumn("ratio", "DOUBLE"))))


def frames(spark: SparkSession, rows: Sequence[tuple[Any, ...]], columns: str) -> tuple[pa.Table, DataFrame]:
    """These rows in memory and as a frame."""
    schema = cast("StructType", StructType.fromDDL(columns))
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], to_arrow_schema(schema, timezone="UTC"))
    held = small.Local(spark, table, schema)
    return held.rows, held.frame


def judged(spark: SparkSession, rows: Sequence[tuple[Any, ...]]) -> tuple[pa.Table, DataFrame]:
    return frames(spark, [(key, *cells, [{"rule": r} for r in reasons]) for key, cells, reasons in rows], JUDGED)


def valid(rows: DataFrame) -> DataFrame:
    return rows.where("size(_reasons) = 0").drop("_reasons")


def told(rows: Iterable[Any]) -> list[str]:
    """Rows as texts in their order, so that NaN equals itself."""
    return sorted(repr([v.replace(tzinfo=None) if isinstance(v, datetime) else v for v in row]) for row in rows)


def values(table: pa.Table) -> list[str]:
    return told(zip(*(column.to_pylist() for column in table.columns), strict=True))


SAME_PLACE = ("x", AT[1], None, float("nan"), "f", 1)
OTHER_PLACE = ("y", None, None, 1.5, "g", 1)


@given(came=ROWS, went=ROWS | st.none(), held=HELD, winners=HELD)
@example(came=[("a", SAME_PLACE, [])], went=[("a", SAME_PLACE, [])], held={"a": SAME_PLACE}, winners={})
@example(came=[], went=[("a", SAME_PLACE, [])], held={"a": SAME_PLACE}, winners={})
@example(came=[], went=[("a", SAME_PLACE, [])], held={"a": SAME_PLACE}, winners={"a": OTHER_PLACE})
@example(came=[("a", OTHER_PLACE, [])], went=[("a", SAME_PLACE, [])], held={"a": SAME_PLACE}, winners={"a": OTHER_PLACE})
@example(came=[("a", ("x", AT[1], None, 0.0, "f", 2), [])], went=[("a", SAME_PLACE, [])], held={"a": SAME_PLACE}, winners={})
@example(came=[("a", ("x", AT[1], None, 0.0, "f", 1), [])], went=None, held={"a": ("x", AT[1], None, -0.0, "f", 1)}, winners={})
@example(came=[("a", ("x", AT[1], None, 0.0, "f", 1), []), ("a", ("y", AT[2], None, 0.0, "f", 2), [])], went=None, held={}, winners={})
@FEW
def test_a_small_batch_is_decided_as_spark_decides_it(
    spark: SparkSession, orders: Contract, came: Any, went: Any, held: dict[str, Any], winners: dict[str, Any]
) -> None:
    contract = contract_with_ratio(orders)
    arrived, arrived_frame = judged(spark, came)
    gone, gone_frame = (None, None) if went is None else judged(spark, went)
    current, current_frame = frames(spark, [(key, *cells) for key, cells in held.items()], SILVER)
    bronze, bronze_frame = frames(spark, [(key, *cells) for key, cells in winners.items()], SILVER)

    newest = versions.newest_per_key(valid(arrived_frame), contract.silver.keys, versions.order(contract))
    lost = None if gone_frame is None else valid(gone_frame)
    decided = small.local(versions.decide(newest, lost, current_frame, contract))
    assert decided is not None
    expected = versions.settle(decided.frame, bronze_frame, contract).collect()
    found = in_memory.decide(arrived, gone, current, contract)
    assert found is not None
    again = [row["_old"].values() for row in decided.rows.to_pylist() if row["_verdict"] == versions.REDECIDE]
    assert values(found.open.select(versions.stored(contract))) == told(again)

    found = in_memory.settle(found, bronze, contract)
    put = [row["_new"] for row in expected if row["_verdict"] in (versions.INSERT, versions.UPDATE)]
    moved, out = ([row["_old"] for row in expected if row["_verdict"] == verdict] for verdict in (versions.UPDATE, versions.DELETE))
    assert (values(found.put), values(found.moved), values(found.out)) == (told(put), told(moved), told(out))
    assert found.accepted == sum(bool(row["_accepted"]) for row in expected)
    assert found.accepted + found.superseded == sum(row["_versions"] or 0 for row in expected)


def test_an_order_by_a_column_of_inexact_numbers_is_left_to_spark(spark: SparkSession, orders: Contract) -> None:
    contract = contract_with_ratio(orders)
    by_ratio = replace(contract, silver=replace(contract.silver, sequence_by=("ratio",)))
    rows, _ = judged(spark, [("a", SAME_PLACE, [])])
    assert in_memory.decide(rows, None, rows.drop_columns(["_reasons"]), by_ratio) is None


def test_appended_deliveries_are_told_apart_by_their_time(spark: SparkSession, orders: Contract) -> None:
    contract = replace(orders, bronze=replace(orders.bronze, on_redelivery=Redelivery.APPEND))
    columns = "id string, state string, at timestamp, amount decimal(10,2), _file string, _file_modified_at timestamp, _row bigint"
    first, second = (("a", state, AT[1], None, "f", at, 1) for state, at in (("x", AT[1]), ("y", AT[2])))
    arrived = spark.createDataFrame([first, second], columns).withColumn("_reasons", F.array().cast("array<struct<rule: string>>"))
    found = in_memory.decide(arrived.toArrow(), None, spark.createDataFrame([first], columns).toArrow(), contract)
    assert found is not None
    assert (found.put["state"].to_pylist(), found.moved["state"].to_pylist(), found.superseded) == (["y"], ["x"], 1)


CHANGES = st.lists(
    st.tuples(st.sampled_from([0, 1, None]), st.sampled_from("fg"), st.integers(1, 2), st.booleans(), st.integers(5, 8)), max_size=8
)


@given(changes=CHANGES)
@FEW
def test_rows_that_came_and_went_are_netted_as_spark_nets_them(spark: SparkSession, changes: Any) -> None:
    rows, frame = frames(spark, changes, "_ingest_id bigint, _file string, _row bigint, _change boolean, _commit_version bigint")
    for found, expected in zip(in_memory.net(rows), versions.net(frame), strict=True):
        assert values(found) == told(expected.collect())


def of_bronze(home: Home) -> tuple[DataFrame, pa.Table, Contract]:
    """What lies in Bronze, judged: as a frame, and in memory."""
    home.ok("bronze")
    (contract,) = home.contracts()
    arrivals = {"_change_type": F.lit("insert"), "_commit_version": F.lit(0)}
    rows = silver._judged(home.table("bronze/orders").withColumns(arrivals), contract)
    held = small.local(rows)
    assert held is not None
    return rows, held.rows, contract


def test_refused_rows_go_to_quarantine_as_spark_would_write_them(home: Home, spark: SparkSession) -> None:
    home.contract()
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,never,x", "3,open,2026-01-01", "4,open,2026-01-01,1.00,5")
    home.land("b.csv", ",open,2026-01-01,-1,more", "6,paid,2026-01-01,2.00,", header="id,state,at,amount,note")
    rows, held, contract = of_bronze(home)
    at = datetime(2026, 11, 27, 12, tzinfo=UTC)
    found, expected = in_memory.quarantined(held, contract, at), silver._refused(rows, contract)
    assert found.num_rows > 3
    assert set(found["quarantined_at"].to_pylist()) == {at}
    assert found.column_names == expected.columns
    shown = [c if c != "_extra" else "to_json(_extra) AS _extra" for c in found.column_names if c != "quarantined_at"]
    assert_same(spark.createDataFrame(found).selectExpr(*shown), expected.selectExpr(*shown))


def test_a_quarantine_of_nothing_has_the_columns_of_one(home: Home) -> None:
    home.contract()
    home.land("a.csv", "1,open,2026-01-01,1.00")
    rows, held, contract = of_bronze(home)
    found = in_memory.quarantined(held, contract, datetime(2026, 1, 1, tzinfo=UTC))
    assert (found.num_rows, found.column_names) == (0, silver._refused(rows, contract).columns)
