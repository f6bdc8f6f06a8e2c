"""The ledger after a month of `watch` at one batch every 5 s.

    python -m benchmarks.ledger [ROUNDS]

518 400 rounds: one new file, three balances each. All but the first and last 600 are written many to a commit, which is the only thing that
is not as in life; the last ones are written as runs write them, five commits a round, and because they take a fiftieth of the time that
they would, so does what the ledger keeps for readers. Prints what the two tables weigh, what a
round's writes take then and took at first, and what it takes to read the state of every file.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from streaming_jobs import ledger, settings
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.settings import Settings

ROUNDS, SINGLE, CHUNK = 518_400, 600, 20_000
LAYERS = ("bronze", "silver", "gold")
AT = datetime(2026, 3, 1, tzinfo=UTC)


def decision(number: int, status: Status) -> FileRow:
    header = ("event_id", "user_id", "event_type", "event_timestamp", "country", "amount")
    return FileRow(
        "events", f"events_{number:07}.csv", 60_000, AT, f"{number:064x}", status, None, 1000, 0, "utf-8", ",", header, number, number, AT
    )  # fmt: skip


def balance(number: int, layer: str) -> RunRow:
    stages = '{"plan": 0.087, "judge": 0.181, "measure": 0.05, "write": 0.171}'
    return RunRow(f"{number:032x}", "events", layer, number, AT, 0.9, 1, 1000, 1000, 0, 0, 0, number, "done", stages)


def one_round(home: Settings, number: int) -> float:
    began = time.monotonic()
    ledger.append_files(home, [decision(number, Status.READING)], ("files:events:intent", number))
    ledger.append_files(home, [decision(number, Status.INGESTED)], ("files:events:decision", number))
    for layer in LAYERS:
        ledger.append_runs(home, [balance(number, layer)], (f"runs:{layer}:events", number))
    return time.monotonic() - began


def in_bulk(home: Settings, first: int, last: int) -> None:
    for at in range(first, last, CHUNK):
        numbers = range(at, min(at + CHUNK, last))
        rows = [decision(n, status) for n in numbers for status in (Status.READING, Status.INGESTED)]
        ledger.append_files(home, rows, ("files:events:intent", numbers[-1]))
        ledger.append_runs(home, [balance(n, layer) for n in numbers for layer in LAYERS], ("runs:bulk", numbers[-1]))


def weigh(table: Path) -> str:
    files = [f for f in table.rglob("*") if f.is_file()]
    log = [f for f in files if f.parent.name == "_delta_log"]
    return f"{sum(f.stat().st_size for f in files) / 1e6:.1f} MB in {len(files) - len(log)} data and {len(log)} log files"


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = settings.load(Path(folder))
        for name in ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration"):
            ledger.RETENTION[name] = "interval 12 seconds"
        first = [one_round(home, n) for n in range(1, SINGLE + 1)]
        in_bulk(home, SINGLE + 1, rounds - SINGLE)
        last = [one_round(home, n) for n in range(rounds - SINGLE, rounds)]
        for name in (ledger.FILES, ledger.RUNS):
            print(f"{name}: {weigh(home.table(name))}")
        for what, times in (("first", first), ("last", last)):
            print(f"writes of a round, {what} {SINGLE}: median {statistics.median(times) * 1000:.0f} ms, most {max(times) * 1000:.0f} ms")
        began = time.monotonic()
        known = ledger.known(home, "events")
        print(f"state of {len(known.states)} files read in {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
