"""Silver: for each key the newest valid row of Bronze. Quarantine: the rows Silver refused, with reasons.

Both are functions of Bronze's current rows. They do not depend on the order in which files came, on
how commits were batched, on repetition or on crashes.

A micro-batch of Bronze's change feed is judged once, then written in this order: quarantine, Silver,
ledger. Each write names itself and none is derived from what another returned, so a batch that comes
again after a crash completes what is missing and repeats nothing. What Silver holds already is
compared before anything is written: a batch that changes nothing commits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from operator import and_
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import checkpoints, ledger, sqltext, streams, tables
from streaming_jobs.contract import Contract
from streaming_jobs.errors import InputRefused
from streaming_jobs.failpoints import hit
from streaming_jobs.rules import versions
from streaming_jobs.rules.judgement import REASONS, judge
from streaming_jobs.run import Clock, Run, Warned, record
from streaming_jobs.tables import Txn

_FEW_ROWS = 200_000  # up to here one output file is as fast as several
_IDENTITY = ("_file", "_file_modified_at", "_row")  # of a row in quarantine


def start(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Apply every change of Bronze that Silver has not seen, then return. Without a Bronze table: nothing.

    Raises InputRefused when a micro-batch exceeds `maxQuarantinedShare`; nothing of that batch is applied
    then, earlier ones stay.
    """
    settings = run.settings
    bronze = settings.table(contract.bronze_table)
    if not tables.exists(bronze):
        return
    checkpoint = settings.checkpoint("silver", contract.dataset)
    held = [settings.table(name) for name in (contract.silver_table, contract.quarantine_table)]
    if not all(tables.exists(table) for table in held):
        # Before they are created: a table that was lost lacks what the stream has passed.
        checkpoints.discard(checkpoint)
    create(spark, contract, run)
    if checkpoints.is_new(checkpoint) and not all(tables.read(spark, table).isEmpty() for table in held):
        # The stream starts with Bronze as it is now and cannot say what went away before.
        recompute(spark, contract, run)
    streams.run_available(streams.read_changes(spark, bronze), apply_changes(contract, run), checkpoint, run.stop)


