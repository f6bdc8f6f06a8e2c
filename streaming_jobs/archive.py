"""Ingested files put away from the landing folder, so that listing it stays short. Off by default."""

from __future__ import annotations

import shutil
from pathlib import Path

from streaming_jobs.settings import Settings


def put_away(folder: Path, path: str, dataset: str, ingest_id: int, settings: Settings) -> None:
    """Move one file to data/archive/<dataset>/<path>; a name that is taken there gets the ingest's number.

    path: relative to the landing folder. A file that is gone already is no error: a crash came after the move.
    """
    target = settings.table("archive") / dataset / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target = target.with_name(f"{target.name}.{ingest_id}")
    try:
        shutil.move(folder / path, target)
    except FileNotFoundError:
        return
