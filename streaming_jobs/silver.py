"""Silver: for each key the newest valid row of Bronze. Quarantine: the rows Silver refused, with reasons.

Both are functions of Bronze's current rows. They do not depend on the order in which files came, on
how commits were batched, on repetition or on crashes.

A micro-batch of Bronze's change feed is judged once, then written in this order: quarantine, Silver,
ledger. Each write names itself and none is derived from what another returned, so a batch that comes
again after a crash completes what is missing and repeats nothing. What Silver holds already is
compared before anything is written: a batch that changes nothing commits nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import apps, checkpoints, damage, ledger, meaning, small, sqltext, streams, tables
from streaming_jobs.contract import Contract
from streaming_jobs.errors import InputRefused
from streaming_jobs.failpoints import hit
from streaming_jobs.held import Held, hold
from streaming_jobs.rules import in_memory, measure, versions
from streaming_jobs.rules.in_memory import Decided
from streaming_jobs.rules.judgement import REASONS, judge
from streaming_jobs.rules.measure import Measure, is_refused
from streaming_jobs.run import Clock, Healed, Run, Warned, record, require_rows
from streaming_jobs.settings import Settings
from streaming_jobs.tables import Txn

_FEW_ROWS = 200_000  # up to here one output file is as fast as several
_FEW_BYTES = 8 << 20  # of Bronze; what more of it holds is rarely as few rows as fit into memory
_SPREAD = 16  # partitions: each task has some of so many
_MAX_PARTITIONS = 1000  # more than that: a range, or no list at all
_IDENTITY = ("_file", "_file_modified_at", "_row")  # of a row in quarantine
OF_THE_DAY = ("contract_version", "quarantined_at")  # of the day it was refused, not of the row


def start(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Apply every change of Bronze that Silver has not seen, then return. Without a Bronze table: nothing.

    Raises InputRefused when a micro-batch exceeds `maxQuarantinedShare`; nothing of that batch is applied
    then, earlier ones stay. Raises UsageError when the contract means something else than the table;
    a column that was merely added is no such case: Silver is recomputed for it.
    """
    anew = meaning.require_same(contract, run.settings.table(contract.silver_table))
    _follow(spark, contract, run, anew=anew, guarded=False)


def practice(contract: Contract, settings: Settings) -> Callable[[SparkSession], None]:
    """Judge a row of nothing, so that the JVM has done it once (`session.prepare`). Without a Bronze table: nothing."""
    feed = {"_change_type": pa.string(), "_commit_version": pa.int64(), "_commit_timestamp": pa.timestamp("us", "UTC")}

    def judge_one(spark: SparkSession) -> None:
        if columns := small.columns(settings.table(contract.bronze_table)):
            hold(_judged(small.blank(spark, {**columns, **feed}), contract))

    return judge_one


