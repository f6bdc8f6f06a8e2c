"""Spark SQL types a contract may use, and the values and patterns that go with them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from typing import Any

from streaming_jobs.contract.place import Place, nearest, shown, text

_LOGICAL = {
    "string": "STRING", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP",
}  # fmt: skip
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_PLAIN = ("STRING", "BOOLEAN", *_BITS, "FLOAT", "DOUBLE", "DATE", "TIMESTAMP")
_ALIASES = {"BYTE": "TINYINT", "SHORT": "SMALLINT", "INTEGER": "INT", "LONG": "BIGINT", "REAL": "FLOAT", "TIMESTAMP_LTZ": "TIMESTAMP"}
_REFUSED = {
    "TIMESTAMP_NTZ": "timestamps here are instants in UTC; use TIMESTAMP",
    "VARCHAR": "use STRING, with maxLength under logicalTypeOptions",
    "CHAR": "use STRING, with maxLength under logicalTypeOptions",
    "TEXT": "use STRING",
    "BINARY": "a CSV cell is text; use STRING",
}

# Letters of a datetime pattern that Spark parses by, with the longest run that java.time accepts.
_LETTERS = {
    "G": 4, "y": 6, "M": 4, "L": 4, "d": 2, "D": 3, "a": 1, "H": 2, "h": 2, "K": 2, "k": 2, "m": 2, "s": 2, "S": 9,
    "X": 5, "x": 5, "Z": 5, "O": 4, "z": 4, "V": 2,
}  # fmt: skip
_WEEK_BASED = "YwWuec"
_ONLY_PRINTED = "EFqQ"


def column_type(column: Mapping[str, Any], place: Place) -> str | None:
    """Type of a Silver or Gold column, `physicalType` before `logicalType`; None, with a finding, when it has none."""
    physical, logical = text(column, "physicalType"), text(column, "logicalType")
    if physical is not None:
        return _physical(physical, place.at(".physicalType"))
    if logical is None:
        return None  # the schema has said so already
    if logical not in _LOGICAL:
        place.at(".logicalType").wrong(f"{logical} cannot be read from a CSV cell; use one of {', '.join(_LOGICAL)}")
    return _LOGICAL.get(logical)


def is_whole(kind: str) -> bool:
    return kind in _BITS


def is_number(kind: str) -> bool:
    return is_whole(kind) or is_inexact(kind) or kind.startswith("DECIMAL")


def is_inexact(kind: str) -> bool:
    """Types whose values do not compare reliably, so they neither identify a row nor name a partition."""
    return kind in ("FLOAT", "DOUBLE")


def is_temporal(kind: str) -> bool:
    return kind in ("DATE", "TIMESTAMP")


def fits(value: object, kind: str) -> bool:
    """True when a value of the document can be written in a column of this type without loss."""
    if kind == "STRING":
        return isinstance(value, str)
    if kind == "BOOLEAN":
        return isinstance(value, bool)
    if is_temporal(kind):
        return isinstance(value, str) and _instant(value, kind) is not None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    if is_whole(kind):
        return isinstance(value, int) and -(2 ** (_BITS[kind] - 1)) <= value < 2 ** (_BITS[kind] - 1)
    if is_inexact(kind):
        return True
    precision, scale = (int(n) for n in kind[8:-1].split(","))
    with localcontext(prec=400):  # enough for any float; the default of 28 digits is less than DECIMAL(38) holds
        exact = Decimal(str(value))
        return exact == round(exact, scale) and abs(exact) < 10 ** (precision - scale)


def comparable(value: str | int | float, kind: str) -> Decimal | datetime | None:
    """A bound in a form that two bounds of one column can be compared in; None when it does not fit."""
    if is_temporal(kind):
        return _instant(value, kind) if isinstance(value, str) else None
    if not is_number(kind) or isinstance(value, (str, bool)) or not math.isfinite(value):
        return None
    return Decimal(str(value))


def describe(kind: str) -> str:
    """What a value of this type looks like, for a message."""
    examples = {"STRING": "text; quote it", "BOOLEAN": "true or false", "DATE": "a date such as '2026-01-31'"}
    if kind == "TIMESTAMP":
        return "a timestamp such as '2026-01-31 12:00:00', UTC unless it names an offset"
    return examples.get(kind, f"a number that fits {kind}")


def check_datetime_pattern(pattern: str, place: Place) -> None:
    """Refuse what Spark's parser refuses, or what it would read as another date than meant."""
    bare, open_quote = "", False
    for part in re.split("(')", pattern):
        if part == "'":
            open_quote = not open_quote
        elif not open_quote:
            bare += part + "'"
    if open_quote:
        place.wrong(f"{pattern}: a quote ' is never closed")
    depth = 0
    for sign in bare:
        depth += {"[": 1, "]": -1}.get(sign, 0)
        if depth < 0:
            break
    if depth:
        place.wrong(f"{pattern}: the brackets of its optional sections do not match")
    if reserved := re.findall(r"[{}#]", bare):
        place.wrong(f"{pattern}: {reserved[0]} is reserved; put it in quotes")
    for run in dict.fromkeys(m.group() for m in re.finditer(r"([A-Za-z])\1*", bare)):
        _check_run(pattern, run, place)
    if not re.search(r"[A-Za-z]", bare):
        place.wrong(f"{pattern}: holds no letter of a date or time, such as yyyy-MM-dd")


