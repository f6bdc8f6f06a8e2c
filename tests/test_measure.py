"""A batch is measured to the same numbers in memory and by Spark."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from streaming_jobs import small
from streaming_jobs.contract import Contract
from streaming_jobs.contract.model import RowRule, SilverColumn
from streaming_jobs.rules import measure
from streaming_jobs.rules.measure import Measure

JUDGED = """_change boolean, id string, state string, at timestamp, amount decimal(10,2), day date, whole bigint, ratio double,
            _reasons array<struct<rule: string>>, _warnings array<string>"""
# A valid row has its keys; a refused one may lack anything.
ROWS = st.tuples(
    st.booleans(),
    st.sampled_from(["a", "b", "ä", "", "\U0001f600", "z" * 40]),
    st.sampled_from(["open", None]),
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),
    st.decimals(-99, 99, places=2),
    st.none() | st.dates(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from([[], [], [("cast",)]]),
    st.lists(st.sampled_from(["early", "late"]), unique=True),
)


def of(contract: Contract, *keys: str, places: tuple[str, ...] = ("day", "state")) -> Contract:
    """The contract with these keys, and partitions in which each key is looked for."""
    columns = tuple(SilverColumn(name, kind) for name, kind in (("day", "DATE"), ("whole", "BIGINT"), ("ratio", "DOUBLE")))
    rules = tuple(RowRule(name, "true", blocking=name == "never") for name in ("early", "late", "never"))
    parts = tuple(p for p in places if p not in keys)
    changed = replace(
        contract.silver,
        columns=(*contract.silver.columns, *columns),
        keys=keys,
        partitioned_by=parts,
        merge_window_days=1,
        rules=rules,
    )
    return replace(contract, silver=changed)


def told(found: Measure) -> Measure:
    """With what has no order as sets, and without the keys by name."""
    return replace(found, partitions={c: set(values) for c, values in found.partitions.items()}, named=None)


@pytest.mark.parametrize("keys", [("id",), ("at", "id"), ("amount", "whole"), ("whole",)])
@given(rows=st.lists(ROWS, max_size=8))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_batch_in_memory_is_measured_as_spark_measures_it(
    spark: SparkSession, orders: Contract, keys: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    contract = of(orders, *keys)
    held = small.local(spark.createDataFrame(rows, JUDGED))
    assert held is not None
    found = measure.of_rows(held.rows, contract)
    assert told(found) == told(measure.of_frame(held.frame, contract))
    valid = measure.valid(held.rows)
    assert set(found.named or ()) == set(valid[keys[0]].to_pylist())
