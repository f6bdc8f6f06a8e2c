"""When files come, how many rows they have, and what the contract promised of it. Pure: `now` is an argument.

On the side of silence: a file is only missed where the last eight weeks leave no doubt that it should be there.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from statistics import median

from streaming_jobs.contract import Availability, Frequency, Latency, Promise
from streaming_jobs.facts.model import Arrival, Kept, Rhythm, Unusual
from streaming_jobs.facts.words import described, span, stamp

DAY = timedelta(days=1)
RECENT = 7 * DAY  # what is older needs no hand any more
WINDOW = 8 * 7  # days that a rhythm is learned from
LEAST_SPAN = 4 * 7  # days; each day of the week came round four times
LEAST_FILES = 4
_EXPECTED = 0.75  # share of a weekday's occurrences that had a file
_DATED = 0.9  # share of names that carry a date
_LIVE = 7 * DAY  # a file that comes later than this after its day was loaded from the past and says nothing about rhythm
_GRACE = timedelta(hours=2)
_TOGETHER = timedelta(hours=1)
USUAL = 20  # files that a new one is compared with
LEAST_USUAL = 8
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_./]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d{1,3}(?!\d))")


def date_in(path: str) -> date | None:
    """The date in a file's name, else in its path, year first; None: there is none, or several that differ."""
    for text in (path.rsplit("/", 1)[-1], path):
        found = set()
        for year, _, month, day in _DATE.findall(text):
            with suppress(ValueError):
                found.add(date(int(year), int(month), int(day)))
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def by_day(arrivals: Sequence[Arrival]) -> tuple[str, dict[date, tuple[Arrival, ...]]]:
    """`name` and files by the date in their names, where the newest names carry one; else `arrival` and files by the day they came.

    A day of arrival begins opposite the usual time of arrival, so that files which come around midnight do not fall on two days.
    """
    newest = sorted(arrivals, key=lambda a: (a.taken, a.came, a.path))[-USUAL:]
    dated = sum(date_in(a.path) is not None for a in newest) >= max(1, _DATED * len(newest))
    usual = _usual_time([a.came for a in newest])
    days: dict[date, list[Arrival]] = {}
    for arrival in arrivals:
        day = date_in(arrival.path) if dated else (arrival.came - usual + DAY / 2).date()
        if day is not None:
            days.setdefault(day, []).append(arrival)
    return "name" if dated else "arrival", {day: tuple(days[day]) for day in sorted(days)}


def rhythm(arrivals: Sequence[Arrival], now: datetime) -> Rhythm:
    """On which days files are expected, and which of them have none."""
    if not arrivals:
        return Rhythm()
    by, days = by_day(arrivals)
    # When it was taken in: that also holds where files keep the times of the machine that they were made on.
    first = {day: min(a.taken for a in files) for day, files in days.items()}
    newest = max(first)
    window = {day: taken for day, taken in first.items() if newest - day < timedelta(days=WINDOW)}
    span = (newest - min(window)).days + 1
    if span < LEAST_SPAN or len(window) < LEAST_FILES:
        return Rhythm(by, newest, unknown=f"{len(window)} days with files over {span} days are too few to expect any; 28 days are needed")
    weekdays = frozenset(n for n in range(7) if _is_expected(n, window, newest))
    if not weekdays:
        return Rhythm(by, newest, unknown="files came on no day of the week regularly")
    due = _due({day: taken for day, taken in window.items() if day.weekday() in weekdays})
    if due is None:
        return Rhythm(by, newest, weekdays, unknown="files came long after their days, as from an archive")
    # Between days that have files only the last week counts; behind them nobody has seen to it yet.
    begin = min(newest, max((now - RECENT).date(), min(window)))
    end = min(now.date() + DAY, newest + timedelta(days=WINDOW))
    candidates = (begin + DAY * n for n in range((end - begin).days + 1))
    missing = tuple(d for d in candidates if d.weekday() in weekdays and d not in first and _midnight(d) + due <= now)
    return Rhythm(by, newest, weekdays, due, missing, None)


def unusual(arrivals: Sequence[Arrival], now: datetime) -> tuple[Unusual, ...]:
    """Files that came in the last seven days, and whose rows are a tenth, or ten times, of what is usual, and beyond all that came before.

    Usual is the median of the twenty files before it, at least eight; the smallest of them counts too, because quiet days are no fault.
    """
    ordered = sorted(arrivals, key=lambda a: (a.taken, a.came, a.path))
    known = [(a, a.rows) for a in ordered if a.rows is not None]
    found = []
    for n, (arrival, rows) in enumerate(known):
        before = [held for _, held in known[max(0, n - USUAL) : n]]
        if now - arrival.came > RECENT or len(before) < LEAST_USUAL:
            continue
        usual = round(median(before))
        few = rows < usual / 10 and rows < min(before) / 2
        many = rows > usual * 10 and rows > max(before) * 2
        if few or many:
            found.append(Unusual(arrival.path, rows, usual, arrival.taken))
    return tuple(found)


