"""Version checksums: beside a commit, a file with the schema, the protocol and the size of the table at that version.

Delta's protocol asks every writer for them ("Version Checksum File"); Spark writes them, delta-rs 1.6 does not. Without one Spark
learns schema and protocol of a version by a query over the log: five jobs whenever a stream of changes starts (docs/spark.md). It
also builds its own on the one before, and compares when it writes a checkpoint; where they differ it stops.

A table is as good without: a crash may come between commit and file, and the next `write` makes up for the newest version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streaming_jobs import snapshots

_KEPT = 20  # versions; streams open what came since their last batch


def write(table: Path) -> None:
    """Of the newest version, unless it is there or the log no longer says what belongs in it. The caller holds the layer's lock."""
    found = snapshots.existing(table)
    log, version = table / "_delta_log", found.version()
    place = log / f"{version:020}.crc"
    if place.exists():
        return
    said = _newest_actions(log, version)
    if said is None:
        return
    sizes = found.get_add_actions().column("size_bytes").to_pylist()
    content = {"tableSizeBytes": sum(sizes), "numFiles": len(sizes), "numMetadata": 1, "numProtocol": 1, **said}
    staged = log / f".{place.name}.staged"
    staged.write_text(json.dumps(content) + "\n", "utf-8")
    staged.rename(place)
    # What cleans a log up for delta-rs leaves these files.
    old = log / f"{version - _KEPT:020}.crc"
    for file in (old, old.with_name(f".{old.name}.crc")):
        file.unlink(missing_ok=True)


def _newest_actions(log: Path, version: int) -> dict[str, Any] | None:
    """`metadata` and `protocol` of a version, word for word as the log has them: Spark compares the texts. None: not in it any more."""
    found: dict[str, Any] = {}
    for number in range(version, -1, -1):
        if kept := _kept(log / f"{number:020}.crc"):
            return {**kept, **found}
        commit = log / f"{number:020}.json"
        if not commit.exists():
            return None
        with commit.open(encoding="utf-8") as lines:
            for line in lines:
                for action, name in (("metaData", "metadata"), ("protocol", "protocol")):
                    if line.startswith(f'{{"{action}":'):
                        found.setdefault(name, json.loads(line)[action])
        if len(found) == 2:
            return found
    return None


def _kept(checksum: Path) -> dict[str, Any] | None:
    """What an earlier one says; None: it is not there, or a crash of the machine left less than all of it."""
    try:
        said = json.loads(checksum.read_text("utf-8"))
        return {name: said[name] for name in ("metadata", "protocol")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
