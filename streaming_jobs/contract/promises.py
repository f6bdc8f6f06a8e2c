"""What the source promised about time: the `slaProperties` that `status` measures. The others are only listed."""

from __future__ import annotations

import math
import re
from datetime import UTC, time, timedelta, timezone
from typing import Any

from streaming_jobs.contract import custom
from streaming_jobs.contract.model import EVERY_DAY, WEEKDAYS, Availability, Frequency, Latency, Promise, Silver
from streaming_jobs.contract.place import Place, items, nearest, shown, text

_MEASURED = {
    "latency": "latency", "ly": "latency", "frequency": "frequency", "fy": "frequency", "timeofavailability": "timeOfAvailability",
}  # fmt: skip
_SECOND, _HOUR, _DAY = 1, 3600, 86_400
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), _SECOND),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7 * _DAY),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * _DAY),
}
_MOST = 100 * 365 * _DAY  # seconds
_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}))?(Z|[+-]\d{2}:\d{2})?")
_IDLE = ("valueExt", "scheduler", "schedule")


def promises(document: dict[str, Any], silver: Silver, silver_names: tuple[str, ...], place: Place) -> tuple[Promise, ...]:
    """The measured promises of the document, in its order. silver_names: how an `element` may call the Silver table."""
    found: list[Promise] = []
    for item in items(document, "slaProperties"):
        name = text(item, "property") or ""
        kind = _MEASURED.get(name.casefold())
        if kind is None:
            near = nearest(name, _MEASURED.values()) if "did you mean" in nearest(name, _MEASURED.values()) else ""
            place.without_effect(f"slaProperties {name}; nothing measures it{near}")
            continue
        here = place.at(f"slaProperties {name}")
        promise = _promise(kind, item, silver, silver_names, here)
        for key in _IDLE:
            if key in item:
                here.without_effect(f"{key}; the time that is measured is `value`")
        found += [promise] if promise else []
    return tuple(found)


def _promise(kind: str, item: dict[str, Any], silver: Silver, silver_names: tuple[str, ...], place: Place) -> Promise | None:
    driver, days = text(item, "driver"), _days(item, place)
    if kind == "latency":
        if days != EVERY_DAY:
            place.wrong("days belongs to frequency and timeOfAvailability; a latency counts every day")
        within, column = _span(item, place), _column(text(item, "element"), silver, silver_names, place)
        return Latency(within, column, driver) if within else None
    if text(item, "element"):
        place.without_effect("element; files are what is counted")
    if kind == "frequency":
        every = _span(item, place)
        if every and days != EVERY_DAY and every % timedelta(days=1):
            place.wrong("days needs a frequency of whole days")
        return Frequency(every, days, driver) if every else None
    by = _time(item.get("value"), place)
    return Availability(by, days, driver) if by else None


def _span(item: dict[str, Any], place: Place) -> timedelta | None:
    value, unit = item.get("value"), item.get("unit")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        place.wrong(f"value: {shown(value)} must be a number above 0, such as 1 with unit d")
        return None
    if not isinstance(unit, str):
        place.wrong("unit is missing; one of s, min, h, d, w, y")
        return None
    seconds = _UNITS.get(unit.strip().casefold())
    if seconds is None:
        place.wrong(f"unit: {shown(unit)} must be one of s, min, h, d, w, y, or their English names")
        return None
    if value * seconds > _MOST:
        place.wrong(f"value: {shown(value)} {unit} is more than 100 years")
        return None
    return timedelta(seconds=value * seconds)


def _column(element: str | None, silver: Silver, silver_names: tuple[str, ...], place: Place) -> str | None:
    """The column of Silver that says how new its data is; None: none was named, or it is no such column."""
    if element is None:
        return None
    table, _, name = element.strip().rpartition(".")
    if table and table not in silver_names:
        place.wrong(f"element: {shown(element)} is measured in Silver only; write {silver_names[-1]}.<column>, or the column alone")
        return None
    column = next((c for c in silver.columns if c.name == name), None)
    if column is None:
        place.wrong(f"element: Silver has no column {shown(name)}{nearest(name, [c.name for c in silver.columns])}")
    elif column.type not in ("DATE", "TIMESTAMP"):
        place.wrong(f"element: {name} is {column.type}; latency needs a DATE or a TIMESTAMP")
    else:
        return name
    return None


def _time(value: object, place: Place) -> time | None:
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if found is None:
            raise ValueError
        offset = found[4] or "Z"
        hours, minutes = (0, 0) if offset == "Z" else map(int, offset[1:].split(":"))
        zone = UTC if offset == "Z" else timezone(timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1))
        return time(int(found[1]), int(found[2]), int(found[3] or 0), tzinfo=zone)
    except ValueError:
        # YAML reads 10:00 without quotes as the number 600.
        place.wrong(f'value: {shown(value)} must be a time of day such as "09:00" (UTC) or "09:00+01:00"; quote it')
        return None


def _days(item: dict[str, Any], place: Place) -> frozenset[int]:
    found = custom.values(item, "sla property", place)
    if "days" not in found:
        return EVERY_DAY
    named = [d.strip().casefold() for d in custom.texts(found, "days", place)]
    for name in (n for n in named if n not in WEEKDAYS):
        place.wrong(f"days: {shown(name)} is no day of the week; {', '.join(WEEKDAYS)}")
    return frozenset(WEEKDAYS.index(n) for n in named if n in WEEKDAYS) or EVERY_DAY
