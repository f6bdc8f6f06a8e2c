"""The least that parts of a pipeline cost, each as a process of its own, so that its start is in it as in a contestant's.

    python -m benchmarks.floors NAME HOME

cat: the files of HOME/data/raw as one. csv_to_parquet: the same files as Parquet of strings. delta_append, merge: the typed rows in
HOME/data/batch, which were made beforehand, into HOME/data/silver/events.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.deliveries import COLUMNS
from benchmarks.peers import session as peers
from benchmarks.peers.window import REACH


def session(home: Path) -> SparkSession:
    """That of the peers, with the compression that Bronze has."""
    spark = peers.start(home)
    spark.conf.set("spark.sql.parquet.compression.codec", "zstd")
    return spark


def cat(home: Path) -> None:
    with (home / "data/all.csv").open("wb") as out:
        subprocess.run(["cat", *sorted(str(file) for file in (home / "data/raw").glob("*.csv"))], stdout=out, check=True)


def csv_to_parquet(home: Path) -> None:
    to_parquet(session(home), home / "data/raw", home / "data/parquet")


def to_parquet(spark: SparkSession, raw: Path, target: Path) -> None:
    """multiLine and the quote as its own escape, as Bronze reads: without them a cell of two lines would be two rows."""
    schema = ", ".join(f"{column} STRING" for column in COLUMNS)
    rows = spark.read.schema(schema).option("header", True).option("multiLine", True).option("escape", '"').csv(str(raw))
    rows.write.mode("overwrite").parquet(str(target))


def delta_append(home: Path) -> None:
    rows = session(home).read.parquet(str(home / "data/batch"))
    rows.write.format("delta").mode("append").save(str(home / "data/silver/events"))


def merge(home: Path) -> None:
    from delta.tables import DeltaTable

    spark = session(home)
    new = spark.read.parquet(str(home / "data/batch"))
    first, last = new.selectExpr("min(event_date)", "max(event_date)").head() or (None, None)
    near = f"old.event_date BETWEEN DATE'{first}' - INTERVAL {REACH} DAYS AND DATE'{last}' + INTERVAL {REACH} DAYS"
    (
        DeltaTable.forPath(spark, str(home / "data/silver/events")).alias("old")
        .merge(new.alias("new"), f"old.event_id = new.event_id AND {near}")
        .whenMatchedUpdateAll("new._file >= old._file").whenNotMatchedInsertAll().execute()
    )  # fmt: skip


FLOORS: dict[str, Callable[[Path], None]] = {"cat": cat, "csv_to_parquet": csv_to_parquet, "delta_append": delta_append, "merge": merge}


if __name__ == "__main__":
    FLOORS[sys.argv[1]](Path(sys.argv[2]))
