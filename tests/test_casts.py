"""Delivered strings as typed values: what is taken, what is refused, and that nothing raises."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from streaming_jobs.contract import SilverColumn
from streaming_jobs.rules import casts

# type, format, [(delivered, the value as Spark prints it; None: NULL, and refused when something was delivered)]
CASES: list[tuple[str, str | None, list[tuple[str | None, str | None]]]] = [
    ("STRING", None, [(" a ", " a "), ("", ""), ("NULL", "NULL"), (None, None)]),
    (
        "INT",
        None,
        [("12", "12"), (" 12\t", "12"), ("-0", "0"), ("+5", "5"), ("1.0", None), ("1e3", None), ("2147483648", None), ("1,000", None),
         ("abc", None), ("\u0661\u0662", None), ("\x1f12", None), ("\u00a01", None), (None, None)],
    ),
    ("BIGINT", None, [("9223372036854775807", "9223372036854775807"), ("9223372036854775808", None), (None, None)]),
    (
        "DECIMAL(10,2)",
        None,
        [("12.5", "12.50"), ("12.550", "12.55"), ("12.555", None), ("1e3", "1000.00"), ("-0.001", None), ("1e-31", None),
         ("1.5E+1", "15.00"), (".", None), ("123456789.00", None),
         ("12345678.00", "12345678.00"), ("1,5", None), ("NaN", None), (None, None)],
    ),
    ("DECIMAL(38,2)", None, [("1.25", "1.25"), ("1.2500", "1.25"), ("1.255", None), ("1e3", None), (".5", "0.50"),
         ("5.", "5.00"), (None, None)]),
    ("DECIMAL(3,1)", None, [("1.2000", "1.2"), ("1.2001", None), ("99.9", "99.9"), ("999", None), (None, None)]),
    (
        "DOUBLE",
        None,
        [("1.5", "1.5"), (" 1e3 ", "1000.0"), (".5", "0.5"), ("NaN", None), ("Infinity", None), ("-inf", None), ("1e400", None),
         ("12d", None), ("1_000", None), (None, None)],
    ),
    (
        "DATE",
        None,
        [("2026-01-02", "2026-01-02"), (" 2026-1-2 ", "2026-01-02"), ("2026", None), ("2026-01", None), ("2026-02-30", None),
         ("2026-01-02 garbage", None), ("2026-01-02T10:00:00", None), ("0001-01-01", "0001-01-01"), ("01/02/2026", None), (None, None)],
    ),
    ("DATE", "d/M/yyyy", [("2/1/2026", "2026-01-02"), ("02/01/2026", "2026-01-02"), ("30/2/2026", None), (None, None)]),
    (
        "TIMESTAMP",
        None,
        [("2026-01-02 03:04:05", "2026-01-02 03:04:05"), ("2026-01-02T03:04:05Z", "2026-01-02 03:04:05"),
         ("2026-01-02T03:04:05+02:00", "2026-01-02 01:04:05"), ("2026-01-02", "2026-01-02 00:00:00"), ("2026", None), ("T12:00", None),
         ("2016-12-31 23:59:60", None), ("2026-01-02 03:04:05.123456", "2026-01-02 03:04:05.123456"), ("2026-01-02 03:04:05.1234567", None),
         ("2026-01-02 03:04", "2026-01-02 03:04:00"), ("2026-01-02 03:04:05 Europe/Rome", None),
         ("2026-03-29 02:30:00", "2026-03-29 02:30:00"), (None, None)],
    ),
    (
        "TIMESTAMP",
        "yyyy-MM-dd['T'][' ']HH:mm:ss",
        [("2026-01-02 03:04:05", "2026-01-02 03:04:05"), (" 2026-01-02T03:04:05", "2026-01-02 03:04:05"), ("2026", None), (None, None)],
    ),
    ("BOOLEAN", None, [("true", "true"), ("T", "true"), ("no", "false"), ("0", "false"), ("maybe", None), (None, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "pattern", "cases"), CASES, ids=[f"{kind} {pattern or ''}".strip() for kind, pattern, _ in CASES])
def test_a_delivered_string_becomes_its_value_or_null_and_a_failed_one_is_told_from_a_missing_one(
    spark: SparkSession, kind: str, pattern: str | None, cases: list[tuple[str | None, str | None]]
) -> None:
    column = SilverColumn("value", kind, format=pattern)
    delivered = spark.createDataFrame([(raw,) for raw, _ in cases], "raw string")
    text = casts.text(F.col("raw"), kind)
    value = casts.typed(text, column)
    actual = delivered.select("raw", value.cast("string").alias("value"), casts.failed(text, value, kind).alias("failed"))
    expected = spark.createDataFrame([(raw, v, raw is not None and v is None) for raw, v in cases], actual.schema)
    assert_df_equality(actual, expected)


def test_white_space_alone_is_a_missing_number_but_a_text(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("  ",)], "raw string")
    number, text = (casts.typed(casts.text(F.col("raw"), kind), SilverColumn("v", kind)) for kind in ("INT", "STRING"))
    failed = casts.failed(casts.text(F.col("raw"), "INT"), number, "INT")
    actual = rows.select(number.alias("number"), failed.alias("failed"), text.alias("text"))
    assert_df_equality(actual, spark.createDataFrame([(None, False, "  ")], actual.schema))