def rebuild(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Silver and quarantine again from all of Bronze, as the contract is now.

    Raises InputRefused, and writes nothing, as `start` does or when Silver would lose more than a tenth of its rows.
    """
    damage.set_aside("silver", contract, run)
    _follow(spark, contract, run, anew=True, guarded=True)


def _follow(spark: SparkSession, contract: Contract, run: Run, *, anew: bool, guarded: bool) -> None:
    settings = run.settings
    bronze = settings.table(contract.bronze_table)
    if not tables.exists(bronze):
        return
    checkpoint = settings.checkpoint("silver", contract.dataset)
    held = [settings.table(name) for name in (contract.silver_table, contract.quarantine_table)]
    gone = checkpoints.feed_is_gone(checkpoint, bronze)
    lost = (
        f"data/{contract.bronze_table}/{gone} was cleaned away, and the stream needs it" if gone else _lost(checkpoint, contract, settings)
    )
    if lost or checkpoints.is_of_another(checkpoint, bronze):
        # Before they are created: a table that was lost lacks what the stream has passed.
        checkpoints.discard(checkpoint)
    create(spark, contract, run)
    since: int | None
    # A stream that starts over begins with Bronze as it is and cannot say what went away before.
    if anew or (checkpoints.is_new(checkpoint) and any(checkpoints.table_bytes(table) for table in held)):
        lost = lost or (None if anew else f"checkpoints/silver/{contract.dataset} was lost")
        if gone:
            tables.commit_nothing(bronze)  # the changes of the newest version may be what is gone
        since = tables.version(bronze)
        recompute(spark, contract, run, since, guarded=guarded)
        hit("silver.recomputed")
    else:
        since = checkpoints.beginning(checkpoint, bronze)
    if lost:
        run.notify(Healed("silver", contract.dataset, f"{lost}: made again from all of bronze"))
    silver = settings.table(contract.silver_table)
    before = tables.version(silver)
    streams.run_available(streams.read_changes(spark, bronze, since), apply_changes(contract, run), checkpoint, run.stop)
    if tables.version(silver) > before:
        small.join_files(silver)
        hit("silver.joined")


def _lost(checkpoint: Path, contract: Contract, settings: Settings) -> str | None:
    """Of a stream that has begun: the table it writes that was lost."""
    if checkpoints.is_new(checkpoint):
        return None
    for name in (contract.silver_table, contract.quarantine_table):
        if not tables.exists(settings.table(name)):
            return f"data/{name} was lost"
    return None


def create(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Create Silver and its quarantine; raw columns new in the contract are added to the quarantine."""
    settings = run.settings
    provenance = {"_file": "STRING", "_file_modified_at": "TIMESTAMP", "_row": "BIGINT"}
    silver = [(c.name, c.type) for c in contract.silver.columns] + [(c, provenance[c]) for c in versions.identity(contract)]
    quarantine = [
        *((c.name, "STRING") for c in contract.bronze.columns),
        *(("_extra", "MAP<STRING,STRING>"), ("_malformed", "STRING"), *provenance.items()),
        *(("reasons", REASONS), ("contract_version", "STRING"), ("quarantined_at", "TIMESTAMP")),
    ]
    tables.create(
        settings.table(contract.silver_table),
        tables.schema(silver),
        retention_days=settings.change_feed_retention_days,
        partitioned_by=contract.silver.partitioned_by,
        properties={meaning.PROPERTY: meaning.text(contract)},
    )
    hit("silver.created")
    refused = settings.table(contract.quarantine_table)
    tables.create(refused, tables.schema(quarantine), retention_days=settings.change_feed_retention_days)
    tables.add_columns(spark, refused, quarantine)


def apply_changes(contract: Contract, run: Run) -> streams.BatchFunction:
    """The batch function: changes of Bronze -> quarantine, Silver, ledger."""

    def apply(batch: DataFrame, batch_id: int, clock: Clock) -> None:
        query = streams.query_id(batch.sparkSession)
        streams.pack_files(batch.sparkSession)

        def txn(write: str) -> Txn:
            # With the query's id: a new checkpoint counts its batches from 0 again.
            return Txn(apps.silver(contract.dataset, write, query), batch_id)

        read = checkpoints.bytes_of(
            run.settings.checkpoint("silver", contract.dataset), run.settings.table(contract.bronze_table), batch_id
        )
        judged = hold(_judged(batch, contract), few=read is None or read <= _FEW_BYTES)
        clock.lap("judge")
        try:
            seen = _measure(judged, contract)
            if not seen.rows:
                return
            arrived, gone = _net(judged, seen) if seen.gone else (judged, None)
            came = _measure(arrived, contract) if seen.gone else seen
            _limit(arrived, came, contract, run)
            clock.lap("measure")
            hit("silver.judged")
            if came.refused or seen.gone:
                _write_quarantine(arrived, gone, contract, run, txn("quarantine"))
            hit("silver.quarantined")
            clock.lap("quarantine")
            tally = _write_silver(arrived, gone, seen, contract, run, txn("merge"), clock)
            hit("silver.merged")
            clock.lap("write")
        finally:
            judged.release()
        for rule, rows in came.warned.items():
            run.notify(Warned(contract.dataset, rule, rows))
        record(
            run, clock, layer="silver", dataset=contract.dataset, txn=(apps.runs("silver", contract.dataset, query), batch_id),
            batch_id=batch_id, rows_in=came.arrivals, accepted=tally.accepted, superseded=tally.superseded,
            quarantined=came.refused, deleted=tally.deleted, table_version=tables.version(run.settings.table(contract.silver_table)),
        )  # fmt: skip
        hit("silver.recorded")

    return apply


def recompute(spark: SparkSession, contract: Contract, run: Run, version: int, *, guarded: bool) -> None:
    """Silver and quarantine from all of Bronze at a version, each in one commit. Readers see the old table or the new one.

    Without a checkpoint afterwards: the stream has to begin with the changes after that version.
    Raises InputRefused, and writes nothing, when more of Bronze than `maxQuarantinedShare` would be refused, or,
    guarded, when Silver would lose more than a tenth of its rows.
    """
    settings, clock = run.settings, Clock()
    silver, quarantine = settings.table(contract.silver_table), settings.table(contract.quarantine_table)
    judged = judge(tables.read(spark, settings.table(contract.bronze_table), version), contract)
    keys = F.struct(*map(sqltext.quoted, contract.silver.keys))
    place = F.struct(F.lit(0), *map(sqltext.quoted, contract.silver.partitioned_by))
    counts = judged.agg(
        F.count(F.lit(1)),
        F.count_if(is_refused()),
        F.count_distinct(F.when(~is_refused(), keys)),
        F.approx_count_distinct(F.when(~is_refused(), place)),
    ).first()
    assert counts is not None  # an aggregate without groups is one row
    rows, refused, accepted, partitions = counts
    if not run.accept_quality:
        _require_share(judged, refused, rows, contract)
    if guarded:
        require_rows(run, "silver", contract.dataset, contract.silver_table, tables.rows(silver), accepted)
    # Before the first write: what came and went again inside of a batch is left out of it, so a stream that went on from where it
    # was would leave in the tables what they hold of a later version. Without a checkpoint, the next run comes here again.
    checkpoints.discard(settings.checkpoint("silver", contract.dataset))
    hit("silver.discarded")
    winners, rejected = _both(judged, contract)
    tables.overwrite(rejected, quarantine)
    hit("silver.quarantined")
    tables.overwrite(_together(winners, accepted, partitions, contract), silver, partitioned_by=contract.silver.partitioned_by)
    hit("silver.merged")
    meaning.keep(contract, silver)
    hit("silver.meant")
    record(
        run, clock, layer="silver", dataset=contract.dataset, txn=(apps.runs("silver", contract.dataset, "rebuild", run.run_id), 0),
        batch_id=None, rows_in=rows, accepted=accepted, superseded=rows - accepted - refused, quarantined=refused,
        table_version=tables.version(silver),
    )  # fmt: skip
    hit("silver.recorded")


def expected(bronze: DataFrame, contract: Contract) -> tuple[DataFrame, DataFrame]:
    """What Silver and quarantine must hold, given these rows of Bronze."""
    return _both(judge(bronze, contract), contract)


def _both(judged: DataFrame, contract: Contract) -> tuple[DataFrame, DataFrame]:
    return _newest(judged, contract).select(*versions.stored(contract)), _refused(judged, contract)


def replay(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Judge the quarantined rows again: those that pass go to Silver, the others stay with the reasons they have now.

    Done again, or after a crash, it ends in the same tables. Raises UsageError when the contract changed in a
    way that touches rows of Silver as well.
    """
    settings, clock = run.settings, Clock()
    silver, quarantine = settings.table(contract.silver_table), settings.table(contract.quarantine_table)
    if not tables.exists(silver) or not tables.exists(quarantine):
        return
    if not meaning.can_be_replayed(meaning.changed(contract, silver)) and meaning.require_same(contract, silver):
        _follow(spark, contract, run, anew=True, guarded=False)
        return
    create(spark, contract, run)
    held = tables.read(spark, quarantine)
    arrivals = {"_change_type": F.lit("insert"), "_commit_version": F.lit(0), "_ingest_id": F.lit(None).cast("bigint")}
    judged = _judged(held.withColumns(arrivals), contract).persist()
    try:
        seen = measure.of_frame(judged, contract)
        # Silver first: a row that is in both for a moment is decided again, one in neither would be lost.
        txn = Txn(apps.silver(contract.dataset, "replay", run.run_id), 0)
        tally = _write_silver(Held(None, judged), None, seen, contract, run, txn, clock)
        hit("silver.merged")
        now = {"reasons": F.col("_reasons"), "contract_version": F.lit(contract.version)}
        still = judged.where(is_refused())
        reworded = F.to_json("_reasons") != F.to_json("_bronze.reasons")
        if seen.refused < seen.rows or not still.where(reworded).isEmpty():
            tables.overwrite(still.select(*(now.get(c, F.col(f"_bronze.{sqltext.quoted(c)}")).alias(c) for c in held.columns)), quarantine)
            hit("silver.quarantined")
    finally:
        judged.unpersist()
    meaning.keep(contract, silver)
    hit("silver.meant")
    if seen.rows:
        record(
            run, clock, layer="silver", dataset=contract.dataset, txn=(apps.runs("silver", contract.dataset, "replay", run.run_id), 0),
            batch_id=None, rows_in=seen.rows, accepted=tally.accepted, superseded=tally.superseded, quarantined=seen.refused,
            table_version=tables.version(silver),
        )  # fmt: skip


@dataclass(frozen=True)
class _Tally:
    accepted: int
    superseded: int
    deleted: int


def _judged(batch: DataFrame, contract: Contract) -> DataFrame:
    """Judge a batch of the change feed, arrivals and removals alike: which of those that went away Silver may hold."""
    judged = judge(batch, contract)
    return judged.select(
        F.col("_bronze._change_type").isin("insert", "update_postimage").alias("_change"),
        "_bronze._commit_version",
        "_bronze._ingest_id",
        # Valid rows are done with their strings; only a refused row takes them along to quarantine.
        F.when(is_refused(), F.col("_bronze")).alias("_bronze"),
        *(F.col(sqltext.quoted(c.name)) for c in contract.silver.columns),
        *_IDENTITY,
        "_reasons",
        "_warnings",
    )


def _net(judged: Held, seen: Measure) -> tuple[Held, Held]:
    """Rows that arrived and rows that went away, without those that did both."""
    if judged.few is not None:
        came, went = in_memory.net(judged.few.rows)
        return Held(replace(judged.few, rows=came), None), Held(replace(judged.few, rows=went), None)
    arrived, gone = versions.net(judged.frame)
    return (hold(arrived), hold(gone)) if seen.rows <= small.MAX_ROWS else (Held(None, arrived), Held(None, gone))


def _measure(judged: Held, contract: Contract) -> Measure:
    return measure.of_frame(judged.frame, contract) if judged.rows is None else measure.of_rows(judged.rows, contract)


def _limit(arrived: Held, came: Measure, contract: Contract, run: Run) -> None:
    """Refuse the batch when too much of it would go to quarantine.

    A refused batch stays planned, and a correction waits behind it. So rows that Bronze no longer holds
    do not count: with the file corrected or removed the batch passes.
    """
    limit = contract.silver.max_quarantined_share
    if limit is None or run.accept_quality or not came.arrivals or came.refused / came.arrivals <= limit:
        return
    rows = arrived.frame
    bronze = tables.read(rows.sparkSession, run.settings.table(contract.bronze_table))
    held = bronze.select("_ingest_id", "_file").distinct()
    current = measure.of_frame(rows.join(held, ["_ingest_id", "_file"], "left_semi"), contract)
    _require_share(rows, current.refused, current.arrivals, contract)


def _require_share(judged: DataFrame, refused: int, rows: int, contract: Contract) -> None:
    """Raise InputRefused when more than `maxQuarantinedShare` of these rows were refused."""
    limit = contract.silver.max_quarantined_share
    if limit is None or not rows or refused / rows <= limit:
        return
    worst = judged.where(is_refused()).groupBy("_file").count().orderBy(F.desc("count"), "_file").first()
    assert worst is not None  # something was refused
    raise InputRefused(
        f"silver of {contract.dataset}: {refused} of {rows} rows ({refused / rows:.0%}) would be quarantined, the contract allows "
        f"{limit:.0%}; most are from {worst['_file']} ({worst['count']}). Nothing of them was applied. Correct or remove the file and "
        "run again, or let it in: the same command with --accept-quality."
    )


def _newest(judged: DataFrame, contract: Contract) -> DataFrame:
    """The newest valid row of each key."""
    return versions.newest_per_key(judged.where(~is_refused()), contract.silver.keys, versions.order(contract))


def _refused(judged: DataFrame, contract: Contract) -> DataFrame:
    """Refused rows as the quarantine holds them: as delivered, with their reasons."""
    delivered = [*(c.name for c in contract.bronze.columns), "_extra", "_malformed"]
    return judged.where(is_refused()).select(
        *(F.col(f"_bronze.{sqltext.quoted(c)}") for c in delivered),
        *_IDENTITY,
        F.col("_reasons").alias("reasons"),
        F.lit(contract.version).alias("contract_version"),
        F.lit(ledger.now()).cast("timestamp").alias("quarantined_at"),
    )


def _write_quarantine(came: Held, went: Held | None, contract: Contract, run: Run, txn: Txn) -> None:
    """Add what was refused and take out what went away, in one commit, or in none where nothing changes."""
    table = run.settings.table(contract.quarantine_table)
    if _exchange_in_memory(came, went, contract, table):
        return
    spark, arrived, gone = came.spark, came.frame, None if went is None else went.frame
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


def _exchange_in_memory(came: Held, went: Held | None, contract: Contract, table: Path) -> bool:
    """As `_write_quarantine`, for few rows, and of a long quarantine those of their files; False: too many, nothing was done."""
    if came.rows is not None:
        fresh = in_memory.quarantined(came.rows, contract, ledger.now())
    else:
        fresh = _refused(came.frame, contract).limit(small.MAX_ROWS + 1).toArrow()
    if went is None:
        out = fresh.slice(0, 0)
    elif went.rows is not None:
        out = went.rows.select(_IDENTITY)
    else:
        out = went.frame.select(*_IDENTITY).limit(small.MAX_ROWS + 1).toArrow()
    if max(fresh.num_rows, out.num_rows) > small.MAX_ROWS:
        return False
    part = None
    present = small.held(table)
    if present is None:
        part = small.Part("_file", {*fresh["_file"].to_pylist(), *out["_file"].to_pylist()})
        present = part.held(table)
        if present is None:
            return False
    compared = [c for c in fresh.column_names if c not in OF_THE_DAY]
    small.exchange(present, fresh, out, table, _IDENTITY, compared, part)
    return True


def _write_silver(came: Held, went: Held | None, seen: Measure, contract: Contract, run: Run, txn: Txn, clock: Clock) -> _Tally:
    """Decide every key of the batch against what Silver holds, and write the difference in one commit."""
    if not seen.valid:
        return _Tally(0, 0, 0)
    table, places = run.settings.table(contract.silver_table), _places(seen, contract)
    few = seen.rows <= small.MAX_ROWS
    if went is None and not few and not tables.rows(table, places):
        return _fill(came.frame, seen, places, contract, run, txn)
    current = _current(came.spark, table, seen, places, contract)
    few_decided = _decided_in_memory(came, went, current, contract, run)
    if few_decided is not None:
        clock.lap("decide")
        if _put(few_decided, table, contract, txn):
            return _Tally(few_decided.accepted, few_decided.superseded, few_decided.out.num_rows)
    lost = None if went is None else went.frame.where(~is_refused())
    decided = hold(versions.decide(_newest(came.frame, contract), lost, current.frame, contract), few=few)
    settled = None
    try:
        result = versions.accept(decided.frame)
        counts = _count(result, contract)
        if counts.get(versions.REDECIDE):
            open_keys = decided.frame.where(F.col("_verdict") == versions.REDECIDE).select(*contract.silver.keys)
            settled = hold(versions.settle(decided.frame, _winners(open_keys, contract, run), contract), few=few)
            result, counts = settled.frame, _count(settled.frame, contract)
        clock.lap("decide")
        changes = result.where(F.col("_verdict").isin(versions.INSERT, versions.UPDATE, versions.DELETE))
        if counts.get(versions.UPDATE) or counts.get(versions.DELETE):
            _merge(changes, [counts[v] for v in (versions.UPDATE, versions.DELETE) if v in counts], contract, run, txn, few=few)
        elif inserts := counts.get(versions.INSERT):
            _insert(changes.select("_new.*"), inserts.keys, seen, contract, run, txn)
    finally:
        decided.release()
        if settled is not None:
            settled.release()
    accepted = sum(c.accepted for c in counts.values())
    deleted = counts[versions.DELETE].keys if versions.DELETE in counts else 0
    return _Tally(accepted, sum(c.versions for c in counts.values()) - accepted, deleted)


def _fill(arrived: DataFrame, seen: Measure, places: Mapping[str, Collection[Any]], contract: Contract, run: Run, txn: Txn) -> _Tally:
    """Append the newest row of each key where Silver holds nothing yet, so that there is nothing to decide."""
    table = run.settings.table(contract.silver_table)
    rows = _newest(arrived, contract).select(*versions.stored(contract))
    tables.append(_together(rows, seen.valid, _spread(seen), contract), table, txn)
    accepted = tables.rows(table, places)
    return _Tally(accepted, seen.valid - accepted, 0)


def _current(spark: SparkSession, table: Path, seen: Measure, places: Mapping[str, Collection[Any]], contract: Contract) -> Held:
    """Silver's rows with a key of the batch, and maybe others."""
    found = None if seen.named is None else small.having(spark, table, contract.silver.keys[0], seen.named, places)
    if found is not None:
        return Held(found, None)
    streams.compile_expressions(spark)
    return Held(None, tables.read(spark, table).where(_pruning(seen, places, contract)))


def _decided_in_memory(came: Held, went: Held | None, current: Held, contract: Contract, run: Run) -> Decided | None:
    """None: there are too many rows, or they are ordered by values that only Spark orders."""
    gone = None if went is None else went.rows
    if came.rows is None or current.rows is None or (went is not None and gone is None):
        return None
    decided = in_memory.decide(came.rows, gone, current.rows, contract)
    if decided is None or not decided.open.num_rows:
        return decided
    open_keys = came.spark.createDataFrame(decided.open.select(contract.silver.keys))
    winners = small.local(_winners(open_keys, contract, run).select(*versions.stored(contract)))
    return None if winners is None else in_memory.settle(decided, winners.rows, contract)


def _put(decided: Decided, table: Path, contract: Contract, txn: Txn) -> bool:
    """Write it in one commit, or in none where nothing changes; False: too much would have to be read, nothing was done."""
    if not decided.moved.num_rows and not decided.out.num_rows:
        if decided.put.num_rows:
            small.append(decided.put, table, txn)
        return True
    sides = ((decided.put, True), (decided.out, False))
    changes = [rows.append_column("_put", pa.array([put] * rows.num_rows, pa.bool_())) for rows, put in sides]
    places = {p: {*decided.moved[p].to_pylist(), *decided.out[p].to_pylist()} for p in contract.silver.partitioned_by}
    schema = changes[0].schema
    return small.merge(pa.concat_tables([rows.cast(schema) for rows in changes]), table, contract.silver.keys, places, txn)


def _insert(rows: DataFrame, count: int, seen: Measure, contract: Contract, run: Run, txn: Txn) -> None:
    """Append rows with new keys."""
    table = run.settings.table(contract.silver_table)
    if count <= small.MAX_ROWS:
        small.append(rows.toArrow(), table, txn)
    else:
        tables.append(_together(rows, count, _spread(seen), contract), table, txn)


def _together(rows: DataFrame, count: int, partitions: int, contract: Contract) -> DataFrame:
    """Rows to be written, those of a partition by one task where there are many partitions.

    Otherwise each has a file from every task. With few partitions most tasks would have nothing to do.
    """
    if count <= _FEW_ROWS:
        return rows.coalesce(1)
    return rows.repartition(*map(sqltext.quoted, contract.silver.partitioned_by)) if partitions >= _SPREAD else rows


def _spread(seen: Measure) -> int:
    """In how many partitions rows lie at least, as far as it was looked at."""
    return max(map(len, seen.partitions.values()), default=0)


@dataclass(frozen=True)
class _Count:
    """Of one verdict. versions: arrivals of those keys. low, high: per key column. partitions: of the rows that Silver holds of them."""

    keys: int
    versions: int
    accepted: int
    low: Mapping[str, Any]
    high: Mapping[str, Any]
    partitions: Mapping[str, Collection[Any]]


def _count(decided: DataFrame, contract: Contract) -> dict[str, _Count]:
    keys, partitions = contract.silver.keys, contract.silver.partitioned_by
    # In a struct, because a set leaves NULL out.
    held = {p: F.when(F.col("_old").isNotNull(), F.struct(F.col(f"_old.{sqltext.quoted(p)}").alias("value"))) for p in partitions}
    found = decided.groupBy("_verdict").agg(
        F.count(F.lit(1)).alias("keys"),
        F.coalesce(F.sum("_versions"), F.lit(0)).alias("versions"),
        F.count_if("_accepted").alias("accepted"),
        *(F.min(sqltext.quoted(k)).alias(f"low {k}") for k in keys),
        *(F.max(sqltext.quoted(k)).alias(f"high {k}") for k in keys),
        *(F.collect_set(place).alias(f"in {p}") for p, place in held.items()),
    )
    return {
        row["_verdict"]: _Count(
            row["keys"],
            row["versions"],
            row["accepted"],
            {k: row[f"low {k}"] for k in keys},
            {k: row[f"high {k}"] for k in keys},
            {p: [place["value"] for place in row[f"in {p}"]] for p in partitions},
        )
        for row in found.collect()
    }


def _winners(open_keys: DataFrame, contract: Contract, run: Run) -> DataFrame:
    """The newest valid row that Bronze holds now for each key that cannot be decided otherwise."""
    spark, keys = open_keys.sparkSession, list(contract.silver.keys)
    bronze = run.settings.table(contract.bronze_table)
    if checkpoints.table_bytes(bronze) > run.settings.small_work_mb << 20:
        streams.compile_expressions(spark)
    judged = judge(tables.read(spark, bronze), contract)
    return _newest(judged.join(open_keys, keys, "left_semi"), contract)


def _merge(changes: DataFrame, moved: Sequence[_Count], contract: Contract, run: Run, txn: Txn, *, few: bool) -> None:
    """MERGE decided rows.

    moved: the counts of those that have a row in Silver; only where these lie is a match looked for. Rows were
    compared with this very version of Silver under the layer's lock, so every one here moves its key forward, or
    follows one that is gone: no second guard is needed.
    """
    spark, keys, table = changes.sparkSession, contract.silver.keys, run.settings.table(contract.silver_table)
    columns = [F.col(quoted if name in keys else f"_new.{quoted}").alias(name) for name, quoted in _quoted(versions.stored(contract))]
    source = changes.select(*columns, (F.col("_verdict") != versions.DELETE).alias("_put"))
    if few and small.merge(source.toArrow(), table, keys, _moved_from(moved, contract), txn):
        return
    same_key = " AND ".join(f"old.{sqltext.quoted(k)} = new.{sqltext.quoted(k)}" for k in keys)
    values: dict[str, str | Column] = {quoted: f"new.{quoted}" for _, quoted in _quoted(versions.stored(contract))}
    with tables.transaction(spark, txn):
        (
            DeltaTable.forPath(spark, str(table)).alias("old")
            .merge(source.alias("new"), f"{same_key} AND {_of_moved(moved, contract)}")
            .whenMatchedDelete("NOT new._put").whenMatchedUpdate(set=values)
            .whenNotMatchedInsert("new._put", values).execute()
        )  # fmt: skip


def _quoted(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, sqltext.quoted(name)) for name in names]


def _moved_from(moved: Sequence[_Count], contract: Contract) -> dict[str, Collection[Any]]:
    """Partition columns -> every value that Silver's row of an updated or deleted key has there."""
    return {column: {value for c in moved for value in c.partitions[column]} for column in contract.silver.partitioned_by}


def _places(seen: Measure, contract: Contract) -> dict[str, Collection[Any]]:
    """Partition columns by which keys are found -> every value that a row of Silver with a key of the batch can have there.

    `mergeWindow` promises that versions of a key lie within so many days of each other on the partition column.
    """
    window = range(-(contract.silver.merge_window_days or 0), (contract.silver.merge_window_days or 0) + 1)
    of_keys = contract.silver.keys
    return {c: v if c in of_keys else {_later(day, days) for day in v for days in window} for c, v in seen.partitions.items()}


def _pruning(seen: Measure, places: Mapping[str, Collection[Any]], contract: Contract) -> str:
    """SQL that every row of Silver with a key of the batch satisfies; literals, so that files are skipped."""
    wanted = []
    for column in {**dict.fromkeys(contract.silver.keys), **places}:
        values = places.get(column, ())
        if 0 < len(values) <= _MAX_PARTITIONS:
            wanted.append(sqltext.any_of(sqltext.quoted(column), values))
        elif column in contract.silver.keys:
            wanted.append(_between(sqltext.quoted(column), seen.low[column], seen.high[column]))
        else:
            wanted.append(_between(sqltext.quoted(column), min(values), max(values)))
    return " AND ".join(wanted)


def _of_moved(moved: Sequence[_Count], contract: Contract) -> str:
    """SQL that the row of Silver satisfies that is updated or deleted, as literals again, for the target `old`."""
    wanted = [
        _between(f"old.{sqltext.quoted(k)}", min(c.low[k] for c in moved), max(c.high[k] for c in moved)) for k in contract.silver.keys
    ]
    for column, values in _moved_from(moved, contract).items():
        if len(values) <= _MAX_PARTITIONS:
            wanted.append(sqltext.any_of(f"old.{sqltext.quoted(column)}", values))
    return " AND ".join(wanted)


def _between(column: str, low: Any, high: Any) -> str:
    return f"{column} BETWEEN {sqltext.literal(low)} AND {sqltext.literal(high)}"


def _later(day: date, days: int) -> date:
    """So many days later, or earlier; at the ends of the calendar its last or first day."""
    try:
        return day + timedelta(days)
    except OverflowError:
        return date.max if days > 0 else date.min
