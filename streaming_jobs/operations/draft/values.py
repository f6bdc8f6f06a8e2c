"""Which type takes every value of a column: what `rules.casts` takes, said without Spark, and less where it is in doubt.

guess({"1", "-20"}) is Reading("BIGINT")
guess({"31.01.2026", "01.02.2026"}) is Reading("DATE", "dd.MM.yyyy")

Where two readings are possible and the wrong one would change values without a word, the answer is STRING with a note.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache

WHITE = " \t\r\n\f\v"
"""What casts trim; white space alone is a missing value for every type but STRING."""

_SIGNS = ("-", "--", "---", "?", ".")
NULLS = frozenset(
    ("null", "(null)", "<null>", "none", "nil", "nan", "na", "n/a", "n.a.", "#n/a", "n.d.", "k.a.", "\\n", "unknown", "missing", *_SIGNS)
)
"""What sources write for a missing value, in lower case. Some of it is a value elsewhere: NA is Naples, - a sign."""

_MOST_DIGITS = 38
_TRUE, _FALSE = frozenset(("true", "t", "yes", "y", "1")), frozenset(("false", "f", "no", "n", "0"))
_WHOLE = re.compile(r"[+-]?[0-9]+")
_WRITTEN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_FLOATING = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]+(,[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}([.,' ])[0-9]{3}(\1[0-9]{3})*([.,][0-9]+)?")
_POINT_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_COMMA_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[ T]([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]{1,6})0*)?(Z|[+-][0-9]{1,2}(?::?[0-9]{2})?)?)?)?"
)
_SPLIT = re.compile(
    r"(?P<a>[0-9]{1,4})(?P<sep>[-/. ])(?P<b>[0-9]{1,2}|[A-Za-z]{3})(?P=sep)(?P<c>[0-9]{1,4})"
    r"(?:(?P<join>[ T])(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6}))?)?"
    r"(?P<half> [AaPp][Mm])?)?"
)
_DIGITS = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2}))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEARS = range(1900, 2101)  # of a date that is written without separators
_NEARLY = 0.8  # share of the values that makes a type worth a remark


@dataclass(frozen=True)
class Reading:
    """How delivered strings become values. type: as in SilverColumn. note: what the reader should know; may be empty."""

    type: str
    format: str | None = None
    decimal_comma: bool = False  # no cast reads it, an expression does
    note: str = ""

    def __str__(self) -> str:
        return self.type + (f" as {self.format}" if self.format else "") + (" with a decimal comma" if self.decimal_comma else "")


TEXT = Reading("STRING")


def guess(texts: Collection[str], *, decimal_commas: bool = False) -> Reading:
    """The reading that takes all of these trimmed, non-empty texts; STRING where no other does or two others might.

    decimal_commas: the source may well write numbers so, which makes `1.234` more than one number.
    """
    if not texts:
        return TEXT
    if decimal_commas and all(_POINT_GROUPS.fullmatch(text) for text in texts):
        return Reading("STRING", note="a point before three digits: the decimal point, or for thousands")
    attempts = (_whole, _boolean, _decimal, _iso, _by_format, _commas)
    return next((found for attempt in attempts if (found := attempt(texts))), TEXT)


def nearly(counts: Counter[str]) -> tuple[Reading, int] | None:
    """A reading that takes most of the texts, though not all, and how many it takes."""
    families: Counter[str] = Counter()
    for text, times in counts.items():
        families[family(text) or ""] += times
    for wanted in ({"number"}, {"number", "comma"}, {"time"}, {"boolean"}):
        taken = sum(families[name] for name in wanted)
        if _NEARLY * counts.total() <= taken < counts.total():
            found = guess([text for text in counts if family(text) in wanted])
            if found.type != "STRING":
                return found, taken
    return None


@lru_cache(maxsize=1 << 16)
def family(text: str) -> str | None:
    """What a trimmed text is shaped like: number, comma (a number with a decimal comma), time, boolean; None: like text."""
    if _FLOATING.fullmatch(text):
        return "number"
    if _COMMA.fullmatch(text):
        return "comma"
    if _instant(text) is not None or _SPLIT.fullmatch(text):
        return "time"
    return "boolean" if text.lower() in _TRUE | _FALSE else None


def value(text: str, reading: Reading) -> Hashable:
    """A text that the reading takes, as something that equals what other texts of the same value give."""
    if reading.type == "STRING":
        return text
    text = text.strip(WHITE)
    if reading.type == "BOOLEAN":
        return text.lower() in _TRUE
    if reading.type in ("DATE", "TIMESTAMP"):
        return _by_pattern(text, reading.format) if reading.format else _instant(text)
    return Decimal(text.replace(",", ".") if reading.decimal_comma else text)


# ---- Numbers and booleans ----


def _whole(texts: Collection[str]) -> Reading | None:
    if not all(_WHOLE.fullmatch(text) for text in texts):
        return None
    if any(re.match(r"[+-]?0[0-9]", text) for text in texts):
        return Reading("STRING", note="leading zeros, which a number would lose")
    if any(text[0] == "+" and len(text) > 7 for text in texts):
        return Reading("STRING", note="digits behind a +, which a number would lose")
    if dates := _run_together(texts):
        return dates
    if all(-(2**63) <= int(text) < 2**63 for text in texts):
        both = set(texts) == {"0", "1"}
        return Reading("BIGINT", note="only 0 and 1: BOOLEAN would take them too" if both else "")
    if all(len(text.lstrip("+-")) <= _MOST_DIGITS for text in texts):
        return Reading(f"DECIMAL({_MOST_DIGITS},0)", note="too long for a BIGINT")
    return Reading("STRING", note="more digits than any number type holds")


def _boolean(texts: Collection[str]) -> Reading | None:
    words = {text.lower() for text in texts}
    # `N` alone may be north, and NO alone Norway; only a yes beside a no means what it says.
    letters = words - {"0", "1"}
    sure = words <= {"true", "false"} or (letters & _TRUE and letters & _FALSE)
    return Reading("BOOLEAN") if words <= _TRUE | _FALSE and sure else None


def _decimal(texts: Collection[str]) -> Reading | None:
    if not all(_FLOATING.fullmatch(text) for text in texts):
        return None
    if any(re.match(r"[+-]?0[0-9]", text) for text in texts):
        return Reading("STRING", note="leading zeros, which a number would lose")
    raised = [text for text in texts if not _WRITTEN.fullmatch(text)]
    if raised:
        if not any("." in text or "+" in text or "-" in text[1:] for text in raised):
            return Reading("STRING", note="digits around an e: numbers, or codes")
        return Reading("DOUBLE", note="written with exponents") if all(math.isfinite(float(text)) for text in texts) else None
    return Reading(_decimal_type(texts))


def _decimal_type(texts: Collection[str]) -> str:
    """With room for larger values; the decimals are those delivered, because a cast must not round."""
    parts = [text.lstrip("+-").partition(".")[::2] for text in texts]
    scale = max(len(decimals) for _, decimals in parts)
    wide = max(len(whole) for whole, _ in parts)
    if wide + scale > _MOST_DIGITS:
        scale = max(len(decimals.rstrip("0")) for _, decimals in parts)
    if wide + scale > _MOST_DIGITS:
        return "STRING"
    return f"DECIMAL({min(_MOST_DIGITS, max(wide + 4, 10) + scale)},{scale})"


def _commas(texts: Collection[str]) -> Reading | None:
    """A comma for the decimal point, or for thousands."""
    if all(_COMMA.fullmatch(text) for text in texts) and not any(re.match(r"[+-]?0[0-9]", text) for text in texts):
        kind = _decimal_type([text.replace(",", ".") for text in texts])
        if all(_COMMA_GROUPS.fullmatch(text) for text in texts if "," in text):
            return Reading("STRING", note="a comma before three digits: for thousands, or for the decimal point")
        if kind != "STRING":
            return Reading(kind, decimal_comma=True, note="a comma for the decimal point, which an expression reads")
    if all(_GROUPED.fullmatch(text) or _FLOATING.fullmatch(text) or _COMMA.fullmatch(text) for text in texts):
        return Reading("STRING", note="numbers with separators for thousands, which no cast reads")
    return None


# ---- Dates and times ----


def _iso(texts: Collection[str]) -> Reading | None:
    if not all(_instant(text) is not None for text in texts):
        return None
    matches = [found for text in texts if (found := _ISO.fullmatch(text))]
    if not any(found[4] for found in matches):
        return Reading("DATE")
    return Reading("TIMESTAMP", note="" if all(found[8] for found in matches) else _NO_ZONE)


_NO_ZONE = "without a zone, so it is read as UTC"


@lru_cache(maxsize=1 << 16)
def _instant(text: str) -> datetime | None:
    """What a cast to DATE or TIMESTAMP without a format makes of a text, in UTC."""
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    moment = _moment(*(int(found[n] or 0) for n in range(1, 7)))
    offset = re.fullmatch(r"([+-])([0-9]{1,2}):?([0-9]{2})?", (found[8] or "Z").replace("Z", "+0"))
    if moment is None or offset is None:
        return None
    moment = moment.replace(microsecond=int((found[7] or "").ljust(6, "0")))
    try:
        by = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        # Spark takes no zone farther away.
        if int(offset[3] or 0) > 59 or by > timedelta(hours=18):
            return None
        return moment.replace(tzinfo=timezone(-by if offset[1] == "-" else by)).astimezone(UTC)
    except OverflowError:
        return None


def _moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micros: int = 0) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    except ValueError:
        return None


def _run_together(texts: Collection[str]) -> Reading | None:
    found = [_DIGITS.fullmatch(text) for text in texts]
    if any(match is None or int(match[1]) not in _YEARS for match in found) or len({bool(m and m[4]) for m in found}) > 1:
        return None
    if not all(m and _moment(*(int(part or 0) for part in m.groups())) for m in found):
        return None
    timed = bool(found[0] and found[0][4])
    kind, pattern = ("TIMESTAMP", "yyyyMMddHHmmss") if timed else ("DATE", "yyyyMMdd")
    return Reading(kind, pattern, note="digits that all are dates; BIGINT would take them too" + (f". {_NO_ZONE}" if timed else ""))


def _by_format(texts: Collection[str]) -> Reading | None:
    """One datetime pattern for all; STRING with a note where it cannot be told which."""
    matches = [_SPLIT.fullmatch(text) for text in texts]
    found = [m for m in matches if m]
    if len(found) < len(matches):
        return None
    layouts = {_layout(m) for m in found}
    if len(layouts) > 1:
        return None
    first, separator, named, *_ = layout = layouts.pop()
    if first == "?":
        if not all(len(m["a"]) <= 2 and len(m["c"]) == 2 for m in found):
            return None
        return Reading("STRING", note="dates with a year of two digits: which century, and which part is the year")
    if first == "day" and not named and separator in "/-":
        orders = [order for order in ("dM", "Md") if all(_parts(m, order) for m in found)]
        if len(orders) > 1:
            either = " or ".join(_pattern(found, order, layout) for order in orders)
            return Reading("STRING", note=f"dates, but no value tells whether the day or the month comes first: {either}")
    else:
        orders = ["yMd" if first == "year" else "dM"]
    if not orders or not all(_parts(m, orders[0]) for m in found):
        return None
    pattern = _pattern(found, orders[0], layout)
    timed = found[0]["hour"] is not None
    told = {"dM": "a day above 12 comes first", "Md": "a day above 12 comes second"}.get(orders[0], "")
    notes = [note for note in (told if separator in "/-" and not named else "", _NO_ZONE if timed else "") if note]
    return Reading("TIMESTAMP" if timed else "DATE", pattern, note="; ".join(notes))


_Layout = tuple[str, str, bool, str | None, bool, int, bool]


def _layout(found: re.Match[str]) -> _Layout:
    """What all values of one pattern share: where the year stands, separator, month by name, and the parts of the time."""
    first = "year" if len(found["a"]) == 4 and len(found["c"]) <= 2 else "day" if len(found["c"]) == 4 and len(found["a"]) <= 2 else "?"
    return (
        first, found["sep"], not found["b"].isdigit(), found["join"], found["second"] is not None,
        len(found["fraction"] or ""), found["half"] is not None,
    )  # fmt: skip


def _parts(found: re.Match[str], order: str) -> datetime | None:
    a, b, c = found["a"], found["b"], found["c"]
    year, month, day = (a, b, c) if order == "yMd" else (c, b, a) if order == "dM" else (c, a, b)
    if not month.isdigit():
        if month.lower() not in _MONTHS:
            return None
        month = str(_MONTHS.index(month.lower()) + 1)
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"].strip().lower() == "pm" else 0)
    micros = int((found["fraction"] or "").ljust(6, "0"))
    return _moment(int(year), int(month), int(day), hour, int(found["minute"] or 0), int(found["second"] or 0), micros)


def _pattern(found: list[re.Match[str]], order: str, layout: _Layout) -> str:
    """Two letters where the source fills up with zeros; one letter takes both."""
    _, separator, named, join, seconds, fraction, half = layout
    numbers = [m[part] for m in found for part in (("b", "c") if order == "yMd" else ("a", "b")) if m[part].isdigit()]
    padded = _padded(numbers)
    hours = [m["hour"] for m in found if m["hour"]]
    day, month = ("dd", "MM") if padded else ("d", "M")
    parts = {"d": day, "M": "MMM" if named else month, "y": "yyyy"}
    text = separator.join(parts[letter] for letter in (order if order == "yMd" else f"{order}y"))
    if join is None:
        return text
    letter = "h" if half else "H"
    full = _padded(hours) or (padded and all(len(hour) == 2 for hour in hours))
    text += ("'T'" if join == "T" else " ") + letter * (2 if full else 1) + ":mm"
    return text + (":ss" if seconds else "") + ("." + "S" * fraction if fraction else "") + (" a" if half else "")


def _padded(numbers: Iterable[str]) -> bool:
    given = list(numbers)
    return all(len(number) == 2 for number in given) and any(number[0] == "0" for number in given)


def _by_pattern(text: str, pattern: str) -> datetime | None:
    if found := _DIGITS.fullmatch(text):
        return _moment(*(int(part or 0) for part in found.groups()))
    split = _SPLIT.fullmatch(text)
    order = "yMd" if pattern[0] == "y" else "Md" if pattern[0] == "M" else "dM"
    return _parts(split, order) if split else None


def is_number(reading: Reading) -> bool:
    return reading.type == "BIGINT" or reading.type.startswith("DECIMAL")
