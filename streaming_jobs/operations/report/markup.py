"""Small pieces of markup. Whatever comes from names, reasons or tables goes through `text`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from streaming_jobs.console import printable
from streaming_jobs.grid import number

NONE = "-"


def text(value: object) -> str:
    """A value as text of the page: no markup, no control characters, and nothing that a spreadsheet takes for a formula."""
    said = printable(str(value))
    formula = said[:1] in ("=", "+", "@") or (said[:1] == "-" and said != NONE and not said[1:2].isdigit())
    return escape(f"'{said}'" if formula else said)


def figure(value: float | None) -> str:
    """A number with its thousands apart and at most two decimals."""
    if value is None:
        return NONE
    return number(int(value) if value == int(value) else round(value, 2))


def counted(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def answer(short: str, said: str, kind: str = "") -> str:
    """The first line of a section. kind: `yes`, `no`, or neither."""
    return f'<p class="answer"><strong class="{kind or "plain"}">{text(short)}</strong> {text(said)}</p>'


def note(inner: str) -> str:
    """A line beside the matter. inner: markup."""
    return f'<p class="muted small">{inner}</p>'


def code(command: str) -> str:
    return f"<code>{escape(printable(command))}</code>"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], long: Collection[int] = ()) -> str:
    """A table in a box of its own, which scrolls where the page is narrow. long: columns that are folded instead."""
    numeric = {n for n in range(len(columns)) if rows and all(isinstance(row[n], int | float | None) for row in rows)}
    classes = dict.fromkeys(numeric, ' class="n"') | dict.fromkeys(long, ' class="long"')

    def row_of(values: Sequence[Any], tag: str) -> str:
        cells = (f"<{tag}{classes.get(n, '')}>{_cell(value)}</{tag}>" for n, value in enumerate(values))
        return f"<tr>{''.join(cells)}</tr>"

    head, body = row_of(columns, "th"), "".join(row_of(row, "td") for row in rows)
    return f'<div class="scroll" tabindex="0"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    return figure(value) if isinstance(value, int | float | None) else text(value)
