"""Where a peer without Spark stops being the faster one: its time by ours, by the number of rows that are loaded at once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from benchmarks import works
from benchmarks.contestants import OURS, PEERS, SPARK_PEERS
from benchmarks.records import Record, Result, Spread, ratio


def sizes(results: Mapping[str, Result]) -> dict[int, tuple[str, list[Record]]]:
    """Rows loaded at once, the fewest first -> work and records: a new day on the shortest history, the first load, the big file."""
    found = {}
    for work, case in (("day", None), ("first", works.PIPELINE), ("big", works.PIPELINE)):
        if work in results and (cases := results[work].cases()):
            given = results[work].given
            rows = int(given["rows"]) if work == "big" else int(given["rows a day"]) * (int(given["days"]) if work == "first" else 1)
            found[rows] = (work, cases[case or next(iter(cases))])
    return dict(sorted(found.items()))


def ratios(results: Mapping[str, Result]) -> dict[str, dict[int, Spread]]:
    """Peer without Spark -> rows loaded at once -> its time by ours, where both came to the end."""
    found: dict[str, dict[int, Spread]] = {}
    for rows, (_, records) in sizes(results).items():
        base = next(r for r in records if r.contestant == OURS)
        for record in records:
            if record.contestant in PEERS and record.contestant not in SPARK_PEERS and (spread := ratio(record, base)):
                found.setdefault(record.contestant, {})[rows] = spread
    return found


def sentence(peer: str, by_rows: Mapping[int, Spread]) -> str:
    """Between which sizes of those measured its time crosses ours."""
    for (fewer, before), (more, after) in pairwise(by_rows.items()):
        if before.median < 1 <= after.median:
            return f"{peer}: faster up to {_spoken(fewer)} rows at once, we from {_spoken(more)} on; the crossing lies between."
    last = max(by_rows)
    if all(spread.median < 1 for spread in by_rows.values()):
        nearest = max(by_rows, key=lambda rows: by_rows[rows].median)
        return (
            f"{peer}: faster at every size that was measured, up to {_spoken(last)} rows at once: no crossing there. "
            f"Nearest to it: {by_rows[nearest].median:.2f} of our time, at {_spoken(nearest)} rows."
        )
    return f"{peer}: not faster from {_spoken(min(rows for rows, spread in by_rows.items() if spread.median >= 1))} rows at once on."


def _spoken(rows: int) -> str:
    return f"{rows:,}".replace(",", " ")