def create(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Create Silver and its quarantine; columns new in the contract are added, older rows read NULL."""
    settings = run.settings
    provenance = {"_file": "STRING", "_file_modified_at": "TIMESTAMP", "_row": "BIGINT"}
    silver = [(c.name, c.type) for c in contract.silver.columns] + [(c, provenance[c]) for c in versions.identity(contract)]
    quarantine = [
        *((c.name, "STRING") for c in contract.bronze.columns),
        *(("_extra", "MAP<STRING,STRING>"), ("_malformed", "STRING"), *provenance.items()),
        *(("reasons", REASONS), ("contract_version", "STRING"), ("quarantined_at", "TIMESTAMP")),
    ]
    for name, columns, partitions in (
        (contract.silver_table, silver, contract.silver.partitioned_by),
        (contract.quarantine_table, quarantine, ()),
    ):
        table = settings.table(name)
        tables.create(table, tables.schema(columns), retention_days=settings.change_feed_retention_days, partitioned_by=partitions)
        tables.add_columns(spark, table, columns)


def apply_changes(contract: Contract, run: Run) -> streams.BatchFunction:
    """The batch function: changes of Bronze -> quarantine, Silver, ledger."""

    def apply(batch: DataFrame, batch_id: int) -> None:
        clock, query = Clock(), streams.query_id(batch.sparkSession)

        def txn(write: str) -> Txn:
            # With the query's id: a new checkpoint counts its batches from 0 again.
            return Txn(f"silver:{contract.dataset}:{write}:{query}", batch_id)

        judged = _judged(batch, contract).persist()
        try:
            seen = _measure(judged, contract)
            if not seen.rows:
                return
            arrived, gone = versions.net(judged) if seen.gone else (judged, None)
            came = _measure(arrived, contract) if seen.gone else seen
            _limit(arrived, came, contract, run)
            if came.refused or seen.gone:
                _write_quarantine(arrived, gone, contract, run, txn("quarantine"))
            hit("silver.quarantined")
            tally = _write_silver(arrived, gone, seen, contract, run, txn("merge"))
            hit("silver.merged")
        finally:
            judged.unpersist()
        for rule, rows in came.warned.items():
            run.notify(Warned(contract.dataset, rule, rows))
        record(
            run, clock, layer="silver", dataset=contract.dataset, txn=(f"runs:silver:{contract.dataset}:{query}", batch_id),
            batch_id=batch_id, rows_in=came.arrivals, accepted=tally.accepted, superseded=tally.superseded,
            quarantined=came.refused, deleted=tally.deleted, table_version=tables.version(run.settings.table(contract.silver_table)),
        )  # fmt: skip
        hit("silver.recorded")

    return apply


def recompute(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Silver and quarantine from all of Bronze, each in one commit. Readers see the old table or the new one."""
    settings = run.settings
    judged = judge(tables.read(spark, settings.table(contract.bronze_table)), contract)
    tables.overwrite(_refused(judged, contract), settings.table(contract.quarantine_table))
    rows = _newest(judged, contract).select(*versions.stored(contract))
    tables.overwrite(rows, settings.table(contract.silver_table), partitioned_by=contract.silver.partitioned_by)


@dataclass(frozen=True)
class _Measure:
    """One pass over judged changes. warned: warning rule -> accepted arrivals that break it. low, high: per column."""

    rows: int
    arrivals: int
    refused: int  # of the arrivals
    gone: int
    keyed: int  # rows whose keys are all there, valid or not
    warned: Mapping[str, int]
    low: Mapping[str, Any]
    high: Mapping[str, Any]


@dataclass(frozen=True)
class _Tally:
    accepted: int
    superseded: int
    deleted: int


def _judged(batch: DataFrame, contract: Contract) -> DataFrame:
    """Judge a batch of the change feed, arrivals and removals alike: the keys of a removed row are needed too."""
    judged = judge(batch, contract)
    return judged.select(
        F.col("_bronze._change_type").isin("insert", "update_postimage").alias("_change"),
        "_bronze._commit_version",
        "_bronze._ingest_id",
        # Valid rows are done with their strings; only a refused row takes them along to quarantine.
        F.when(_is_refused(), F.col("_bronze")).alias("_bronze"),
        *(F.col(sqltext.quoted(c.name)) for c in contract.silver.columns),
        *_IDENTITY,
        "_reasons",
        "_warnings",
    )


def _measure(judged: DataFrame, contract: Contract) -> _Measure:
    arrived, refused = F.col("_change"), _is_refused()
    warnings = [rule.name for rule in contract.silver.rules if not rule.blocking]
    bounded = (*contract.silver.keys, *contract.silver.partitioned_by)
    found = judged.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(arrived).alias("arrivals"),
        F.count_if(arrived & refused).alias("refused"),
        F.count_if(_has_keys(contract)).alias("keyed"),
        *(F.count_if(arrived & ~refused & F.array_contains("_warnings", name)).alias(f"warned {name}") for name in warnings),
        *(F.min(sqltext.quoted(c)).alias(f"low {c}") for c in bounded),
        *(F.max(sqltext.quoted(c)).alias(f"high {c}") for c in bounded),
    ).first()
    assert found is not None  # an aggregate without groups is one row
    return _Measure(
        found["rows"],
        found["arrivals"],
        found["refused"],
        found["rows"] - found["arrivals"],
        found["keyed"],
        {name: found[f"warned {name}"] for name in warnings if found[f"warned {name}"]},
        {c: found[f"low {c}"] for c in bounded},
        {c: found[f"high {c}"] for c in bounded},
    )


def _has_keys(contract: Contract) -> Column:
    return reduce(and_, (F.col(sqltext.quoted(k)).isNotNull() for k in contract.silver.keys))


def _limit(arrived: DataFrame, came: _Measure, contract: Contract, run: Run) -> None:
    """Refuse the batch when too much of it would go to quarantine.

    A refused batch stays planned, and a correction waits behind it. So rows that Bronze no longer holds
    do not count: with the file corrected or removed the batch passes.
    """
    limit = contract.silver.max_quarantined_share
    if limit is None or run.accept_quality or not came.arrivals or came.refused / came.arrivals <= limit:
        return
    bronze = tables.read(arrived.sparkSession, run.settings.table(contract.bronze_table))
    held = bronze.select("_ingest_id", "_file").distinct()
    current = _measure(arrived.join(held, ["_ingest_id", "_file"], "left_semi"), contract)
    if not current.arrivals or current.refused / current.arrivals <= limit:
        return
    worst = arrived.where(_is_refused()).groupBy("_file").count().orderBy(F.desc("count"), "_file").first()
    assert worst is not None  # something was refused
    raise InputRefused(
        f"silver of {contract.dataset}: {current.refused} of {current.arrivals} rows ({current.refused / current.arrivals:.0%}) would be "
        f"quarantined, the contract allows {limit:.0%}; most are from {worst['_file']} ({worst['count']}). Nothing of this batch was "
        f"applied. Correct or remove the file and run again, or let it in with `streaming-jobs silver {contract.dataset} --accept-quality`."
    )


