"""How far a layer's tables had come when its last work ended: `checkpoints/marks/<layer>.<dataset>.json`, table -> id and version.

A table that is behind its mark was set back: an older copy of it was restored, or its newest commit was lost.
Nothing else tells, because such a table is whole by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from streaming_jobs import snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.settings import Settings


def tables(layer: str, contract: Contract) -> tuple[str, ...]:
    """The tables that a layer writes, by their paths under data/."""
    if layer == "bronze":
        return (contract.bronze_table,)
    return (contract.silver_table, contract.quarantine_table) if layer == "silver" else tuple(g.path for g in contract.gold)


def follower(name: str, contract: Contract, settings: Settings) -> Path | None:
    """The checkpoint of the stream that reads a table's change feed; None: nobody does."""
    layer = {contract.bronze_table: "silver", contract.silver_table: "gold"}.get(name)
    return settings.checkpoint(layer, contract.dataset) if layer else None


def keep(layer: str, contract: Contract, settings: Settings) -> None:
    """Write down how far the tables are; atomically, and only where something changed."""
    found = ((name, snapshots.newest(settings.table(name))) for name in tables(layer, contract))
    marks = {name: (str(table.metadata().id), table.version()) for name, table in found if table}
    file = _file(layer, contract, settings)
    if marks == _read(file):
        return
    file.parent.mkdir(exist_ok=True, mode=0o700)
    staged = file.with_suffix(".staged")
    staged.write_text(json.dumps(marks), "utf-8")
    staged.replace(file)


def set_back(layer: str, contract: Contract, settings: Settings) -> Iterator[tuple[str, int, int]]:
    """Tables behind their marks: name, version, version that was marked. A table made anew under its name is not."""
    for name, version in _versions(tables(layer, contract), _file(layer, contract, settings), settings):
        held = snapshots.existing(settings.table(name)).version()
        if held < version:
            yield name, held, version


def since(layer: str, contract: Contract, settings: Settings) -> Iterator[tuple[str, range]]:
    """Table -> its versions after the mark."""
    for name, version in _versions(tables(layer, contract), _file(layer, contract, settings), settings):
        yield name, range(version + 1, snapshots.existing(settings.table(name)).version() + 1)


def _versions(names: Iterable[str], file: Path, settings: Settings) -> Iterator[tuple[str, int]]:
    marks = _read(file)
    for name in names:
        found = snapshots.newest(settings.table(name))
        if found and name in marks and marks[name][0] == str(found.metadata().id):
            yield name, marks[name][1]


def _file(layer: str, contract: Contract, settings: Settings) -> Path:
    return settings.home / "checkpoints" / "marks" / f"{layer}.{contract.dataset}.json"


def _read(file: Path) -> dict[str, tuple[str, int]]:
    """Nothing where the file is missing or damaged: it only ever adds a check."""
    try:
        found = json.loads(file.read_text("utf-8"))
        return {name: (str(table), int(version)) for name, (table, version) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
