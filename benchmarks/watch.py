"""From a file dropped to its rows in Gold, while `watch` runs.

    python -m benchmarks.watch [MINUTES] [EVERY]               `watch` as it is
    python -m benchmarks.watch [MINUTES] [EVERY] --streams     instead of it three `processingTime` streams of the same functions
    python -m benchmarks.watch [MINUTES] [EVERY] --plain       instead of it a stream as most would write it (`plain_stream.py`)

The default dataset. Five files, one after the other, warm the new process up and are printed apart. Then a file of 1 000 rows
of one day is delivered by rename every 3 s, whether or not the one before has come through. A file has arrived when Gold's count
of events says so; Gold is read by delta-rs when its log has a new commit. Prints median, 95th and 99th percentile in seconds, the
seconds of each stage by the run ledger, and the memory (RSS) of Python and JVM.
"""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import DataFrame

from benchmarks.deliveries import HEADER, ROOT
from benchmarks.measure import Stopped
from streaming_jobs import bronze, gold, landing, ledger, session, settings, silver, streams
from streaming_jobs import contract as contracts
from streaming_jobs.run import Clock, Run
from streaming_jobs.settings import Settings

ROWS, PAUSE, LOOK, WARM_UP = 1000, 3.0, 0.02, 5
PATIENCE = 300.0  # seconds for one file
DAY = date(2026, 3, 1)
COMMANDS = {
    "watch": ("-m", "streaming_jobs", "--home", "{home}", "watch", "--every", "{every}"),
    "streams": ("-m", "benchmarks.watch", "--run", "{home}", "{every}"),
    "plain": ("-m", "benchmarks.plain_stream", "{home}", "{every}"),
}
"""What is measured -> the arguments of Python. Each prints a line when it is there."""


@dataclass(frozen=True)
class Latency:
    """arrivals: (seconds since the first delivery, seconds until it was in Gold) per file. warm_up: seconds of the files before.

    peak_mib: of Python and JVM together, looked at once a second. stages: as the run ledger has them.
    """

    arrivals: tuple[tuple[float, float], ...]
    warm_up: tuple[float, ...]
    peak_mib: int
    stages: tuple[str, ...]

    @property
    def times(self) -> list[float]:
        return sorted(seconds for _, seconds in self.arrivals)

    def percentile(self, number: int) -> float:
        return statistics.quantiles(self.times, n=100)[number - 1]


def deliver(home: Settings, number: int) -> float:
    """Write a file aside and rename it; returns when."""
    kinds = ("click", "page_view", "signup")
    lines = [f"{number}-{n},user-{n % 500},{kinds[n % 3]},{DAY} 10:00:00,IT,{n % 1000}" for n in range(ROWS)]
    raw = home.landing("data/raw")
    staged = raw / ".staged"
    staged.write_text("\n".join([HEADER, *lines]) + "\n")
    staged.rename(raw / f"events_{number:06}.csv")
    return time.monotonic()


def arrived(home: Settings) -> int:
    """Events that Gold counts now."""
    gold = home.table("gold/events_per_day")
    if not DeltaTable.is_deltatable(str(gold)):
        return 0
    return int(ledger.query({"gold": gold}, "SELECT coalesce(sum(events), 0) AS n FROM gold")[0]["n"])


def commits(home: Settings) -> int:
    log = home.table("gold/events_per_day") / "_delta_log"
    return log.stat().st_mtime_ns if log.exists() else 0


