"""Six everyday deliveries, given to a plain Spark csv stream and to streaming_jobs: what is in the table afterwards.

    make hazards

The plain stream is what most templates build on: `readStream.csv` with a schema and a header, `availableNow`, Delta.
Exits 1 when streaming_jobs gets one wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from streaming_jobs import contract as contracts
from streaming_jobs import grid, session, settings, tables
from streaming_jobs.increment import increment
from streaming_jobs.run import Run

CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: sales
version: 1.0.0
status: active
servers:
  - {server: landing, type: local, path: "data/raw/*.csv", format: csv}
schema:
  - name: raw_sales
    physicalName: bronze/sales
    logicalType: object
    properties:
      - {name: id, logicalType: string, required: true}
      - {name: city, logicalType: string}
      - {name: amount, logicalType: string}
  - name: sales
    physicalName: silver/sales
    logicalType: object
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true}
      - {name: city, logicalType: string}
      - {name: amount, logicalType: integer}
"""
HEADER = "id,city,amount\n"
DAY = 86_400

Deliver = Callable[[Path, Callable[[], None]], None]
"""Puts files into a folder and runs the pipeline in between; it runs once more at the end."""


@dataclass(frozen=True)
class Hazard:
    label: str
    what: str
    deliver: Deliver
    right: tuple[str, ...]  # what the table must hold


def land(file: Path, text: str, days_old: float = 0) -> None:
    staged = file.with_name(f".{file.name}")
    staged.write_text(text)
    at = time.time() - days_old * DAY
    os.utime(staged, (at, at))
    staged.rename(file)


def corrected(folder: Path, run: Callable[[], None]) -> None:
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n2,Oslo,20\n")
    run()
    land(folder / "mon.csv", f"{HEADER}1,Rome,11\n2,Oslo,20\n")


def old_time(folder: Path, run: Callable[[], None]) -> None:
    land(folder / "tue.csv", f"{HEADER}2,Oslo,20\n")
    run()
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n", days_old=10)


def returns(folder: Path, run: Callable[[], None]) -> None:
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n", days_old=20)
    run()
    land(folder / "tue.csv", f"{HEADER}2,Oslo,20\n")
    run()
    land(folder / "wed.csv", f"{HEADER}3,Bern,30\n")
    run()
    (folder / "mon.csv").unlink()
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n")


def half_written(folder: Path, run: Callable[[], None]) -> None:
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n2,Os")
    run()
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n2,Oslo,20\n")


def reordered(folder: Path, run: Callable[[], None]) -> None:
    land(folder / "mon.csv", f"{HEADER}1,Rome,10\n")
    run()
    land(folder / "tue.csv", "id,amount,city\n2,20,Oslo\n")


def extra_and_short(folder: Path, _run: Callable[[], None]) -> None:
    land(folder / "mon.csv", "id,region,city,amount\n1,south,Rome,10\n")
    land(folder / "tue.csv", f"{HEADER}2,Oslo\n")


HAZARDS = (
    Hazard("H1", "a corrected file under the same name", corrected, ("1 Rome 11", "2 Oslo 20")),
    Hazard("H2", "a new file with an old modification time", old_time, ("1 Rome 10", "2 Oslo 20")),
    Hazard("H3", "a file that returns after more than seven days", returns, ("1 Rome 10", "2 Oslo 20", "3 Bern 30")),
    Hazard("H4", "a half-written file, completed later", half_written, ("1 Rome 10", "2 Oslo 20")),
    Hazard("H5", "a header in another order", reordered, ("1 Rome 10", "2 Oslo 20")),
    Hazard("H6", "an extra column in the middle; a short record", extra_and_short, ("1 Rome 10 +region=south", "malformed: 2,Oslo")),
)


def plain(spark: SparkSession, hazard: Hazard, folder: Path) -> tuple[str, ...]:
    """The csv stream of the templates."""
    raw, table, checkpoint = folder / "raw", folder / "table", folder / "checkpoint"
    raw.mkdir(parents=True)

    def run() -> None:
        rows = spark.readStream.schema("id STRING, city STRING, amount STRING").option("header", True).csv(str(raw))
        writer = rows.writeStream.format("delta").option("checkpointLocation", str(checkpoint)).trigger(availableNow=True)
        writer.start(str(table)).awaitTermination()

    hazard.deliver(raw, run)
    run()
    found = tables.read(spark, table).collect()
    return tuple(sorted(" ".join("null" if v is None else str(v) for v in row) for row in found))


def ours(spark: SparkSession, hazard: Hazard, home: Path) -> tuple[str, ...]:
    for part in ("conf", "data/raw", "checkpoints"):
        (home / part).mkdir(parents=True)
    (home / "conf/sales.yaml").write_text(CONTRACT)
    found = settings.load(home)

    def run() -> None:
        increment(("bronze", "silver"), contracts.load_all(found.conf), Run(found, lambda _: None), lambda *_: None)

    hazard.deliver(home / "data/raw", run)
    run()
    bronze = tables.read(spark, found.table("bronze/sales")).collect()
    silver = tables.read(spark, found.table("silver/sales")).collect()
    extra = {row["id"]: "".join(f" +{k}={v}" for k, v in row["_extra"].items()) for row in bronze if row["_extra"]}
    valid = [f"{row['id']} {row['city']} {row['amount']}{extra.get(row['id'], '')}" for row in silver]
    return tuple(sorted([*valid, *(f"malformed: {row['_malformed']}" for row in bronze if row["_malformed"])]))


def main() -> int:
    wrong = 0
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "checkpoints").mkdir()
        with session.opened(settings.load(folder), small=True) as spark:
            for hazard in HAZARDS:
                theirs = plain(spark, hazard, folder / f"plain-{hazard.label}")
                mine = ours(spark, hazard, folder / f"ours-{hazard.label}")
                wrong += mine != hazard.right
                verdict = "right" if theirs == hazard.right else "wrong"
                rows.append((hazard.label, hazard.what, f"{verdict}: {'; '.join(theirs)}", "; ".join(mine)))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    print(grid.text(grid.Rows(("", "delivery", "plain Spark csv stream", "streaming_jobs"), tuple(rows), len(rows))))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
