"""The Silver object: typed columns, the natural key, row rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from streaming_jobs.contract import custom, names, types
from streaming_jobs.contract.model import ORDERING, Bronze, RowRule, Silver, SilverColumn
from streaming_jobs.contract.place import Place, items, nearest, shown, text
from streaming_jobs.contract.scope import RowScope, stages

RULE_NAMES = (
    "malformed", "repeated_header", "cast", "required", "minimum", "maximum", "pattern", "minLength", "maxLength", "enum", "expression",
)  # fmt: skip
"""Rules we have ourselves; a quality rule of one of these names could not be told apart in Quarantine."""

_NO_EFFECT = {
    "unique": "a natural key is the primaryKey",
    "quality": "rules are read from the object's quality",
    "relationships": "nothing checks them",
    "synonyms": "headers are matched in Bronze; write it there",
    "physicalName": "the column is called as `name` says",
    "encryptedName": "nothing is encrypted",
}
_OPTIONS = ("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "minLength", "maxLength")


def silver(schema: dict[str, Any], bronze: Bronze, place: Place) -> Silver:
    found = custom.values(schema, "silver object", place)
    if schema.get("relationships"):
        place.without_effect("relationships; nothing checks them")
    declared = [c for c in items(schema, "properties") if isinstance(c.get("name"), str)]
    if not declared:
        place.wrong("has no properties; list the columns of the table")
    raw = tuple(c.name for c in bronze.columns)
    columns = tuple(_column(c, raw, place.at(f".{c['name']}")) for c in declared)
    names.check_unique((c.name for c in columns), place)
    scope = RowScope(tuple(c.name for c in columns), raw)
    ordered = stages({c.name: c.expression for c in columns if c.expression}, scope, place)
    keys, partitions = _keys(declared, columns, place)
    return Silver(
        columns, keys, _sequence(found, columns, place), partitions, _merge_window(found, keys, partitions, columns, place),
        custom.share(found, "maxQuarantinedShare", None, place), _rules(schema, scope, place), ordered,
    )  # fmt: skip


def _column(column: dict[str, Any], raw: tuple[str, ...], place: Place) -> SilverColumn:
    name, expression = column["name"], text(column, "transformLogic")
    names.check_column(name, place)
    if "transformLogic" in column and expression is None:
        place.wrong("transformLogic is empty; write an expression, or leave it out for a cast")
    elif expression is None and raw and name not in raw:
        place.wrong(f"Bronze has no column {name}, and there is no transformLogic{nearest(name, raw)}")
    for key, reason in _NO_EFFECT.items():
        if column.get(key):
            place.without_effect(f"{key}; {reason}")
    found = custom.values(column, "silver property", place)
    kind = types.column_type(column, place)
    if kind is None:
        return SilverColumn(name, "STRING", expression=expression)
    options = column.get("logicalTypeOptions") or {}
    for key in options:
        if key not in _OPTIONS:
            place.without_effect(f"logicalTypeOptions.{key}")
    low, above = _bound(options, "minimum", "exclusiveMinimum", kind, place)
    high, below = _bound(options, "maximum", "exclusiveMaximum", kind, place)
    _check_range(low, high, above or below, kind, place)
    shortest, longest, pattern = _text_options(options, kind, place)
    enum = _enum(column, kind, place)
    return SilverColumn(
        name, kind, _format(options, kind, expression, place), expression, column.get("required") is True,
        _default(found, column, kind, enum, place), low, high, above, below, pattern, shortest, longest, enum,
    )  # fmt: skip


def _format(options: Mapping[str, Any], kind: str, expression: str | None, place: Place) -> str | None:
    pattern = text(options, "format")
    if pattern is None:
        return None
    here = place.at(".logicalTypeOptions.format")
    if not types.is_temporal(kind):
        place.without_effect(f"logicalTypeOptions.format; only dates and timestamps are read by a pattern, this is {kind}")
        return None
    if expression is not None:
        here.wrong("only the cast of a raw column reads by a pattern; with transformLogic, use try_to_timestamp(raw.…, '…') there")
        return None
    types.check_datetime_pattern(pattern, here)
    return pattern


def _bound(options: Mapping[str, Any], plain: str, exclusive: str, kind: str, place: Place) -> tuple[Any, bool]:
    """The bound of one side, and whether the bound itself is outside."""
    if plain in options and exclusive in options:
        place.at(".logicalTypeOptions").wrong(f"{plain} and {exclusive} are both given; keep one")
    key = exclusive if exclusive in options else plain
    value = options.get(key)
    if value is None:
        return None, False
    here = place.at(f".logicalTypeOptions.{key}")
    if not (types.is_number(kind) or types.is_temporal(kind)):
        here.wrong(f"only numbers, dates and timestamps have one; this is {kind}")
    elif types.comparable(value, kind) is None:
        here.wrong(f"{shown(value)} is not {types.describe(kind)}")
    else:
        return value, key == exclusive
    return None, False


def _check_range(low: Any, high: Any, exclusive: bool, kind: str, place: Place) -> None:
    if low is None or high is None:
        return
    first, last = types.comparable(low, kind), types.comparable(high, kind)
    if first is not None and last is not None and (first > last or (exclusive and first == last)):  # type: ignore[operator]  # both of kind
        place.at(".logicalTypeOptions").wrong(f"no value lies between minimum {low} and maximum {high}")


def _text_options(options: Mapping[str, Any], kind: str, place: Place) -> tuple[int | None, int | None, str | None]:
    given = [key for key in ("minLength", "maxLength", "pattern") if key in options]
    here = place.at(".logicalTypeOptions")
    if kind != "STRING":
        for key in given:
            here.at(f".{key}").wrong(f"only a STRING has one; this is {kind}")
        return None, None, None
    shortest, longest, pattern = options.get("minLength"), options.get("maxLength"), text(options, "pattern")
    if shortest is not None and longest is not None and shortest > longest:
        here.wrong(f"no text is at least {shortest} and at most {longest} characters long")
    if pattern is not None:
        types.check_regex(pattern, here.at(".pattern"))
    return shortest, longest, pattern


def _enum(column: dict[str, Any], kind: str, place: Place) -> tuple[Any, ...]:
    values = [item["value"] for item in items(column, "enum") if "value" in item]
    for value in values:
        if not types.fits(value, kind):
            place.at(".enum").wrong(f"{shown(value)} is not {types.describe(kind)}")
    return tuple(v for v in values if types.fits(v, kind))


def _default(found: Mapping[str, Any], column: dict[str, Any], kind: str, enum: tuple[Any, ...], place: Place) -> Any:
    if "default" not in found:
        return None
    value, here = found["default"], place.at(".default")
    if not types.fits(value, kind):
        here.wrong(f"{shown(value)} is not {types.describe(kind)}")
        return None
    if column.get("primaryKey") is True:
        here.wrong("a key column cannot have one; all rows without the key would become one row")
    if enum and value not in enum:
        here.wrong(f"{shown(value)} is not among the enum's values; add it there")
    return value


def _keys(declared: list[dict[str, Any]], columns: tuple[SilverColumn, ...], place: Place) -> tuple[tuple[str, ...], tuple[str, ...]]:
    keys = names.in_order(declared, "primaryKey", "primaryKeyPosition", place)
    partitions = names.in_order(declared, "partitioned", "partitionKeyPosition", place)
    if not keys and declared:
        place.wrong("no column has primaryKey: true; mark the columns that together name a row")
    for column in columns:
        for role, members in (("primaryKey", keys), ("partitioned", partitions)):
            if column.name in members and types.is_inexact(column.type):
                reason = "whose values do not compare reliably; use DECIMAL(p,s) or STRING"
                place.at(f".{column.name}").wrong(f"{role} on {column.type}, {reason}")
    return keys, partitions


def _sequence(found: Mapping[str, Any], columns: tuple[SilverColumn, ...], place: Place) -> tuple[str, ...]:
    given = custom.texts(found, "sequenceBy", place)
    known = {n.casefold(): n for n in (*(c.name for c in columns), *ORDERING)}
    for name in given:
        if name.casefold() not in known:
            place.wrong(f"sequenceBy: there is no column {name}{nearest(name, known.values())}")
    return tuple(known[n.casefold()] for n in given if n.casefold() in known) or ("_file",)


def _merge_window(
    found: Mapping[str, Any], keys: tuple[str, ...], partitions: tuple[str, ...], columns: tuple[SilverColumn, ...], place: Place
) -> int | None:
    if "mergeWindow" not in found:
        return None
    match = re.fullmatch(r"(\d{1,5}) days?", str(found["mergeWindow"]).strip())
    if match is None:
        place.wrong(f"mergeWindow: {shown(found['mergeWindow'])} must be a number of days, such as 7 days")
        return None
    kinds = [c.type for c in columns if c.name in partitions]
    for column in columns:
        if column.name in partitions and not (column.required or column.name in keys):
            place.wrong(f"mergeWindow needs {column.name} to be required: a row without a date lies in no window")
    if kinds != ["DATE"]:
        place.wrong(f"mergeWindow needs exactly one partitioned column, of type DATE; there is {' and '.join(kinds) or 'none'}")
    return int(match[1])


def _rules(schema: dict[str, Any], scope: RowScope, place: Place) -> tuple[RowRule, ...]:
    rules: list[RowRule] = []
    for n, item in enumerate(items(schema, "quality")):
        name = text(item, "name")
        here = place.at(f".quality {name}" if name else f".quality[{n}]")
        if item.get("type") != "custom" or str(item.get("engine")).lower() != "spark":
            here.without_effect("only type: custom with engine: spark is run")
            continue
        _check_rule_name(name, [r.name for r in rules], here)
        severity = item.get("severity", "error")
        if severity not in ("error", "warning"):
            here.wrong(f"severity: {shown(severity)} is not known{nearest(str(severity), ('error', 'warning'))}")
        implementation = text(item, "implementation")
        if implementation is None:
            here.wrong("implementation must be a boolean Spark SQL expression, as text")
            continue
        scope.check(implementation, here)
        rules.append(RowRule(name or "", implementation, severity != "warning"))
    return tuple(rules)


def _check_rule_name(name: str | None, before: list[str], place: Place) -> None:
    if name is None:
        place.wrong("name is missing; refused rows carry it as their reason")
    elif name in before:
        place.wrong("the name is given twice; refused rows could not be told apart")
    elif name.casefold() in {r.casefold() for r in RULE_NAMES}:
        place.wrong("the name is one of the built-in rules; choose another")
