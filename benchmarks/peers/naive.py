"""The batch pipeline of most medallion templates: every table is made again from everything, each time.

    python -m benchmarks.peers.naive HOME

A layer is a batch job that overwrites the next table, as in `sandbox/spark/app/silver-spark.py` of the repository
VitorM3/Ecommerce-ED: read all CSV files, overwrite Bronze; type, filter and deduplicate all of Bronze with row_number(),
overwrite Silver; aggregate all of Silver, overwrite Gold.

It is right after any delivery, also after a corrected file, because it keeps nothing. A run without news costs as much as any
other one and commits the same rows again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.peers import rows, session


def overwrite(frame: DataFrame, table: Path, *partitions: str) -> None:
    frame.write.format("delta").mode("overwrite").partitionBy(*partitions).save(str(table))


def main(home: Path) -> None:
    spark = session.start(home)
    data = home / "data"

    def read(table: str) -> DataFrame:
        return spark.read.format("delta").load(str(data / table))

    files = spark.read.schema(rows.CSV_SCHEMA).options(**rows.CSV_OPTIONS).csv(str(data / "raw"))
    # A large file is read in blocks by several tasks: a row's place is its block and, within it, an id that grows.
    bronze = files.select(
        "*",
        F.col("_metadata.file_name").alias("_file"),
        F.col("_metadata.file_block_start").alias("_block"),
        F.monotonically_increasing_id().alias("_row"),
    )
    overwrite(bronze, data / "bronze/events")

    place = ("_file", "_block", "_row")
    silver = rows.newest(rows.valid(read("bronze/events"), *place), *place)
    # One file a day instead of one a day and task.
    overwrite(silver.repartition("event_date"), data / "silver/events", "event_date")

    overwrite(rows.per_day(read("silver/events")), data / "gold/events_per_day")
    overwrite(rows.by_day_and_type(read("silver/events")), data / "gold/events_by_day_and_type")
    overwrite(rows.by_type(read("gold/events_by_day_and_type")), data / "gold/events_by_type")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
