"""What is searched for: the key, and the texts that rows of the key brought and no other row has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import keys, tables
from streaming_jobs.contract import Contract
from streaming_jobs.rules.judgement import judge
from streaming_jobs.settings import Settings
from streaming_jobs.sqltext import quoted

SHORTEST = 6  # characters; fewer are found everywhere
_LONGEST = 32  # characters that Delta keeps of a text as smallest or largest value
_MOST = 200


@dataclass(frozen=True)
class Needles:
    """texts: searched for in every byte. key: column -> the texts that it may read; searched for as whole cells of the dataset's tables."""

    texts: tuple[str, ...]
    key: Mapping[str, frozenset[str]]


def of(
    spark: SparkSession, contract: Contract, settings: Settings, carries: Column, key: Sequence[str], values: Mapping[str, Any]
) -> Needles:
    """carries: of a judged row, that it belongs to the key. Of more than 200 texts the longest; each by its first 32 characters."""
    rows = judge(tables.read(spark, settings.table(contract.bronze_table)), contract)
    cells = F.explode(F.concat(F.array(*(F.col(f"_bronze.{quoted(name)}") for name in _texts(contract))), *_others()))
    found = {row[0] for row in rows.where(carries).select(cells).distinct().collect() if row[0]}
    wanted = sorted({text.strip()[:_LONGEST] for text in (*found, *key)}, key=lambda text: (-len(text), text))
    long = [text for text in wanted if len(text) >= SHORTEST][:_MOST]
    shown = spark.range(1).select(*keys.texts(contract, values)).first()
    assert shown is not None  # one row was made
    by_column = {name: frozenset({text.strip(), str(value)}) for name, text, value in zip(contract.silver.keys, key, shown, strict=True)}
    return Needles(tuple(_unshared(rows.where(~carries), long, contract)), by_column)


def _texts(contract: Contract) -> Iterator[str]:
    """Raw columns that hold text. Numbers and times of two people may be the same without meaning anything."""
    typed = {c.name: c.type for c in contract.silver.columns if c.expression is None}
    keys_ = set(contract.silver.keys)
    yield from (c.name for c in contract.bronze.columns if c.name in keys_ or typed.get(c.name, "STRING") == "STRING")


def _others() -> tuple[Column, ...]:
    none = F.array().cast("array<string>")
    return (
        F.coalesce(F.map_values("_bronze._extra"), none),
        F.when(F.col("_bronze._malformed").isNull(), none).otherwise(F.array("_bronze._malformed")),
    )


def _unshared(others: DataFrame, texts: Sequence[str], contract: Contract) -> Iterator[str]:
    """The texts that are in no cell of these rows."""
    if not texts:
        return
    every = F.concat_ws("\n", F.array(*(F.col(f"_bronze.{quoted(c.name)}") for c in contract.bronze.columns)), *_others())
    counts = others.select(every.alias("every")).agg(
        *(F.count_if(F.contains("every", F.lit(t))).alias(f"_{n}") for n, t in enumerate(texts))
    )
    found = counts.first()
    assert found is not None  # an aggregate without groups is one row
    yield from (text for text, rows in zip(texts, found, strict=True) if not rows)