def _is_refused() -> Column:
    return F.size("_reasons") > 0


def _newest(judged: DataFrame, contract: Contract) -> DataFrame:
    """The newest valid row of each key."""
    return versions.newest_per_key(judged.where(~_is_refused()), contract.silver.keys, versions.order(contract))


def _refused(judged: DataFrame, contract: Contract) -> DataFrame:
    """Refused rows as the quarantine holds them: as delivered, with their reasons."""
    delivered = [*(c.name for c in contract.bronze.columns), "_extra", "_malformed"]
    return judged.where(_is_refused()).select(
        *(F.col(f"_bronze.{sqltext.quoted(c)}") for c in delivered),
        *_IDENTITY,
        F.col("_reasons").alias("reasons"),
        F.lit(contract.version).alias("contract_version"),
        F.lit(ledger.now()).cast("timestamp").alias("quarantined_at"),
    )


def _write_quarantine(arrived: DataFrame, gone: DataFrame | None, contract: Contract, run: Run, txn: Txn) -> None:
    """Add what was refused and take out what went away, in one commit, or in none where nothing changes."""
    spark, table = arrived.sparkSession, run.settings.table(contract.quarantine_table)
    held = tables.read(spark, table)
    compared = [*_IDENTITY, "_content"]
    content = F.to_json(F.struct(*(c.name for c in contract.bronze.columns), "_extra", "_malformed", "reasons")).alias("_content")
    fresh = _refused(arrived, contract).withColumn("_content", content)
    put = fresh.join(held.select(*_IDENTITY, content), compared, "left_anti").drop("_content").withColumn("_put", F.lit(True))
    if gone is None:
        rows = put.drop("_put")
        if not rows.isEmpty():
            tables.append(rows.coalesce(1), table, txn)
        return
    # A corrected row that is refused again may carry the identity of the one it replaces.
    out = held.join(gone, list(_IDENTITY), "left_semi").join(fresh, list(_IDENTITY), "left_anti").withColumn("_put", F.lit(False))
    # The table keeps a raw column that the contract has dropped.
    changes = put.unionByName(out, allowMissingColumns=True).persist()
    try:
        if changes.isEmpty():
            return
        values: dict[str, str | Column] = {sqltext.quoted(c): f"new.{sqltext.quoted(c)}" for c in held.columns}
        with tables.transaction(spark, txn):
            (
                DeltaTable.forPath(spark, str(table)).alias("old")
                .merge(changes.alias("new"), " AND ".join(f"old.{c} = new.{c}" for c in _IDENTITY))
                .whenMatchedDelete("NOT new._put").whenMatchedUpdate(set=values)
                .whenNotMatchedInsert("new._put", values).execute()
            )  # fmt: skip
    finally:
        changes.unpersist()


def _write_silver(arrived: DataFrame, gone: DataFrame | None, seen: _Measure, contract: Contract, run: Run, txn: Txn) -> _Tally:
    """Decide every key of the batch against what Silver holds, and write the difference in one commit."""
    if not seen.keyed:
        return _Tally(0, 0, 0)
    spark, table = arrived.sparkSession, run.settings.table(contract.silver_table)
    current = tables.read(spark, table).where(_pruning(seen, contract))
    # Valid or not: what a row was when it came in was decided by the contract of that day.
    lost = None if gone is None else gone.where(_has_keys(contract))
    decided = versions.decide(_newest(arrived, contract), lost, current, contract).persist()
    settled = None
    try:
        result = versions.accept(decided)
        counts = _count(result)
        if counts.get(versions.REDECIDE):
            settled = versions.settle(decided, _winners(spark, decided, contract, run), contract).persist()
            result, counts = settled, _count(settled)
        changes = result.where(F.col("_verdict").isin(versions.INSERT, versions.UPDATE, versions.DELETE))
        if counts.get(versions.UPDATE) or counts.get(versions.DELETE):
            _merge(changes, seen, contract, run, txn)
        elif inserts := counts.get(versions.INSERT):
            rows = changes.select("_new.*")
            tables.append(rows.coalesce(1) if inserts.keys <= _FEW_ROWS else rows, table, txn)
    finally:
        decided.unpersist()
        if settled is not None:
            settled.unpersist()
    accepted = sum(c.accepted for c in counts.values())
    deleted = counts[versions.DELETE].keys if versions.DELETE in counts else 0
    return _Tally(accepted, sum(c.versions for c in counts.values()) - accepted, deleted)


