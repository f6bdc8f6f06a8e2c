"""Gold beyond the ordinary day: SQL that fails, every type as a grain, tables above the size that is held in memory."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from streaming_jobs import gold, small, streams
from streaming_jobs.errors import UsageError
from streaming_jobs.operations import plan
from streaming_jobs.sqltext import literal
from tests.conftest import BY_STATE, ORDERS, Home, assert_rows, assert_same

SHARES = """
  - name: shares
    physicalName: gold/shares
    logicalType: object
    properties:
      - {name: state, logicalType: string, primaryKey: true, transformLogic: state}
      - {name: share, logicalType: number, physicalType: DOUBLE, transformLogic: 1 / (count(*) - 2)}
  - name: best
    physicalName: gold/best
    logicalType: object
    customProperties: [{property: source, value: shares}]
    properties:
      - {name: paid, logicalType: boolean, primaryKey: true, transformLogic: state = 'paid'}
      - {name: share, logicalType: number, physicalType: DOUBLE, transformLogic: max(share)}
"""


def failure(home: Home) -> str:
    outcome = home.run("bronze", "silver", "gold")
    ((layer, _, error),) = outcome.failures
    assert (layer, type(error), outcome.exit_code) == ("gold", UsageError, 2)
    return str(error)


@pytest.mark.slow
def test_sql_that_fails_on_a_row_stops_its_own_table_and_those_made_from_it_and_no_other(home: Home) -> None:
    home.contract(ORDERS + SHARES)
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok()
    home.land("b.csv", "2,open,2026-01-01,2.00", "3,paid,2026-01-01,2.00")
    line = failure(home)
    assert "shares: [DIVIDE_BY_ZERO]" in line
    assert "best: its source shares" in line
    assert "orders.yaml" in line
    assert_rows(home.table("gold/by_state"), [("open", 2, "3.00"), ("paid", 1, "2.00")], BY_STATE)
    assert_rows(home.table("gold/shares"), [("open", -1.0)], "state string, share double")
    assert_rows(home.table("gold/best"), [(False, -1.0)], "paid boolean, share double")
    before = home.versions()
    assert "shares: [DIVIDE_BY_ZERO]" in failure(home)  # as long as it is so
    assert home.versions() == before
    home.land("c.csv", "4,open,2026-01-01,3.00")
    home.ok()
    assert_rows(home.table("gold/shares"), [("open", 1.0), ("paid", -1.0)], "state string, share double")
    assert_rows(home.table("gold/best"), [(False, 1.0), (True, -1.0)], "paid boolean, share double")
    assert home.ok().notes == ()


GRAINS = {
    "time": ("TIMESTAMP", "at"),
    "day": ("DATE", "CAST(at AS DATE)"),
    "money": ("DECIMAL(10,2)", "amount"),
    "whole": ("BIGINT", "CAST(amount AS BIGINT)"),
    "big": ("BOOLEAN", "amount > 1"),
    "word": ("STRING", "concat(state, chr(92), chr(39), chr(34), ' %_`')"),
}
LOGICAL = {"TIMESTAMP": "timestamp", "DATE": "date", "BIGINT": "integer", "BOOLEAN": "boolean", "STRING": "string"}


@pytest.mark.slow
def test_groups_of_every_type_are_found_again_in_memory_and_through_spark(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = "".join(
        f"      - name: {name}\n        logicalType: {LOGICAL.get(kind, 'number')}\n        physicalType: {kind}\n"
        f"        primaryKey: true\n        primaryKeyPosition: {n}\n        transformLogic: >-\n          {sql}\n"
        for n, (name, (kind, sql)) in enumerate(GRAINS.items(), 1)
    )
    table = "  - name: every\n    physicalName: gold/every\n    logicalType: object\n    properties:\n"
    home.contract(ORDERS + table + properties + "      - {name: orders, logicalType: integer, transformLogic: count(*)}\n")
    columns = ", ".join(f"{sql} AS {name}" for name, (_, sql) in GRAINS.items())
    deliveries = (
        ("1,open,2026-01-01 10:00:00.123456,1.10", "2,it's,,0.30", "3,,1000-01-01,", "4,open,9999-12-31,7.00"),
        ("1,open,2026-01-02,1.10", "5,it's,,0.30", "6,,1000-01-01,", "4,paid,9999-12-31,7.00"),
        ("5,open,,0.30", "3,,1000-01-02,", "4,paid,9999-12-31 23:59:59.999999,7.01"),
    )
    for number, (rows, in_memory) in enumerate(zip(deliveries, (small.MAX_ROWS, 0, small.MAX_ROWS), strict=True)):
        monkeypatch.setattr(small, "MAX_ROWS", in_memory)
        home.land(f"{number}.csv", *rows)
        home.ok()
        home.table("silver/orders").createOrReplaceTempView("silver")
        assert_same(home.table("gold/every"), home.spark.sql(f"SELECT {columns}, count(*) AS orders FROM silver GROUP BY ALL"))


@pytest.mark.slow
def test_more_touched_groups_than_a_predicate_should_carry_are_computed_with_the_whole_table(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gold, "MAX_UNITS", 1)
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,paid,2026-01-01,2.00", "3,sent,2026-01-01,2.00")
    home.ok()
    home.land("b.csv", "1,paid,2026-01-02,1.00", "4,void,2026-01-02,1.00")
    home.ok()
    assert_rows(home.table("gold/by_state"), [("paid", 2, "3.00"), ("sent", 1, "2.00"), ("void", 1, "1.00")], BY_STATE)


@pytest.mark.slow
def test_many_rows_give_the_same_groups_with_compiled_expressions(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[SparkSession] = []
    compile_expressions = streams.compile_expressions

    def noted(spark: SparkSession) -> None:
        compiled.append(spark)
        compile_expressions(spark)

    monkeypatch.setattr(streams, "compile_expressions", noted)
    monkeypatch.setattr(gold, "_MANY_ROWS", 2)
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,paid,2026-01-01,2.00")
    home.ok()
    assert not compiled
    home.land("b.csv", "1,paid,2026-01-02,1.00", "4,void,2026-01-02,1.00")
    home.ok()
    assert compiled
    assert_rows(home.table("gold/by_state"), [("paid", 2, "3.00"), ("void", 1, "1.00")], BY_STATE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "true"),
        (Decimal("0E-10"), "0.0000000000"),
        (Decimal("1E+3"), "1000"),
        (datetime(2026, 1, 1, 12), "TIMESTAMP'2026-01-01 12:00:00'"),
        (b"\x00'\xff", "X'0027ff'"),
        ("it's a \\", r"'it\'s a \\'"),
    ],
)
def test_a_value_is_written_as_a_literal_of_its_type(value: object, text: str) -> None:
    assert literal(value) == text


def test_a_gold_table_that_was_dropped_from_its_contract_is_named_by_plan_and_stays(home: Home) -> None:
    home.contract(ORDERS + SHARES)
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok()
    home.contract()
    assert home.ok().notes == ()
    said = [row[1:4] for row in plan.plan(home.contracts(), home.settings).values]
    assert said == [("gold", "in no contract, stays as it is", f"gold/{name}") for name in ("best", "shares")]
    assert home.table("gold/shares").count() == 1
