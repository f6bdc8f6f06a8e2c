"""The Bronze object: raw columns, and what a changed file does."""

from __future__ import annotations

from typing import Any

from streaming_jobs.contract import custom, names
from streaming_jobs.contract.model import Bronze, RawColumn, Redelivery
from streaming_jobs.contract.place import Place, items, nearest, shown, text

_NO_EFFECT = {
    "primaryKey": "keys are Silver's",
    "partitioned": "Bronze stays unpartitioned",
    "unique": "nothing checks it; a natural key is Silver's primaryKey",
    "logicalTypeOptions": "Bronze is strings as delivered; write it in Silver",
    "transformLogic": "Bronze is strings as delivered; write it in Silver",
    "enum": "Bronze is strings as delivered; write it in Silver",
    "quality": "Bronze promises nothing about quality; write it in Silver",
    "relationships": "nothing checks them",
    "physicalName": "the column is called as `name` says",
}


def bronze(schema: dict[str, Any], place: Place) -> Bronze:
    found = custom.values(schema, "bronze object", place)
    if schema.get("quality"):
        place.without_effect("quality; Bronze promises nothing about quality, write it in Silver")
    columns = [c for c in items(schema, "properties") if isinstance(c.get("name"), str)]
    if not columns:
        place.wrong("has no properties; list the columns of the CSV files")
    raw = tuple(_column(c, place.at(f".{c['name']}")) for c in columns)
    names.check_unique((c.name for c in raw), place)
    _check_synonyms(raw, place)
    given = found.get("onRedelivery", "replace")
    if not isinstance(given, str) or given not in set(Redelivery):
        place.wrong(f"onRedelivery: {shown(given)} is not known{nearest(str(given), set(Redelivery))}")
        given = "replace"
    return Bronze(raw, Redelivery(given), custom.share(found, "maxShrink", 0.9, place) or 0.0)


def _column(column: dict[str, Any], place: Place) -> RawColumn:
    names.check_raw(column["name"], place)
    custom.values(column, "bronze property", place)
    for key, reason in _NO_EFFECT.items():
        if column.get(key):
            place.without_effect(f"{key}; {reason}")
    if column.get("logicalType", "string") != "string" or str(column.get("physicalType", "STRING")).upper() != "STRING":
        place.without_effect("the type; every Bronze column is STRING, write it in Silver")
    synonyms = tuple(s for s in (text(i, "synonym") for i in items(column, "synonyms")) if s)
    return RawColumn(column["name"], tuple(s.strip() for s in synonyms), column.get("required") is True)


def _check_synonyms(columns: tuple[RawColumn, ...], place: Place) -> None:
    # Headers match regardless of case in the end, so two columns must not answer to the same name in any case.
    owners = {c.name.casefold(): c.name for c in columns}
    for column in columns:
        for synonym in column.synonyms:
            owner = owners.setdefault(synonym.casefold(), f"a synonym of {column.name}")
            if owner == f"a synonym of {column.name}" and column.synonyms.count(synonym) == 1:
                continue
            place.at(f".{column.name}").wrong(f"synonym {synonym} is already {owner}; a header must mean one column")
