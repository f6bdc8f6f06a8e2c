"""What the standard's own JSON Schema says about a document, one plain line per fault."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import open_data_contract_standard
from jsonschema.exceptions import ValidationError

from streaming_jobs.contract.place import Place, nearest, shown

LAYERS = ("bronze", "silver", "gold")
_KINDS = {
    "string": "text; quote it", "boolean": "true or false", "integer": "a whole number",
    "number": "a number", "array": "a list", "object": "a mapping",
}  # fmt: skip


def check(document: dict[str, Any], place: Place) -> dict[str, Any]:
    """Report every departure from ODCS v3.2.0 and return the document without the parts that depart.

    What is left has the standard's shape, so the rules behind this one need not ask again whether a
    name is text or a list a list.
    """
    rest = copy.deepcopy(document)
    _give_logical_types(rest, place)
    drop = []
    errors = list(_validator().iter_errors(rest))
    untyped = [parent for error in errors if (parent := _untyped(error)) is not None]
    for error in errors:
        # Which keys a server or a quality rule may have follows from its type; without one, none can be called unknown.
        if error.validator == "unevaluatedProperties" and list(error.absolute_path) in untyped:
            continue
        target = place.at(where(rest, list(error.absolute_path)))
        for line, path in _lines(error):
            target.wrong(line)
            drop.append(path)
    for path in drop:
        _remove(rest, path)
    return rest


def where(document: dict[str, Any], path: Sequence[str | int]) -> str:
    """A path of the document in the reader's words: `silver events.amount.logicalTypeOptions`."""
    out, value = "", document
    for step in path:
        value = value[step]  # type: ignore[index]  # the path comes from walking this document
        if isinstance(step, str):
            out += f".{step}" if out else step
        elif out == "schema":
            out = object_name(value, step)
        elif out == "servers" or out.endswith(".properties"):
            name = value.get("server" if out == "servers" else "name") if isinstance(value, dict) else None
            if out == "servers":
                out = f"server {name}" if name else f"servers[{step}]"
            else:
                out = f"{out.removesuffix('.properties')}.{name}" if name else f"{out}[{step}]"
        else:
            out += f"[{step}]"
    return out


def object_name(schema: Any, position: int) -> str:
    """`silver events` for the object of that name and layer; its position when it has neither."""
    if isinstance(schema, dict) and isinstance(schema.get("name"), str):
        layer = str(schema.get("physicalName")).split("/")[0]
        return f"{layer} {schema['name']}" if layer in LAYERS else f"schema {schema['name']}"
    return f"schema[{position}]"


def _give_logical_types(document: dict[str, Any], place: Place) -> None:
    # Without a logicalType every branch of the schema applies, and its first words are about a `map`.
    schemas = document.get("schema")
    for n, schema in enumerate(schemas if isinstance(schemas, list) else []):
        columns = schema.get("properties") if isinstance(schema, dict) else None
        for m, column in enumerate(columns if isinstance(columns, list) else []):
            if isinstance(column, dict) and "logicalType" not in column:
                place.at(where(document, ["schema", n, "properties", m])).wrong("logicalType is missing; say string, integer, number, …")
                column["logicalType"] = "string"
                column.pop("logicalTypeOptions", None)


def _untyped(error: ValidationError) -> list[str | int] | None:
    """Path of the element whose `type` this error is about."""
    path = list(error.absolute_path)
    if path and path[-1] == "type":
        return path[:-1]
    return path if error.validator == "required" and "type" not in cast(Any, error.instance) else None


def _lines(error: ValidationError) -> Iterator[tuple[str, list[str | int]]]:
    """Each fault in an error, with the path of the part to leave out from here on."""
    # jsonschema leaves these untyped until an error is complete; one from iter_errors is.
    path, value, rule = list(error.absolute_path), cast(Any, error.instance), cast(Any, error.validator_value)
    if error.validator in ("unevaluatedProperties", "additionalProperties"):
        known = set(_known_keys(error.schema, value))
        # The validator also calls a key unexpected when its value failed; that has its own line.
        for key in [k for k in value if k not in known]:
            yield _unknown_key(str(key), known, value), [*path, key]
    elif error.validator == "required":
        for key in [k for k in rule if k not in value]:
            # Nothing more can be said about an item without its name; any other gap leaves the rest usable.
            yield f"{key} is missing", path if key == "name" and path else [*path, key]
    elif error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else rule
        several = rule == "string" and isinstance(value, (list, dict))
        yield f"{shown(value)} must be {'one text' if several else ' or '.join(_KINDS.get(k, k) for k in kinds)}", path
    elif error.validator in ("enum", "const"):
        yield f"{shown(value)} is not known{nearest(str(value), map(str, rule if error.validator == 'enum' else [rule]))}", path
    elif error.context and error.validator in ("oneOf", "anyOf"):
        yield _alternatives(error), path
    else:
        yield re.sub(r"\s+", " ", error.message)[:160], path


def _unknown_key(key: str, known: set[str], value: dict[str, Any]) -> str:
    if key == "delimiter" and value.get("type") == "local":
        return (
            "the standard has no delimiter under `type: local`; "
            "write it as {property: delimiter, value: …} in the server's customProperties, or use `type: custom`"
        )
    return f"unknown key {key}{nearest(key, known)}"


def _alternatives(error: ValidationError) -> str:
    required = [set(cast(Any, e.validator_value)) for e in error.context or [] if e.validator == "required"]
    keys = sorted(set().union(*required)) if required else []
    if keys and isinstance(error.instance, dict) and not set(keys) & set(error.instance):
        return f"needs one of {', '.join(keys)}"
    return f"{shown(error.instance)} has none of the forms that the standard allows here"


def _known_keys(schema: Any, instance: Any) -> Iterator[str]:
    """Keys that a subschema allows for this instance, through references and conditions."""
    if not isinstance(schema, dict):
        return
    yield from schema.get("properties", {})
    if "$ref" in schema:
        target: Any = _schema()
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        yield from _known_keys(target, instance)
    for part in ("allOf", "anyOf", "oneOf"):
        for option in schema.get(part, []):
            yield from _known_keys(option, instance)
    if "if" in schema and _validator().evolve(schema=schema["if"]).is_valid(instance):
        yield from _known_keys(schema.get("then"), instance)


def _remove(document: Any, path: Sequence[str | int]) -> None:
    # An item is emptied, not taken out: later paths count on the positions of its neighbours.
    for step in path[:-1]:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return
    if not path:
        return
    if isinstance(document, dict):
        document.pop(path[-1], None)
    elif isinstance(document, list):
        document[int(path[-1])] = {}


@cache
def _schema() -> dict[str, Any]:
    file = Path(open_data_contract_standard.__file__).parent / "schema.json"
    schema: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return schema


@cache
def _validator() -> jsonschema.Draft201909Validator:
    return jsonschema.Draft201909Validator(_schema())
