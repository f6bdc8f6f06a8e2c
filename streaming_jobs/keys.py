"""A key as somebody types it: its values, and the rows that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from streaming_jobs.contract import Contract, SilverColumn
from streaming_jobs.errors import UsageError
from streaming_jobs.rules import casts
from streaming_jobs.sqltext import quoted


def require(contract: Contract, key: Sequence[str]) -> None:
    """Raise UsageError unless there is one text per column of the key."""
    if len(key) != len(contract.silver.keys):
        wanted = " ".join(f"--key <{name}>" for name in contract.silver.keys)
        raise UsageError(f"the key of {contract.dataset} is {', '.join(contract.silver.keys)}: {wanted}. Nothing was read.")


def typed(spark: SparkSession, contract: Contract, key: Sequence[str]) -> dict[str, Any]:
    """The key as Silver has it, by column. A column with a format is also taken as ISO writes it.

    Raises UsageError for a text that is no value of its column's type.
    """
    columns = _columns(contract)
    asked = zip(columns, map(F.lit, key), strict=True)
    values = [F.coalesce(casts.typed(casts.text(text, c.type), c), text.try_cast(c.type)).alias(c.name) for c, text in asked]
    found = spark.range(1).select(*values).first()
    assert found is not None  # one row was made
    for column, text in zip(columns, key, strict=True):
        if found[column.name] is None:
            raise UsageError(f"--key {text}: no {column.type}, which {column.name} of {contract.dataset} is. Nothing was read.")
    return found.asDict()


def texts(contract: Contract, values: Mapping[str, Any]) -> list[Column]:
    """The values of a key as Spark writes them, in its order."""
    return [F.lit(values[c.name]).cast(c.type).cast("string") for c in _columns(contract)]


def has(wanted: Mapping[str, Any]) -> Column:
    """True for a judged row, or one of Silver, that has these values."""
    same = F.lit(True)
    for name, value in wanted.items():
        same = same & (F.col(quoted(name)) == F.lit(value))
    return same


def delivered(contract: Contract) -> list[Column]:
    """Of a judged row: the key as it was delivered, without surrounding white space. Empty where a part of it is computed."""
    if not {c.name for c in contract.bronze.columns}.issuperset(contract.silver.keys):
        return []
    return [F.trim(F.col(f"_bronze.{quoted(name)}"), F.lit(casts.WHITE)) for name in contract.silver.keys]


def carries(contract: Contract, key: Sequence[str], values: Mapping[str, Any]) -> Column:
    """True for a judged row that has this key, or to which it was delivered so though it may have been refused; never NULL."""
    cells = delivered(contract)
    same = F.lit(bool(cells))
    for cell, text in zip(cells, key, strict=False):
        same = same & (cell == F.lit(text.strip()))
    return F.coalesce(has(values), F.lit(False)) | F.coalesce(same, F.lit(False))


def _columns(contract: Contract) -> list[SilverColumn]:
    by_name = {c.name: c for c in contract.silver.columns}
    return [by_name[name] for name in contract.silver.keys]
