"""What a work of the benchmark gave: kept as JSON, one file per work."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.deliveries import ROOT
from benchmarks.measure import Taken, Written
from streaming_jobs import machine

PACKAGES = ("pyspark", "delta-spark", "deltalake", "dlt", "polars", "duckdb")


@dataclass(frozen=True)
class Record:
    """One contestant in one case of a work. turns: empty where the note says why. equal: its tables to ours; None: not compared."""

    contestant: str
    sentence: str
    case: str
    turns: Sequence[Taken] = ()
    equal: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Result:
    """The first record of a case is the one that the others are compared with. given: sizes. figures: what is measured besides."""

    work: str
    made: str
    commit: str
    machine: Mapping[str, str]
    given: Mapping[str, str]
    records: Sequence[Record]
    figures: Mapping[str, float] = field(default_factory=dict)

    def record(self, contestant: str, case: str) -> Record | None:
        return next((r for r in self.records if (r.contestant, r.case) == (contestant, case)), None)

    def cases(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.case, []).append(record)
        return found


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def ratio(record: Record | None, base: Record | None) -> Spread | None:
    """Of the seconds, turn by turn: what both did right after each other is compared, not two medians of different minutes."""
    if record is None or base is None:
        return None
    return spread([mine.seconds / other.seconds for mine, other in zip(record.turns, base.turns, strict=False)])


def result(work: str, given: Mapping[str, str], records: Sequence[Record], figures: Mapping[str, float]) -> Result:
    return Result(work, datetime.now(UTC).date().isoformat(), _commit(), _machine(), given, records, figures)


def write(folder: Path, found: Result) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{found.work}.json"
    file.write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")
    return file


def read(folder: Path) -> dict[str, Result]:
    return {file.stem: _result(json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))}


def _result(said: dict[str, Any]) -> Result:
    records = [Record(**{**record, "turns": [_taken(turn) for turn in record["turns"]]}) for record in said["records"]]
    return Result(**{**said, "records": records})


def _taken(said: dict[str, Any]) -> Taken:
    written = {layer: Written(**of) for layer, of in said["written"].items()}
    return Taken(**{**said, "written": written, "samples": [(at, size) for at, size in said["samples"]]})


def _commit() -> str:
    """With a plus where files differ from it."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _machine() -> dict[str, str]:
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "([^"]+)"', java)
    found = {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{machine.memory() / (1 << 30):.0f} GiB",
        "system": platform.system(),
        "Python": platform.python_version(),
        "Java": version[1] if version else "unknown",
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
