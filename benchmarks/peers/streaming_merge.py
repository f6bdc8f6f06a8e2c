"""Plain Structured Streaming in the way the documentation of Delta Lake shows it.

    python -m benchmarks.peers.streaming_merge HOME

The CSV files are a file stream that is appended to Bronze; Bronze is a stream whose micro-batches are merged into Silver
(documentation of Delta Lake, page "Table deletes, updates, and merges", section "Upsert from streaming queries using
foreachBatch"), narrowed by the known bounds of the partition column. Both are run with availableNow. Gold is overwritten from all
of Silver when Silver has a new version, which the writer options txnAppId and txnVersion see to.

The file stream knows a file by its path: a corrected file under the same name is not seen.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.peers import rows, session, window

WINDOW = timedelta(days=window.REACH)


def append_files(spark: SparkSession, raw: Path, bronze: Path, checkpoint: Path) -> None:
    files = spark.readStream.schema(rows.CSV_SCHEMA).options(**rows.CSV_OPTIONS).csv(str(raw))
    placed = files.select("*", F.col("_metadata.file_name").alias("_file"), F.col("_metadata.file_block_start").alias("_block"))
    writer = placed.writeStream.format("delta").option("checkpointLocation", str(checkpoint)).trigger(availableNow=True)
    writer.start(str(bronze)).awaitTermination()


def merge_events(spark: SparkSession, bronze: Path, silver: Path, checkpoint: Path) -> None:
    typed = rows.valid(spark.readStream.format("delta").load(str(bronze)), "_file", "_block")
    writer = typed.writeStream.foreachBatch(partial(merge, silver)).option("checkpointLocation", str(checkpoint))
    writer.trigger(availableNow=True).start().awaitTermination()


def merge(silver: Path, batch: DataFrame, _: int) -> None:
    """A row that is there from a later file stays. Repeated after a crash it changes nothing."""
    spark = batch.sparkSession
    table = DeltaTable.createIfNotExists(spark).location(str(silver)).partitionedBy("event_date")
    for column in rows.SILVER.split(", "):
        name, kind = column.split(" ")
        table = table.addColumn(name, kind)
    # A block of a CSV file lies in one file of Bronze, in its order: an id that grows is a row's place in it.
    placed = batch.withColumn("_row", F.monotonically_increasing_id())
    changes = rows.newest(placed, "_file", "_block", "_row").persist()
    try:
        bounds = changes.agg(F.min("event_date").alias("first"), F.max("event_date").alias("last")).collect()[0]
        if bounds["first"] is None:
            return
        first, last = bounds["first"] - WINDOW, bounds["last"] + WINDOW
        same = f"t.event_id = s.event_id AND t.event_date BETWEEN DATE'{first}' AND DATE'{last}'"
        merging = table.execute().alias("t").merge(changes.alias("s"), same)
        merging.whenMatchedUpdateAll("s._file >= t._file").whenNotMatchedInsertAll().execute()
    finally:
        changes.unpersist()


def aggregate(spark: SparkSession, data: Path) -> None:
    silver = DeltaTable.forPath(spark, str(data / "silver/events"))
    version = silver.history(1).collect()[0]["version"]

    def overwrite(frame: DataFrame, table: str) -> None:
        """Skipped where the table is of this version of Silver already."""
        writer = frame.write.format("delta").mode("overwrite").option("txnAppId", "gold").option("txnVersion", version)
        writer.save(str(data / table))

    overwrite(rows.per_day(silver.toDF()), "gold/events_per_day")
    overwrite(rows.by_day_and_type(silver.toDF()), "gold/events_by_day_and_type")
    days_and_types = spark.read.format("delta").load(str(data / "gold/events_by_day_and_type"))
    overwrite(rows.by_type(days_and_types), "gold/events_by_type")


def main(home: Path) -> None:
    spark = session.start(home)
    data, checkpoints = home / "data", home / "checkpoints/streaming_merge"
    append_files(spark, data / "raw", data / "bronze/events", checkpoints / "bronze")
    merge_events(spark, data / "bronze/events", data / "silver/events", checkpoints / "silver")
    aggregate(spark, data)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
