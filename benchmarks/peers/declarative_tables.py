"""The tables of the peer `declarative`, as `spark-pipelines run` imports them: what they hold, not when they are made.

None names its format, which is the default one of the settings: with `format="delta"` every run after the first fails with
[DELTA_CANNOT_CHANGE_PROVIDER], because the tool sets all properties of a table again, its provider among them.

Silver is SQL. As a chain of DataFrame calls on `read.table` it was started beside Bronze, not after it, once the tables existed,
and was one delivery behind (seen with pyspark 4.2.0; why was not found out). As SQL it waits for Bronze in every run.
"""

from __future__ import annotations

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.peers import rows

_spark = SparkSession.active()


@dp.table(name="bronze.events")
def bronze() -> DataFrame:
    files = _spark.readStream.schema(rows.CSV_SCHEMA).options(**rows.CSV_OPTIONS).csv(str(_spark.conf.get("peer.raw")))
    return files.select("*", F.col("_metadata.file_name").alias("_file"), F.col("_metadata.file_block_start").alias("_block"))


@dp.materialized_view(name="silver.events", partition_cols=["event_date"])
def silver() -> DataFrame:
    typed = ", ".join(f"{expression} AS {name}" for name, expression in rows.TYPED.items())
    # A block of a CSV file lies in one file of Bronze, in its order: an id that grows is a row's place in it.
    # Distributed by day: one file a day instead of one a day and task.
    return _spark.sql(f"""
        WITH typed AS (
            SELECT {typed}, amount AS raw_amount, _file, _block, monotonically_increasing_id() AS _row FROM bronze.events
        ), numbered AS (
            SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY _file DESC, _block DESC, _row DESC) AS _n
            FROM typed WHERE {rows.VALID}
        )
        SELECT {", ".join(rows.TYPED)}, _file FROM numbered WHERE _n = 1 DISTRIBUTE BY event_date
    """)


@dp.materialized_view(name="gold.events_per_day")
def events_per_day() -> DataFrame:
    return rows.per_day(_spark.read.table("silver.events"))


@dp.materialized_view(name="gold.events_by_day_and_type")
def events_by_day_and_type() -> DataFrame:
    return rows.by_day_and_type(_spark.read.table("silver.events"))


@dp.materialized_view(name="gold.events_by_type")
def events_by_type() -> DataFrame:
    return rows.by_type(_spark.read.table("gold.events_by_day_and_type"))
