"""Gold: aggregates of Silver. Each table equals its contract's SQL over all of Silver, at the cost of what changed.

A micro-batch of Silver's change feed names the groups it touched: inserts, deletes, and both images of
an update. Those groups are computed again, whole, from Silver as it is, and replaced in one commit per
table; a group without rows disappears. Nothing is ever added to or taken from a sum, so a repetition
is harmless and no drift can start. A table that would not change is not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import checkpoints, definition, sqltext, streams, tables
from streaming_jobs.contract import Contract, Gold, GoldColumn
from streaming_jobs.failpoints import hit
from streaming_jobs.run import Clock, Run, record
from streaming_jobs.tables import Txn

_MAX_UNITS = 1000  # more touched units than this: the whole table, not a longer predicate


def start(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Apply every change of Silver that Gold has not seen, then return. Without a Silver table: nothing.

    A Gold table that is new in the contract, or whose definition changed, is built from all of Silver;
    the others stay as they are.
    """
    silver = run.settings.table(contract.silver_table)
    if not tables.exists(silver):
        return
    for gold in contract.gold:
        create(gold, run)
    checkpoint = run.settings.checkpoint("gold", contract.dataset)
    if checkpoints.is_outdated(checkpoint, silver):
        checkpoints.discard(checkpoint)
    streams.run_available(streams.read_changes(spark, silver), apply_changes(contract, run), checkpoint, run.stop)
    # A stream that starts over an empty Silver has no batch at all, and Gold may hold groups of before.
    _build(spark, contract, run, every=checkpoints.is_new(checkpoint))


def create(gold: Gold, run: Run) -> None:
    """Create one Gold table, empty and not yet built."""
    tables.create(
        run.settings.table(gold.path),
        tables.schema([(c.name, c.type) for c in _columns(gold)]),
        retention_days=run.settings.change_feed_retention_days,
        change_feed=False,
    )


def apply_changes(contract: Contract, run: Run) -> streams.BatchFunction:
    """The batch function: changes of Silver -> every Gold table they touch."""

    def apply(batch: DataFrame, batch_id: int) -> None:
        clock, query = Clock(), streams.query_id(batch.sparkSession)
        changes = batch.persist()
        try:
            rows = changes.count()
            if not rows and batch_id > 0:
                return
            gone = 0
            for gold in contract.gold:
                # The first batch of a stream is Silver as it is: it cannot name groups that went away before.
                whole = batch_id == 0 or gold.source is not None or not definition.is_built(gold, contract, run.settings.table(gold.path))
                units = None if whole else _touched(changes, gold, contract)
                gone += _bring_up_to_date(batch.sparkSession, gold, units, contract, run, Txn(f"gold:{gold.name}:{query}", batch_id))
                hit("gold.replaced")
        finally:
            changes.unpersist()
        _record(run, clock, contract, (f"runs:gold:{contract.dataset}:{query}", batch_id), batch_id, rows, gone)
        hit("gold.recorded")

    return apply


def aggregate(rows: DataFrame, gold: Gold) -> DataFrame:
    """One row per group of `rows`: the grain, then the aggregates, in the types of the contract. NULL is a group."""
    kept = rows.where(gold.where) if gold.where else rows
    groups = kept.groupBy(*(F.expr(_value(c)).alias(c.name) for c in gold.grain))
    return groups.agg(*(F.expr(_value(c)).alias(c.name) for c in gold.aggregates))


def _build(spark: SparkSession, contract: Contract, run: Run, *, every: bool) -> None:
    """Build the tables that no batch has built, because Silver did not change since the contract did; or every table."""
    for gold in contract.gold:
        table = run.settings.table(gold.path)
        if definition.is_built(gold, contract, table) and not every:
            continue
        run.stop.check()
        clock, before = Clock(), tables.version(table)
        gone = _bring_up_to_date(spark, gold, None, contract, run, None)
        if tables.version(table) > before:
            _record(run, clock, contract, (f"runs:gold:{contract.dataset}:{gold.name}:{run.run_id}", 0), None, 0, gone)


