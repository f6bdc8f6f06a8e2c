"""Rows as CSV for other programs: RFC 4180 quoting, and nothing that a spreadsheet would take for a formula."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""A text that begins so is run by a spreadsheet, quoted or not (OWASP, CSV Injection)."""


def lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A header and one record per row, each with its line end.

    NULL is an empty cell, an empty text `""`; times are ISO 8601, those with a zone in UTC; a list, a map or a struct is JSON.
    """
    yield _record(map(_text, columns))
    for row in rows:
        yield _record(map(_cell, row))


def _record(cells: Iterable[str | None]) -> str:
    return ",".join("" if cell is None else _quoted(cell) for cell in cells) + "\n"


def _quoted(text: str) -> str:
    """Python's writer leaves a lone CR bare when lines end in LF, and writes NULL and "" alike."""
    needed = not text or any(c in text for c in '",\r\n')
    return '"' + text.replace('"', '""') + '"' if needed else text


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return _text(json.dumps(value, default=_plain, ensure_ascii=False))
    return str(_plain(value))


def _text(value: str) -> str:
    """Numbers are left alone, so that a negative one stays a number."""
    return f"'{value}" if value.startswith(_FORMULA) else value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value)
