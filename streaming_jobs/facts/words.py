"""Facts in words, as status and report say them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from streaming_jobs.contract import WEEKDAYS, Availability, Frequency, Latency, Promise
from streaming_jobs.facts.model import Hand, Rhythm

KEPT = {True: "kept", False: "not kept", None: "not measured"}


def verdict(hands: Sequence[Hand]) -> str:
    """In a few words, whether something needs a hand."""
    return f"{len(hands)} {'thing needs' if len(hands) == 1 else 'things need'} a hand" if hands else "nothing needs a hand"


def expected(rhythm: Rhythm) -> str:
    """What the last weeks let expect, in words."""
    if rhythm.unknown:
        return f"no file by itself: {rhythm.unknown}"
    days = "by the dates in their names" if rhythm.by == "name" else "by the days they came"
    return f"a file {weekdays(rhythm.weekdays)}, by {due(rhythm)}; {days}"


def due(rhythm: Rhythm) -> str:
    """By when the file of a day has come: `04:10Z the day after`."""
    moment = rhythm.due or timedelta(0)
    days, rest = moment // timedelta(days=1), moment % timedelta(days=1)
    after = {-1: " the day before", 0: "", 1: " the day after"}.get(days, f" {days} days after" if days > 0 else f" {-days} days before")
    return f"{rest // timedelta(hours=1):02}:{rest % timedelta(hours=1) // timedelta(minutes=1):02}Z{after}"


def described(promise: Promise) -> str:
    """A promise in a few words."""
    driver = f" ({promise.driver})" if promise.driver else ""
    match promise:
        case Latency(within, column, _):
            return f"{column or 'data'} is at most {span(within)} old{driver}"
        case Frequency(every, days, _):
            return f"a file every {span(every)}{_on(days)}{driver}"
        case Availability(by, days, _):
            return f"a file by {by:%H:%M} {f'{by:%z}' if by.utcoffset() else 'UTC'}{_on(days)}{driver}"


def weekdays(days: frozenset[int]) -> str:
    """`mon-fri`, `tue, thu`, `every day`."""
    named = sorted(days)
    if len(named) == 7:
        return "every day"
    if len(named) > 2 and named == list(range(named[0], named[-1] + 1)):
        return f"{WEEKDAYS[named[0]]}-{WEEKDAYS[named[-1]]}"
    return ", ".join(WEEKDAYS[n] for n in named)


def span(length: timedelta) -> str:
    """A length of time in its two largest units: `2 d 3 h`, `5 min`, `40 s`."""
    seconds = max(0, int(length.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((n for n, (number, _) in enumerate(parts) if number), 3)
    shown = [parts[first], *(part for part in parts[first + 1 : first + 2] if part[0] and first < 2)]
    return " ".join(f"{number} {unit}" for number, unit in shown)


def stamp(at: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _on(days: frozenset[int]) -> str:
    return "" if len(days) == 7 else f", {weekdays(days)}"
