"""`contract diff`: what a contract says otherwise than another, or than the Silver table that exists, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streaming_jobs import contract as contracts
from streaming_jobs import meaning
from streaming_jobs.contract import Contract
from streaming_jobs.facts.words import described
from streaming_jobs.grid import Rows
from streaming_jobs.meaning import Effect
from streaming_jobs.settings import Settings

_FOLLOWS = {
    Effect.ADDS: "the next silver run recomputes Silver with it",
    Effect.LOOSENS: "runs refuse until `quarantine replay` or `rebuild silver`",
    Effect.CHANGES: "runs refuse until `rebuild silver`",
}
_FILES = "for files read from now on"
_NEXT = "from the next run on"

_Line = tuple[str, Any, Any, str]
"""Place, what was said, what is said now, what follows."""


def against_tables(found: Sequence[Contract], settings: Settings) -> Rows:
    """Differences between contracts and what their Silver tables were made by; none where there is no table yet."""
    lines = [
        (c.dataset, f"silver.{d.place}", _text(d.was), _text(d.now), _FOLLOWS[d.effect])
        for c in found
        for d in meaning.changed(c, settings.table(c.silver_table))
    ]
    return Rows(("dataset", "place", "was", "now", "follows"), tuple(lines), len(lines))


def between(old: Path, new: Path) -> Rows:
    """Differences between two contract files of one dataset, in all layers. Raises ContractError for a file with findings."""
    was, now = contracts.load(old), contracts.load(new)
    lines = [(place, _text(before), _text(after), follows) for place, before, after, follows in _lines(was, now)]
    return Rows(("place", "was", "now", "follows"), tuple(lines), len(lines))


def _lines(was: Contract, now: Contract) -> Iterator[_Line]:
    for name, before, after in _changed(asdict(was.landing), asdict(now.landing)):
        yield f"landing.{name}", before, after, _FILES
    old, new = ({c.name: asdict(c) for c in one.bronze.columns} for one in (was, now))
    for name in {**old, **new}:
        if name not in new:
            yield f"bronze.{name}", "a column", None, "stays in the table; its cells go to _extra " + _FILES
        elif name not in old:
            required = new[name]["required"]
            yield f"bronze.{name}", None, "a column", "files without it are rejected" if required else "NULL in rows already there"
        else:
            for key, before, after in _changed(old[name], new[name]):
                yield f"bronze.{name}.{key}", before, after, _FILES
    for key in ("on_redelivery", "max_shrink"):
        if getattr(was.bronze, key) != getattr(now.bronze, key):
            yield f"bronze.{key}", getattr(was.bronze, key), getattr(now.bronze, key), _NEXT
    for d in meaning.differences(meaning.of(was), meaning.of(now)):
        yield f"silver.{d.place}", d.was, d.now, _FOLLOWS[d.effect]
    for key in ("merge_window_days", "max_quarantined_share"):
        if getattr(was.silver, key) != getattr(now.silver, key):
            yield f"silver.{key}", getattr(was.silver, key), getattr(now.silver, key), _NEXT
    promised = [[described(promise) for promise in one.promises] for one in (was, now)]
    if promised[0] != promised[1]:
        yield "promises", promised[0] or None, promised[1] or None, "measured by status from now on"
    before_tables, after_tables = ({g.name: g for g in one.gold} for one in (was, now))
    for name in {**before_tables, **after_tables}:
        if name not in after_tables:
            yield f"gold.{name}", "a table", None, "stays as it is and is no longer kept up to date"
        elif name not in before_tables:
            yield f"gold.{name}", None, "a table", "built by the next gold run"
        elif before_tables[name] != after_tables[name]:
            yield f"gold.{name}", "a definition", "another", "built anew by the next gold run"


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    return ((key, was[key], now[key]) for key in was if was[key] != now[key])


def _text(value: Any) -> str | None:
    return None if value is None else str(list(value) if isinstance(value, tuple) else value)
