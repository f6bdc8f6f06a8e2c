"""What happened to a dataset over time, in the amounts that a page can show. Reads ledger and tables, writes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from streaming_jobs import ledger, snapshots
from streaming_jobs.contract import Contract, Gold, GoldColumn
from streaming_jobs.damage import LAYERS
from streaming_jobs.facts import arrivals
from streaming_jobs.facts.gather import came
from streaming_jobs.facts.model import Arrival, Dataset
from streaming_jobs.settings import Settings

WEEKS = 26  # of the calendar
DAYS = 90  # of rows and refusals
PIECES = 120  # of work, per layer
POINTS = 400  # of a line of Gold
BARS = 12
LINES = 5  # of categories over time
PER_TABLE = 3  # aggregates of one Gold table
_NUMBERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL")
_TIMES = ("DATE", "TIMESTAMP")

Moment = date | datetime


@dataclass(frozen=True)
class Day:
    """One day of the calendar. files: None: none came and none was expected; missing: one was expected."""

    day: date
    files: int
    rows: int
    missing: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a chart; a point without a value is a gap."""

    name: str
    points: tuple[tuple[Moment, float], ...]


@dataclass(frozen=True)
class GoldChart:
    """One aggregate of a Gold table: lines over time, or else bars by category. left_out: how many categories are not shown."""

    table: str
    aggregate: str
    lines: tuple[Line, ...] = ()
    bars: tuple[tuple[str, float], ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Work:
    """One piece of work of a layer. stages: seconds by stage."""

    layer: str
    at: datetime
    seconds: float
    stages: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class History:
    """calendar: no gaps between its days. odd_days: of files, those of the calendar. refused: rule -> rows per day. work: the newest of
    each layer, oldest first. not_drawn: a Gold table or column, and why.
    """

    dataset: str
    by: str
    arrivals: tuple[Arrival, ...]
    odd_days: tuple[tuple[date, str], ...]
    calendar: tuple[Day, ...]
    refused: tuple[Line, ...]
    work: tuple[Work, ...]
    gold: tuple[GoldChart, ...]
    not_drawn: tuple[tuple[str, str], ...]


def history(contract: Contract, facts: Dataset, settings: Settings, now: datetime) -> History:
    """Everything that is drawn of one dataset; nothing of what is damaged."""
    if facts.damaged:
        return History(contract.dataset, "arrival", (), (), (), (), (), (), ())
    taken = came(contract, settings)
    by, days = arrivals.by_day(taken)
    gold, not_drawn = _gold(contract, settings)
    return History(
        contract.dataset,
        by,
        taken,
        tuple((day, file.path) for day, files in days.items() for file in files if file.path in {u.path for u in facts.unusual}),
        _calendar(days, facts, now),
        _refused(contract, settings, now),
        _work(contract, settings),
        gold,
        not_drawn,
    )


def _calendar(days: Mapping[date, Sequence[Arrival]], facts: Dataset, now: datetime) -> tuple[Day, ...]:
    if not days:
        return ()
    missing = set(facts.rhythm.missing)
    # Up to today where files are still expected; an archive ends where it ends.
    last = max([*days, *missing, *([now.date()] if facts.rhythm.due is not None else [])])
    first = max(min(days), last - timedelta(days=7 * WEEKS - 1))
    found = []
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        files = days.get(day, ())
        found.append(Day(day, len(files), sum(f.rows or 0 for f in files), day in missing))
    return tuple(found)


_REFUSED = """
SELECT rule, day, count(*) AS rows FROM (
  SELECT r['rule'] AS rule, date_trunc('day', quarantined_at) AS day FROM (SELECT quarantined_at, unnest(reasons) AS r FROM quarantine))
WHERE day > TIMESTAMP '{since}' GROUP BY rule, day ORDER BY day, rule
"""


def _refused(contract: Contract, settings: Settings, now: datetime) -> tuple[Line, ...]:
    """Rows that are in quarantine now, by rule and the day they came into it; most first."""
    table = settings.table(contract.quarantine_table)
    if snapshots.newest(table) is None:
        return ()
    since = (now - timedelta(days=DAYS)).isoformat()
    by_rule: dict[str, list[tuple[Moment, float]]] = {}
    for row in ledger.query({"quarantine": table}, _REFUSED.format(since=since)):
        by_rule.setdefault(row["rule"], []).append((row["day"].date(), row["rows"]))
    return tuple(Line(rule, tuple(by_rule[rule])) for rule in sorted(by_rule, key=lambda r: (-sum(n for _, n in by_rule[r]), r)))


_WORK = """
SELECT layer, started_at, seconds, stages FROM (
  SELECT *, row_number() OVER (PARTITION BY layer ORDER BY started_at DESC) AS n
  FROM runs WHERE dataset = {dataset} AND stages IS NOT NULL) AS t
WHERE n <= {most} ORDER BY started_at
"""


def _work(contract: Contract, settings: Settings) -> tuple[Work, ...]:
    table = settings.table(ledger.RUNS)
    if snapshots.newest(table) is None:
        return ()
    rows = ledger.query({"runs": table}, _WORK.format(dataset=ledger.text(contract.dataset), most=PIECES))
    return tuple(Work(r["layer"], r["started_at"], r["seconds"], _stages(r["stages"])) for r in rows if r["layer"] in LAYERS)


def _stages(text: str) -> tuple[tuple[str, float], ...]:
    try:
        found = json.loads(text)
        return tuple((str(stage), float(seconds)) for stage, seconds in found.items())
    except (ValueError, TypeError, AttributeError):
        return ()


def _gold(contract: Contract, settings: Settings) -> tuple[tuple[GoldChart, ...], tuple[tuple[str, str], ...]]:
    charts: list[GoldChart] = []
    not_drawn: list[tuple[str, str]] = []
    for gold in contract.gold:
        shown = [c for c in gold.aggregates if (gold.name, c.name) not in contract.closed]
        not_drawn += [(f"{gold.path}.{c.name}", "classified by the contract") for c in gold.aggregates if c not in shown]
        reason = _not_drawn(gold, contract, settings)
        if reason:
            not_drawn.append((gold.path, reason))
            continue
        numbers = [c for c in shown if c.type.startswith(_NUMBERS)]
        charts += [chart for c in numbers[:PER_TABLE] if (chart := _chart(gold, c, settings))]
    return tuple(charts), tuple(not_drawn)


def _not_drawn(gold: Gold, contract: Contract, settings: Settings) -> str | None:
    held = [c.name for c in gold.grain if (gold.name, c.name) in contract.closed]
    if held:
        return f"{', '.join(held)} of its grain is classified by the contract"
    times = [c for c in gold.grain if c.type in _TIMES]
    if len(gold.grain) > 2 or (len(gold.grain) == 2 and len(times) != 1):
        return f"a grain of {', '.join(c.name for c in gold.grain)} makes no simple chart"
    found = snapshots.newest(settings.table(gold.path))
    if found is None:
        return "it is not there yet"
    have = {f.name for f in found.schema().fields}
    lacks = [c.name for c in (*gold.grain, *gold.aggregates) if c.name not in have]
    return f"it lacks {', '.join(lacks)} until the next run" if lacks else None


def _chart(gold: Gold, aggregate: GoldColumn, settings: Settings) -> GoldChart | None:
    time = next((c.name for c in gold.grain if c.type in _TIMES), None)
    category = next((c.name for c in gold.grain if c.name != time), None)
    table = settings.table(gold.path)
    if time is None:
        bars, left_out = _bars(category or "", aggregate.name, table)
        return GoldChart(gold.path, aggregate.name, bars=bars, left_out=left_out) if bars else None
    if category is None:
        points = _points(time, aggregate.name, "true", table)
        return GoldChart(gold.path, aggregate.name, (Line(aggregate.name, points),)) if points else None
    names, groups = _largest(category, aggregate.name, table)
    lines = [Line(_label(name), _points(time, aggregate.name, _is(category, name), table)) for name in names]
    shown = tuple(line for line in lines if line.points)
    return GoldChart(gold.path, aggregate.name, shown, left_out=groups - len(names)) if shown else None


# What is asked for goes by names with a blank in them, which no column can have.
_BARS = """
SELECT {of} AS "the name", {value} AS "the value", count(*) OVER () AS "the groups" FROM gold WHERE {value} IS NOT NULL
ORDER BY {value} DESC, {of} LIMIT {most}
"""
_LARGEST = """
SELECT {of} AS "the name", count(*) OVER () AS "the groups" FROM gold GROUP BY {of} ORDER BY sum({value}) DESC NULLS LAST, {of} LIMIT {most}
"""
_POINTS = """
SELECT {at} AS "the time", {value} AS "the value" FROM gold WHERE {where} AND {at} IS NOT NULL ORDER BY {at} DESC LIMIT {most}
"""


def _bars(category: str, aggregate: str, table: Path) -> tuple[tuple[tuple[str, float], ...], int]:
    """The largest groups, and how many more there are."""
    sql = _BARS.format(of=ledger.quoted(category), value=ledger.quoted(aggregate), most=BARS)
    rows = ledger.query({"gold": table}, sql)
    bars = tuple((_label(row["the name"]), number) for row in rows if (number := _number(row["the value"])) is not None)
    return bars, rows[0]["the groups"] - len(bars) if rows else 0


def _largest(category: str, aggregate: str, table: Path) -> tuple[list[Any], int]:
    """The categories with the largest sums, and how many there are. For choosing only: the sum itself may mean nothing."""
    sql = _LARGEST.format(of=ledger.quoted(category), value=ledger.quoted(aggregate), most=LINES)
    rows = ledger.query({"gold": table}, sql)
    return [row["the name"] for row in rows], rows[0]["the groups"] if rows else 0


def _points(time: str, aggregate: str, where: str, table: Path) -> tuple[tuple[Moment, float], ...]:
    """The newest values over time, oldest first."""
    sql = _POINTS.format(at=ledger.quoted(time), value=ledger.quoted(aggregate), where=where, most=POINTS)
    found = ((row["the time"], _number(row["the value"])) for row in reversed(ledger.query({"gold": table}, sql)))
    return tuple((at, number) for at, number in found if number is not None)


def _is(category: str, value: Any) -> str:
    of = ledger.quoted(category)
    return f"{of} IS NULL" if value is None else f"{of} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ledger.text(value) if isinstance(value, str) else str(value)


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _label(value: Any) -> str:
    return "no value" if value is None else str(value)
