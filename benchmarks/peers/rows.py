"""What the tables mean, for the peers that run on Spark: the typed rows of Silver and the three aggregates of Gold."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

CSV_SCHEMA = "event_id STRING, user_id STRING, event_type STRING, event_timestamp STRING, country STRING, amount STRING"
CSV_OPTIONS = {"header": "true", "escape": '"', "pathGlobFilter": "events_*.csv"}

SILVER = (
    "event_id STRING, event_date DATE, event_timestamp TIMESTAMP, user_id STRING, event_type STRING, country STRING, "
    "amount DECIMAL(12,2), _file STRING"
)

TYPED = {
    "event_id": "event_id",
    "event_date": "to_date(try_to_timestamp(event_timestamp, 'yyyy-MM-dd HH:mm:ss'))",
    "event_timestamp": "try_to_timestamp(event_timestamp, 'yyyy-MM-dd HH:mm:ss')",
    "user_id": "user_id",
    "event_type": "lower(trim(event_type))",
    "country": "coalesce(country, 'unknown')",
    "amount": "try_cast(amount AS DECIMAL(12,2))",
}
VALID = """
    event_id IS NOT NULL AND event_timestamp IS NOT NULL
    AND event_type IN ('page_view', 'click', 'add_to_cart', 'purchase', 'signup')
    AND (amount >= 0 OR amount IS NULL AND raw_amount IS NULL AND event_type <> 'purchase')
"""


def valid(bronze: DataFrame, *kept: str) -> DataFrame:
    """The rows of Bronze that the contract accepts, typed; the columns `kept` as they are."""
    typed = [f"{expression} AS {name}" for name, expression in TYPED.items()]
    return bronze.selectExpr(*typed, "amount AS raw_amount", *kept).where(VALID).select(*TYPED, *kept)


def newest(rows: DataFrame, *order: str) -> DataFrame:
    """Of the rows of each event the last one in this order, with the name of its file."""
    last_first = Window.partitionBy("event_id").orderBy(*(F.col(name).desc() for name in order))
    return rows.withColumn("_n", F.row_number().over(last_first)).where("_n = 1").select(*TYPED, "_file")


def per_day(silver: DataFrame) -> DataFrame:
    return silver.groupBy("event_date").agg(
        F.count("*").alias("events"),
        F.count_distinct("user_id").alias("users"),
        F.sum("amount").cast("decimal(18,2)").alias("revenue"),
    )


def by_day_and_type(silver: DataFrame) -> DataFrame:
    return silver.groupBy("event_date", "event_type").agg(F.count("*").alias("events"))


def by_type(days_and_types: DataFrame) -> DataFrame:
    return days_and_types.groupBy("event_type").agg(F.sum("events").alias("events"))
