"""The days on which a merge can find the rows it replaces: versions of an event lie within a week of each other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

REACH = 7  # days


def around(days: Iterable[date]) -> list[date]:
    return sorted({day + timedelta(apart) for day in days for apart in range(-REACH, REACH + 1)})


def within(days: list[date], column: str) -> str:
    """A condition that the column is one of these days, by ranges: short for a month, and what file pruning understands."""
    held = set(days)
    starts = [day for day in days if day - timedelta(1) not in held]
    ends = [day for day in days if day + timedelta(1) not in held]
    ranges = (f"{column} BETWEEN DATE '{start}' AND DATE '{end}'" for start, end in zip(starts, ends, strict=True))
    return f"({' OR '.join(ranges)})"
