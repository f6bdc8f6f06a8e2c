"""How long until a session stands and has made its first commit: ours, and a stock Delta session.

    python -m benchmarks.start [ROUNDS]

Each start is a process of its own, taken in turns; seconds from the start of the process to the end of a first Delta write of ten
rows. Stock: `SparkSession.builder` with Delta's extension and catalog, nothing else, and the four jars as files, because resolving
them would be the network's time. Ours: the session of a run with little to do. Prints medians, ranges and the ratio.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession

from streaming_jobs import jars, session, settings

ROOT = Path(__file__).resolve().parent.parent


def stock(home: Path) -> None:
    given = ",".join(str(jar) for jar in jars.verify(settings.load(home).jars))
    write(
        SparkSession.builder.master("local[2]")
        .config("spark.jars", given)
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .getOrCreate(),
        home,
    )


def ours(home: Path) -> None:
    with session.opened(settings.load(home), small=True) as spark:
        write(spark, home)


def write(spark: SparkSession, home: Path) -> None:
    spark.range(10).write.format("delta").save(str(home / "table"))
    print("committed", flush=True)


KINDS: dict[str, Callable[[Path], None]] = {"stock": stock, "ours": ours}


def timed(kind: str) -> float:
    """Seconds until a process of this kind says that its commit is there."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.start", "--one", kind, folder]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            if not any(line.strip() == "committed" for line in process.stdout):
                raise SystemExit(f"the {kind} session made no commit")
            return time.monotonic() - began


def main(rounds: int) -> None:
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, times in found.items():
            times.append(timed(kind))
    for kind, times in found.items():
        print(f"{kind:6} {statistics.median(times):.2f} s ({min(times):.2f}-{max(times):.2f})")
    print(f"ratio  {statistics.median(found['ours']) / statistics.median(found['stock']):.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        KINDS[sys.argv[2]](Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
