"""Names and values as Spark SQL text, for the few places that take only text: predicates and DDL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def any_of(expression: str, values: Collection[Any]) -> str:
    """SQL predicate: the expression has one of the values; NULL is a value like any other."""
    literals = sorted(literal(v) for v in values if v is not None)
    parts = [f"{expression} IN ({', '.join(literals)})"] if literals else []
    parts += [f"{expression} IS NULL"] if any(v is None for v in values) else []
    return "(" + " OR ".join(parts or ["false"]) + ")"


def literal(value: Any) -> str:
    """A Python value as a Spark SQL literal of its type."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case datetime():
            return f"TIMESTAMP'{value.isoformat(sep=' ')}'"
        case date():
            return f"DATE'{value.isoformat()}'"
        case int():
            return str(value)
        case Decimal():
            return f"{value:f}"  # with an exponent it would be a DOUBLE
        case bytes() | bytearray():
            return f"X'{value.hex()}'"
        case float():
            return f"CAST('{value!r}' AS DOUBLE)"
        case _:
            return text(str(value))


def text(value: str) -> str:
    """A string as a Spark SQL literal; backslash is Spark's escape."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
