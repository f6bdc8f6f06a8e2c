"""One `processingTime` stream over the CSV files, MERGE into Silver, the touched days of Gold again: a template left running.

    python -m benchmarks.plain_stream HOME EVERY

Beside `watch` in its benchmark. As streaming templates do it: no quarantine, no ledger, no look at a corrected file, no transaction ids.
Ends at SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from benchmarks.deliveries import COLUMNS
from benchmarks.floors import session

SILVER = (
    "event_id STRING, event_date DATE, event_timestamp TIMESTAMP, user_id STRING, event_type STRING, country STRING, amount DECIMAL(12,2), "
    "_file STRING"
)
TYPED = (
    "event_id",
    "to_date(try_to_timestamp(event_timestamp, 'yyyy-MM-dd HH:mm:ss')) AS event_date",
    "try_to_timestamp(event_timestamp, 'yyyy-MM-dd HH:mm:ss') AS event_timestamp",
    "user_id",
    "lower(trim(event_type)) AS event_type",
    "coalesce(country, 'unknown') AS country",
    "try_cast(amount AS DECIMAL(12,2)) AS amount",
    "amount AS _raw",
    "_file",
)
VALID = (
    "event_id IS NOT NULL AND event_timestamp IS NOT NULL AND event_type IN ('page_view', 'click', 'add_to_cart', 'purchase', 'signup') "
    "AND (_raw IS NULL OR amount >= 0) AND (event_type <> 'purchase' OR amount IS NOT NULL)"
)


def typed(rows: DataFrame) -> DataFrame:
    """Valid rows with Silver's columns, one per event: of the last file by name."""
    newest = Window.partitionBy("event_id").orderBy(F.desc("_file"))
    valid = rows.selectExpr(*TYPED).where(VALID).drop("_raw")
    return valid.withColumn("_rank", F.row_number().over(newest)).where("_rank = 1").drop("_rank")


def per_day(spark: SparkSession, silver: str, days: str) -> DataFrame:
    revenue = F.sum("amount").cast("decimal(18,2)").alias("revenue")
    rows = spark.read.format("delta").load(silver).where(days)
    return rows.groupBy("event_date").agg(F.count("*").alias("events"), F.countDistinct("user_id").alias("users"), revenue)


def by_type(spark: SparkSession, silver: str, days: str) -> DataFrame:
    rows = spark.read.format("delta").load(silver).where(days)
    return rows.groupBy("event_date", "event_type").agg(F.count("*").alias("events"))


def main(home: Path, every: str) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    (home / "checkpoints").mkdir(exist_ok=True)
    bronze, silver = str(home / "data/bronze/events"), str(home / "data/silver/events")
    gold, by_day, total = (str(home / "data/gold" / name) for name in ("events_per_day", "events_by_day_and_type", "events_by_type"))
    spark = session(home)
    spark.conf.set("spark.sql.streaming.schemaInference", "false")
    spark.createDataFrame([], SILVER).write.format("delta").mode("ignore").partitionBy("event_date").save(silver)

    def apply(batch: DataFrame, _: int) -> None:
        spark = batch.sparkSession
        rows = batch.persist()
        rows.write.format("delta").mode("append").save(bronze)
        new = typed(rows).persist()
        days = "event_date IN ({})".format(", ".join(f"DATE'{row[0]}'" for row in new.select("event_date").distinct().collect()))
        DeltaTable.forPath(spark, silver).alias("old").merge(
            new.alias("new"), f"old.event_id = new.event_id AND old.{days}"
        ).whenMatchedUpdateAll("new._file >= old._file").whenNotMatchedInsertAll().execute()
        for table, fresh in ((gold, per_day(spark, silver, days)), (by_day, by_type(spark, silver, days))):
            fresh.coalesce(1).write.format("delta").mode("overwrite").option("replaceWhere", days).save(table)
        again = spark.read.format("delta").load(by_day).groupBy("event_type").agg(F.sum("events").alias("events"))
        again.coalesce(1).write.format("delta").mode("overwrite").save(total)
        rows.unpersist()
        new.unpersist()

    schema = ", ".join(f"{column} STRING" for column in COLUMNS)
    rows = spark.readStream.schema(schema).option("header", True).csv(str(home / "data/raw"))
    writer = rows.withColumn("_file", F.col("_metadata.file_name")).writeStream.foreachBatch(apply)
    every = every.replace("ms", " milliseconds")
    query = writer.option("checkpointLocation", str(home / "checkpoints/plain")).trigger(processingTime=every).start()
    print("watching", flush=True)
    while query.isActive and not stopped.wait(0.2):
        pass
    if failed := query.exception():
        raise failed
    query.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
