"""A delivered string as a typed value, or NULL; never an exception, never a silent change of meaning.

Spark's casts are more lenient than a contract may be. Where they would lose or invent something the
value is not taken: a year or a year-month as a date, text behind a date, a time of day without a
date (it would get today's), a fraction of a second below microseconds, a decimal that only fits by
rounding, NaN and Infinity, a number with a type suffix or with digits of another script, a time
in a named zone. White space around a value does not count, and nothing but white space is NULL;
a STRING is taken as it is.
"""

from __future__ import annotations

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

from streaming_jobs.contract import SilverColumn

WHITE = " \t\r\n\f\v"
_DATE = r"\A\d{4}-\d{1,2}-\d{1,2}\z"
_OFFSET = r"(Z|[+-]\d{1,2}(:?\d{2})?)"
_TIMESTAMP = rf"\A\d{{4}}-\d{{1,2}}-\d{{1,2}}([ T]\d{{1,2}}:\d{{1,2}}(:\d{{1,2}}(\.\d{{1,6}}0*)?{_OFFSET}?)?)?\z"
_WHOLE = r"\A[+-]?\d+\z"
_WORD = r"\A[A-Za-z01]+\z"
_FLOATING = r"\A[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\z"
_INFINITE = ("Infinity", "-Infinity")
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_MOST_DIGITS = 38
_DECIMALS_BEFORE_EXPONENT = 10


def text(raw: Column, kind: str) -> Column:
    """What is cast: the string itself for STRING, otherwise without surrounding white space."""
    return raw if kind == "STRING" else F.trim(raw, F.lit(WHITE))


def typed(delivered: Column, column: SilverColumn) -> Column:
    """The value of what `text` gave; NULL where that is NULL, blank, or no value of the type. It is named several times."""
    kind = column.type
    if kind == "STRING":
        return delivered
    value = F.when(delivered != "", delivered)
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
    return F.when(value.rlike(_WORD if kind == "BOOLEAN" else _WHOLE), value.try_cast(kind))


def failed(delivered: Column, value: Column, kind: str) -> Column:
    """True where what `text` gave is no value of the type; a text always is."""
    return F.lit(False) if kind == "STRING" else value.isNull() & F.coalesce(delivered != "", F.lit(False))


def expected(column: SilverColumn) -> str:
    """What `typed` takes, for the operator."""
    if column.format:
        return f"not {column.type} as {column.format}"
    if column.type.startswith("DECIMAL"):
        return f"not {column.type}, only by rounding, or with a negative exponent"
    return f"not {column.type}"


def _exact(value: Column, kind: str, precision: int, scale: int) -> Column:
    """The decimal where nothing was rounded away: written out, it has no more decimals than the scale, zeros aside."""
    number = value.try_cast(kind)
    written = value.rlike(rf"\A[+-]?(\d+\.?|\d*\.\d{{1,{scale}}}0*|\d+\.0*)\z" if scale else r"\A[+-]?\d+(\.0*)?\z")
    wide = precision - scale
    if wide > _MOST_DIGITS - _DECIMALS_BEFORE_EXPONENT:
        return F.when(written, number)
    # Few enough decimals that the widest decimal with as many whole digits holds them all, and tells.
    exponent = value.rlike(rf"\A[+-]?\d{{1,20}}(\.\d{{0,{_DECIMALS_BEFORE_EXPONENT}}})?[eE]\+?\d{{1,2}}\z")
    same = number == value.try_cast(f"DECIMAL({_MOST_DIGITS},{_MOST_DIGITS - wide})")
    return F.when(written | (exponent & same), number)
