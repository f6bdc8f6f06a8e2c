"""Who is compared: this project, and what people would use instead. A contestant is a command that does one increment on a home."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.deliveries import ROOT

HEAP = "6g"
OURS = "streaming_jobs"
SPARK_PEERS = ("naive", "streaming_merge", "declarative")
OTHER_PEERS = ("dlt_delta", "polars_delta", "duckdb_delta")
PEERS = (*SPARK_PEERS, *OTHER_PEERS)
OWN_PACKAGES = ("declarative", "dlt_delta")
"""Of these peers, in `.bench`: pandas, once it can be imported, makes every start of pyspark slower, which the others would pay for."""
FLOORS = {
    "cat": "`cat` of the bytes into one file",
    "csv_to_parquet": "Spark reads the CSV files with an explicit schema and writes Parquet: no table, no log, no memory of what was read",
    "delta_append": "Spark appends the typed rows of the day to a copy of Silver",
    "merge": "one MERGE of the typed rows of the day into a copy of Silver, in the partitions that can hold their keys",
}
"""What is no pipeline but the least that a part of one costs -> what it does."""


@dataclass(frozen=True)
class Contestant:
    """sentence: as the page shows it. arguments: of Python; the home's path goes in the place of `{home}`."""

    name: str
    sentence: str
    arguments: tuple[str, ...]

    def command(self, home: Path) -> list[str]:
        return [sys.executable, *(argument.format(home=home) for argument in self.arguments)]


def ours(layer: str = "run") -> Contestant:
    sentence = "this project, `run`: the three layers" if layer == "run" else f"this project, `{layer}` alone"
    name = OURS if layer == "run" else f"{OURS} {layer}"
    return Contestant(name, sentence, ("-m", "streaming_jobs", "--home", "{home}", layer, "-q"))


def peer(name: str) -> Contestant:
    """The sentence is the first line of the peer's own docstring."""
    said = ast.get_docstring(ast.parse((ROOT / "benchmarks" / "peers" / f"{name}.py").read_text("utf-8"))) or ""
    return Contestant(name, said.partition("\n")[0].rstrip("."), ("-m", f"benchmarks.peers.{name}", "{home}"))


def floor(name: str) -> Contestant:
    return Contestant(name, FLOORS[name], ("-m", "benchmarks.floors", name, "{home}"))


def known(only: Sequence[str] = ()) -> list[Contestant]:
    """The peers of these names, else all."""
    return [peer(name) for name in only or PEERS]


def environment(heap: str, name: str = OURS) -> Mapping[str, str]:
    """The same for everyone: none of our settings but the heap, which each is told in its own way. Some find packages of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMING_JOBS_")}
    own = {"PYTHONPATH": str(ROOT / ".bench")} if name in OWN_PACKAGES else {}
    return {**kept, **own, "STREAMING_JOBS_DRIVER_MEMORY": heap, "HEAP": heap}
