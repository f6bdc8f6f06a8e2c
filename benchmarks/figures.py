"""What it costs to be watched: figures and lineage beside the rounds of `watch`, and at the end of a run.

    python -m benchmarks.figures [FILES] [BATCHES]

A home of the default dataset without a JVM: FILES (20) in the file ledger, BATCHES (0) times three balances in the run ledger. Then 40
rounds, each a commit to every table, a file and three balances. Prints the milliseconds that listeners add to a round, in the median of
the first and of the last ten, those of the text file and of a scrape, and the seconds that the run ledger takes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake
from prometheus_client import generate_latest

from benchmarks.ledger import balance, decision
from streaming_jobs import contract as contracts
from streaming_jobs import figures, ledger, lineage, marks, metrics, settings, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.ledger import Status
from streaming_jobs.pending import OF, Pending
from streaming_jobs.run import Began, Ended, Looked
from streaming_jobs.settings import Settings

ROUNDS, CHUNK = 40, 20_000
CONTRACT = Path(__file__).parent.parent / "conf" / "events.yaml"


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def fill(home: Settings, files: int, batches: int) -> None:
    for at in range(0, files, CHUNK):
        rows = [decision(n, Status.INGESTED) for n in range(at, min(at + CHUNK, files))]
        ledger.append_files(home, rows, ("files:events:decision", rows[-1].ingest_id))
    for at in range(0, batches, CHUNK):
        ledger.append_runs(home, [balance(n, layer) for n in range(at, min(at + CHUNK, batches)) for layer in OF], None)


def work(home: Settings, contract: Contract, number: int) -> None:
    """What a round leaves behind, opened as a round opens it."""
    for layer in OF:
        for name in marks.tables(layer, contract):
            write_deltalake(str(home.table(name)), pa.table({"id": [str(number)]}), mode="append")
            snapshots.newest(home.table(name))
    ledger.append_files(home, [decision(number, Status.INGESTED)], ("files:events:decision", number))
    ledger.known(home, "events")


def tell(listener: metrics.Live | lineage.Listener, contract: Contract, number: int) -> None:
    for layer in OF:
        row = balance(number, layer)
        listener.turn(Looked(Pending(layer, "events", ("1 new",))))
        listener.turn(Began(row.run_id, layer, contract))
        listener.note(row)
        listener.turn(Ended(row.run_id, layer, contract))


def main(files: int, batches: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = settings.load(Path(folder))
        (home.conf).mkdir()
        (home.conf / CONTRACT.name).write_text(CONTRACT.read_text("utf-8"), "utf-8")
        contract = contracts.load(home.conf / CONTRACT.name)
        fill(home, files, batches)
        live = metrics.Live(home)
        first = milliseconds(lambda: figures.balances(home))
        live.figures = figures.read(home, [contract])
        events = lineage.Listener(home, home.home / "lineage.jsonl", print)
        took: dict[str, list[float]] = {"figures of a round": [], "lineage of a round": [], "text file": [], "scrape": []}
        for number in range(files, files + ROUNDS):
            work(home, contract, number)
            took["figures of a round"].append(milliseconds(lambda n=number: tell(live, contract, n)))  # type: ignore[misc]
            took["lineage of a round"].append(milliseconds(lambda n=number: tell(events, contract, n)))  # type: ignore[misc]
            took["text file"].append(milliseconds(lambda: metrics.write(home.home / "figures.prom", home, metrics.Scheduled())))
            took["scrape"].append(milliseconds(lambda: generate_latest(metrics.registry(lambda: live.figures))))
        print(f"{files} files, {3 * batches} batches: the run ledger in {first / 1000:.2f} s")
        for what, values in took.items():
            early, late = statistics.median(values[:10]), statistics.median(values[-10:])
            print(f"{what}: {early:.1f} ms, after {ROUNDS} rounds {late:.1f}")


if __name__ == "__main__":
    main(*[*map(int, sys.argv[1:]), *(20, 0)[len(sys.argv) - 1 :]])
