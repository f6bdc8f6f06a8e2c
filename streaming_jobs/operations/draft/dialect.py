"""How a CSV is written, told by its first lines: the delimiter, and whether the first line names the columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streaming_jobs.operations.draft import values
from streaming_jobs.probe import DELIMITERS

_LOOKED_AT = 200  # records
_SURE = 0.5  # share of the records as wide as the first; below it the first line belongs to something else
_TABLE = 0.9  # share of the lines below the first that make a table of another width
_YEARS = range(1900, 2101)


@dataclass(frozen=True)
class Dialect:
    """header: the first line names the columns. told: its cells and those below it say so. width: cells of the first line."""

    delimiter: str
    header: bool
    told: bool
    width: int


class NoTable(Exception):
    """The first lines are no table; a whole line for the operator."""


def guess(text: str, *, cut: bool, quote: str = '"', header: bool | None = None) -> Dialect | None:
    """text: the start of the file, which ends somewhere in a record when it is cut. None: there is no record. Raises NoTable.

    header: what is known of it already.
    """
    readings = {d: _records(text, d, quote, cut=cut) for d in DELIMITERS}
    if not readings[","]:
        return None
    scores = {d: _score(records) for d, records in readings.items()}
    best = max(DELIMITERS, key=lambda d: scores[d])
    if not any(scores[best]):
        _refuse_title(readings)
        best = next((d for d in DELIMITERS if all(len(record) == 1 for record in readings[d])), ",")
    guessed, told = _has_header(readings[best])
    return Dialect(best, guessed if header is None else header, told or header is not None, len(readings[best][0]))


def _records(text: str, delimiter: str, quote: str, *, cut: bool) -> list[list[str]]:
    options: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    found = []
    for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options):
        if record:
            found.append(record)
        if len(found) > _LOOKED_AT:
            break
    return found[:-1] if (cut or len(found) > _LOOKED_AT) and len(found) > 1 else found


def _score(records: Sequence[Sequence[str]]) -> tuple[float, int, int]:
    """How many records are as wide as the first, whether its cells are clean, and how wide it is; nothing for one column."""
    first = records[0]
    same = sum(len(record) == len(first) for record in records) / len(records)
    if len(first) < 2 or same < _SURE:
        return 0, 0, 0
    return round(same, 1), int(all(cell == cell.strip() for cell in first)), len(first)


def _refuse_title(readings: dict[str, list[list[str]]]) -> None:
    """A first line that is no header of the table below it."""
    for delimiter, (first, *body) in readings.items():
        width, times = Counter(map(len, body)).most_common(1)[0] if body else (0, 0)
        # A comma in each line of one column of text makes no table.
        if width > (2 if len(first) == 1 else 1) and times >= _TABLE * len(body):
            raise NoTable(
                f"line 1 has {len(first)} {'cell' if len(first) == 1 else 'cells'} and the lines below it have {width}, with "
                f"{delimiter!r} between them; correct the header, or remove what stands above it"
            )


def _has_header(records: Sequence[Sequence[str]]) -> tuple[bool, bool]:
    """Whether the first record names columns, and whether the values tell it."""
    first, body = records[0], [record for record in records[1:] if record != records[0]]
    for_names = for_values = 0
    for position, cell in enumerate(first):
        below = [record[position].strip(values.WHITE) for record in body if len(record) == len(first)]
        filled = [text for text in below if text and text.lower() not in values.NULLS]
        kinds = {_kind(text) for text in filled}
        kind, text = _kind(cell.strip(values.WHITE)), cell.strip(values.WHITE)
        if not text:
            continue
        if kind:
            # A number above text may be a name, such as a year; above numbers it is one of them.
            for_values += not body or kind in kinds
        elif kinds and None not in kinds:
            for_names += 1
        elif text in filled:
            for_values += 1
    if _are_years(first):
        return True, True
    return for_values <= for_names, for_names != for_values


def _kind(text: str) -> str | None:
    return "e-mail" if "@" in text and "." in text.rpartition("@")[2] else values.family(text)


def _are_years(cells: Sequence[str]) -> bool:
    """Columns for years, one after the other."""
    years = [int(cell) for cell in cells if len(cell) == 4 and cell.isascii() and cell.isdigit()]
    return len(years) > 1 and years == list(range(years[0], years[0] + len(years))) and years[0] in _YEARS
