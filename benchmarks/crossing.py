"""Where a peer without Spark stops being the faster one: its time by ours, by the number of rows that are loaded at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.contestants import PEERS, SPARK_PEERS
from benchmarks.records import Record, Result, Spread, ratio
from streaming_jobs.grid import number

_LOADS = {"day": ("rows a day",), "first": ("days", "rows a day"), "big": ("rows",)}
"""Work -> what of what it was given makes up, multiplied, the rows that its first case loads at once."""


@dataclass(frozen=True)
class Load:
    work: str
    rows: int
    records: Sequence[Record]


def loads(results: Mapping[str, Result]) -> list[Load]:
    """A new day on the shortest history, the first load of all layers, the big file; the fewest rows first."""
    found = []
    for work, factors in _LOADS.items():
        if work in results and (cases := results[work].cases()):
            rows = math.prod(int(results[work].given[name]) for name in factors)
            found.append(Load(work, rows, next(iter(cases.values()))))
    return sorted(found, key=lambda load: load.rows)


def ratios(measured: Sequence[Load]) -> dict[str, dict[int, Spread]]:
    """Peer without Spark -> rows loaded at once -> its time by ours, where both came to the end."""
    found: dict[str, dict[int, Spread]] = {}
    for load in measured:
        base, *others = load.records
        for other in others:
            if other.contestant in PEERS and other.contestant not in SPARK_PEERS and (spread := ratio(other, base)):
                found.setdefault(other.contestant, {})[load.rows] = spread
    return found


def sentence(peer: str, by_rows: Mapping[int, Spread]) -> str:
    """Between which sizes of those measured its time crosses ours."""
    for (fewer, before), (more, after) in pairwise(by_rows.items()):
        if before.median < 1 <= after.median:
            return f"{peer}: faster up to {number(fewer)} rows at once, we from {number(more)} on; the crossing lies between."
    if all(spread.median < 1 for spread in by_rows.values()):
        nearest = max(by_rows, key=lambda rows: by_rows[rows].median)
        return (
            f"{peer}: faster at every size that was measured, up to {number(max(by_rows))} rows at once: no crossing there. "
            f"Nearest to it: {by_rows[nearest].median:.2f} of our time, at {number(nearest)} rows."
        )
    return f"{peer}: not faster from {number(min(rows for rows, spread in by_rows.items() if spread.median >= 1))} rows at once on."
