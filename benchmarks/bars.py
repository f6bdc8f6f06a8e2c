"""What this project promises of its speed, each held against what was measured, and where a peer is faster."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks import works
from benchmarks.contestants import OURS, PEERS, SPARK_PEERS
from benchmarks.records import Record, Result, Spread, ratio

BRONZE_SHARE = 0.9
"""Of the speed of Spark's CSV -> Parquet that Bronze has at least."""


@dataclass(frozen=True)
class Bar:
    """met: None where it was not measured."""

    text: str
    figure: str
    met: bool | None


def bars(results: Mapping[str, Result]) -> list[Bar]:
    """Every one, whether it was measured or not."""
    return [found for bar in (_bronze, _spark_peers, _history, _correction, _idle, _many, _big, _latency) for found in bar(results)]


def shown(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})" if spread else "-"


def faster_peers(results: Mapping[str, Result]) -> list[str]:
    """A line for every peer that took less time than we did, by how much."""
    lines = []
    for work, result in results.items():
        for case, (base, *others) in result.cases().items():
            for other in others:
                found = ratio(other, base)
                if other.contestant in PEERS and found and found.median < 1:
                    lines.append(f"{work}, {case}: {other.contestant} takes {shown(found)} of our time.")
    return lines


def _bronze(results: Mapping[str, Result]) -> Iterator[Bar]:
    for case in (works.BRONZE, works.WARM):
        text = f"{case}: at least {BRONZE_SHARE} of the speed of Spark's CSV to Parquet of the same files"
        yield _held(text, _of(results, "first", f"{OURS} bronze", case, "csv_to_parquet"), lambda found: found.median >= BRONZE_SHARE)


def _spark_peers(results: Mapping[str, Result]) -> Iterator[Bar]:
    """One for each, over every case of every work where both came to an end."""
    for peer in SPARK_PEERS:
        found = {
            f"{work}, {case}": spread
            for work, result in results.items()
            for case, records in result.cases().items()
            for record in records
            if record.contestant == peer and (spread := ratio(record, records[0]))
        }
        text = f"faster than {peer} in everything that it finished"
        if not found:
            yield Bar(text, "-", None)
            continue
        worst = min(found, key=lambda case: found[case].median)
        slower = sum(spread.median <= 1 for spread in found.values())
        figure = f"its time / ours at the least {shown(found[worst])}, {worst}; {len(found) - slower} of {len(found)} cases"
        yield Bar(text, figure, slower == 0)


def _history(results: Mapping[str, Result]) -> Iterator[Bar]:
    """The longest history that was measured against the shortest, right after each other."""
    mine = [r for r in _records(results, "history") if r.turns]
    text = "a new day takes at most 1.15 times as long with 3000 days of history as with 30"
    low, high = (next((r for r in mine if r.case == case), None) for case in ("30 days", "3000 days"))
    yield _held(text, ratio(high, low), lambda found: found.median <= 1.15)


def _correction(results: Mapping[str, Result]) -> Iterator[Bar]:
    cases = [r.case for r in _records(results, "correction") if r.contestant == OURS and r.case != _instead(r.case)]
    for case in cases or ["any history"]:
        text = f"a corrected day takes at most twice as long as a new one, {case}"
        result = results.get("correction")
        found = ratio(result.record(OURS, case), result.record(OURS, _instead(case))) if result else None
        yield _held(text, found, lambda spread: spread.median <= 2)


def _instead(case: str) -> str:
    days = case.partition(" ")[0]
    return works.new_day_case(int(days)) if days.isdigit() else ""


def _idle(results: Mapping[str, Result]) -> Iterator[Bar]:
    times = {r.case: statistics.median(t.seconds for t in r.turns) for r in _records(results, "idle") if r.contestant == OURS and r.turns}
    text = "nothing to do: less than a second"
    worst = max(times, key=lambda case: times[case], default="")
    yield Bar(text, f"{times[worst]:.2f} s at the most, {worst}", times[worst] < 1) if times else Bar(text, "-", None)


def _many(results: Mapping[str, Result]) -> Iterator[Bar]:
    figures, alone = results["many"].figures if "many" in results else {}, f"{OURS} bronze"
    promises: tuple[tuple[str, str, str, Callable[[float], bool]], ...] = (
        (alone, works.PACE, "at least 500 files a second after the first 1 000, Bronze alone", lambda found: found >= 500),
        (OURS, works.PACE, "the same, in a run of all three layers", lambda found: found >= 500),
        (
            alone,
            works.GROWTH,
            "flat memory: in the last quarter at most 1.1 times that in the second, Bronze alone",
            lambda found: found <= 1.1,
        ),
    )
    for who, name, text, holds in promises:
        value = figures.get(f"{who}: {name}")
        yield Bar(f"very many small files: {text}", "-" if value is None else f"{value:.2f}", None if value is None else holds(value))


def _big(results: Mapping[str, Result]) -> Iterator[Bar]:
    text = "a file of 2 GB in a heap of 4 GB, all three layers"
    record = _ours(results, "big")
    if record is None or not record.turns:
        yield Bar(text, record.note if record else "-", False if record else None)
        return
    size, peak = results["big"].given["MiB"], max(t.peak_mib or 0 for t in record.turns)
    middle = statistics.median(t.seconds for t in record.turns)
    # Smaller than that is a try, not what is promised.
    yield Bar(text, f"{size} MiB in {middle:.0f} s, {peak} MiB of memory in all", int(size) * 1.048576 >= 2000 or None)


def _latency(results: Mapping[str, Result]) -> Iterator[Bar]:
    text = "left running: 3 s from a file to its rows in Gold in the median, 8 s at the 99th percentile"
    record = _ours(results, "latency")
    if record is None or not record.turns:
        yield Bar(text, "-", None)
        return
    middle, last = statistics.median(t.seconds for t in record.turns), results["latency"].figures[f"{OURS}: p99 s"]
    yield Bar(text, f"{middle:.2f} s, {last:.2f} s", middle <= 3 and last <= 8)


def _held(text: str, found: Spread | None, holds: Callable[[Spread], bool]) -> Bar:
    return Bar(text, shown(found), holds(found) if found else None)


def _records(results: Mapping[str, Result], work: str) -> list[Record]:
    return list(results[work].records) if work in results else []


def _ours(results: Mapping[str, Result], work: str) -> Record | None:
    """The first one."""
    return next((r for r in _records(results, work) if r.contestant == OURS), None)


def _of(results: Mapping[str, Result], work: str, base: str, case: str, other: str) -> Spread | None:
    """The time of `other` by that of `base`."""
    result = results.get(work)
    return ratio(result.record(other, case), result.record(base, case)) if result else None
