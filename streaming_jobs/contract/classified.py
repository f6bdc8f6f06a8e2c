"""Which Gold columns hold what the contract classifies, so that a page for others leaves them out.

A property's `classification` closes its column, `public` opens it. Without one, a column is closed when its expression
names a closed column of its source outside a count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from streaming_jobs.contract import sql
from streaming_jobs.contract.model import Gold
from streaming_jobs.contract.place import Place, items, text

_OPEN = "public"


def closed(
    bronze: Mapping[str, Any], silver: Mapping[str, Any], gold: Iterable[Mapping[str, Any]], tables: Sequence[Gold]
) -> frozenset[tuple[str, str]]:
    """Gold table and column. bronze, silver, gold: the document's objects; tables: the Gold ones, a source before its users."""
    raw = {name for name, said in _said(bronze).items() if _closes(said)}
    held: dict[str | None, set[str]] = {None: _of_silver(silver, raw)}
    classifications = {str(schema.get("physicalName")).partition("/")[2]: _said(schema) for schema in gold}
    for table in tables:
        said, source = classifications.get(table.name, {}), held.get(table.source, set())
        held[table.name] = {c.name for c in (*table.grain, *table.aggregates) if _is_closed(said.get(c.name), c.expression, source)}
    return frozenset((table.name, column) for table in tables for column in held[table.name])


def _of_silver(silver: Mapping[str, Any], raw: Collection[str]) -> set[str]:
    found: set[str] = set()
    sources = {f"raw.{name.casefold()}" for name in raw}
    columns = [c for c in items(silver, "properties") if text(c, "name")]
    # An expression may use columns that stand behind it, so once more until nothing is added.
    while True:
        before = len(found)
        for column in columns:
            name, logic = column["name"], text(column, "transformLogic") or f"raw.{column['name']}"
            if _is_closed(text(column, "classification"), logic, {*sources, *found}):
                found.add(name)
        if len(found) == before:
            return found


def _is_closed(said: str | None, expression: str, source: Collection[str]) -> bool:
    if said is not None:
        return _closes(said)
    parsed = sql.parse(expression, Place("")) if expression else None
    folded = {name.casefold() for name in source}
    return parsed is not None and any(".".join(parts).casefold() in folded for parts in sql.not_counted(parsed))


def _closes(said: str | None) -> bool:
    return said is not None and said.strip().casefold() != _OPEN


def _said(schema: Mapping[str, Any]) -> dict[str, str | None]:
    return {c["name"]: text(c, "classification") for c in items(schema, "properties") if text(c, "name")}
