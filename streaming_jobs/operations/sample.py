"""The next day of the demo dataset: a CSV as a source delivers it, with what goes wrong in real ones.

A file is a function of its day, the number of records and the seed, and of nothing else. Days are
numbered from 2026-01-01. Each file holds, beside its clean records:

    what                                        what becomes of it
    3 exact duplicates                          one row in Silver
    1 record of the day before, amount changed  the later file wins (a late correction; not on day 1)
    1 country missing                           the contract's default
    1 user_id missing                           stays NULL
    1 event_timestamp missing                   quarantine
    1 amount `abc`, 1 negative amount           quarantine
    1 event_type unknown                        quarantine
    1 purchase without an amount                quarantine
    1 record too short, 1 too long              quarantine
    2 event_types in upper case, with blanks    trimmed, lower case
    1 amount of 10 000 or more                  accepted, counted as a warning
    every third day a column `device`           in the middle; kept in Bronze's _extra
    every fourth day the header in another order, read by name

Seven of at least 100 records are refused: below a tenth.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from streaming_jobs.errors import UsageError

FIRST_DAY = date(2026, 1, 1)
FEWEST_ROWS = 100
COLUMNS = ("event_id", "user_id", "event_type", "event_timestamp", "country", "amount")

_REORDERED = ("event_timestamp", "event_type", "event_id", "amount", "country", "user_id")
_DUPLICATES, _MALFORMED = 3, 2
_TYPES = {"page_view": 50, "click": 25, "add_to_cart": 12, "purchase": 10, "signup": 3}  # shares, in percent
_COUNTRIES = ("DE", "FR", "US", "GB", "IN", "BR", "JP")
_DEVICES = ("phone", "desktop", "tablet")
_FILE = re.compile(r"events_(\d{4}-\d{2}-\d{2})\.csv")

_Record = dict[str, str]  # column -> cell; a missing value is the empty cell; `device` is not always written

_SPOILS: Mapping[str, _Record] = {
    "country missing": {"country": ""},
    "user_id missing": {"user_id": ""},
    "event_timestamp missing": {"event_timestamp": ""},
    "amount abc": {"event_type": "purchase", "amount": "abc"},
    "negative amount": {"event_type": "purchase", "amount": "-12.50"},
    "unknown event type": {"event_type": "teleport", "amount": ""},
    "purchase without amount": {"event_type": "purchase", "amount": ""},
    "event type in upper case": {"event_type": "CLICK", "amount": ""},
    "event type with blanks": {"event_type": " Page_View ", "amount": ""},
    "implausibly large amount": {"event_type": "purchase", "amount": "12999.00"},
}


@dataclass(frozen=True)
class Sample:
    """A file that was written; `rows` counts its records, malformed ones included; `oddities` says what is wrong with them."""

    path: Path
    rows: int
    oddities: tuple[str, ...]


def write_next_day(folder: Path, rows: int = 200, seed: int = 0) -> Sample:
    """Write the day after the newest file of `folder`, which is created when missing.

    The file appears whole: it is written under a name the landing ignores, then renamed.
    """
    if rows < FEWEST_ROWS:
        raise UsageError(f"a sample day needs at least {FEWEST_ROWS} rows, not {rows}; nothing was written.")
    folder.mkdir(parents=True, exist_ok=True)
    day = _next_day(folder)
    text, odd = content(day, rows, seed)
    path = folder / f"events_{day}.csv"
    hidden = folder / f".{path.name}.partial"
    hidden.write_text(text, "utf-8", newline="")
    hidden.replace(path)
    return Sample(path, rows, odd)


def content(day: date, rows: int, seed: int) -> tuple[str, tuple[str, ...]]:
    """The text of a day's file, and what is odd about it."""
    number = (day - FIRST_DAY).days + 1
    dice = random.Random(f"{seed} {day} {rows}")
    good, spoiled, odd = _delivered(day, rows, seed)
    again = [*dice.sample(good, _DUPLICATES)]
    odd.append(f"{_DUPLICATES} exact duplicates")
    if number > 1:
        again.append(_correction(day - timedelta(days=1), rows, seed, dice))
        odd.append(f"{again[-1]['event_id']} of the day before again, with another amount")
    records = sorted([*good, *spoiled], key=lambda record: record["event_id"])
    for record in again:
        records.insert(dice.randrange(len(records) + 1), record)

    header: tuple[str, ...] = COLUMNS
    if number % 4 == 0:
        header = _REORDERED
        odd.append("header in another order")
    if number % 3 == 0:
        header = (*header[:3], "device", *header[3:])
        odd.append("new column device")
    lines = [[record[column] for column in header] for record in records]
    for line in _malformed(day, header):
        lines.insert(dice.randrange(len(lines) + 1), line)
    odd.append("1 record too short, 1 too long")
    return _csv([header, *lines]), tuple(odd)


def _delivered(day: date, rows: int, seed: int) -> tuple[list[_Record], list[_Record], list[str]]:
    """The day's own well-formed records, in two parts: as they should be, and spoiled; and what was spoiled."""
    dice = random.Random(f"{seed} {day} {rows} own")
    own = rows - _DUPLICATES - _MALFORMED - (day > FIRST_DAY)
    seconds = sorted(dice.randrange(86_400) for _ in range(own))
    records = [_record(day, index, second, dice) for index, second in enumerate(seconds, 1)]
    chosen = sorted(dice.sample(range(own), len(_SPOILS)))
    spoiled = [records[index] | change for index, change in zip(chosen, _SPOILS.values(), strict=True)]
    good = [record for index, record in enumerate(records) if index not in chosen]
    return good, spoiled, [f"1 {name}" for name in _SPOILS]


def _record(day: date, index: int, second: int, dice: random.Random) -> _Record:
    kind = dice.choices(list(_TYPES), weights=list(_TYPES.values()))[0]
    moment = datetime.combine(day, time()) + timedelta(seconds=second)
    return {
        "event_id": f"{day:%Y%m%d}-{index:05d}",
        "user_id": f"u{dice.randrange(1, 80):03d}",
        "event_type": kind,
        "event_timestamp": f"{moment:%Y-%m-%d %H:%M:%S}",
        "country": dice.choice(_COUNTRIES),
        "amount": f"{dice.randrange(199, 25_000) / 100:.2f}" if kind == "purchase" else "",
        "device": dice.choice(_DEVICES),
    }


def _correction(day: date, rows: int, seed: int, dice: random.Random) -> _Record:
    """A purchase of `day`, as that day's file has it but for the amount."""
    good, _, _ = _delivered(day, rows, seed)
    record = dice.choice([r for r in good if r["event_type"] == "purchase"] or good)
    return record | {"event_type": "purchase", "amount": f"{float(record['amount'] or 0) + 100:.2f}"}


def _malformed(day: date, header: Sequence[str]) -> list[list[str]]:
    short = [f"{day:%Y%m%d}-short", "u001"]
    long = [f"{day:%Y%m%d}-long", *("x" for _ in header[1:]), "one", "too many"]
    return [short, long]


def _next_day(folder: Path) -> date:
    days = []
    for name in (path.name for path in folder.iterdir()):
        match = _FILE.fullmatch(name)
        try:
            days += [date.fromisoformat(match[1])] if match else []
        except ValueError:
            continue  # such as 2026-13-01: not a file of ours
    return max(FIRST_DAY, max(days) + timedelta(days=1)) if days else FIRST_DAY


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
