"""Gold: aggregates of Silver. Each table equals its contract's SQL over all of Silver, at the cost of what changed.

A micro-batch of Silver's change feed names the groups it touched: inserts, deletes, and both images of
an update. Those groups are computed again, whole, from Silver as it is, and replaced in one commit per
table; a group without rows disappears. Nothing is ever added to or taken from a sum, so a repetition
is harmless and no drift can start. A table that would not change is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkException, QueryContextType
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import apps, checkpoints, damage, definition, small, sqltext, streams, tables
from streaming_jobs.contract import Contract, Gold, GoldColumn
from streaming_jobs.errors import UsageError, is_of_data
from streaming_jobs.failpoints import hit
from streaming_jobs.run import Clock, Healed, Run, record, require_rows
from streaming_jobs.settings import Settings
from streaming_jobs.tables import Txn

_AT_ONCE = 2
_MANY_ROWS = 100_000  # compiled expressions are faster from here on, at 200 000 twice as fast once they are compiled
MAX_UNITS = 1000  # more touched units than this: the whole table, not a longer predicate
_ROWS, _MATCHES = "_ rows", "_ matches"  # names that no column of a contract has

_Failed = dict[str, str]
"""Gold tables whose SQL failed -> why."""


def start(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Apply every change of Silver that Gold has not seen, then return. Without a Silver table: nothing.

    A Gold table that is new in the contract, or whose definition changed, is built from all of Silver;
    the others stay as they are. Raises UsageError when the SQL of a table fails on the rows there are;
    that table, and those made from it, stay as they were, the others are up to date.
    """
    silver = run.settings.table(contract.silver_table)
    if not tables.exists(silver):
        return
    for gold in contract.gold:
        if not tables.exists(run.settings.table(gold.path)):
            create(gold, run)
    checkpoint = run.settings.checkpoint("gold", contract.dataset)
    gone = checkpoints.feed_is_gone(checkpoint, silver)
    if gone:
        what = f"data/{contract.silver_table}/{gone} was cleaned away, and the stream needs it: every table is computed again"
        run.notify(Healed("gold", contract.dataset, what))
    if gone or checkpoints.is_outdated(checkpoint, silver):
        checkpoints.discard(checkpoint)
    failed: _Failed = {}
    changes = streams.read_changes(spark, silver, checkpoints.beginning(checkpoint, silver))
    streams.run_available(changes, apply_changes(contract, run, failed), checkpoint, run.stop)
    # A stream that starts over an empty Silver has no batch at all, and Gold may hold groups of before.
    _build(spark, contract, run, failed, every=checkpoints.is_new(checkpoint))
    if failed:
        why = " ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise UsageError(
            f"gold of {contract.dataset}: {why} What failed stayed as it was, the other Gold tables are up to date. Correct "
            f"{contract.file.name} or the rows, then run `streaming-jobs gold {contract.dataset}`."
        )


def practice(contract: Contract, settings: Settings) -> Callable[[SparkSession], None]:
    """Aggregate a row of nothing, so that the JVM has done it once (`session.prepare`). Without a Silver table: nothing."""

    def aggregate_one(spark: SparkSession) -> None:
        columns = small.columns(settings.table(contract.silver_table))
        for gold in contract.gold:
            if columns and gold.source is None:
                aggregate(small.blank(spark, columns), gold).limit(1).toArrow()

    return aggregate_one


def rebuild(spark: SparkSession, contract: Contract, run: Run) -> None:
    """Every Gold table again from all of Silver; a table that is right already is not written.

    Raises InputRefused, and writes nothing, when a table would lose more than a tenth of its groups.
    """
    silver = run.settings.table(contract.silver_table)
    if not tables.exists(silver):
        return
    damage.set_aside("gold", contract, run)
    for gold in contract.gold:
        if not run.force and _is_built(gold, contract, run):
            held, fresh = tables.rows(run.settings.table(gold.path)), aggregate(source(spark, gold, contract, run.settings), gold).count()
            require_rows(run, "gold", contract.dataset, gold.path, held, fresh)
    # The first batch of a new stream is Silver as it is, and computes every table whole.
    checkpoints.discard(run.settings.checkpoint("gold", contract.dataset))
    hit("gold.discarded")
    start(spark, contract, run)


def create(gold: Gold, run: Run) -> None:
    """Create one Gold table, empty and not yet built."""
    tables.create(
        run.settings.table(gold.path),
        tables.schema([(c.name, c.type) for c in _columns(gold)]),
        retention_days=run.settings.change_feed_retention_days,
        change_feed=False,
    )


