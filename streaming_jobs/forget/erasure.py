"""The rows of a key taken out of Bronze, in one commit; the layers below follow by its change feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import agreement, apps, ledger, marks, tables
from streaming_jobs.contract import Contract
from streaming_jobs.failpoints import hit
from streaming_jobs.ledger import FileRow, Status
from streaming_jobs.rules.judgement import judge
from streaming_jobs.run import Clock, Run, record
from streaming_jobs.tables import Txn

REASON = "rows of a forgotten key were taken out"
_IDENTITY = ("_ingest_id", "_file", "_row")


@dataclass(frozen=True)
class Counted:
    """rows: that were taken out of Bronze. files: whose rows they were."""

    rows: int = 0
    files: int = 0


def of_bronze(spark: SparkSession, contract: Contract, run: Run, carries: Column) -> Counted:
    """Delete the rows; carries: of a judged row. The ledger is told first: it must never know less than Bronze has committed."""
    settings, dataset, clock = run.settings, contract.dataset, Clock()
    table = settings.table(contract.bronze_table)
    rows = judge(tables.read(spark, table), contract).where(carries)
    gone = rows.select("_bronze._ingest_id", "_file", "_row", F.col("_bronze._malformed").isNotNull().alias("_wrong")).persist()
    try:
        counts = {r["_file"]: (r["rows"], r["wrong"]) for r in _per_file(gone).collect()}
        if not counts:
            return Counted()
        newest = _note(contract, run, counts)
        hit("forget.noted")
        with tables.transaction(spark, Txn(apps.bronze(dataset), newest)):
            same = " AND ".join(f"old.{c} = gone.{c}" for c in _IDENTITY)
            DeltaTable.forPath(spark, str(table)).alias("old").merge(gone.alias("gone"), same).whenMatchedDelete().execute()
    finally:
        gone.unpersist()
    total = sum(rows for rows, _ in counts.values())
    record(
        run, clock, layer="bronze", dataset=dataset, txn=(apps.runs("bronze", dataset), newest), batch_id=None, rows_in=0, accepted=0,
        deleted=total, table_version=tables.version(table),
    )  # fmt: skip
    marks.keep("bronze", contract, settings)
    return Counted(total, len(counts))


def _per_file(gone: DataFrame) -> DataFrame:
    return gone.groupBy("_file").agg(F.count(F.lit(1)).alias("rows"), F.count_if("_wrong").alias("wrong"))


def _note(contract: Contract, run: Run, counts: Mapping[str, tuple[int, int]]) -> int:
    """Tell the ledger what Bronze will hold of each file; returns the number under which Bronze commits it.

    counts: path -> rows that go, and how many of them are malformed.
    """
    known, held = ledger.known(run.settings, contract.dataset), agreement.rows_per_file(contract, run.settings)
    new_id = known.last_ingest_id + 1
    less: list[FileRow] = []
    again: list[FileRow] = []
    for path, (rows, wrong) in counts.items():
        state = known.states[path]
        assert state.loaded is not None  # Bronze holds rows of it
        archived = state.reason == ledger.ARCHIVED
        said = state.last if archived else replace(state.loaded, status=Status.REPEAT, reason=REASON)
        left, malformed = held[path][0] - rows, held[path][1] - wrong
        less.append(replace(said, rows=left, malformed_rows=malformed, ingest_id=new_id, decided_at=ledger.now()))
        if not archived and state.last.ingest_id > state.loaded.ingest_id:  # held, rejected or missing: that stays the last word
            again.append(replace(state.last, ingest_id=new_id + 1))
    ledger.append_files(run.settings, less, (apps.files(contract.dataset, "decision"), new_id))
    if again:
        ledger.append_files(run.settings, again, (apps.files(contract.dataset, "decision"), new_id + 1))
    return new_id + bool(again)
