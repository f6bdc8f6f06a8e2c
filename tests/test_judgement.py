"""Rows judged by a contract: each refusal with its reasons, and no value that raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs.contract import Contract, RowRule, SilverColumn
from streaming_jobs.rules.judgement import judge
from tests.conftest import assert_rows

RAW = "id string, state string, at string, amount string"
PROVENANCE = "_extra map<string,string>, _malformed string, _file string, _file_modified_at timestamp, _row bigint"


def bronze(spark: SparkSession, rows: Sequence[tuple[Any, ...]], malformed: str | None = None) -> DataFrame:
    frame = spark.createDataFrame([(*row, None, malformed, "f.csv", None, n) for n, row in enumerate(rows, 1)], f"{RAW}, {PROVENANCE}")
    return frame.select("*")


def reasons(judged: DataFrame) -> DataFrame:
    """One row per refusal: record number, rule, column, value."""
    return judged.select("_row", F.explode("_reasons").alias("r")).select("_row", "r.rule", "r.column", "r.value")


def with_column(contract: Contract, column: SilverColumn) -> Contract:
    """The contract with one Silver column exchanged."""
    columns = tuple(column if c.name == column.name else c for c in contract.silver.columns)
    stages = ((column.name,),) if column.expression else ()
    return replace(contract, silver=replace(contract.silver, columns=columns, stages=stages))


def with_rule(contract: Contract, rule: RowRule) -> Contract:
    return replace(contract, silver=replace(contract.silver, rules=(rule,)))


def test_a_row_is_refused_with_every_reason_at_once_and_a_valid_one_with_none(spark: SparkSession, orders: Contract) -> None:
    rows = [("a", "open", "2026-01-01", "1.50"), (None, "open", "soon", "-1"), ("c", None, None, None)]
    judged = judge(bronze(spark, rows), orders)
    assert_rows(
        reasons(judged),
        [(2, "required", "id", None), (2, "cast", "at", "soon"), (2, "minimum", "amount", "-1")],
        "_row bigint, rule string, column string, value string",
    )
    assert_rows(
        judged.select("id", "state", "at", "amount"),
        [("a", "open", "2026-01-01 00:00:00", "1.50"), (None, "open", None, "-1.00"), ("c", None, None, None)],
        "id string, state string, at string, amount string",
    )


def test_a_malformed_record_is_refused_for_its_shape_alone(spark: SparkSession, orders: Contract) -> None:
    judged = judge(bronze(spark, [(None, "x", "not a time", "abc")], malformed="x,not a time,abc"), orders)
    assert_rows(reasons(judged), [(1, "malformed", None, "x,not a time,abc")], "_row bigint, rule string, column string, value string")


def test_a_header_line_inside_the_file_is_refused_as_such(spark: SparkSession, orders: Contract) -> None:
    rows = [("ID", " status ", "at", "amount"), ("id", None, None, None), (None, None, None, None), ("id", "open", None, None)]
    judged = judge(bronze(spark, rows), orders)
    assert_rows(
        reasons(judged),
        [(1, "repeated_header", None, None), (2, "repeated_header", None, None), (3, "required", "id", None)],
        "_row bigint, rule string, column string, value string",
    )


# column as changed, [(delivered amount, the rule it breaks or None)]
LIMITS: list[tuple[SilverColumn, list[tuple[str | None, str | None]]]] = [
    (SilverColumn("amount", "INT", minimum=2, maximum=3), [("2", None), ("3", None), ("1", "minimum"), ("4", "maximum"), (None, None)]),
    (
        SilverColumn("amount", "DECIMAL(4,1)", minimum=0.25, exclusive_minimum=True, maximum=2, exclusive_maximum=True),
        [("0.3", None), ("0.2", "minimum"), ("2.0", "maximum"), ("1.9", None), (None, None)],
    ),
    (SilverColumn("amount", "DATE", minimum="2026-01-01"), [("2026-01-01", None), ("2025-12-31", "minimum"), (None, None)]),
    (SilverColumn("amount", "STRING", min_length=2, max_length=3), [("ab", None), ("a", "minLength"), ("abcd", "maxLength"), (None, None)]),
    (
        SilverColumn("amount", "STRING", pattern="[a-z]+|[0-9]"),
        [("abc", None), ("7", None), ("abc7", "pattern"), ("a\n", "pattern"), (None, None)],
    ),
    (SilverColumn("amount", "STRING", enum=("a", "b")), [("a", None), ("A", "enum"), ("c", "enum"), (None, None)]),
    (SilverColumn("amount", "INT", enum=(1, 2)), [("1", None), ("3", "enum"), (None, None)]),
    (SilverColumn("amount", "INT", required=True), [("1", None), (None, "required"), ("x", "cast"), (" ", "required")]),
    (SilverColumn("amount", "INT", required=True, default=7, maximum=7), [("1", None), (None, None), ("x", "cast"), ("8", "maximum")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "cases"), LIMITS, ids=lambda v: f"{v.type} {v.pattern or v.enum or ''}" if isinstance(v, SilverColumn) else ""
)
def test_a_value_breaks_exactly_the_rule_it_is_meant_to_break(
    spark: SparkSession, orders: Contract, column: SilverColumn, cases: list[tuple[str | None, str | None]]
) -> None:
    rows = [("k", "open", None, amount) for amount, _ in cases]
    judged = judge(bronze(spark, rows), with_column(orders, column))
    actual = judged.select("_row", F.try_element_at("_reasons", F.lit(1))["rule"].alias("rule"), F.size("_reasons").alias("n"))
    expected = [(n, rule, 1 if rule else 0) for n, (_, rule) in enumerate(cases, 1)]
    assert_rows(
        actual.select("_row", F.when(F.col("n") > 0, F.col("rule")).alias("rule"), "n"), expected, "_row bigint, rule string, n int"
    )


def test_null_values_are_missing_to_silver_and_kept_as_delivered_for_quarantine(spark: SparkSession, orders: Contract) -> None:
    contract = replace(orders, landing=replace(orders.landing, null_values=("NA", "-")))
    judged = judge(bronze(spark, [("a", "NA", None, "-"), ("NA", "open", None, "1")]), contract)
    assert_rows(
        judged.select("_bronze.id", "_bronze.state", F.col("state").alias("typed"), F.size("_reasons").alias("reasons")),
        [("a", "NA", None, 0), ("NA", "open", "open", 1)],
        "id string, state string, typed string, reasons int",
    )


EXPRESSIONS = [
    ("12", "CAST(raw.amount AS INT) / CAST(raw.state AS INT) + CAST(raw.amount AS INT)", "18.0", None),
    ("x", "CAST(raw.amount AS INT) / CAST(raw.state AS INT) + CAST(raw.amount AS INT)", None, "expression"),
    ("0", "1 / CAST(raw.amount AS INT)", None, "expression"),
    (None, "1 / CAST(raw.amount AS INT)", None, None),
    ("2026-02-30", "year(to_date(raw.amount))", None, "expression"),
    ("9223372036854775807", "CAST(raw.amount AS BIGINT) + 1", None, "expression"),
]


@pytest.mark.parametrize(("amount", "expression", "value", "rule"), EXPRESSIONS)
@pytest.mark.usefixtures("compiled")
def test_an_expression_that_a_value_breaks_is_a_refusal_and_never_an_exception(
    spark: SparkSession, orders: Contract, amount: str | None, expression: str, value: str | None, rule: str | None
) -> None:
    # The same cast stands twice: hoisted out as a common subexpression its error would escape.
    judged = judge(bronze(spark, [("k", "2", None, amount)]), with_column(orders, SilverColumn("amount", "DOUBLE", expression=expression)))
    assert_rows(
        judged.select("amount", F.col("_reasons")[0]["rule"].alias("rule")) if rule else judged.select("amount", F.lit(None).alias("rule")),
        [(value, rule)],
        "amount string, rule string",
    )
    assert_rows(judged.select(F.size("_reasons").alias("n")), [(1 if rule else 0,)], "n int")


def test_an_expression_sees_typed_columns_by_name_and_delivered_strings_as_raw(spark: SparkSession, orders: Contract) -> None:
    column = SilverColumn("state", "STRING", expression="concat_ws('|', upper(raw.state), CAST(amount AS STRING), _file)")
    judged = judge(bronze(spark, [("k", "open", None, " 1.5 ")]), with_column(orders, column))
    assert_rows(judged.select("state"), [("OPEN|1.50|f.csv",)], "state string")


def test_row_rules_refuse_or_warn_and_null_passes(spark: SparkSession, orders: Contract) -> None:
    rows = [("a", "open", None, "5"), ("b", "open", None, None), ("c", "open", None, "500")]
    blocking = judge(bronze(spark, rows), with_rule(orders, RowRule("small", "amount < 100", blocking=True)))
    assert_rows(reasons(blocking), [(3, "small", None, None)], "_row bigint, rule string, column string, value string")
    warning = judge(bronze(spark, rows), with_rule(orders, RowRule("small", "amount < 100", blocking=False)))
    assert_rows(
        warning.select("id", F.size("_reasons").alias("reasons"), F.array_join("_warnings", ",").alias("warnings")),
        [("a", 0, ""), ("b", 0, ""), ("c", 0, "small")],
        "id string, reasons int, warnings string",
    )


@pytest.mark.usefixtures("compiled")
def test_a_rule_that_cannot_be_evaluated_refuses_the_row_or_counts_as_warned(spark: SparkSession, orders: Contract) -> None:
    rows = [("a", "0", None, "5")]
    expression = "amount / CAST(raw.state AS INT) > 1"
    blocking = judge(bronze(spark, rows), with_rule(orders, RowRule("ratio", expression, blocking=True)))
    assert_rows(reasons(blocking), [(1, "ratio", None, None)], "_row bigint, rule string, column string, value string")
    warning = judge(bronze(spark, rows), with_rule(orders, RowRule("ratio", expression, blocking=False)))
    assert_rows(warning.select(F.array_join("_warnings", ",").alias("w")), [("ratio",)], "w string")


def test_the_value_in_a_reason_is_cut_and_the_row_beside_it_is_whole(spark: SparkSession, orders: Contract) -> None:
    judged = judge(bronze(spark, [("k", "open", None, "x" * 5000)]), orders)
    assert_rows(
        judged.select(F.length(F.col("_reasons")[0]["value"]).alias("shown"), F.length("_bronze.amount").alias("kept")),
        [(200, 5000)],
        "shown int, kept int",
    )
