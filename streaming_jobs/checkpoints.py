"""What Spark's checkpoints say, read without Spark: how far a stream has come.

Relied on, each with a test: a planned micro-batch N is `offsets/N`, a finished one `commits/N` too; the
last line of an offset of a Delta source is JSON with the id of the table, a version and the index of the
last file taken from it. Index -1 is the start of a version: all earlier ones are done. What does not
read like that is treated as work to do, so that Spark decides.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from streaming_jobs import snapshots

_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError)


def is_new(checkpoint: Path) -> bool:
    """True when no micro-batch was ever planned under this checkpoint."""
    return _newest(checkpoint / "offsets") is None


def is_outdated(checkpoint: Path, table: Path) -> bool:
    """True when the stream surely cannot go on: the table was made anew under its name, or its columns since.

    A change of columns ends a stream over the change feed, and one that drops a column never lets it pass.
    """
    newest, source = _newest(checkpoint / "offsets"), snapshots.existing(table)
    if newest is None:
        return False
    try:
        offset = _offset(checkpoint, newest)
        if not _is_of(offset, source):
            return True
        first = offset["reservoirVersion"] + (offset["index"] >= 0)
        return any("metaData" in action for version in range(first, source.version() + 1) for action in _actions(table, version))
    except _UNREADABLE:
        return False


def is_of_another(checkpoint: Path, table: Path) -> bool:
    """True when the stream surely read another table: this one was made anew under its name."""
    newest = _newest(checkpoint / "offsets")
    try:
        return newest is not None and not _is_of(_offset(checkpoint, newest), snapshots.existing(table))
    except _UNREADABLE:
        return False


def discard(checkpoint: Path) -> None:
    """Let the stream begin again with its source as it is."""
    shutil.rmtree(checkpoint, ignore_errors=True)


def is_behind(checkpoint: Path, table: Path) -> bool:
    """False only when a stream over the table's change feed has surely finished everything up to its newest version.

    Without a checkpoint a stream is behind when the table was ever written.
    """
    source = snapshots.existing(table)
    newest = _newest(checkpoint / "offsets")
    if newest is None:
        return bool(source.version() > 0)
    if newest != _newest(checkpoint / "commits"):
        return True
    try:
        offset = _offset(checkpoint, newest)
        if not _is_of(offset, source) or offset["isStartingVersion"]:
            return True
        reached, index = offset["reservoirVersion"], offset["index"]
        for version in range(reached, source.version() + 1):
            actions = _actions(table, version)
            read = index + 1 if version == reached else 0
            if read != _changes(actions) or (read == 0 and not _only_joins_files(actions)):
                return True
        return False
    except _UNREADABLE:
        return True


def bytes_behind(checkpoint: Path, table: Path) -> int | None:
    """Bytes of the files that commits since the stream's offset added; None: cannot be told."""
    source = snapshots.existing(table)
    newest = _newest(checkpoint / "offsets")
    if newest is None:
        return table_bytes(table)
    try:
        offset = _offset(checkpoint, newest)
        commits = range(int(offset["reservoirVersion"]), source.version() + 1)
        actions = [action for version in commits for action in _actions(table, version)]
        changed = [a["cdc"] for a in actions if "cdc" in a] + [a["add"] for a in actions if "add" in a and a["add"].get("dataChange", True)]
        return sum(int(file["size"]) for file in changed)
    except _UNREADABLE:
        return None


def table_bytes(table: Path) -> int:
    """Bytes of the files a table consists of now; 0: no table."""
    found = snapshots.newest(table)
    if found is None:
        return 0
    return sum(size or 0 for size in snapshots.files(found)["size_bytes"].to_pylist())


def _newest(log: Path) -> int | None:
    if not log.is_dir():
        return None
    return max((int(name.name) for name in log.iterdir() if name.name.isdecimal()), default=None)


def _offset(checkpoint: Path, batch: int) -> dict[str, Any]:
    """The source's offset of a planned micro-batch. Raises one of _UNREADABLE when it is not as expected."""
    found: dict[str, Any] = json.loads((checkpoint / "offsets" / str(batch)).read_text("utf-8").splitlines()[-1])
    return found


def _is_of(offset: dict[str, Any], source: DeltaTable) -> bool:
    return bool(offset["reservoirId"] == str(source.metadata().id))


def _only_joins_files(actions: Sequence[dict[str, Any]]) -> bool:
    """True for a commit that wrote the same rows in other files, and did nothing else."""
    files = [a[kind] for a in actions for kind in ("add", "remove") if kind in a]
    rest = {kind for a in actions for kind in a} - {"add", "remove", "commitInfo"}
    return bool(files) and not rest and not any(file.get("dataChange", True) for file in files)


def _changes(actions: Sequence[dict[str, Any]]) -> int:
    """How many files of a commit the change feed reads: its change files, else what it added and removed."""
    change_files = sum("cdc" in a for a in actions)
    return change_files or sum(a[kind].get("dataChange", True) for a in actions for kind in ("add", "remove") if kind in a)


def _actions(table: Path, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (table / "_delta_log" / f"{version:020}.json").read_text("utf-8").splitlines()]