def memory(process: int) -> dict[str, int]:
    """Resident MiB of the process and its children, by the name of the program."""
    pids, found = [process], defaultdict[str, int](int)
    while pids:
        pid = pids.pop()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        found[status["Name"].strip()] += int(status.get("VmRSS", "0 kB").split()[0]) >> 10
        pids += [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return dict(found)


def arrivals(home: Settings, process: subprocess.Popen[str], minutes: float, peak: list[int]) -> Iterator[tuple[float, float]]:
    """As `Latency` has them; adds to `peak` once a second, and prints the memory once a minute."""
    began, delivered, seen, looked = time.monotonic(), WARM_UP, 0, -1
    waiting: dict[int, float] = {}
    while waiting or time.monotonic() - began < minutes * 60:
        now = time.monotonic()
        if now - began < minutes * 60 and now - began >= (delivered - WARM_UP) * PAUSE:
            waiting[delivered] = deliver(home, delivered)
            delivered += 1
        if (commit := commits(home)) != seen:
            seen, rows = commit, arrived(home)
            for number in [n for n in waiting if (n + 1) * ROWS <= rows]:
                at = waiting.pop(number)
                yield at - began, time.monotonic() - at
        if process.poll() is not None or any(now - at > PATIENCE for at in waiting.values()):
            raise Stopped(f"exit code {process.returncode}, {len(waiting)} files on their way: {process.args!r}")
        if int(now - began) > looked:
            looked = int(now - began)
            held = memory(process.pid)
            peak.append(sum(held.values()))
            if looked and looked % 60 == 0:
                print(f"minute {looked // 60:2}: {held} MiB", flush=True)
        time.sleep(LOOK)


def _warmed(home: Settings, process: subprocess.Popen[str], number: int) -> float:
    """Seconds of one of the first files, each of which comes after the one before has arrived."""
    at = deliver(home, number)
    while arrived(home) < (number + 1) * ROWS:
        if process.poll() is not None or time.monotonic() - at > PATIENCE:
            raise Stopped(f"exit code {process.returncode}, file {number + 1} did not arrive: {process.args!r}")
        time.sleep(LOOK)
    print(f"file {number + 1} after the start: {time.monotonic() - at:.1f} s", flush=True)
    return time.monotonic() - at


def measured(folder: Path, kind: str, minutes: float, every: str) -> Latency:
    """In a home that is made in this folder."""
    for part in ("conf", "data/raw", "checkpoints"):
        (folder / part).mkdir(parents=True)
    shutil.copy2(ROOT / "conf/events.yaml", folder / "conf")
    home = settings.load(folder)
    command = [sys.executable, *(a.format(home=folder, every=every) for a in COMMANDS[kind])]
    with (
        (folder / "stderr.log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise Stopped(f"exit code {process.wait()}: {command}; what it said: {log.name}")
            threading.Thread(target=process.stdout.read).start()  # a full pipe would hold it up
            warm_up = [_warmed(home, process, number) for number in range(WARM_UP)]
            peak: list[int] = []
            found = tuple(arrivals(home, process, minutes, peak))
        finally:
            process.send_signal(signal.SIGTERM)
    told = tuple(stages(home)) if DeltaTable.is_deltatable(str(home.table(ledger.RUNS))) else ()
    return Latency(found, tuple(warm_up), max(peak), told)


def stages(home: Settings) -> Iterator[str]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in ledger.query({"runs": home.table(ledger.RUNS)}, "SELECT * FROM runs ORDER BY started_at"):
        found[row["layer"], "all"].append(row["seconds"])
        for stage, seconds in json.loads(row.get("stages") or "{}").items():
            found[row["layer"], stage].append(seconds)
    for (layer, stage), seconds in found.items():
        yield f"{layer:7} {stage:12} median {statistics.median(seconds):.3f} s in {len(seconds)} batches"


def run_streams(home: Settings, every: str) -> None:
    """Bronze, Silver and Gold as three queries side by side, without sweeps, until SIGTERM: what `watch` could be instead."""
    (contract,) = contracts.load_all(home.conf)
    run, stopped = Run(home, lambda _: None), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    every = every.replace("ms", " milliseconds")
    with session.opened(home, lasting=True) as spark:
        session.suit(spark, home, small=True)
        bronze.create(spark, contract, run)
        silver.create(spark, contract, run)
        for gold_table in contract.gold:
            gold.create(gold_table, run)
        names = streams.read_file_names(spark, home.landing(contract.landing.folder), landing.name_filter(contract.landing), 1000)
        checkpoints = [home.home / "checkpoints" / str(number) for number in range(3)]
        queries = [
            (names, bronze._discovered(bronze._begin(contract, run, -1), checkpoints[0])),
            (streams.read_changes(spark, home.table(contract.bronze_table)), silver.apply_changes(contract, run)),
            (streams.read_changes(spark, home.table(contract.silver_table)), gold.apply_changes(contract, run, {})),
        ]
        for checkpoint, (rows, batch) in zip(checkpoints, queries, strict=True):

            def apply(frame: DataFrame, batch_id: int, batch: streams.BatchFunction = batch) -> None:
                batch(frame, batch_id, Clock())

            writer = rows.writeStream.trigger(processingTime=every).option("checkpointLocation", str(checkpoint))
            writer.foreachBatch(apply).start()
        print("watching", flush=True)
        stopped.wait()
        for query in spark.streams.active:
            query.stop()


def main(kind: str, minutes: float, every: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        found = measured(Path(scratch) / "home", kind, minutes, every)
    median, p95, p99 = statistics.median(found.times), found.percentile(95), found.percentile(99)
    print(f"{len(found.times)} files: median {median:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s; at most {found.peak_mib} MiB")
    for minute in range(int(minutes)):
        part = [latency for at, latency in found.arrivals if minute * 60 <= at < (minute + 1) * 60]
        print(f"minute {minute + 1:2}: median {statistics.median(part):.2f} s, most {max(part):.2f} s")
    for line in found.stages:
        print(line)


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if not a.startswith("--")]
    if "--run" in sys.argv:
        run_streams(settings.load(Path(given[0])), given[1])
    else:
        chosen = next((kind for kind in COMMANDS if f"--{kind}" in sys.argv), "watch")
        main(chosen, float(given[0]) if given else 10, given[1] if len(given) > 1 else "200ms")
