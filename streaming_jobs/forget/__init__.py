"""`forget`: one key erased from every layer of a dataset, what the tables keep of earlier versions included, and the proof by search.

In this order, so that after a crash the same command goes on: the list of forgotten keys, which keeps the rows of any later reading
out; Bronze, whose change feed takes them out of quarantine and Silver; Gold, computed again; the older versions of all tables; the
delivered files. Then every file is searched for what was erased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession

from streaming_jobs import bronze, checkpoints, damage, forgotten, gold, keys, locks, pending, session, silver, tables
from streaming_jobs.contract import Contract
from streaming_jobs.errors import as_failure
from streaming_jobs.failpoints import hit
from streaming_jobs.forget import deliveries, erasure, needles, purge
from streaming_jobs.forget.needles import Needles
from streaming_jobs.forget.search import Left, Searched, search
from streaming_jobs.grid import Rows
from streaming_jobs.increment import take
from streaming_jobs.rules.judgement import judge
from streaming_jobs.run import Run

AGAIN = "no row of it will be read any more; correct what failed, then give the same command again"
CARRIES = "records of the key"


@dataclass(frozen=True)
class Erased:
    """rows: of Bronze. files: whose rows they were. rewritten: delivered files that lost records. left: what the search found."""

    rows: int
    files: int
    rewritten: int
    searched: Searched
    left: tuple[Left, ...]


def forget(contract: Contract, run: Run, key: Sequence[str], *, rewrite: bool) -> Erased:
    """Erase a key; key: one text per column of the key, in its order. rewrite: delivered files are written again without its records.

    What has landed by then is read first, and the rows of the key left out. Raises UsageError for a key that is none, Locked,
    DamagedState, and what the layers raise; the same command goes on from there.
    """
    keys.require(contract, key)
    settings = run.settings
    with locks.hold(settings, damage.LAYERS, [contract.dataset]) as held:
        for layer in damage.LAYERS:
            damage.require_none(layer, contract, settings)
        held_bytes = sum(checkpoints.table_bytes(settings.table(name)) for name in (contract.bronze_table, contract.silver_table))
        little = pending.is_small([pending.of_bronze(contract, settings)], held_bytes, settings)
        with session.opened(settings, held, small=little) as spark:
            values = keys.typed(spark, contract, key)
            begun = forgotten.begin(spark, contract, settings, key, values)
            hit("forget.listed")
            try:
                wanted, counted, named, rewritten = _erase(spark, contract, run, key, values, rewrite=rewrite)
            except Exception as error:
                failure = as_failure(error)
                failure.findings += (f"{contract.dataset}: the key is not erased to the end; {AGAIN}",)
                raise failure from error
        # Behind the session: its spill and its log are complete, and gone or closed.
        searched, left = search(contract, settings, wanted, named)
        forgotten.end(settings, begun)
    return Erased(counted.rows, counted.files, rewritten, searched, left)


def _erase(
    spark: SparkSession, contract: Contract, run: Run, key: Sequence[str], values: Mapping[str, Any], *, rewrite: bool
) -> tuple[Needles, erasure.Counted, Sequence[Left], int]:
    settings = run.settings
    carries = keys.carries(contract, key, values)
    take(bronze.start, "bronze", contract, spark, run)
    wanted = needles.of(spark, contract, settings, carries, key, values)
    counted = erasure.of_bronze(spark, contract, run, carries)
    hit("forget.erased")
    anyhow = replace(run, accept_quality=True, force=True)
    take(silver.start, "silver", contract, spark, anyhow)
    # A MERGE names its keys in the log: a version without any, and the stream of Gold begins behind it.
    tables.commit_nothing(settings.table(contract.silver_table))
    take(gold.rebuild, "gold", contract, spark, anyhow)
    purge.versions(contract, settings)
    hit("forget.purged")
    found = deliveries.holding(spark, contract, settings, lambda rows: _carrying(rows, contract, carries))
    if rewrite:
        return wanted, counted, (), deliveries.rewrite(contract, run, found)
    return wanted, counted, tuple(Left(f.shown, CARRIES) for f in found), 0


def _carrying(rows: DataFrame, contract: Contract, carries: Column) -> DataFrame:
    """File and record number of the rows of Bronze that carry the key."""
    return judge(rows, contract).where(carries).select("_file", "_row")


def said(erased: Erased) -> str:
    """What was done, for people."""
    searched = erased.searched
    files = f"{searched.files} files, {searched.bytes} bytes"
    left = f"left in {len(erased.left)}" if erased.left else "none left"
    return (
        f"{erased.rows} rows of bronze erased, from {erased.files} files, and what came of them; {erased.rewritten} delivered files "
        f"rewritten; {searched.texts} texts of theirs searched for in {files}: {left}"
    )


def rows(erased: Erased) -> Rows:
    """The files in which something was found, and what to do."""
    return Rows(("place", "found", "next"), tuple((left.place, left.what, _next(left)) for left in erased.left), len(erased.left))


def _next(left: Left) -> str:
    if left.what == CARRIES:
        return "remove the file, or the same command with --files rewrite"
    if left.place.startswith("data/set-aside/"):
        return "remove it: it is of no use to the tables"
    if left.place.startswith(("data/bronze/", "data/silver/", "data/quarantine/", "data/gold/")):
        return "if it is of another dataset: forget it there too"
    return "remove it, or what it holds"