def kept(promise: Promise, arrivals: Sequence[Arrival], newest_in: Callable[[str], datetime | date | None], now: datetime) -> Kept:
    """Whether a promise is kept now. newest_in: the newest value of a column of Silver, None: it has none."""
    said = described(promise)
    match promise:
        case Latency(within, column, _):
            newest = max((a.taken for a in arrivals), default=None) if column is None else _moment(newest_in(column))
            if newest is None:
                return Kept(promise, said, None, "there is no data yet")
            age = max(now - newest, timedelta(0))
            return Kept(promise, said, age <= within, f"the newest is of {stamp(newest)}, {span(age)} ago", open=age > within)
        case Frequency(every, days, _):
            came = max((a.came for a in arrivals), default=None)
            if came is None:
                return Kept(promise, said, None, "no file has come yet")
            calm = now - came <= every if every % DAY else _missed(came.date(), now.date(), days) < every // DAY
            return Kept(promise, said, calm, f"the newest file came {stamp(came)}, {span(now - came)} ago", open=not calm)
        case Availability(by, days, _):
            passed = _deadlines(by, days, now)
            if len(passed) < 2 or not any(a.came <= passed[0] for a in arrivals):
                return Kept(promise, said, None, "no deadline has passed since the first file came")
            last, before = passed
            there = any(before < a.came <= last for a in arrivals)
            late = min((a.came for a in arrivals if a.came > last), default=None)
            measured = "was there" if there else f"came {span(late - last)} late" if late else f"is {span(now - last)} late"
            return Kept(promise, said, there, f"the file due {stamp(last)} {measured}", open=not there and late is None)


def _usual_time(moments: Sequence[datetime]) -> timedelta:
    """The mean time of day, on the circle of the clock."""
    turns = [(moment - _midnight(moment.date())) / DAY for moment in moments]
    mean = sum((cmath.rect(1, 2 * math.pi * turn) for turn in turns), start=0j)
    return DAY * (cmath.phase(mean) / (2 * math.pi) % 1)


def _is_expected(weekday: int, window: Mapping[date, datetime], newest: date) -> bool:
    begin = min(window)
    occurrences = [day for n in range((newest - begin).days + 1) if (day := begin + DAY * n).weekday() == weekday]
    return sum(day in window for day in occurrences) >= _EXPECTED * len(occurrences)


def _due(taken: Mapping[date, datetime]) -> timedelta | None:
    """How long after its day's beginning a file is late: as long as the latest of the last fourteen, one hiccup aside, and as much again
    as that lies beyond the median.

    Days that were taken in together were caught up with, and only count where there are too few others. None: too few files came
    while their day was young.
    """
    last = [*taken.items()][-14:]
    live = {day: moment - _midnight(day) for day, moment in last if -_LIVE <= moment - _midnight(day) <= _LIVE}
    if len(live) < LEAST_FILES or last[-1][0] not in live:
        return None
    alone = [live[day] for day in live if not any(abs(taken[day] - other) < _TOGETHER for at, other in last if at != day)]
    delays = sorted(alone if len(alone) >= LEAST_FILES else live.values())
    latest = delays[-2] if len(delays) > LEAST_FILES else delays[-1]
    return latest + max(_GRACE, latest - delays[len(delays) // 2])


def _missed(last: date, today: date, counted: frozenset[int]) -> int:
    """Days that have passed since `last` without a file, of those that count."""
    return sum((last + DAY * n).weekday() in counted for n in range(1, (today - last).days))


def _deadlines(by: time, days: frozenset[int], now: datetime) -> list[datetime]:
    """The newest two that have passed, newest first."""
    today = now.astimezone(by.tzinfo).date()
    passed = (datetime.combine(today - DAY * n, by) for n in range(15))
    return [at.astimezone(UTC) for at in passed if at <= now and at.weekday() in days][:2]


def _moment(value: datetime | date | None) -> datetime | None:
    """A date counts as its end: no row of a day can be newer."""
    if value is None or isinstance(value, datetime):
        return value
    return _midnight(value) + DAY


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
