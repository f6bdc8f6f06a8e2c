"""What history costs: a Silver increment of 10 000 rows, a tenth of them corrections, into tables of growing size.

    python -m benchmarks.merge [ROUNDS] [MILLIONS …]

The events contract three ways: its own whole-table key, with `mergeWindow: 7 days`, and with the day in the key. History has
33 000 rows a day, one file a day, random keys; the corrections are of its last three days. Beside them a MERGE as most would
write it (typed rows, whole-table key, no pruning) into a copy of the table. An increment includes everything `silver` does:
the stream, judgement, quarantine, comparison, MERGE, ledger. Prints the median seconds of each and the growth per million rows.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from benchmarks.deliveries import HEADER, ROOT
from benchmarks.measure import seconds
from benchmarks.warm import increase
from streaming_jobs import session, settings, tables
from streaming_jobs.settings import Settings

PER_DAY, BATCH, CORRECTED = 33_000, 10_000, 1_000
LAST = date(2026, 3, 1)
KEY = "primaryKey: true, primaryKeyPosition: 1}\n      - {name: event_date, logicalType: date, required: true,"
CONTRACTS: dict[str, Callable[[str], str]] = {
    "whole-table key": lambda text: text,
    "mergeWindow": lambda text: text.replace("value: [_file]}", "value: [_file]}\n      - {property: mergeWindow, value: 7 days}", 1),
    "day in the key": lambda text: text.replace(KEY, f"{KEY} primaryKey: true, primaryKeyPosition: 2,", 1),
}
HISTORY = """
SELECT md5(CAST(id AS STRING)) AS event_id, date_sub(DATE'{last}', CAST(id DIV {per_day} AS INT)) AS event_date,
       timestamp_seconds(unix_seconds(TIMESTAMP'{last}') - id DIV {per_day} * 86400 + id % 86400) AS event_timestamp,
       concat('user-', id % 50000) AS user_id, element_at(array('click', 'page_view', 'signup'), CAST(id % 3 + 1 AS INT)) AS event_type,
       'IT' AS country, CAST(id % 1000 AS DECIMAL(12,2)) AS amount, 'events_0_history.csv' AS _file, id AS _row
FROM range(0, {rows}, 1, {parts})
"""


def land(folder: Path, name: str, first: int) -> None:
    """A file of new rows of the day after the history, and corrections of its last three days; other rows for another `first`."""
    lines = [HEADER]
    for n in range(BATCH):
        number = (first * CORRECTED + n * 97) % (3 * PER_DAY) if n < CORRECTED else -first * BATCH - n
        day = LAST - timedelta(number // PER_DAY) if n < CORRECTED else LAST + timedelta(1)
        lines.append(f"{hashlib.md5(str(number).encode()).hexdigest()},user-1,click,{day} 10:00:00,IT,{n}")
    (folder / name).write_text("\n".join(lines) + "\n")


def prepared(spark: SparkSession, folder: Path, text: str, millions: int) -> Settings:
    """A home whose Silver has history that its stream has passed."""
    for part in ("conf", "data/raw", "checkpoints"):
        (folder / part).mkdir(parents=True)
    (folder / "conf/events.yaml").write_text(text)
    home = settings.load(folder)
    land(folder / "data/raw", "events_1_first.csv", 0)
    increase(home, "bronze", "silver")
    rows = millions * 1_000_000
    history = spark.sql(HISTORY.format(last=LAST, per_day=PER_DAY, rows=rows, parts=4 * millions))
    columns = tables.read(spark, home.table("silver/events")).columns
    days = rows // PER_DAY + 1
    history.select(columns).repartition(days, "event_date").write.format("delta").mode("append").save(str(home.table("silver/events")))
    return home


def plain_merge(spark: SparkSession, table: Path, rows: Path) -> None:
    new = spark.read.parquet(str(rows))
    (
        DeltaTable.forPath(spark, str(table)).alias("old").merge(new.alias("new"), "old.event_id = new.event_id")
        .whenMatchedUpdateAll("new._file >= old._file").whenNotMatchedInsertAll().execute()
    )  # fmt: skip


def measure(spark: SparkSession, scratch: Path, millions: int, rounds: int) -> dict[str, float]:
    original = (ROOT / "conf/events.yaml").read_text()
    found: dict[str, float] = {}
    for name, change in CONTRACTS.items():
        folder = scratch / "home"
        shutil.rmtree(folder, ignore_errors=True)
        text = change(original)
        assert text != original or name == "whole-table key"
        home = prepared(spark, folder, text, millions)
        if name == "whole-table key":
            shutil.copytree(home.table("silver/events"), scratch / "plain")
        times, plain = [], []
        for turn in range(1, rounds + 2):
            land(folder / "data/raw", f"events_2_{turn:03}.csv", turn)
            increase(home, "bronze")
            times.append(seconds(lambda home=home: increase(home, "silver")))  # type: ignore[misc]
            if name == "whole-table key":
                rows = tables.read(spark, home.table("silver/events")).where(f"_file = 'events_2_{turn:03}.csv'")
                rows.write.mode("overwrite").parquet(str(scratch / "batch"))
                plain.append(seconds(lambda: plain_merge(spark, scratch / "plain", scratch / "batch")))
        found[name] = statistics.median(times[1:])  # the first one warms up
        if plain:
            found["a plain MERGE"] = statistics.median(plain[1:])
            shutil.rmtree(scratch / "plain")
        print(f"{millions} M rows, {name}: {found[name]:.2f} s ({min(times[1:]):.2f}-{max(times[1:]):.2f})", flush=True)
    return found


def main(rounds: int, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "checkpoints").mkdir()
        with session.opened(settings.load(scratch)) as spark:
            results = {millions: measure(spark, scratch, millions, rounds) for millions in sizes}
    low, high = sizes[0], sizes[-1]
    for way in results[low]:
        small, large = results[low][way], results[high][way]
        grown = f"{high} M / {low} M {large / small:.2f}, {(large - small) / max(high - low, 1):.3f} s per million rows"
        print(f"{way}: {', '.join(f'{m} M {r[way]:.2f} s' for m, r in results.items())}; {grown}")


if __name__ == "__main__":
    started = time.monotonic()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, [int(a) for a in sys.argv[2:]] or [1, 4, 16])
    print(f"{time.monotonic() - started:.0f} s in all")