def apply_changes(contract: Contract, run: Run, failed: _Failed) -> streams.BatchFunction:
    """The batch function: changes of Silver -> every Gold table they touch. failed: told of tables whose SQL fails."""

    def apply(batch: DataFrame, batch_id: int, clock: Clock) -> None:
        query = streams.query_id(batch.sparkSession)
        streams.pack_files(batch.sparkSession)
        # The first batch of a stream is Silver as it is: it cannot name groups that went away before.
        partly = [] if batch_id == 0 else [g for g in contract.gold if g.source is None and _is_built(g, contract, run)]
        rows, touched = _touched(batch, partly, contract)
        if not rows and batch_id > 0:
            return
        if _rows_to_read(touched, contract, run.settings) > _MANY_ROWS:
            streams.compile_expressions(batch.sparkSession)
        parts = _parts(batch.sparkSession, touched, contract, run.settings)
        clock.lap("touched")
        hit("gold.touched")
        failed.clear()  # what failed before is not built, and so is computed whole here

        def bring(gold: Gold) -> int:
            txn = Txn(apps.gold(gold.name, query), batch_id)
            return _alone(batch.sparkSession, gold, touched.get(gold.name), contract, run, txn, failed, parts.get(gold.name))

        gone = 0
        # Side by side where little is computed: most of its time is planning, which uses one core.
        with ThreadPoolExecutor(_AT_ONCE if touched else 1) as pool:
            for groups in pool.map(bring, [g for g in contract.gold if g.source is None]):
                gone += groups
                hit("gold.replaced")
        for gold in contract.gold:
            if gold.source is not None:
                gone += bring(gold)
                hit("gold.replaced")
        clock.lap("recompute")
        _record(run, clock, contract, (apps.runs("gold", contract.dataset, query), batch_id), batch_id, rows, gone)
        hit("gold.recorded")

    return apply


def source(spark: SparkSession, gold: Gold, contract: Contract, settings: Settings) -> DataFrame:
    """The rows that a Gold table is made of: Silver, or another Gold table."""
    if gold.source is None:
        return tables.read(spark, settings.table(contract.silver_table))
    table = settings.table(next(g.path for g in contract.gold if g.name == gold.source))
    rows = small.frame(spark, table)
    return tables.read(spark, table) if rows is None else rows


def aggregate(rows: DataFrame, gold: Gold) -> DataFrame:
    """One row per group of `rows`: the grain, then the aggregates, in the types of the contract. NULL is a group."""
    kept = rows.where(gold.where) if gold.where else rows
    groups = kept.groupBy(*(F.expr(_value(c)).alias(c.name) for c in gold.grain))
    return groups.agg(*(F.expr(_value(c)).alias(c.name) for c in gold.aggregates))


def _alone(
    spark: SparkSession,
    gold: Gold,
    units: pa.Table | None,
    contract: Contract,
    run: Run,
    txn: Txn | None,
    failed: _Failed,
    rows: DataFrame | None = None,
) -> int:
    """As `_bring_up_to_date`, but SQL that fails on a row is this table's failure, and of those made from it, alone.

    Such a table counts as not built: the next run computes it whole, whether or not Silver changed.
    """
    try:
        if gold.source not in failed:
            return _bring_up_to_date(spark, gold, units, contract, run, txn, rows)
        failed[gold.name] = f"its source {gold.source} is not up to date."
    except PySparkException as error:
        if not is_of_data(error):
            raise
        failed[gold.name] = _reason(error)
    definition.forget(run.settings.table(gold.path))
    return 0


def _reason(error: PySparkException) -> str:
    """What failed and where in the contract's SQL. Not the engine's message: it holds the value, which may be a person's."""
    where = [context.fragment() for context in error.getQueryContext() if context.contextType() is QueryContextType.SQL]
    return f"[{error.getCondition()}] on a row" + (f", in {where[0]}." if where else ".")


def _build(spark: SparkSession, contract: Contract, run: Run, failed: _Failed, *, every: bool) -> None:
    """Build the tables that no batch has built, because Silver did not change since the contract did; or every table."""
    for gold in contract.gold:
        table = run.settings.table(gold.path)
        if gold.name in failed or (_is_built(gold, contract, run) and not every):
            continue
        run.stop.check()
        clock, before = Clock(), tables.version(table)
        gone = _alone(spark, gold, None, contract, run, None, failed)
        if tables.version(table) > before and gold.name not in failed:
            _record(run, clock, contract, (apps.runs("gold", contract.dataset, gold.name, run.run_id), 0), None, 0, gone)


def _is_built(gold: Gold, contract: Contract, run: Run) -> bool:
    return definition.is_built(gold, contract, run.settings.table(gold.path))


def _bring_up_to_date(
    spark: SparkSession, gold: Gold, units: pa.Table | None, contract: Contract, run: Run, txn: Txn | None, rows: DataFrame | None
) -> int:
    """Compute the groups of `units` again (None: all) and write the table if they differ; returns how many groups went away.

    rows: of the source, at least all of these groups; None: to be read.
    """
    if units is not None and not units.num_rows:
        return 0
    table = run.settings.table(gold.path)
    rows = source(spark, gold, contract, run.settings) if rows is None else rows
    if units is not None:
        rows = rows.where(_covers(units, {c.name: _value(c) for c in gold.grain}))
    fresh, built = aggregate(rows, gold), units is not None or _is_built(gold, contract, run)
    present = small.held(table) if built or _has_its_columns(gold, table) else None
    if present is not None:
        groups = fresh.limit(small.MAX_ROWS + 1).toArrow()
        if groups.num_rows <= small.MAX_ROWS:
            grain = [c.name for c in gold.grain]
            if built:
                return small.replace(present, groups, table, grain, units)
            return small.build(present, groups, table, grain, {definition.KEY: definition.fingerprint(gold, contract)})
    fresh = fresh.coalesce(1).persist()
    try:
        return _write(fresh, gold, units, contract, run, txn, built=built)
    finally:
        fresh.unpersist()


