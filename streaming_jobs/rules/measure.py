"""What a batch of judged changes holds: its rows counted and its keys bounded, before anything is decided."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from streaming_jobs.contract import Contract
from streaming_jobs.sqltext import quoted


@dataclass(frozen=True)
class Measure:
    """Of judged changes. warned: warning rule -> accepted arrivals that break it. low, high: of valid rows, per key column."""

    rows: int
    arrivals: int
    refused: int  # of the arrivals
    gone: int
    valid: int  # arrived or gone
    warned: Mapping[str, int]
    low: Mapping[str, Any]
    high: Mapping[str, Any]
    partitions: Mapping[str, Collection[Any]]  # of valid rows, for the columns that say where a key can be
    named: Collection[Any] | None  # of valid rows, the first key column; None: they were not in memory


def is_refused() -> Column:
    return F.size("_reasons") > 0


def valid(judged: pa.Table) -> pa.Table:
    return judged.filter(pc.equal(pc.list_value_length(judged["_reasons"]), 0))


def refused(judged: pa.Table) -> pa.Table:
    return judged.filter(pc.greater(pc.list_value_length(judged["_reasons"]), 0))


def of_frame(judged: DataFrame, contract: Contract) -> Measure:
    """In one pass of Spark."""
    arrived, broken = F.col("_change"), is_refused()
    warnings, keys, placed = _warnings(contract), contract.silver.keys, contract.silver.placing
    found = judged.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(arrived).alias("arrivals"),
        F.count_if(arrived & broken).alias("refused"),
        F.count_if(~broken).alias("valid"),
        *(F.count_if(arrived & ~broken & F.array_contains("_warnings", name)).alias(f"warned {name}") for name in warnings),
        *(F.min(F.when(~broken, F.col(quoted(c)))).alias(f"low {c}") for c in keys),
        *(F.max(F.when(~broken, F.col(quoted(c)))).alias(f"high {c}") for c in keys),
        *(F.collect_set(F.when(~broken, F.col(quoted(c)))).alias(f"in {c}") for c in placed),
    ).first()
    assert found is not None  # an aggregate without groups is one row
    return Measure(
        found["rows"],
        found["arrivals"],
        found["refused"],
        found["rows"] - found["arrivals"],
        found["valid"],
        {name: found[f"warned {name}"] for name in warnings if found[f"warned {name}"]},
        {c: found[f"low {c}"] for c in keys},
        {c: found[f"high {c}"] for c in keys},
        {c: found[f"in {c}"] for c in placed},
        None,
    )


def of_rows(judged: pa.Table, contract: Contract) -> Measure:
    """The same without Spark, and the keys by name."""
    keys, placed = contract.silver.keys, contract.silver.placing
    rows, arrived = valid(judged), judged.filter(judged["_change"])
    accepted = rows.filter(rows["_change"])
    told = accepted["_warnings"].combine_chunks().flatten().value_counts()
    broken = {count["values"]: count["counts"] for count in told.to_pylist()}
    bounds = {c: pc.min_max(rows[c]).as_py() for c in keys}
    return Measure(
        judged.num_rows,
        arrived.num_rows,
        arrived.num_rows - accepted.num_rows,
        judged.num_rows - arrived.num_rows,
        rows.num_rows,
        {name: broken[name] for name in _warnings(contract) if name in broken},
        {c: _plain(bound["min"]) for c, bound in bounds.items()},
        {c: _plain(bound["max"]) for c, bound in bounds.items()},
        {c: [_plain(value) for value in pc.unique(rows[c].drop_null()).to_pylist()] for c in placed},
        pc.unique(rows[keys[0]]).to_pylist(),
    )


def _warnings(contract: Contract) -> list[str]:
    return [rule.name for rule in contract.silver.rules if not rule.blocking]


def _plain(value: Any) -> Any:
    """As Spark's rows have it: an instant without its zone, which is UTC."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
