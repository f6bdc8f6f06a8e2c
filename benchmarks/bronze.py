"""Bronze against Spark's own CSV -> Parquet of the same files, in one warm session, in alternation.

    python -m benchmarks.bronze [ROUNDS] [FILES]

30 files of 33 000 rows (84 MiB). Bronze includes everything it does: discovery, probe with hash, provenance, record
numbers, statistics on it, the Delta commit, the file ledger. The floor is `spark.read.csv(...).write.parquet(...)` with
an explicit schema, multiLine and zstd. Prints seconds and the ratio floor / Bronze, with its spread.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession

from streaming_jobs import contract as contracts
from streaming_jobs import ledger, probe, session, settings
from streaming_jobs.increment import increment
from streaming_jobs.run import Run
from streaming_jobs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ROWS = 33_000
COLUMNS = "event_id,user_id,event_type,event_timestamp,country,amount"


def generate(folder: Path, files: int) -> int:
    """Write the files; returns their bytes."""
    order = random.Random(1)
    size = 0
    for day in range(1, files + 1):
        lines = [COLUMNS]
        for n in range(ROWS):
            kind = order.choice(("page_view", "click", "add_to_cart", "purchase", "signup"))
            amount = f"{order.randrange(1, 99_999) / 100:.2f}" if kind == "purchase" else ""
            at = f"2026-03-{(day - 1) % 30 + 1:02} {n % 24:02}:{n % 60:02}:{(n * 7) % 60:02}"
            lines.append(f"{day:02}-{n:06}-{order.getrandbits(128):032x},user-{order.randrange(50_000):06},{kind},{at},IT,{amount}")
        text = "\n".join(lines) + "\n"
        (folder / f"events_2026-03-{day:03}.csv").write_text(text)
        size += len(text)
    return size


def fresh_home(folder: Path, raw: Path) -> Settings:
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("conf", "data", "checkpoints"):
        (folder / part).mkdir(parents=True)
    shutil.copy(ROOT / "conf/events.yaml", folder / "conf")
    (folder / "data/raw").symlink_to(raw)
    return settings.load(folder)


def bronze(home: Settings) -> None:
    outcome = increment(("bronze",), contracts.load_all(home.conf), Run(home, lambda _: None), lambda *_: None)
    assert outcome.exit_code == 0, outcome.failures


def parquet(spark: SparkSession, raw: Path, target: Path) -> None:
    schema = ", ".join(f"{c} STRING" for c in COLUMNS.split(","))
    rows = spark.read.schema(schema).option("header", True).option("multiLine", True).option("escape", '"').csv(str(raw))
    rows.write.mode("overwrite").parquet(str(target))


def seconds(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main(rounds: int, files: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for part in ("raw", "checkpoints"):
            (folder / part).mkdir()
        size = generate(folder / "raw", files)
        with session.opened(settings.load(folder)) as spark:
            pairs = []
            for turn in range(rounds + 1):
                home = fresh_home(folder / "home", folder / "raw")
                mine = seconds(lambda home=home: bronze(home))  # type: ignore[misc]
                floor = seconds(lambda: parquet(spark, folder / "raw", folder / "parquet"))
                if turn:  # the first pair warms the session up
                    pairs.append((mine, floor))
                    print(f"bronze {mine:.2f} s, csv -> parquet {floor:.2f} s, ratio {floor / mine:.2f}", flush=True)
            held = ledger.known(home, "events").states
            assert sum(s.last.rows or 0 for s in held.values()) == files * ROWS
            (contract,) = contracts.load_all(home.conf)
            names = sorted(held)
            probed = seconds(lambda: probe.probe_all(folder / "raw", names, contract.landing, contract.bronze.columns, 4) and None)
        ratios = sorted(floor / mine for mine, floor in pairs)
        print(
            f"{files} files, {size >> 20} MiB, {files * ROWS} rows, {rounds} pairs: floor / bronze median {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}); the probe alone {probed:.2f} s"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 30)
