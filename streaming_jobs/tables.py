"""Delta tables through Spark: create, append, replace, merge. Every write names itself.

A write carries an application id and a version; Delta skips it without a word when the table already
holds that version or a later one. One id covers one write per table and batch: two different writes
to a table need two ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deltalake import DeltaTable, Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from streaming_jobs import checksums, commits, snapshots
from streaming_jobs.sqltext import quoted

_TXN_APP = "spark.databricks.delta.write.txnAppId"
_TXN_VERSION = "spark.databricks.delta.write.txnVersion"


@dataclass(frozen=True)
class Txn:
    app: str
    version: int


def create(
    table: Path,
    schema: StructType,
    *,
    retention_days: int,
    partitioned_by: Sequence[str] = (),
    statistics: Sequence[str] = (),
    change_feed: bool = True,
    properties: Mapping[str, str] | None = None,
) -> None:
    """Create an empty table unless it exists; through delta-rs, which needs no Spark job for it.

    Reader version 1: no deletion vectors, no column mapping, so that every Delta reader opens it.
    statistics: the columns that get minimum and maximum per file; empty: Delta's default. properties: our own.
    """
    if exists(table):
        checksums.write(table)
        return
    keep = f"interval {retention_days} days"
    configuration: dict[str, str | None] = {
        "delta.deletedFileRetentionDuration": keep,
        "delta.logRetentionDuration": keep,
        # Spark's default, said because that of delta-rs is 100: whoever opens the table reads every commit since the last checkpoint.
        "delta.checkpointInterval": "10",
        **(properties or {}),
    }
    if change_feed:
        configuration["delta.enableChangeDataFeed"] = "true"
    if statistics:
        configuration["delta.dataSkippingStatsColumns"] = ",".join(statistics)
    DeltaTable.create(
        str(table),
        Schema.from_json(schema.json()),
        mode="ignore",
        partition_by=list(partitioned_by) or None,
        configuration=configuration,
        raise_if_key_not_exists=False,
    )
    checksums.write(table)


def schema(columns: Sequence[tuple[str, str]]) -> StructType:
    """Columns given as (name, Spark SQL type), all nullable."""
    return cast("StructType", StructType.fromDDL(", ".join(f"{quoted(name)} {kind}" for name, kind in columns)))


def add_columns(spark: SparkSession, table: Path, columns: Sequence[tuple[str, str]]) -> None:
    """Add the columns a table does not have yet; rows already there read NULL."""
    have = {f.name.lower() for f in snapshots.existing(table).schema().fields}
    new = [f"{quoted(name)} {kind}" for name, kind in columns if name.lower() not in have]
    if new:
        spark.sql(f"ALTER TABLE delta.{quoted(str(table))} ADD COLUMNS ({', '.join(new)})")


def commit_nothing(table: Path) -> None:
    """Make a version without changes, so that a stream can begin behind all changes there are."""
    with commits.to(table) as held:
        held.alter.set_table_properties({"streaming_jobs.changes_gone_until": str(held.version())}, raise_if_not_exists=False)


def exists(table: Path) -> bool:
    return snapshots.newest(table) is not None


def version(table: Path) -> int:
    """The newest version of a table."""
    return snapshots.existing(table).version()


def rows(table: Path, places: Mapping[str, Collection[Any]] | None = None) -> int:
    """How many rows a table has, by the statistics of its files. places: partition column -> values; only the rows there."""
    return sum(snapshots.files(snapshots.existing(table), places)["num_records"].to_pylist())


def read(spark: SparkSession, table: Path, at: int | None = None) -> DataFrame:
    """The table as it is, or as it was at a version."""
    reader = spark.read.format("delta")
    return (reader if at is None else reader.option("versionAsOf", at)).load(str(table))


def append(rows: DataFrame, table: Path, txn: Txn) -> None:
    """Append rows; skipped when `txn` is already in the table."""
    _writer(rows, txn).mode("append").save(str(table))


def overwrite(rows: DataFrame, table: Path, *, partitioned_by: Sequence[str] = ()) -> None:
    """Replace the whole content, and the schema by that of `rows`, in one commit.

    It carries no transaction: done again, it has the same result.
    """
    # With the schema goes the partitioning, unless it is said again.
    rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy(*partitioned_by).save(str(table))


def replace(rows: DataFrame, table: Path, predicate: str, txn: Txn) -> None:
    """Replace the rows that match `predicate` in one commit; every new row must match it too."""
    _writer(rows, txn).mode("overwrite").option("replaceWhere", predicate).save(str(table))


@contextmanager
def transaction(spark: SparkSession, txn: Txn) -> Iterator[None]:
    """Name the writes of this block; for MERGE, which takes no options.

    spark: the session that runs the write. In a micro-batch that is `batch.sparkSession`; set on
    another one the name is silently absent.
    """
    spark.conf.set(_TXN_APP, txn.app)
    spark.conf.set(_TXN_VERSION, str(txn.version))
    try:
        yield
    finally:
        spark.conf.unset(_TXN_APP)
        spark.conf.unset(_TXN_VERSION)


def _writer(rows: DataFrame, txn: Txn) -> Any:
    return rows.write.format("delta").option("txnAppId", txn.app).option("txnVersion", txn.version)