def _bring_up_to_date(spark: SparkSession, gold: Gold, units: Sequence[Row] | None, contract: Contract, run: Run, txn: Txn | None) -> int:
    """Compute the groups of `units` again (None: all) and write the table if they differ; returns how many groups went away."""
    table = run.settings.table(gold.path)
    source, present = tables.read(spark, _source(gold, contract, run)), tables.read(spark, table)
    if units is not None:
        if not units:
            return 0
        source = source.where(_covers(units, {c.name: _value(c) for c in gold.grain}))
        replaced = _covers(units, {c.name: sqltext.quoted(c.name) for c in gold.grain})
        present = present.where(replaced)
    fresh = aggregate(source, gold).coalesce(1).persist()
    try:
        built = definition.is_built(gold, contract, table)
        difference = _compare(fresh, present, gold) if built else _Difference(groups=1, gone=0)
        if not difference.groups:
            return 0
        if units is None or txn is None:
            tables.overwrite(_marked(fresh, gold, contract), table)
        else:
            tables.replace(fresh, table, replaced, txn)
        return difference.gone
    finally:
        fresh.unpersist()


@dataclass(frozen=True)
class _Difference:
    groups: int  # that differ, appeared or went away
    gone: int  # that went away


def _compare(fresh: DataFrame, present: DataFrame, gold: Gold) -> _Difference:
    names = [c.name for c in _columns(gold)]
    grain = [c.name for c in gold.grain]
    row, none = F.struct(*names), F.lit(None)
    sides = fresh.select(*grain, row.alias("_fresh"), none.alias("_present")).unionByName(
        present.select(*grain, none.alias("_fresh"), row.alias("_present"))
    )
    groups = sides.groupBy(*grain).agg(
        F.first("_fresh", ignorenulls=True).alias("_fresh"), F.first("_present", ignorenulls=True).alias("_present")
    )
    found = groups.agg(F.count_if(~F.col("_fresh").eqNullSafe(F.col("_present"))), F.count_if(F.col("_fresh").isNull())).first()
    assert found is not None  # an aggregate without groups is one row
    return _Difference(found[0], found[1])


def _touched(changes: DataFrame, gold: Gold, contract: Contract) -> Sequence[Row] | None:
    """The distinct units that changed rows belong to, or belonged to; None: too many to name."""
    rows = changes.where(gold.where) if gold.where else changes
    units = rows.select(*(F.expr(_value(c)).alias(c.name) for c in _unit(gold, contract))).distinct().limit(_MAX_UNITS + 1).collect()
    return None if len(units) > _MAX_UNITS else units


def _unit(gold: Gold, contract: Contract) -> tuple[GoldColumn, ...]:
    """What is replaced together: whole partitions of Silver where the grain contains them, else single groups."""
    partitions = [p.lower() for p in contract.silver.partitioned_by]
    by_partition = tuple(c for c in gold.grain if c.expression.strip("` ").lower() in partitions)
    return by_partition or gold.grain


def _covers(units: Sequence[Row], expressions: dict[str, str]) -> str:
    """SQL predicate that holds for every unit. It may hold for more groups; those are computed again as well."""
    names = units[0].asDict()
    return " AND ".join(sqltext.any_of(expressions[name], {unit[name] for unit in units}) for name in names)


def _source(gold: Gold, contract: Contract, run: Run) -> Path:
    if gold.source is None:
        return run.settings.table(contract.silver_table)
    return run.settings.table(next(g.path for g in contract.gold if g.name == gold.source))


def _marked(rows: DataFrame, gold: Gold, contract: Contract) -> DataFrame:
    """With the definition in the schema, so that content and mark are one commit."""
    first = gold.grain[0].name
    return rows.withMetadata(first, {definition.KEY: definition.fingerprint(gold, contract)})


def _columns(gold: Gold) -> tuple[GoldColumn, ...]:
    return (*gold.grain, *gold.aggregates)


def _value(column: GoldColumn) -> str:
    return f"CAST(({column.expression}) AS {column.type})"


def _record(run: Run, clock: Clock, contract: Contract, txn: tuple[str, int], batch_id: int | None, rows: int, gone: int) -> None:
    version = tables.version(run.settings.table(contract.gold[0].path)) if contract.gold else None
    record(
        run, clock, layer="gold", dataset=contract.dataset, txn=txn, batch_id=batch_id,
        rows_in=rows, accepted=rows, deleted=gone, table_version=version,
    )  # fmt: skip
