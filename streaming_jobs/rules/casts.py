"""A delivered string as a typed value, or NULL; never an exception, never a silent change of meaning.

Spark's casts are more lenient than a contract may be. Where they would lose or invent something the
value is not taken: a year or a year-month as a date, text behind a date, a time of day without a
date (it would get today's), a decimal that only fits by rounding, NaN and Infinity, a number with a
type suffix. White space around a value does not count, and nothing but white space is NULL.
"""

from __future__ import annotations

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

from streaming_jobs.contract import SilverColumn

_WHITE = " \t\r\n\f\v"
_DATE = r"\A\d{4}-\d{1,2}-\d{1,2}\z"
_TIMESTAMP = r"\A\d{4}-\d{1,2}-\d{1,2}([ T]\d.*)?\z"
_FLOATING = r"\A[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\z"
_INFINITE = ("Infinity", "-Infinity")
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_MOST_DIGITS = 38


def text(raw: Column, kind: str) -> Column:
    """What is cast: the string itself for STRING, otherwise without surrounding white space; blank is NULL."""
    if kind == "STRING":
        return raw
    return F.nullif(F.trim(raw, F.lit(_WHITE)), F.lit(""))


def typed(raw: Column, column: SilverColumn) -> Column:
    """The value of a delivered string; NULL where `text` is NULL or is no value of the type."""
    value, kind = text(raw, column.type), column.type
    if kind == "STRING":
        return value
    if kind == "DATE":
        if column.format:
            return F.try_to_date(value, column.format)
        return F.when(value.rlike(_DATE), value.try_cast(kind))
    if kind == "TIMESTAMP":
        if column.format:
            return F.try_to_timestamp(value, F.lit(column.format))
        return F.when(value.rlike(_TIMESTAMP), value.try_cast(kind))
    if kind in ("DOUBLE", "FLOAT"):
        number = F.when(value.rlike(_FLOATING), value.try_cast(kind))
        return F.when(~number.isin(*(F.lit(x).cast(kind) for x in _INFINITE)), number)
    if decimal := _DECIMAL.fullmatch(kind):
        return _exact(value, kind, int(decimal[1]), int(decimal[2]))
    return value.try_cast(kind)


def failed(raw: Column, value: Column, kind: str) -> Column:
    """True where something was delivered that is no value of the type."""
    return text(raw, kind).isNotNull() & value.isNull()


def expected(column: SilverColumn) -> str:
    """What `typed` takes, for the operator."""
    if column.format:
        return f"not {column.type} as {column.format}"
    if column.type.startswith("DECIMAL"):
        return f"not {column.type}, or only by rounding"
    return f"not {column.type}"


def _exact(value: Column, kind: str, precision: int, scale: int) -> Column:
    """The decimal, where the widest decimal with as many whole digits says the same."""
    whole = precision - scale
    number = value.try_cast(kind)
    if whole + scale == _MOST_DIGITS:
        return number
    return F.when(number == value.try_cast(f"DECIMAL({_MOST_DIGITS},{_MOST_DIGITS - whole})"), number)
