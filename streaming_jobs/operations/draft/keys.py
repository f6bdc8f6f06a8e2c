"""What may name a row, and what may tell which of two rows of a key is newer."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from streaming_jobs.operations.draft import values
from streaming_jobs.operations.draft.columns import Column
from streaming_jobs.operations.draft.names import words
from streaming_jobs.operations.draft.source import Row, Source

_LARGEST = 3  # columns of a key
_MEMBERS = 8  # columns that keys of several are looked for in
_CORRECTED = 0.05  # share of the rows that later files may bring again as corrections
_CODE = 40  # characters of the longest value of what may be a code

_IDS = frozenset(("id", "ids", "key", "uuid", "guid", "code", "codice", "number", "nr", "no", "num", "nummer", "sku", "ref", "isbn"))
_LINES = frozenset(("line", "position", "pos", "item", "seq", "sequence"))
_CHANGED = frozenset(("updated", "modified", "changed", "edited", "exported", "extracted", "loaded", "aggiornamento", "aggiornato"))
_COUNTED = frozenset(("version", "revision", "rev"))


@dataclass(frozen=True)
class Candidate:
    """Columns that together name a row. rows: different ones that were looked at. again: those whose key a later file has too."""

    columns: tuple[str, ...]
    rows: int
    again: int
    slices: tuple[str, ...] = ()  # of the columns: one value per file, kept so that a later file replaces nothing of an earlier one


@dataclass(frozen=True)
class _Weighed:
    """A column with how little it looks like a key's: alone, and beside others."""

    column: Column
    alone: int
    beside: int


def candidates(source: Source, columns: Sequence[Column], dataset: str) -> tuple[Candidate, ...]:
    """Sets of columns that name a row, likeliest first; empty when there are none of at most three.

    Equal rows count once. Within a file no two rows may agree on a key; of rows in different files a few may, as corrections
    come so. More of them are taken for rows of their own, because a wrong key loses rows and a wide one does not.
    """
    rows = list(dict.fromkeys(source.rows))
    # Rows that are equal in all cells are one row, in whatever file they came.
    different = len({row for _, row in rows})
    eligible = [c for c in columns if c.required and c.type not in ("BOOLEAN", "DOUBLE") and c.extra is None]
    codes = {c.name: _codes(rows, c) for c in eligible}
    slices = tuple(c.name for c in eligible if c.type in ("DATE", "TIMESTAMP") and not is_change(c) and _is_slice(rows, codes[c.name]))
    weighed = [_weigh(c, dataset, different) for c in eligible]
    found: list[tuple[frozenset[str], Candidate]] = []
    for members in sorted(_sets(weighed), key=_cost):
        names = frozenset(w.column.name for w in members)
        if any(smaller <= names for smaller, _ in found):
            continue
        held = tuple(name for name in slices if name not in names)
        ordered = tuple(c.name for c in columns if c.name in names or c.name in held)
        if (again := _again(rows, [codes[name] for name in ordered], different)) is not None:
            found.append((names, Candidate(ordered, different, again, tuple(name for name in ordered if name in slices))))
    return tuple(candidate for _, candidate in found)


def newest(columns: Sequence[Column]) -> Column | None:
    """The column that tells when a row was changed: a timestamp rather than a date rather than a version."""
    ranked = {"TIMESTAMP": 0, "DATE": 1, "BIGINT": 2}
    found = [c for c in columns if c.extra is None and is_change(c)]
    return min(found, key=lambda c: ranked[c.type], default=None)


def is_change(column: Column) -> bool:
    called = words(column.header or column.name)
    if column.type in ("DATE", "TIMESTAMP"):
        return bool(called & _CHANGED)
    return column.type == "BIGINT" and bool(called & _COUNTED)


def _weigh(column: Column, dataset: str, rows: int) -> _Weighed:
    called = words(column.header or column.name)
    # A few bad values make a text of a quantity, which names a row no better for it.
    kind = (column.mostly or column.reading).type
    if is_change(column):
        return _Weighed(column, 12, 9)
    if kind in ("DATE", "TIMESTAMP"):
        return _Weighed(column, 10, 3)
    if column.personal and column.personal.sure:
        return _Weighed(column, 9, 6)
    if called & _IDS and (kind in ("STRING", "BIGINT") or kind.endswith(",0)")):
        own = called <= _IDS or bool(called & (words(dataset) | {word.removesuffix("s") for word in words(dataset)}))
        return _Weighed(column, 0 if own else 1, 0)
    if called & _LINES:
        return _Weighed(column, 8, 1)
    # What comes again is the name of something, a place or a shop, with or without blanks.
    if kind == "STRING" and column.longest <= _CODE and (not column.spaced or column.distinct <= rows / 2):
        return _Weighed(column, 4, 2)
    if kind == "BIGINT":
        return _Weighed(column, 8, 5)
    return _Weighed(column, 9, 6) if kind == "STRING" and column.longest <= _CODE else _Weighed(column, 11, 8)


def _sets(weighed: Sequence[_Weighed]) -> Iterator[tuple[_Weighed, ...]]:
    yield from ((w,) for w in weighed)
    members = sorted((w for w in weighed if w.column.distinct > 1), key=lambda w: w.beside)[:_MEMBERS]
    for size in range(2, _LARGEST + 1):
        yield from combinations(members, size)


def _cost(members: tuple[_Weighed, ...]) -> tuple[int, int, list[int]]:
    cost = members[0].alone if len(members) == 1 else sum(w.beside for w in members) + 2 * (len(members) - 1)
    return cost, len(members), sorted(w.column.at for w in members)


def _codes(rows: Sequence[tuple[int, Row]], column: Column) -> list[int]:
    """A number per value of the column, equal for equal values."""
    by_text: dict[str, Hashable] = {}
    numbers: dict[Hashable, int] = {}
    found = []
    for _, row in rows:
        text = row[column.at] or ""
        if text not in by_text:
            by_text[text] = values.value(text, column.reading)
        found.append(numbers.setdefault(by_text[text], len(numbers)))
    return found


def _again(rows: Sequence[tuple[int, Row]], codes: Sequence[Sequence[int]], different: int) -> int | None:
    """How many rows have a key that a row of another file has; None when the key does not name a row."""
    keys = list(zip(*codes, strict=True))
    if len({(file, key) for (file, _), key in zip(rows, keys, strict=True)}) < len(rows):
        return None
    again = different - len(set(keys))
    return again if again <= _CORRECTED * different else None


def _is_slice(rows: Sequence[tuple[int, Row]], codes: Sequence[int]) -> bool:
    """One value in each file, though the files have several rows."""
    files = {file for file, _ in rows}
    return len(rows) > len(files) and len({(file, code) for (file, _), code in zip(rows, codes, strict=True)}) == len(files)
