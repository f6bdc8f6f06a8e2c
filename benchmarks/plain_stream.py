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
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.floors import session
from benchmarks.peers import rows as meaning


def main(home: Path, every: str) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    (home / "checkpoints").mkdir(exist_ok=True)
    bronze, silver = str(home / "data/bronze/events"), str(home / "data/silver/events")
    gold, by_day, total = (str(home / "data/gold" / name) for name in ("events_per_day", "events_by_day_and_type", "events_by_type"))
    spark = session(home)
    spark.conf.set("spark.sql.streaming.schemaInference", "false")
    spark.createDataFrame([], meaning.SILVER).write.format("delta").mode("ignore").partitionBy("event_date").save(silver)

    def apply(batch: DataFrame, _: int) -> None:
        spark = batch.sparkSession
        rows = batch.persist()
        rows.write.format("delta").mode("append").save(bronze)
        new = meaning.newest(meaning.valid(rows, "_file"), "_file").persist()
        days = "event_date IN ({})".format(", ".join(f"DATE'{row[0]}'" for row in new.select("event_date").distinct().collect()))
        DeltaTable.forPath(spark, silver).alias("old").merge(
            new.alias("new"), f"old.event_id = new.event_id AND old.{days}"
        ).whenMatchedUpdateAll("new._file >= old._file").whenNotMatchedInsertAll().execute()
        touched = spark.read.format("delta").load(silver).where(days)
        for table, fresh in ((gold, meaning.per_day(touched)), (by_day, meaning.by_day_and_type(touched))):
            fresh.coalesce(1).write.format("delta").mode("overwrite").option("replaceWhere", days).save(table)
        again = meaning.by_type(spark.read.format("delta").load(by_day))
        again.coalesce(1).write.format("delta").mode("overwrite").save(total)
        rows.unpersist()
        new.unpersist()

    rows = spark.readStream.schema(meaning.CSV_SCHEMA).option("header", True).csv(str(home / "data/raw"))
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
