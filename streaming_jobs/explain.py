"""The life of one key: the rows of Bronze that carry it, which of them won and why, and the Gold groups it counts in.

Judged once more from Bronze, as `verify` does; what Silver and Gold hold now is set beside it. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import gold, keys, locks, pending, session, tables
from streaming_jobs.contract import Contract, Gold
from streaming_jobs.errors import UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.rules import versions
from streaming_jobs.rules.judgement import judge
from streaming_jobs.settings import Settings
from streaming_jobs.sqltext import quoted

COLUMNS = ("table", "from", "judgement", "values")
_MOST = 1000  # rows of Bronze, the newest ones


@dataclass(frozen=True)
class Step:
    """One row of one table. came_from: file and record, of Bronze and Silver. values: by column, as the table has them."""

    table: str
    came_from: str | None
    judgement: str
    values: Mapping[str, Any]


def explain(contract: Contract, settings: Settings, key: Sequence[str]) -> Rows:
    """Every row of the key, from Bronze to Gold, in the order in which it was decided; the newest row of Bronze last.

    key: one text per column of the key, in its order. Raises UsageError when there are more or fewer, one is no value of its
    column's type, or nothing was loaded yet; Locked as `verify` does, so that the layers stand still meanwhile.
    """
    keys.require(contract, key)
    if not tables.exists(settings.table(contract.bronze_table)):
        raise UsageError(f"data/{contract.bronze_table} does not exist yet; run `streaming-jobs run {contract.dataset}`.")
    with locks.hold(settings, pending.OF, [contract.dataset]) as held, session.opened(settings, held, small=True) as spark:
        steps = tuple(_life(spark, contract, settings, key))
    return Rows(COLUMNS, tuple((s.table, s.came_from, s.judgement, _aware(s.values)) for s in steps), len(steps))


def _aware(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spark hands timestamps over in UTC, as `session` tells it to, and does not say so."""
    return {name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for name, value in values.items()}


def _life(spark: SparkSession, contract: Contract, settings: Settings, key: Sequence[str]) -> Iterator[Step]:
    wanted = keys.typed(spark, contract, key)
    rows = judge(tables.read(spark, settings.table(contract.bronze_table)), contract)
    order = versions.order(contract)
    newest_first = [F.col(quoted(c)).desc_nulls_last() for c in order]
    found = rows.where(keys.carries(contract, key, wanted)).orderBy(*newest_first).limit(_MOST).collect()
    if not found:
        yield Step(contract.bronze_table, None, "no row carries this key", {})
    valid = sorted((row for row in found if not row["_reasons"]), key=lambda row: _sortable(row, order))
    for row in (row for row in found if row["_reasons"]):
        why = "; ".join(f"{r['rule']} {r['column'] or 'of the row'}: {r['message']}" for r in row["_reasons"])
        yield Step(contract.bronze_table, _from(row), f"refused, {why}", _delivered(row, contract))
    for row in valid:
        judgement = "wins" if row is valid[-1] else f"older than {_from(valid[-1])} by {_decisive(row, valid[-1], order)}"
        yield Step(contract.bronze_table, _from(row), judgement, _delivered(row, contract))
    yield from _below(spark, contract, settings, wanted, valid[-1] if valid else None)


def _below(spark: SparkSession, contract: Contract, settings: Settings, wanted: Mapping[str, Any], winner: Row | None) -> Iterator[Step]:
    """What Silver holds of the key, and the groups of Gold that its row is in."""
    if not tables.exists(settings.table(contract.silver_table)):
        return
    silver = tables.read(spark, settings.table(contract.silver_table)).where(keys.has(wanted))
    held = silver.first()
    if held is None:
        late = "" if winner is None else f"; behind bronze, run `streaming-jobs silver {contract.dataset}`"
        yield Step(contract.silver_table, None, f"no row{late}", {})
        return
    same = winner is not None and all(held[c] == winner[c] for c in versions.identity(contract))
    late = "" if same else f"; not what bronze gives now, run `streaming-jobs run {contract.dataset}`"
    yield Step(contract.silver_table, _from(held), f"the row of this key{late}", {c.name: held[c.name] for c in contract.silver.columns})
    groups: dict[str, DataFrame] = {}
    for made in contract.gold:
        table = settings.table(made.path)
        source = silver if made.source is None else groups.get(made.source)
        if source is None or not tables.exists(table):
            continue
        grain = gold.aggregate(source, made).select(*(quoted(c.name) for c in made.grain))
        groups[made.name] = present = _groups(tables.read(spark, table), grain, made)
        cells = present.collect()
        for cell in cells:
            yield Step(made.path, None, "counts in this group", cell.asDict())
        if not cells:
            left_out = made.where and grain.isEmpty()
            why = f"its `where` does not hold, {made.where}" if left_out else f"run `streaming-jobs gold {contract.dataset}`"
            yield Step(made.path, None, f"in no group of it: {why}", {})


def _groups(table: DataFrame, grain: DataFrame, made: Gold) -> DataFrame:
    same = F.lit(True)
    for column in made.grain:
        same = same & F.col(f"held.{quoted(column.name)}").eqNullSafe(F.col(f"wanted.{quoted(column.name)}"))
    return table.alias("held").join(grain.alias("wanted"), same, "left_semi")


def _sortable(row: Row, order: Sequence[str]) -> list[tuple[bool, Any]]:
    return [(row[c] is not None, row[c]) if row[c] is not None else (False, 0) for c in order]


def _decisive(older: Row, newer: Row, order: Sequence[str]) -> str:
    return next(c for c in order if older[c] != newer[c])


def _from(row: Row) -> str:
    return f"{row['_file']} row {row['_row']}"


def _delivered(row: Row, contract: Contract) -> dict[str, Any]:
    """As Bronze has it, without what is empty."""
    names = [*(c.name for c in contract.bronze.columns), "_extra", "_malformed"]
    return {name: row["_bronze"][name] for name in names if row["_bronze"][name] not in (None, {})}
