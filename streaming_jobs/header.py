"""Which column of the contract each name of a file's header means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming_jobs.contract import RawColumn


@dataclass(frozen=True)
class Mapping:
    """columns: contract name -> position in the file. extra: other header names -> position. problem: why it cannot be used."""

    columns: tuple[tuple[str, int], ...] = ()
    extra: tuple[tuple[str, int], ...] = ()
    problem: str | None = None


def match(header: Sequence[str], columns: Sequence[RawColumn]) -> Mapping:
    """Match names after trimming: exactly, then by synonym, then regardless of case.

    A header that names one column twice, lacks a required one or has none of the contract's columns
    cannot be used. Unknown names are kept; the second of two alike gets its position appended.
    """
    taken: dict[str, int] = {}
    found: dict[str, list[int]] = {}
    for position, name in enumerate(header):
        column = _column(name.strip(), columns)
        if column:
            found.setdefault(column, []).append(position)
    for name, positions in found.items():
        if len(positions) > 1:
            names = ", ".join(repr(header[p]) for p in positions)
            return Mapping(problem=f"the header names column {name} more than once: {names}")
        taken[name] = positions[0]
    missing = [c.name for c in columns if c.required and c.name not in taken]
    if missing:
        return Mapping(problem=f"the header lacks required {', '.join(missing)}; it has {_shown(header)}")
    if columns and not taken:
        return Mapping(problem=f"the header has none of the contract's columns; it has {_shown(header)}")
    known = set(taken.values())
    extra: dict[str, int] = {}
    for position, name in enumerate(header):
        if position not in known:
            key = name.strip()
            extra[key if key not in extra else f"{key}#{position + 1}"] = position
    return Mapping(tuple((c.name, taken[c.name]) for c in columns if c.name in taken), tuple(extra.items()))


def _column(name: str, columns: Sequence[RawColumn]) -> str | None:
    for column in columns:
        if name == column.name:
            return column.name
    for column in columns:
        if name in column.synonyms:
            return column.name
    folded = name.casefold()
    for column in columns:
        if folded in (column.name.casefold(), *(s.casefold() for s in column.synonyms)):
            return column.name
    return None


def _shown(header: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(repr(h) for h in header[:most])
    return shown + (f" and {len(header) - most} more" if len(header) > most else "")
