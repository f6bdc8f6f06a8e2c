"""Proof that a layer is what its contract makes of the layer above: computed once more, from nothing, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import checkpoints, locks, meaning, session, silver, tables
from streaming_jobs.contract import Contract
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.rules import versions
from streaming_jobs.settings import Settings
from streaming_jobs.sqltext import quoted

_OWN = ("contract_version", "quarantined_at")  # of the day a row was refused, not of the row


@dataclass(frozen=True)
class Finding:
    """A key whose rows are not those that the layer above gives. key: names and values; held, expected: rows that differ."""

    dataset: str
    table: str
    key: str
    held: int
    expected: int


@dataclass(frozen=True)
class Proof:
    """findings: the first ones by key. total: how many keys differ."""

    findings: tuple[Finding, ...] = ()
    total: int = 0

    def rows(self) -> Rows:
        columns = tuple(f.name for f in fields(Finding))
        return Rows(columns, tuple(astuple(f) for f in self.findings), self.total)

    def failure(self) -> DamagedState:
        """What the operator reads when keys differ."""
        datasets = " ".join(dict.fromkeys(f.dataset for f in self.findings))
        return DamagedState(
            f"{self.total} keys of {datasets} are not what bronze gives; nothing was changed. "
            f"`streaming-jobs rebuild silver {datasets}` makes silver and quarantine again, and gold after it."
        )

    def __add__(self, other: Proof) -> Proof:
        return Proof(self.findings + other.findings, self.total + other.total)


def silver_of(contracts: Sequence[Contract], settings: Settings, limit: int) -> Proof:
    """Prove Silver and quarantine of every dataset, under Silver's locks. Raises as `of_silver`, and Locked."""
    with locks.hold(settings, ["silver"], [c.dataset for c in contracts]) as held, session.opened(settings, held, small=False) as spark:
        return sum((of_silver(spark, c, settings, limit) for c in contracts), Proof())


def of_silver(spark: SparkSession, contract: Contract, settings: Settings, limit: int) -> Proof:
    """Compare Silver and quarantine with what all of Bronze gives, as multisets of rows.

    Bronze is taken at its version of now, which Silver must have reached. Raises UsageError when it has
    not, or when the contract means something else than the table. Without a Bronze table there is nothing to prove.
    """
    bronze, table = settings.table(contract.bronze_table), settings.table(contract.silver_table)
    if not tables.exists(bronze):
        return Proof()
    version = tables.version(bronze)
    behind = checkpoints.is_behind(settings.checkpoint("silver", contract.dataset), bronze)
    if meaning.require_same(contract, table) or behind or not tables.exists(table):
        first = f"Run `streaming-jobs silver {contract.dataset}` first."
        raise UsageError(f"silver of {contract.dataset} is behind bronze, so there is nothing to compare yet. {first}")
    rows = spark.read.format("delta").option("versionAsOf", version).load(str(bronze))
    winners, refused = silver.expected(rows, contract)
    held, quarantined = tables.read(spark, table), tables.read(spark, settings.table(contract.quarantine_table))
    columns = [c for c in refused.columns if c not in _OWN]
    return _compare(
        contract.dataset, contract.silver_table, held, winners, versions.stored(contract), contract.silver.keys, limit
    ) + _compare(contract.dataset, contract.quarantine_table, quarantined, refused, columns, versions.identity(contract), limit)


def _compare(
    dataset: str, table: str, held: DataFrame, expected: DataFrame, columns: Sequence[str], keys: Sequence[str], limit: int
) -> Proof:
    complex_ = {f.name for f in held.schema.fields if f.dataType.typeName() in ("map", "array", "struct")}
    # Maps cannot be grouped; what was written from the same cells reads the same.
    plain = [(F.to_json(quoted(c)) if c in complex_ else F.col(quoted(c))).alias(c) for c in columns]
    one, none = F.lit(1), F.lit(0)
    sides = held.select(*plain, one.alias("_held"), none.alias("_expected")).unionByName(
        expected.select(*plain, none.alias("_held"), one.alias("_expected"))
    )
    counts = (F.sum("_held").alias("_held"), F.sum("_expected").alias("_expected"))
    rows = sides.groupBy(*map(quoted, columns)).agg(*counts).where("_held <> _expected")
    # Of equal rows only the surplus differs.
    surplus = [F.greatest(F.col(a) - F.col(b), none).alias(a) for a, b in (("_held", "_expected"), ("_expected", "_held"))]
    differing = rows.select(*map(quoted, keys), *surplus).groupBy(*map(quoted, keys)).agg(*counts).persist()
    try:
        first = differing.orderBy(*map(quoted, keys)).limit(limit).collect()
        found = tuple(Finding(dataset, table, ", ".join(f"{k}={row[k]}" for k in keys), row["_held"], row["_expected"]) for row in first)
        return Proof(found, differing.count())
    finally:
        differing.unpersist()
