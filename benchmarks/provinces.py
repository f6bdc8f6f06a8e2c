"""605 real deliveries of 130 files, replayed in several ways: the same tables must come out, and equal a plain reading.

    python -m benchmarks.provinces [WAY …]      ways: each, ten, once, shuffled (default: all)

Needs the deliveries beside the checkout (../shared/data/provinces). Prints, per way, runs and wall time, the balance
of the ledger, and the differences from an independent reading of each file's newest version; exits 1 if there are any.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from streaming_jobs import contract as contracts
from streaming_jobs import ledger, session, settings
from streaming_jobs.increment import increment
from streaming_jobs.run import Run
from tests import oracle

ROOT = Path(__file__).resolve().parent.parent
DELIVERIES = ROOT.parent / "shared" / "data" / "provinces"
TABLES = ("silver/provinces", "gold/cases_per_day", "gold/cases_per_day_and_region")

Delivery = tuple[Path, str, int]
"""Source file, name in the landing folder, modification time in epoch seconds."""


def deliveries() -> list[list[Delivery]]:
    """The batches in the order they were made."""
    batches: dict[int, list[Delivery]] = {}
    with (DELIVERIES / "index.csv").open() as index:
        for row in csv.DictReader(index):
            folder = next(DELIVERIES.glob(f"{int(row['ordinal']):05d}-*"))
            batches.setdefault(int(row["ordinal"]), []).append((folder / row["name"], row["name"], int(row["committed_at"])))
    return list(batches.values())


def shuffled(batches: Sequence[Sequence[Delivery]], runs: int) -> list[list[Delivery]]:
    """Other files in another order, each file's versions in theirs, over so many runs."""
    order = random.Random(7)
    queues: dict[str, list[Delivery]] = {}
    for delivery in (d for batch in batches for d in batch):
        queues.setdefault(delivery[1], []).append(delivery)
    mixed = []
    while queues:
        name = order.choice(sorted(queues))
        mixed.append(queues[name].pop(0))
        if not queues[name]:
            del queues[name]
    size = -(-len(mixed) // runs)
    return [mixed[at : at + size] for at in range(0, len(mixed), size)]


def ways() -> dict[str, list[list[Delivery]]]:
    batches = deliveries()
    tenth = -(-len(batches) // 10)
    tens = [[d for batch in batches[at : at + tenth] for d in batch] for at in range(0, len(batches), tenth)]
    return {"each": batches, "ten": tens, "once": [[d for batch in batches for d in batch]], "shuffled": shuffled(batches, 20)}


def replay(name: str, runs: Sequence[Sequence[Delivery]], folder: Path) -> int:
    """Land and run; returns how many differences there are."""
    home = folder / name
    for part in ("conf", "data/raw", "checkpoints"):
        (home / part).mkdir(parents=True)
    shutil.copy(ROOT / "conf/examples/provinces.yaml", home / "conf")
    found = settings.load(home)
    (contract,) = contracts.load_all(found.conf)
    codes: set[int] = set()
    seconds = 0.0
    for batch in runs:
        for source, target, modified_at in batch:
            shutil.copy(source, found.home / "data/raw" / target)
            os.utime(found.home / "data/raw" / target, (modified_at, modified_at))
        started = time.monotonic()
        codes.add(increment(("bronze", "silver", "gold"), [contract], Run(found, lambda _: None), lambda *_: None).exit_code)
        seconds += time.monotonic() - started
    text = (home / "conf/provinces.yaml").read_text("utf-8")
    wrong = oracle.differences(home / "data", home / "data/raw", oracle.parse(text), oracle.PROVINCES_LOGIC)
    totals = ledger.query(
        {"runs": found.table(ledger.RUNS)},
        "SELECT layer, count(*) AS batches, sum(files) AS files, sum(rows_in) AS rows_in, sum(accepted) AS accepted, "
        "sum(superseded) AS superseded, sum(quarantined) AS quarantined FROM runs GROUP BY layer ORDER BY layer",
    )
    print(f"{name}: {len(runs)} runs, {seconds:.1f} s, exit codes {sorted(codes)}, {len(wrong)} differences", flush=True)
    for total in totals:
        print("   ", " ".join(f"{key}={value}" for key, value in total.items()))
        assert total["rows_in"] == total["accepted"] + total["superseded"] + total["quarantined"]
    for line in wrong[:20]:
        print("    differs:", line)
    return len(wrong)


def main(names: Sequence[str]) -> int:
    if not DELIVERIES.is_dir():
        print(f"{DELIVERIES} is not there; nothing was measured.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        with session.opened(settings.load(Path(folder))):
            every = ways()
            return min(1, sum(replay(name, every[name], Path(folder)) for name in names or every))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
