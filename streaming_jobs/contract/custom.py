"""Our own names among ODCS `customProperties`: which there are, and where each belongs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streaming_jobs.contract.place import Place, items, nearest, shown

KNOWN = {
    "server landing": ("header", "quote", "escape", "nullValues", "fallbackEncodings", "delimiter"),
    "bronze object": ("onRedelivery", "maxShrink"),
    "silver object": ("sequenceBy", "mergeWindow", "maxQuarantinedShare"),
    "silver property": ("default",),
    "gold object": ("source", "where"),
    "sla property": ("days",),
}


def values(owner: Mapping[str, Any], level: str, place: Place) -> dict[str, Any]:
    """The custom properties of one element by name. Where none of ours belongs, a foreign one is only listed."""
    known = KNOWN.get(level, ())
    found: dict[str, Any] = {}
    for item in items(owner, "customProperties"):
        name = item.get("property")
        if not isinstance(name, str):
            continue
        homes = [home for home, names in KNOWN.items() if name in names]
        if name in found:
            place.wrong(f"custom property {name} is given twice; keep one")
        elif name in known:
            found[name] = item.get("value")
        elif homes:
            place.wrong(f"custom property {name} belongs to the {' or '.join(homes)}; move it there")
        elif known:
            place.wrong(f"unknown custom property {name}{nearest(name, known)}")
        else:
            place.without_effect(f"custom property {name}")
    return found


def share(found: Mapping[str, Any], name: str, default: float | None, place: Place) -> float | None:
    if name not in found:
        return default
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not 0 <= value <= 1:
        place.wrong(f"{name}: {shown(value)} must be a share, a number from 0 to 1 such as 0.05")
        return default
    return float(value)


def texts(found: Mapping[str, Any], name: str, place: Place) -> tuple[str, ...]:
    """A list of texts; one text alone is a list of one."""
    value = found.get(name, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(v, str) for v in listed):
        place.wrong(f"{name}: {shown(value)} must be a list of texts; quote what YAML would read as a number")
        return ()
    if len(set(listed)) < len(listed):
        place.wrong(f"{name}: {shown(value)} names one twice")
    return tuple(dict.fromkeys(listed))