def check_regex(pattern: str, place: Place) -> None:
    """Refuse what no regular expression engine accepts. Java judges the rest: its dialect is wider than Python's."""
    alike = re.sub(r"\\[pP](\{\w+\}|\w)", r"\\w", pattern).replace("(?<", "(?P<").replace("(?P<=", "(?<=").replace("(?P<!", "(?<!")
    alike = re.sub(r"\\[hHRXvVQE]", r"\\s", alike)
    sure = ("unterminated", "missing )", "unbalanced parenthesis", "min repeat greater", "bad character range")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of classes inside classes, which Java has
            re.compile(alike)
    except re.error as error:
        # Java repeats an anchor (`^*`) but, like Python, nothing that is not there.
        dangling = error.msg == "nothing to repeat" and re.search(r"(^|\|)[*+?]|\([*+]", alike)
        if error.msg.startswith(sure) or dangling:
            place.wrong(f"{shown(pattern)} is not a regular expression: {error.msg}")


def _physical(given: str, place: Place) -> str | None:
    name, _, arguments = given.upper().replace(" ", "").partition("(")
    kind = _ALIASES.get(name, name)
    if kind in ("DECIMAL", "DEC", "NUMERIC"):
        return _decimal(given, arguments, place)
    if kind in _REFUSED:
        place.wrong(f"{given}: {_REFUSED[kind]}")
    elif kind not in _PLAIN or arguments:
        place.wrong(f"{given} is not a type a column can have here{nearest(kind, (*_PLAIN, 'DECIMAL(p,s)'))}")
    else:
        return kind
    return None


def _decimal(given: str, arguments: str, place: Place) -> str | None:
    match = re.fullmatch(r"(\d{1,2})(?:,(\d{1,2}))?\)", arguments)
    precision, scale = (int(match[1]), int(match[2] or 0)) if match else (0, 0)
    if not (1 <= precision <= 38 and scale <= precision):
        place.wrong(f"{given}: say precision and scale, 1 to 38 digits in all, such as DECIMAL(12,2)")
        return None
    return f"DECIMAL({precision},{scale})"


def _instant(value: str, kind: str) -> datetime | None:
    shape = r"\d{4}-\d\d-\d\d" + ("" if kind == "DATE" else r"([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?")
    if not re.fullmatch(shape, value):
        return None
    try:
        if kind == "DATE":
            return datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _check_run(pattern: str, run: str, place: Place) -> None:
    letter, length = run[0], len(run)
    if letter in _WEEK_BASED:
        hint = "yyyy is the calendar year, YYYY the year of a week" if letter == "Y" else "week-based letters are not supported"
        place.wrong(f"{pattern}: Spark refuses {letter}; {hint}")
    elif letter in _ONLY_PRINTED:
        place.wrong(f"{pattern}: {letter} can be printed but not parsed; leave it out of the pattern")
    elif letter not in _LETTERS:
        place.wrong(f"{pattern}: {letter} is not a letter of Spark's datetime patterns; put plain text in quotes, such as 'T'")
    elif length > _LETTERS[letter] or (letter == "V" and length != 2) or (letter == "O" and length not in (1, 4)):
        limit = "exactly 2" if letter == "V" else f"at most {_LETTERS[letter]}"
        place.wrong(f"{pattern}: {run} has {length} letters; {letter} takes {limit}")
