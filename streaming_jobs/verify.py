"""Proof that a layer is what its contract makes of the layer above: computed once more, from nothing, and compared.

Bronze is set against the ledger, file by file, and against the landing folder, row by row, as far as the
files lie there as they were read; Silver and quarantine against Bronze; Gold against Silver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import (
    agreement,
    checkpoints,
    damage,
    definition,
    forgotten,
    gold,
    landing,
    ledger,
    locks,
    meaning,
    probe,
    reading,
    session,
    silver,
    tables,
)
from streaming_jobs.contract import Contract, Gold, Redelivery
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.ledger import LOADED, FileRow, FileState
from streaming_jobs.probe import Facts
from streaming_jobs.rules import versions
from streaming_jobs.settings import Settings
from streaming_jobs.sqltext import any_of, quoted

_SIDES = ("_held", "_expected")
_TOLERANCE = 1e-9  # of floating-point aggregates: their last digits depend on the order of the rows


@dataclass(frozen=True)
class Finding:
    """A key whose rows are not those that the layer above gives. key: names and values; held, expected: rows that differ.

    Of a whole file: all its rows, by the table and by the ledger.
    """

    dataset: str
    table: str
    key: str
    held: int
    expected: int

    @property
    def layer(self) -> str:
        folder = self.table.split("/")[0]
        return "silver" if folder == "quarantine" else folder


@dataclass(frozen=True)
class Checked:
    """A table that was proved, right or wrong. rows: of the table; against: what they were compared with."""

    dataset: str
    table: str
    rows: int
    against: str


@dataclass(frozen=True)
class Proof:
    """findings: the first ones by key. total: how many keys differ."""

    findings: tuple[Finding, ...] = ()
    total: int = 0
    checked: tuple[Checked, ...] = ()

    def rows(self) -> Rows:
        columns = tuple(f.name for f in fields(Finding))
        return Rows(columns, tuple(astuple(f) for f in self.findings), self.total)

    def failure(self) -> DamagedState:
        """What the operator reads when keys differ."""
        datasets = " ".join(dict.fromkeys(f.dataset for f in self.findings))
        layer = next(layer for layer in damage.LAYERS if any(f.layer == layer for f in self.findings))
        return DamagedState(
            f"{self.total} keys of {datasets} are not what the layer above gives; nothing was changed. "
            f"`streaming-jobs rebuild {layer} {datasets}` makes {layer} again, and what is below it follows."
        )

    def __add__(self, other: Proof) -> Proof:
        return Proof(self.findings + other.findings, self.total + other.total, self.checked + other.checked)


def prove(contracts: Sequence[Contract], settings: Settings, limit: int) -> Proof:
    """Prove every layer of every dataset, under all their locks. Raises Locked, and what the single proofs raise."""
    with locks.hold(settings, damage.LAYERS, [c.dataset for c in contracts]) as held, session.opened(settings, held, small=False) as spark:
        proofs = (of(spark, contract, settings, limit) for contract in contracts for of in (of_bronze, of_silver, of_gold))
        return sum(proofs, Proof())


def of_bronze(spark: SparkSession, contract: Contract, settings: Settings, limit: int) -> Proof:
    """Compare Bronze with the ledger and, where a file lies in the landing folder as it was read, with the file.

    Cells count by their header, whether it is a column of the contract or not: a column that became one
    later is no difference. Raises DamagedState when the table or the ledger lacks what the other has, and
    UsageError when the landing folder is missing.
    """
    table = settings.table(contract.bronze_table)
    agreement.require(contract, settings)
    if not tables.exists(table):
        return Proof()
    states = ledger.known(settings, contract.dataset).states
    held = agreement.rows_per_file(contract, settings)
    expected = {path: _said(state.loaded) for path, state in states.items() if state.loaded}
    wrong = [path for path in sorted({*held, *expected}) if held.get(path, (0, 0)) != expected.get(path, (0, 0))]
    findings = [
        Finding(contract.dataset, contract.bronze_table, f"_file={path}", held.get(path, (0, 0))[0], expected.get(path, (0, 0))[0])
        for path in wrong
    ]
    files = [f for f in _as_read(contract, settings, states) if f.path not in wrong]
    proof = Proof(
        tuple(findings[:limit]),
        len(wrong),
        (Checked(contract.dataset, contract.bronze_table, tables.rows(table), f"{len(expected)} files, {len(files)} of them read again"),),
    )
    columns = ["_cells", "_malformed", "_file", "_row"]
    rows = _newest_delivery(tables.read(spark, table), contract)
    for at in range(0, len(files), settings.max_files_per_batch):
        chunk = files[at : at + settings.max_files_per_batch]
        read = reading.read(spark, contract, settings.landing(contract.landing.folder), chunk, 0)
        fresh = forgotten.left_out(read, contract, settings)
        there, again = (
            side.withColumn("_cells", _cells(contract)) for side in (rows.where(any_of("_file", [f.path for f in chunk])), fresh)
        )
        proof += _compare(contract.dataset, contract.bronze_table, there, again, columns, ["_file", "_row"], limit)
    return proof


def of_silver(spark: SparkSession, contract: Contract, settings: Settings, limit: int) -> Proof:
    """Compare Silver and quarantine with what all of Bronze gives, as multisets of rows.

    Bronze is taken at its version of now, which Silver must have reached. Raises UsageError when it has
    not, or when the contract means something else than the table. Without a Bronze table there is nothing to prove.
    """
    above, table, refused_table = (settings.table(n) for n in (contract.bronze_table, contract.silver_table, contract.quarantine_table))
    if not tables.exists(above):
        return Proof()
    anew = meaning.require_same(contract, table)
    if anew or not tables.exists(table) or checkpoints.is_behind(settings.checkpoint("silver", contract.dataset), above):
        raise _behind("silver", "bronze", contract)
    winners, refused = silver.expected(tables.read(spark, above), contract)
    held, quarantined = tables.read(spark, table), tables.read(spark, refused_table)
    columns = [c for c in refused.columns if c not in silver.OF_THE_DAY]
    stored, identity = versions.stored(contract), versions.identity(contract)
    checked = tuple(
        Checked(contract.dataset, name, tables.rows(settings.table(name)), f"{tables.rows(above)} rows of bronze")
        for name in (contract.silver_table, contract.quarantine_table)
    )
    return (
        Proof(checked=checked)
        + _compare(contract.dataset, contract.silver_table, held, winners, stored, contract.silver.keys, limit)
        + _compare(contract.dataset, contract.quarantine_table, quarantined, refused, columns, identity, limit)
    )


def of_gold(spark: SparkSession, contract: Contract, settings: Settings, limit: int) -> Proof:
    """Compare every Gold table with the SQL of its contract over all of its source, group by group.

    Floating-point aggregates may differ in the last digits. Raises UsageError when Gold has not reached Silver
    or a table is not built as the contract says now.
    """
    above = settings.table(contract.silver_table)
    if not tables.exists(above):
        return Proof()
    built = all(definition.is_built(g, contract, settings.table(g.path)) for g in contract.gold)
    if contract.gold and (not built or checkpoints.is_behind(settings.checkpoint("gold", contract.dataset), above)):
        raise _behind("gold", "silver", contract)
    return sum((_of_table(spark, g, contract, settings, limit) for g in contract.gold), Proof())


def _behind(layer: str, above: str, contract: Contract) -> UsageError:
    return UsageError(
        f"{layer} of {contract.dataset} is behind {above}, so there is nothing to compare yet. "
        f"Run `streaming-jobs {layer} {contract.dataset}` first."
    )


def _newest_delivery(rows: DataFrame, contract: Contract) -> DataFrame:
    if contract.bronze.on_redelivery is not Redelivery.APPEND:
        return rows
    newest = rows.groupBy("_file").agg(F.max("_ingest_id").alias("_ingest_id"))
    return rows.join(newest, ["_file", "_ingest_id"], "left_semi")


def _said(loaded: FileRow) -> tuple[int, int]:
    return loaded.rows or 0, loaded.malformed_rows or 0


def _as_read(contract: Contract, settings: Settings, states: Mapping[str, FileState]) -> list[Facts]:
    """The files of the landing folder that are, byte for byte, what Bronze was read from."""
    folder = settings.landing(contract.landing.folder)
    landing.require_folder(folder)
    there = landing.compare(landing.list_folder(folder), states, contract.landing).ingested
    paths = [e.path for e in there if states[e.path].status in LOADED]
    probed = probe.probe_all(folder, paths, contract.landing, contract.bronze.columns, settings.probe_threads)
    facts = (found for found in probed if isinstance(found, Facts))
    return [f for f in facts if (loaded := states[f.path].loaded) and loaded.sha256 == f.sha256]


def _cells(contract: Contract) -> Column:
    """The cells of a row of Bronze that are not empty, by header, as JSON."""
    columns = [F.struct(F.lit(c.name.lower()).alias("key"), F.col(quoted(c.name)).alias("value")) for c in contract.bronze.columns]
    extra = F.transform(F.map_entries("_extra"), lambda e: F.struct(F.lower(e["key"]).alias("key"), e["value"].alias("value")))
    every = F.concat(F.array(*columns), F.coalesce(extra, F.array().cast("array<struct<key:string,value:string>>")))
    return F.to_json(F.array_sort(F.filter(every, lambda e: e["value"].isNotNull())))


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
    return _findings(dataset, table, rows.select(*map(quoted, keys), *surplus).groupBy(*map(quoted, keys)).agg(*counts), keys, limit)


def _of_table(spark: SparkSession, made: Gold, contract: Contract, settings: Settings, limit: int) -> Proof:
    table = settings.table(made.path)
    present, fresh = tables.read(spark, table), gold.aggregate(gold.source(spark, made, contract, settings), made)
    grain = [c.name for c in made.grain]
    rows = _half(present, made, "_held").unionByName(_half(fresh, made, "_expected"))
    groups = rows.groupBy(*map(quoted, grain)).agg(*(F.collect_list(side).alias(side) for side in _SIDES))
    held, expected = (F.get(side, F.lit(0)) for side in _SIDES)
    floating = {f.name for f in present.schema.fields if f.dataType.typeName() in ("float", "double")}
    same = F.lit(True)
    for column in made.aggregates:
        same = same & _alike(held[column.name], expected[column.name], floating=column.name in floating)
    single = (F.size("_held") == 1) & (F.size("_expected") == 1)
    differing = groups.where(~(single & same)).select(*map(quoted, grain), *(F.size(side).alias(side) for side in _SIDES))
    against = f"{tables.rows(settings.table(contract.silver_table))} rows of silver" if made.source is None else f"gold/{made.source}"
    checked = Checked(contract.dataset, made.path, tables.rows(table), against)
    return Proof(checked=(checked,)) + _findings(contract.dataset, made.path, differing, grain, limit)


def _half(rows: DataFrame, made: Gold, side: str) -> DataFrame:
    """The grain, and the aggregates as one value under the name of this side; NULL under the other's."""
    aggregates = F.struct(*(F.col(quoted(c.name)) for c in made.aggregates))
    values = ((aggregates if name == side else F.lit(None)).alias(name) for name in _SIDES)
    return rows.select(*(F.col(quoted(c.name)) for c in made.grain), *values)


def _alike(a: Column, b: Column, *, floating: bool) -> Column:
    if not floating:
        return a.eqNullSafe(b)
    return a.eqNullSafe(b) | F.coalesce(F.abs(a - b) <= _TOLERANCE * F.greatest(F.abs(a), F.abs(b)), F.lit(False))


def _findings(dataset: str, table: str, differing: DataFrame, keys: Sequence[str], limit: int) -> Proof:
    """differing: per key `_held` and `_expected`, the rows that differ."""
    differing = differing.persist()
    try:
        first = differing.orderBy(*map(quoted, keys)).limit(limit).collect()
        found = tuple(Finding(dataset, table, ", ".join(f"{k}={row[k]}" for k in keys), row["_held"], row["_expected"]) for row in first)
        return Proof(found, differing.count())
    finally:
        differing.unpersist()
