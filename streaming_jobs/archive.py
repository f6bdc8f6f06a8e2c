"""Ingested files put away from the landing folder, so that listing it stays short. Off by default."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from streaming_jobs import probe
from streaming_jobs.contract import Contract
from streaming_jobs.contract.load import examine_all
from streaming_jobs.landing import Entry, claims
from streaming_jobs.settings import Settings


def movable(folder: Path, ingested: Sequence[Entry], contract: Contract, settings: Settings) -> tuple[Entry, ...]:
    """The ingested files that may be put away: all but those that another contract reads as well."""
    if not settings.archive_ingested or not ingested:
        return ()
    others = [e.contract.landing for e in examine_all(settings.conf) if e.contract and e.contract.dataset != contract.dataset]

    def shared(entry: Entry) -> bool:
        file = folder / entry.path
        roots = [(settings.landing(o.folder), o) for o in others]
        return any(file.is_relative_to(root) and claims(o, file.relative_to(root).as_posix()) for root, o in roots)

    return tuple(entry for entry in ingested if not shared(entry))


def put_away(folder: Path, entry: Entry, dataset: str, ingest_id: int, settings: Settings) -> None:
    """Move one file to data/archive/<dataset>/<path>; a name that is taken there gets the ingest's number.

    entry: the file as it was ingested. One that was replaced since goes back and is read by the next run, unless
    a newer one lies in its place by then. A file that is gone already is no error: a crash came after the move.
    """
    source = folder / entry.path
    target = settings.table("archive") / dataset / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target = target.with_name(f"{target.name}.{ingest_id}")
    try:
        shutil.move(source, target)
    except FileNotFoundError:
        return
    # Looked at after the move: before it, the file could still be replaced between the look and the move.
    if probe.stamp(target) != (entry.size, entry.modified_at):
        _give_back(target, source)


def _give_back(target: Path, source: Path) -> None:
    staged = source.with_name(f".{source.name[:200]}.unread")
    shutil.move(target, staged)
    with suppress(FileExistsError):
        os.link(staged, source)  # unlike a move, never over a file that has landed meanwhile
    staged.unlink()
