"""Delivered files, in the landing folder and in the archive: which records carry the key, and the files without them."""

from __future__ import annotations

import bz2
import gzip
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import apps, landing, ledger, probe, reading
from streaming_jobs.contract import Contract
from streaming_jobs.failpoints import hit
from streaming_jobs.ledger import FileRow, Status
from streaming_jobs.probe import Facts
from streaming_jobs.run import Run
from streaming_jobs.settings import Settings

REASON = "records of a forgotten key were taken out of the file"
_PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress}


@dataclass(frozen=True)
class Delivered:
    """A file that holds records of the key. rows: their numbers, from 1. shown: relative to the home where it is in it."""

    folder: Path
    facts: Facts
    rows: frozenset[int]
    shown: str


def holding(
    spark: SparkSession, contract: Contract, settings: Settings, carrying: Callable[[DataFrame], DataFrame]
) -> tuple[Delivered, ...]:
    """Read every file of the dataset that can be read; carrying: file and record number of the rows that carry the key."""
    folder, archive = settings.landing(contract.landing.folder), settings.table("archive") / contract.dataset
    claimed = [e.path for e in landing.list_folder(folder) if not e.problem and landing.claims(contract.landing, e.path)]
    archived = [e.path for e in landing.list_folder(archive) if not e.problem] if archive.is_dir() else []
    return tuple(
        found
        for place, paths in ((folder, claimed), (archive, archived))
        for at in range(0, len(paths), settings.max_files_per_batch)
        for found in _of_chunk(spark, contract, settings, place, paths[at : at + settings.max_files_per_batch], carrying)
    )


def _of_chunk(
    spark: SparkSession,
    contract: Contract,
    settings: Settings,
    folder: Path,
    paths: Sequence[str],
    carrying: Callable[[DataFrame], DataFrame],
) -> Iterator[Delivered]:
    probed = probe.probe_all(folder, paths, contract.landing, contract.bronze.columns, settings.probe_threads)
    facts = {f.path: f for f in probed if isinstance(f, Facts)}

    def rows() -> dict[str, list[int]]:
        read = carrying(reading.read(spark, contract, folder, [*facts.values()], 0))
        return {r["_file"]: r["rows"] for r in read.groupBy("_file").agg(F.collect_list("_row").alias("rows")).collect()}

    try:
        found = rows()
    except (PySparkException, Py4JJavaError):
        for path, _ in reading.unreadable(spark, contract, folder, [*facts.values()]):
            del facts[path]
        found = rows()
    for path, numbers in sorted(found.items()):
        yield Delivered(folder, facts[path], frozenset(numbers), settings.shown(folder / path))


def rewrite(contract: Contract, run: Run, found: Sequence[Delivered]) -> int:
    """Write the files again without the records; the ledger is told, so that none of them counts as corrected. Returns how many.

    A file that was touched since it was read, or cannot be written with the same bytes, stays; the search will name it.
    """
    settings, rewritten = run.settings, 0
    for delivered in found:
        file = delivered.folder / delivered.facts.path
        try:
            content = probe.cut(delivered.folder, delivered.facts, contract.landing, delivered.rows)
        except (OSError, probe.Unreadable):
            continue
        staged = file.with_name(f".{file.name[:200]}.forgetting")
        staged.write_bytes(_PACK.get(file.suffix.lower(), bytes)(content))
        shutil.copystat(file, staged)
        if probe.stamp(file) != (delivered.facts.size, delivered.facts.modified_at):
            staged.unlink()
            continue
        staged.replace(file)
        hit("forget.rewritten")
        rewritten += 1
        if delivered.folder == settings.landing(contract.landing.folder):
            _note(contract, run, delivered.facts, file)
    return rewritten


def _note(contract: Contract, run: Run, before: Facts, file: Path) -> None:
    """The hash stays that of the bytes which Bronze read: what lies there now numbers its records otherwise."""
    known = ledger.known(run.settings, contract.dataset)
    state = known.states.get(before.path)
    if state is None or state.loaded is None or (state.size, state.modified_at) != (before.size, before.modified_at):
        return
    size, modified_at = probe.stamp(file)
    new_id = known.last_ingest_id + 1
    rows: list[FileRow] = [
        replace(
            state.loaded, size=size, modified_at=modified_at, status=Status.REPEAT, reason=REASON, ingest_id=new_id, decided_at=ledger.now()
        )
    ]
    ledger.append_files(run.settings, rows, (apps.files(contract.dataset, "decision"), new_id))
