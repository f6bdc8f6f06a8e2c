"""What a changed day costs in Gold: with short and long history, and beside bare Delta appends of the same rows.

    python -m benchmarks.gold [ROUNDS] [DAYS …]

The events contract, its three Gold tables, 10 000 rows a day. Each round lands a new day and a corrected day in the middle of
history, brings Bronze and Silver up to date, and times `gold` for each; then it appends the rows that day has in every Gold table
to copies of these tables, which is the least that one commit per table costs. One session; the first three rounds warm up.
Prints medians in seconds, and the ratios.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from benchmarks.deliveries import HEADER, ROOT
from benchmarks.measure import seconds
from benchmarks.warm import increase
from streaming_jobs import contract as contracts
from streaming_jobs import session, settings, tables
from streaming_jobs.settings import Settings

PER_DAY, WARM_UP = 10_000, 3
LAST = date(2026, 3, 1)
HISTORY = """
SELECT concat('h', id) AS event_id, date_sub(DATE'{last}', CAST(id DIV {per_day} AS INT)) AS event_date,
       timestamp_seconds(unix_seconds(TIMESTAMP'{last}') - id DIV {per_day} * 86400 + id % 86400) AS event_timestamp,
       concat('user-', id % 5000) AS user_id, element_at(array('click', 'page_view', 'signup'), CAST(id % 3 + 1 AS INT)) AS event_type,
       'IT' AS country, CAST(id % 1000 AS DECIMAL(12,2)) AS amount, 'events_0_history.csv' AS _file, id AS _row
FROM range(0, {rows}, 1, 16)
"""


@dataclass(frozen=True)
class Times:
    new_day: float
    corrected_day: float
    appends: float  # of all Gold tables together


def land(home: Settings, name: str, day: date, rows: int) -> None:
    kinds = ("click", "page_view", "signup")
    lines = [f"{name}-{n},user-{n % 5000},{kinds[n % 3]},{day} 10:00:00,IT,{n % 1000}" for n in range(rows)]
    (home.landing("data/raw") / f"events_{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")


def prepared(spark: SparkSession, folder: Path, days: int) -> Settings:
    """A home whose Silver and Gold have so many days that their streams have passed."""
    for part in ("conf", "data/raw", "checkpoints"):
        (folder / part).mkdir(parents=True)
    shutil.copy2(ROOT / "conf/events.yaml", folder / "conf")
    home = settings.load(folder)
    land(home, "first", LAST, 10)
    increase(home, "bronze", "silver", "gold")
    silver = home.table("silver/events")
    rows = spark.sql(HISTORY.format(last=LAST, per_day=PER_DAY, rows=days * PER_DAY)).select(tables.read(spark, silver).columns)
    rows.repartition(min(days, 200), "event_date").write.format("delta").mode("append").save(str(silver))
    increase(home, "gold")
    return home


def measure(spark: SparkSession, folder: Path, days: int, rounds: int) -> Times:
    home = prepared(spark, folder, days)
    gold = [home.table(g.path) for g in contracts.load_all(home.conf)[0].gold]
    copies = [folder / "copies" / table.name for table in gold]
    for table, copy in zip(gold, copies, strict=True):
        shutil.copytree(table, copy)
    new: list[float] = []
    corrected: list[float] = []
    appends: list[float] = []
    for turn in range(WARM_UP + rounds):
        day, middle = LAST + timedelta(turn + 1), LAST - timedelta(days // 2 + turn)
        for wanted, times in ((day, new), (middle, corrected)):
            land(home, f"{turn:03}-{wanted}", wanted, PER_DAY if wanted == day else 100)
            increase(home, "bronze", "silver")
            times.append(seconds(lambda: increase(home, "gold")))
        held = [_of(spark, table, day) for table in gold]
        appends.append(sum(seconds(lambda r=rows, c=copy: _append(r, c)) for rows, copy in zip(held, copies, strict=True)))  # type: ignore[misc]
    times = [statistics.median(t[WARM_UP:]) for t in (new, corrected, appends)]
    spread = ", ".join(f"{min(t[WARM_UP:]):.2f}-{max(t[WARM_UP:]):.2f}" for t in (new, corrected, appends))
    found = Times(*times)
    print(
        f"{days} days: new day {found.new_day:.2f} s, corrected day {found.corrected_day:.2f} s, {len(gold)} bare appends "
        f"{found.appends:.2f} s ({spread}); new day / appends {found.new_day / found.appends:.2f}",
        flush=True,
    )
    return found


def _of(spark: SparkSession, table: Path, day: date) -> DataFrame:
    """A table's rows of one day, all of them where it has no day; in memory, so that an append has nothing to compute."""
    rows = tables.read(spark, table)
    wanted = rows.where(f"event_date = DATE'{day}'") if "event_date" in rows.columns else rows
    return spark.createDataFrame(wanted.toArrow())


def _append(rows: DataFrame, table: Path) -> None:
    rows.coalesce(1).write.format("delta").mode("append").save(str(table))


def main(rounds: int, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "checkpoints").mkdir()
        with session.opened(settings.load(scratch)) as spark:
            results = {days: measure(spark, scratch / str(days), days, rounds) for days in sizes}
    low, high = results[sizes[0]], results[sizes[-1]]
    new, corrected = high.new_day / low.new_day, high.corrected_day / low.corrected_day
    print(f"{sizes[-1]} / {sizes[0]} days: new day {new:.2f}, corrected day {corrected:.2f}")


if __name__ == "__main__":
    started = time.monotonic()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, [int(a) for a in sys.argv[2:]] or [30, 1000])
    print(f"{time.monotonic() - started:.0f} s in all")
