"""Which files of the landing folder a peer has read: a JSON list of names with size and time of modification.

What peers do that have no stream to remember files for them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

MOST_FILES, MOST_BYTES = 500, 1 << 30  # at a time: the rows of so many are held in memory

Seen = dict[str, list[int] | None]
"""Name -> [size, time of modification in ns] as it was read; None: somebody began to read it."""


@dataclass(frozen=True)
class Chunk:
    files: list[str]  # paths, in the order of their names
    names: list[str]
    again: bool  # rows of some of them may stand in Bronze already


def chunks(raw: Path, state: Path) -> Iterator[Chunk]:
    """New and changed files. Those of a chunk count as read when the next is asked for; read half, they are read `again`."""
    known: Seen = json.loads(state.read_text()) if state.exists() else {}
    found: dict[str, list[int]] = {}
    for entry in os.scandir(raw):
        if entry.name.endswith(".csv") and not entry.name.startswith("."):
            found[entry.name] = [entry.stat().st_size, entry.stat().st_mtime_ns]
    waiting = sorted(name for name, stat in found.items() if known.get(name) != stat)
    while waiting:
        sizes = accumulate(found[name][0] for name in waiting[:MOST_FILES])
        names = waiting[: sum(size <= MOST_BYTES for size in sizes) or 1]
        again = any(name in known for name in names)
        known |= dict.fromkeys(names)
        _save(state, known)
        yield Chunk([str(raw / name) for name in names], names, again)
        known |= {name: found[name] for name in names}
        _save(state, known)
        waiting = waiting[len(names) :]


def _save(state: Path, known: Seen) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    aside = state.with_suffix(".new")
    aside.write_text(json.dumps(known))
    aside.replace(state)
