"""The Gold objects: one aggregate table each, ordered so that a source comes before its users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streaming_jobs.contract import custom, names, sql, types
from streaming_jobs.contract.model import Gold, GoldColumn, Silver
from streaming_jobs.contract.place import Place, items, nearest, shown, text
from streaming_jobs.contract.scope import TableScope, cycle

_TABLE = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = ("bronze_", "silver_", "quarantine_", "ledger_")
_NO_EFFECT = {
    "required": "a NULL group is a group",
    "unique": "rows are unique by primaryKey",
    "partitioned": "Gold is not partitioned",
    "logicalTypeOptions": "rules are Silver's",
    "enum": "rules are Silver's",
    "quality": "rules are Silver's",
    "relationships": "nothing checks them",
    "synonyms": "headers are matched in Bronze",
    "physicalName": "the column is called as `name` says",
}


@dataclass(frozen=True)
class _Draft:
    """A Gold object before its source is known."""

    name: str
    schema: dict[str, Any]
    place: Place
    found: dict[str, Any]
    source: str | None

    @property
    def columns(self) -> list[dict[str, Any]]:
        return [c for c in items(self.schema, "properties") if isinstance(c.get("name"), str)]


def gold(schemas: Sequence[tuple[dict[str, Any], Place]], silver: Silver, place: Place) -> tuple[Gold, ...]:
    drafts = [d for d in (_draft(schema, here) for schema, here in schemas) if d]
    _check_tables(drafts, place)
    known = {d.name: d for d in drafts}
    aliases = {text(d.schema, "name") or d.name: d.name for d in drafts} | {name: name for name in known}
    for draft in drafts:
        if draft.source is not None and draft.source not in aliases:
            others = nearest(draft.source, set(known) - {draft.name})
            draft.place.wrong(f"source: there is no Gold table {draft.source} in this contract{others}")
    sources = {d.name: aliases.get(d.source) if d.source else None for d in drafts}
    silver_columns = (*(c.name for c in silver.columns), "_file", "_row")
    tables = []
    for draft in _ordered(drafts, sources, place):
        source = sources[draft.name]
        if draft.source is not None and source is None:
            continue  # reported above; its columns cannot be judged
        columns = tuple(c["name"] for c in known[source].columns) if source else silver_columns
        tables.append(_table(draft, source, TableScope(f"gold/{source}" if source else "Silver", columns)))
    return tuple(tables)


def _draft(schema: dict[str, Any], place: Place) -> _Draft | None:
    name = str(schema.get("physicalName")).partition("/")[2]
    here = place.at(".physicalName")
    if not _TABLE.fullmatch(name):
        here.wrong(f"gold/{name}: a table's name is lower-case letters, digits and _, a letter first")
        return None
    if name.startswith(_TAKEN):
        here.wrong(f"gold/{name}: names starting {', '.join(_TAKEN)} are kept for the other tables")
    found = custom.values(schema, "gold object", place)
    for key in ("quality", "relationships"):
        if schema.get(key):
            place.without_effect(f"{key}; {_NO_EFFECT[key]}")
    source = found.get("source")
    if source is not None and not isinstance(source, str):
        place.wrong(f"source: {shown(source)} must be the name of another Gold table")
        source = None
    return _Draft(name, schema, place, found, source)


def _check_tables(drafts: Sequence[_Draft], place: Place) -> None:
    tables = [d.name for d in drafts]
    for name in sorted({t for t in tables if tables.count(t) > 1}):
        place.at("schema").wrong(f"gold/{name} is written by {tables.count(name)} objects; rename all but one")


def _ordered(drafts: Sequence[_Draft], sources: Mapping[str, str | None], place: Place) -> list[_Draft]:
    """Document order, but each table after its source. Tables in a circle are reported and left out."""
    out: list[_Draft] = []
    left = list(drafts)
    while left:
        waiting = {d.name for d in left}
        ready = next((d for d in left if sources[d.name] not in waiting), None)
        if ready is None:
            needs = {d.name: {s} for d in left if (s := sources[d.name])}
            place.wrong(f"source goes round in a circle: {' -> '.join(cycle(needs))}")
            return out
        out.append(ready)
        left.remove(ready)
    return out


def _table(draft: _Draft, source: str | None, scope: TableScope) -> Gold:
    place, declared = draft.place, draft.columns
    for column in declared:
        here = place.at(f".{column['name']}")
        names.check_column(column["name"], here)
        custom.values(column, "gold property", here)
        for key, reason in _NO_EFFECT.items():
            # A key column that says it is required says nothing new.
            if column.get(key):
                here.without_effect(f"{key}; {reason}")
    names.check_unique((c["name"] for c in declared), place)
    order = names.in_order(declared, "primaryKey", "primaryKeyPosition", place)
    by_name = {c["name"]: c for c in declared}
    grain = tuple(_grain(by_name[name], scope, place.at(f".{name}")) for name in order)
    loose = {parts[-1].casefold() for g in grain for parts in _columns_of(g.expression)}
    aggregates = tuple(_aggregate(c, scope, loose, place.at(f".{c['name']}")) for c in declared if c["name"] not in order)
    if not grain:
        place.wrong("no column has primaryKey: true; mark the columns of the grain, one row per value of them")
    if not aggregates:
        place.wrong("has no aggregate column; add one such as {name: rows, logicalType: integer, transformLogic: count(*)}")
    return Gold(draft.name, f"gold/{draft.name}", grain, aggregates, source, _where(draft, scope))


def _grain(column: dict[str, Any], scope: TableScope, place: Place) -> GoldColumn:
    kind, expression = types.column_type(column, place), _logic(column, place)
    if kind and types.is_inexact(kind):
        place.wrong(f"primaryKey on {kind}, whose values do not compare reliably; use DECIMAL(p,s) or STRING")
    found = scope.check(expression, place.at(".transformLogic")) if expression else None
    if found and found.aggregates:
        place.at(".transformLogic").wrong(f"{', '.join(found.aggregates)} is an aggregate function; a column of the grain groups by rows")
    return GoldColumn(column["name"], kind or "STRING", expression)


def _aggregate(column: dict[str, Any], scope: TableScope, grouped: set[str], place: Place) -> GoldColumn:
    kind, expression = types.column_type(column, place), _logic(column, place)
    here = place.at(".transformLogic")
    found = scope.check(expression, here) if expression else None
    if found and not found.aggregates:
        here.wrong(f"`{expression}` has no aggregate function; use one such as sum(…), or mark the column primaryKey: true")
    elif found and sql.nested_aggregate(found):
        here.wrong(f"`{expression}` has one aggregate function inside another; use a second Gold table with this one as its source")
    elif found and (outside := [c for c in sql.ungrouped(found) if c.casefold() not in grouped]):
        here.wrong(f"{', '.join(outside)} stands outside the aggregate function and is not part of the grain; put it inside one")
    return GoldColumn(column["name"], kind or "STRING", expression)


def _where(draft: _Draft, scope: TableScope) -> str | None:
    if "where" not in draft.found:
        return None
    value, here = draft.found["where"], draft.place.at(".where")
    if not isinstance(value, str) or not value.strip():
        here.wrong(f"{shown(value)} must be a boolean Spark SQL expression, as text")
        return None
    found = scope.check(value, here)
    if found and found.aggregates:
        here.wrong(f"{', '.join(found.aggregates)} is an aggregate function; where chooses rows before they are grouped")
    return value


def _logic(column: dict[str, Any], place: Place) -> str:
    expression = text(column, "transformLogic")
    if expression is None:
        place.wrong("transformLogic is missing; a Gold column is an expression over its source")
    return expression or ""


def _columns_of(expression: str) -> tuple[tuple[str, ...], ...]:
    found = sql.parse(expression, Place("")) if expression else None
    return found.columns if found else ()
