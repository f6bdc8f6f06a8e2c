"""Names of columns: what is allowed, and what is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from streaming_jobs.contract.model import PROVENANCE
from streaming_jobs.contract.place import Place, shown

_TAKEN = ("raw", *PROVENANCE)
_TAKEN_STARTS = ("_change_type", "_commit_version", "_commit_timestamp", "__is_cdc")
# Delta without column mapping cannot store these, and column mapping stays off so that other readers can open the tables.
_NOT_STORED = set(" ,;{}()\n\t=")


def check_column(name: str, place: Place) -> None:
    """A column of Silver or Gold: an identifier that no engine has to quote."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        place.wrong(f"{shown(name)} is not a column name; use letters, digits and _, not a digit first")
    check_free(name, place)


def check_raw(name: str, place: Place) -> None:
    """A column of Bronze: a header as delivered, as far as Delta can store it."""
    if not name or name != name.strip() or re.search(r"[\x00-\x1f\x7f]", name):
        place.wrong(f"{shown(name)} is not a column name; no control characters, no spaces at its ends, not empty")
    elif _NOT_STORED & set(name):
        place.wrong(f"{shown(name)}: Delta cannot store this name; choose a plain one and put the header under synonyms")
    check_free(name, place)


def check_free(name: str, place: Place) -> None:
    folded = name.casefold()
    if folded in _TAKEN or folded.startswith(_TAKEN_STARTS):
        place.wrong(f"{name} is a name we use ourselves; choose another")


def check_unique(names: Iterable[str], place: Place) -> None:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.get(name.casefold())
        if first == name:
            place.wrong(f"{name} is declared twice; remove one")
        elif first is not None:
            place.wrong(f"{first} and {name} differ only in case, which Spark does not see; rename one")
        seen[name.casefold()] = name


def in_order(columns: list[dict[str, Any]], flag: str, position: str, place: Place) -> tuple[str, ...]:
    """Names of the columns that carry `flag`, by `position` where given, else in the document's order."""
    flagged = [c for c in columns if c.get(flag) is True]
    given = [c[position] for c in flagged if c.get(position, -1) != -1]
    for number in sorted({n for n in given if given.count(n) > 1}):
        place.wrong(f"{position} {number} is given twice; number the columns 1, 2, …")
    for column in columns:
        if column.get(position, -1) != -1 and column.get(flag) is not True:
            place.at(f".{column['name']}").without_effect(f"{position} without {flag}: true")
    unplaced = len(columns) + max([0, *given])
    return tuple(c["name"] for c in sorted(flagged, key=lambda c: c[position] if c.get(position, -1) != -1 else unplaced))