@dataclass(frozen=True)
class _Count:
    """Of one verdict. versions: arrivals of those keys."""

    keys: int
    versions: int
    accepted: int


def _count(decided: DataFrame) -> dict[str, _Count]:
    found = decided.groupBy("_verdict").agg(
        F.count(F.lit(1)).alias("keys"),
        F.coalesce(F.sum("_versions"), F.lit(0)).alias("versions"),
        F.count_if("_accepted").alias("accepted"),
    )
    return {row["_verdict"]: _Count(row["keys"], row["versions"], row["accepted"]) for row in found.collect()}


def _winners(spark: SparkSession, decided: DataFrame, contract: Contract, run: Run) -> DataFrame:
    """The newest valid row that Bronze holds now for each key that cannot be decided otherwise."""
    keys = list(contract.silver.keys)
    open_keys = decided.where(F.col("_verdict") == versions.REDECIDE).select(*keys)
    judged = judge(tables.read(spark, run.settings.table(contract.bronze_table)), contract)
    return _newest(judged.join(open_keys, keys, "left_semi"), contract)


def _merge(changes: DataFrame, seen: _Measure, contract: Contract, run: Run, txn: Txn) -> None:
    """MERGE decided rows. They were compared with this very version of Silver under the layer's lock, so
    every row here moves its key forward, or follows one that is gone: no second guard is needed."""
    spark, keys = changes.sparkSession, contract.silver.keys
    others = [c for c in versions.stored(contract) if c not in keys]
    source = changes.select(*keys, *(F.col(f"_new.{sqltext.quoted(c)}") for c in others), "_verdict")
    same_key = " AND ".join(f"old.{sqltext.quoted(k)} = new.{sqltext.quoted(k)}" for k in keys)
    values: dict[str, str | Column] = {sqltext.quoted(c): f"new.{sqltext.quoted(c)}" for c in versions.stored(contract)}
    with tables.transaction(spark, txn):
        (
            DeltaTable.forPath(spark, str(run.settings.table(contract.silver_table))).alias("old")
            .merge(source.alias("new"), f"{same_key} AND {_pruning(seen, contract, 'old.')}")
            .whenMatchedDelete(f"new._verdict = '{versions.DELETE}'").whenMatchedUpdate(set=values)
            .whenNotMatchedInsert(f"new._verdict <> '{versions.DELETE}'", values).execute()
        )  # fmt: skip


def _pruning(seen: _Measure, contract: Contract, target: str = "") -> str:
    """SQL that every row of Silver with a key of the batch satisfies; literals, so that files are skipped.

    target: a prefix for Silver's columns, such as `old.`. `mergeWindow` promises that versions of a key
    lie within so many days of each other on the partition column.
    """
    ranges = {k: (seen.low[k], seen.high[k]) for k in contract.silver.keys}
    if contract.silver.merge_window_days is not None:
        window = timedelta(days=contract.silver.merge_window_days)
        (column,) = contract.silver.partitioned_by
        ranges[column] = (_earlier(seen.low[column], window), _later(seen.high[column], window))
    return " AND ".join(
        f"{target}{sqltext.quoted(c)} BETWEEN {sqltext.literal(low)} AND {sqltext.literal(high)}" for c, (low, high) in ranges.items()
    )


def _earlier(day: date, window: timedelta) -> date:
    return day - window if day - date.min > window else date.min


def _later(day: date, window: timedelta) -> date:
    return day + window if date.max - day > window else date.max