def _has_its_columns(gold: Gold, table: Path) -> bool:
    """True where a table that is to be built anew can take its rows as it is."""
    held = [(f.name, f.dataType) for f in small.schema(table)]
    return held == [(f.name, f.dataType) for f in tables.schema([(c.name, c.type) for c in _columns(gold)])]


def _write(fresh: DataFrame, gold: Gold, units: pa.Table | None, contract: Contract, run: Run, txn: Txn | None, *, built: bool) -> int:
    """Through Spark: a table of any size, or one whose definition is to be written with it."""
    table = run.settings.table(gold.path)
    replaced = None if units is None else _covers(units, {c.name: sqltext.quoted(c.name) for c in gold.grain})
    gone = 0
    if built:
        present = tables.read(fresh.sparkSession, table)
        difference = _compare(fresh, present.where(replaced) if replaced else present, gold)
        if not difference.groups:
            return 0
        gone = difference.gone
    else:
        fresh.count()  # so that SQL that fails does so here, and not inside a write
    if replaced is None or txn is None:
        tables.overwrite(_marked(fresh, gold, contract), table)
    else:
        tables.replace(fresh, table, replaced, txn)
    return gone


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


def _touched(changes: DataFrame, golds: Sequence[Gold], contract: Contract) -> tuple[int, dict[str, pa.Table]]:
    """How many rows changed, and for each table the distinct units that they belong to, or belonged to.

    A table with too many to name is left out. Tables with the same unit share one pass.
    """
    sharing: dict[tuple[tuple[GoldColumn, ...], str | None], list[str]] = {}
    for gold in golds:
        sharing.setdefault((contract.unit(gold), gold.where), []).append(gold.name)
    counted: int | None = None
    found: dict[str, pa.Table] = {}
    if len(sharing) > 1:
        changes = changes.persist()
    try:
        for (unit, where), names in sharing.items():
            of_unit = [F.expr(_value(c)).alias(c.name) for c in unit]
            matches = F.count_if(F.expr(where)) if where else F.count(F.lit(1))
            groups = changes.groupBy(*of_unit).agg(F.count(F.lit(1)).alias(_ROWS), matches.alias(_MATCHES))
            units = _named(groups)
            if units is not None and units.num_rows <= MAX_UNITS:
                counted = sum(units[_ROWS].to_pylist())
                found |= dict.fromkeys(names, units.filter(pc.greater(units[_MATCHES], 0)).drop_columns([_ROWS, _MATCHES]))
        return changes.count() if counted is None else counted, found
    finally:
        changes.unpersist()


def _parts(spark: SparkSession, touched: Mapping[str, pa.Table], contract: Contract, settings: Settings) -> dict[str, DataFrame]:
    """For each table whose touched units lie in few partitions of Silver: all rows of these, in memory. Equal ones are read once."""
    read: dict[tuple[Any, ...], DataFrame | None] = {}
    found: dict[str, DataFrame | None] = {}
    for gold in contract.gold:
        if places := _places(gold, touched.get(gold.name), contract):
            at = tuple((column, *values) for column, values in places.items())
            if at not in read:
                read[at] = small.inside(spark, settings.table(contract.silver_table), places)
            found[gold.name] = read[at]
    return {name: rows for name, rows in found.items() if rows is not None}


def _places(gold: Gold, units: pa.Table | None, contract: Contract) -> dict[str, list[Any]]:
    """Partition columns of Silver -> the values that the rows of these units have there; empty: they may lie anywhere."""
    columns = {p.lower(): p for p in contract.silver.partitioned_by}
    if units is None or gold.source is not None:
        return {}
    return {columns[at]: units[c.name].to_pylist() for c in contract.unit(gold) if (at := c.plain) in columns}


def _rows_to_read(touched: Mapping[str, pa.Table], contract: Contract, settings: Settings) -> int:
    """Rows of Silver in the partitions that are computed again, or in all of it where a table's units are no partitions."""
    found: list[dict[str, list[Any]]] = []
    for gold in contract.gold:
        places = _places(gold, touched.get(gold.name), contract)
        if gold.source is None and places not in found:
            found.append(places)
    return max((tables.rows(settings.table(contract.silver_table), places) for places in found), default=0)


def _named(groups: DataFrame) -> pa.Table | None:
    """None: their SQL fails on a row, which the table itself will report."""
    try:
        return groups.limit(MAX_UNITS + 1).toArrow()
    except PySparkException as error:
        if not is_of_data(error):
            raise
        return None


def _covers(units: pa.Table, expressions: dict[str, str]) -> str:
    """SQL predicate that holds for every unit. It may hold for more groups; those are computed again as well."""
    return " AND ".join(sqltext.any_of(expressions[name], set(units[name].to_pylist())) for name in units.column_names)


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
