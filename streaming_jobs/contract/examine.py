"""One file of conf/ judged whole: a Contract, or every reason why not.

bytes -> document.read -> schema.check -> server, bronze, silver, gold -> Contract
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from streaming_jobs.contract import classified, custom, document, memo, schema
from streaming_jobs.contract.bronze import bronze
from streaming_jobs.contract.gold import gold
from streaming_jobs.contract.model import Contract, Examined
from streaming_jobs.contract.place import Place, items, nearest, shown, text
from streaming_jobs.contract.promises import promises
from streaming_jobs.contract.server import landing
from streaming_jobs.contract.silver import silver

_STEM = re.compile(r"[a-z][a-z0-9_]*")
_NO_EFFECT = {
    "slaDefaultElement": "an element stands with its property",
    "roles": "access is the file system's",
}


def examine(file: Path) -> Examined:
    place = Place(str(file))
    contract = None
    if (content := document.content(file, place)) is not None and (plain := document.read(content, place)) is not None:
        contract = _contract(schema.check(plain, place), file, memo.sha256(content), place)
    found, unused = tuple(place.findings), tuple(dict.fromkeys(place.unused))
    return Examined(file, None if found else contract, found, unused)


def _contract(rest: dict[str, Any], file: Path, sha256: str, place: Place) -> Contract:
    """Apply the rules of our subset to what the standard's schema left standing."""
    dataset = file.stem
    if not _STEM.fullmatch(dataset):
        dataset = re.sub(r"[^a-z0-9_]+", "_", dataset.lower()).lstrip("_0123456789") or "dataset"
        place.wrong(
            f"the file's name is the dataset's, so it must be lower-case letters, digits and _, a letter first: {shown(file.stem)}; "
            f"call it {dataset}.yaml"
        )
    version = text(rest, "apiVersion")
    if version is not None and not version.startswith("v3."):
        place.at("apiVersion").wrong(f"{version} is too old; write v3.2.0")
    for key, reason in _NO_EFFECT.items():
        if rest.get(key):
            place.without_effect(f"{key}; {reason}")
    custom.values(rest, "contract", place.at("contract"))
    home = PurePosixPath(file.resolve().parent.parent.as_posix())
    landed = landing(rest, home, place)
    layers = _layers(rest, dataset, place)
    raw, raw_place = layers["bronze"][0] if layers["bronze"] else ({}, place.at("bronze"))
    typed, typed_place = layers["silver"][0] if layers["silver"] else ({}, place.at("silver"))
    raw_table = bronze(raw, raw_place if raw else Place(""))
    typed_table = silver(typed, raw_table, typed_place if typed else Place(""))
    tables = gold(layers["gold"], typed_table, place) if typed else ()
    promised = promises(rest, typed_table, _names(typed, "silver", dataset), place) if typed else ()
    return Contract(
        dataset, file, str(rest.get("version")), landed, raw_table, typed_table, tables, tuple(dict.fromkeys(place.unused)),
        promised, classified.closed(raw, typed, [schema for schema, _ in layers["gold"]], tables), sha256,
    )  # fmt: skip


def _names(schema: dict[str, Any], layer: str, dataset: str) -> tuple[str, ...]:
    """How the standard's element paths may call a table; the one to write comes last."""
    return tuple(dict.fromkeys([f"{layer}/{dataset}", dataset, text(schema, "name") or dataset]))


def _layers(rest: dict[str, Any], dataset: str, place: Place) -> Mapping[str, list[tuple[dict[str, Any], Place]]]:
    """The schema's objects by layer, the first part of `physicalName`."""
    found: dict[str, list[tuple[dict[str, Any], Place]]] = {layer: [] for layer in schema.LAYERS}
    for n, item in enumerate(items(rest, "schema")):
        here, physical = place.at(schema.object_name(item, n)), text(item, "physicalName")
        if physical is None:
            if item:
                here.wrong(f"physicalName is missing; it is the table's path under data/, such as silver/{dataset}")
            continue
        layer = physical.split("/")[0]
        if physical.startswith("/") or ".." in physical.split("/"):
            here.at(".physicalName").wrong(f"{physical}: the table's path under data/, neither absolute nor with ..")
        elif layer not in found:
            here.at(".physicalName").wrong(f"{physical}: the first part names the layer{nearest(layer, schema.LAYERS)}")
        else:
            if layer != "gold" and physical != f"{layer}/{dataset}":
                here.at(".physicalName").wrong(f"{physical} must be {layer}/{dataset}, after the file's name")
            found[layer].append((item, here))
    for layer in ("bronze", "silver"):
        if len(found[layer]) != 1:
            there = f"{len(found[layer])} objects have physicalName {layer}/…"
            place.at("schema").wrong(f"{there}, exactly one is needed: {layer}/{dataset}")
    return found
