"""Bronze against Spark's own CSV -> Parquet of the same files, in one warm session, in alternation.

    python -m benchmarks.warm FILES SCRATCH TURNS

FILES: a folder of `deliveries`. Bronze includes everything it does: discovery, probe with hash, provenance, record numbers, statistics
on it, the Delta commit, the file ledger. Prints a line of JSON per turn: seconds of `bronze` and of `csv_to_parquet`. The first turn warms
the session up and is not printed.
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks import deliveries
from benchmarks.floors import to_parquet
from benchmarks.measure import seconds
from streaming_jobs import contract as contracts
from streaming_jobs import session, settings
from streaming_jobs.increment import increment
from streaming_jobs.run import Run
from streaming_jobs.settings import Settings


def increase(home: Settings, *layers: str) -> None:
    """What the commands of these layers do, in the session that runs."""
    outcome = increment(layers, contracts.load_all(home.conf), Run(home, lambda _: None), lambda *_: None)
    assert outcome.exit_code == 0, outcome.failures


def main(files: Path, scratch: Path, turns: int) -> None:
    folder = scratch / "warm"
    (folder / "session/checkpoints").mkdir(parents=True)
    with session.opened(settings.load(folder / "session")) as spark:
        for turn in range(turns + 1):
            home = settings.load(deliveries.home(folder / "home", deliveries.contract(), files))
            kinds = {"bronze": partial(increase, home, "bronze"), "csv_to_parquet": partial(to_parquet, spark, files, folder / "parquet")}
            order = list(kinds) if turn % 2 else list(reversed(kinds))
            took = {kind: seconds(kinds[kind]) for kind in order}
            if turn:
                print(json.dumps(took), flush=True)
            shutil.rmtree(folder / "home")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
