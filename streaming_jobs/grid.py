"""Rows as a table for people: one line a row, numbers to the right, nothing a terminal would act on."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

NULL = "null"


@dataclass(frozen=True)
class Rows:
    """The first rows of a table. NULL is None, a MAP a dict, a STRUCT a dict, a TIMESTAMP aware and in UTC."""

    columns: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]
    total: int  # rows of the whole table


def text(rows: Rows, width: int | None = None) -> str:
    """A table for people, without colour; `width` folds cells to fit, otherwise no cell is cut."""
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    for name, values in zip(rows.columns, zip(*rows.values, strict=True) if rows.values else [()] * len(rows.columns), strict=True):
        grid.add_column(Text(name), justify="right" if _numeric(values) else "left", overflow="fold", no_wrap=width is None)
    for row in rows.values:
        grid.add_row(*(Text(cell(value)) for value in row))
    shown = len(rows.values)
    count = f"{rows.total} row{'' if rows.total == 1 else 's'}" if shown == rows.total else f"{shown} of {rows.total} rows"
    return f"{_printed(grid, width)}\n\n{count}"


def _printed(grid: Table, width: int | None) -> str:
    out = io.StringIO()
    console = Console(file=out, color_system=None, legacy_windows=False, width=width)
    if width is None:
        console.width = max(1, console.measure(grid, options=console.options.update(max_width=1_000_000)).maximum)
    console.print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def plain(columns: Sequence[str], values: Sequence[Sequence[Any]], width: int | None = None, folded: Collection[str] = ()) -> str:
    """A small table inside a page of text: two blanks between columns, no rule, nothing for NULL. folded: columns that make room."""
    grid = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name, of_column in zip(columns, zip(*values, strict=True) if values else [()] * len(columns), strict=True):
        grid.add_column(Text(name), justify="right" if _numeric(of_column) else "left", overflow="fold", no_wrap=name not in folded)
    for row in values:
        grid.add_row(*(Text("" if value is None else number(value) if _numeric([value]) else cell(value)) for value in row))
    return _printed(grid, width)


def number(value: Any) -> str:
    """A number with its thousands apart."""
    return f"{value:,}".replace(",", " ")


def _numeric(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in present)


def cell(value: Any) -> str:
    """One value in one line. A string that could be taken for something else, or cannot be printed, is quoted."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(" ").replace("+00:00", "Z")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{cell(key)}: {cell(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(cell(item) for item in value) + "]"
    written = str(value)
    return repr(value) if written in {"", NULL} or written != written.strip() or not written.isprintable() else written
