"""Small Delta tables in memory: read, compared and written by delta-rs, without a Spark job.

Through Spark a commit takes 0.2 s and reading the table again after it half a second, whatever its size;
here both take milliseconds (docs/spark.md). For tables of a few thousand rows, and for the few rows that a
small batch needs of a large one, that is most of the work. Only for tables that this project makes: no
deletion vectors, no column mapping. The caller holds the layer's lock, as every writer does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from streaming_jobs import commits, compaction, ledger, snapshots
from streaming_jobs.sqltext import quoted
from streaming_jobs.tables import Txn

MAX_ROWS = 50_000
MAX_PART_ROWS = 100_000  # of a table's partitions that are only aggregated
MAX_CSV_BYTES = 4 << 20  # of files whose rows are held
_MAX_BYTES = 256 << 10  # each write is the whole table, and the old file stays until a vacuum
_JOIN_FILES = 32  # in one partition: then every batch that reads the partition waits more for files than for rows
_READ_BYTES = 64 << 20
_PART_BYTES = 8 << 20


def held(table: Path) -> pa.Table | None:
    """All rows, in the types of the table; None: too many to be held, and written again whole for any change."""
    return _rows(snapshots.existing(table))


def _rows(found: DeltaTable) -> pa.Table | None:
    files = snapshots.files(found)
    return None if _sum("size_bytes", files) > _MAX_BYTES or _sum("num_records", files) > MAX_ROWS else _read(found)


def _sum(of: str, files: pa.Table) -> int:
    """Over the files that `snapshots.files` lists."""
    return int(sum(files[of].to_pylist()))


def _read(found: DeltaTable, conditions: Sequence[str] = ()) -> pa.Table:
    # Not `to_pyarrow_table`: the threads of its scan are now and then still there when the process ends, and abort it.
    read = QueryBuilder().register("held", found).execute(_select(conditions)).read_all()
    return pa.table(read).cast(pa.schema(found.schema().to_arrow()))


def _select(conditions: Sequence[str]) -> str:
    return f"SELECT * FROM held{' WHERE ' if conditions else ''}{' AND '.join(conditions)}"


def frame(spark: SparkSession, table: Path) -> DataFrame | None:
    """All rows as a Spark frame that lies in memory; None as `held`."""
    found = snapshots.existing(table)
    rows = _rows(found)
    return None if rows is None else _frame(spark, rows, _spark_schema(found))


def inside(spark: SparkSession, table: Path, places: Mapping[str, Collection[Any]]) -> DataFrame | None:
    """The rows of some partitions, as a Spark frame that lies in memory.

    places: partition column -> values. None: they are too many, or the values cannot be named.
    """
    said = _pruned(places)
    if not said or len(said) < len(places):
        return None
    found = snapshots.existing(table)
    files = snapshots.files(found, places)
    if _sum("size_bytes", files) > _PART_BYTES or _sum("num_records", files) > MAX_PART_ROWS:
        return None
    return _streamed(spark, _read(found, said), _spark_schema(found))


def having(spark: SparkSession, table: Path, column: str, values: Collection[Any], places: Mapping[str, Collection[Any]]) -> Local | None:
    """The rows whose `column` has one of the values.

    places: partition column -> all values that such rows have there. None: too much would have to be read, there are too many
    rows, or the column has a type whose values are not simply equal.
    """
    found = snapshots.existing(table)
    schema = pa.schema(found.schema().to_arrow())
    if pa.types.is_floating(schema.field(column).type):
        return None
    size = _sum("size_bytes", snapshots.files(found, places))
    if size > _READ_BYTES:
        return None
    rows = _matching(found, schema, column, values, places) if size else schema.empty_table()
    return None if rows is None else Local(spark, rows, _spark_schema(found))


def _matching(
    found: DeltaTable, schema: pa.Schema, column: str, values: Collection[Any], places: Mapping[str, Collection[Any]]
) -> pa.Table | None:
    wanted = pa.array(values, schema.field(column).type)
    parts: list[pa.Table] = []
    for batch in QueryBuilder().register("held", found).execute(_select(_pruned(places))):
        rows = pa.Table.from_batches([pa.record_batch(batch)]).cast(schema)
        parts.append(rows.filter(pc.is_in(rows[column], wanted)))
        if sum(part.num_rows for part in parts) > MAX_ROWS:
            return None
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _pruned(places: Mapping[str, Collection[Any]], of: str = "") -> list[str]:
    """DataFusion conditions that leave partitions out, one for each column of which it can be said. of: before the names, such as `old.`"""
    return [text for name, wanted in places.items() if (text := _one_of(f"{of}{ledger.quoted(name)}", wanted))]


def _one_of(column: str, values: Collection[Any]) -> str | None:
    """DataFusion SQL that leaves partitions out; None: cannot be said."""
    known = [value for value in values if value is not None]
    if not all(type(value) in (str, int, date) for value in known):
        return None
    said = [f"{column} IN ({', '.join(map(_literal, known))})"] if known else []
    said += [f"{column} IS NULL"] if len(known) < len(values) else []
    return f"({' OR '.join(said)})" if said else None


def _literal(value: str | int | date) -> str:
    if isinstance(value, int):
        return str(value)
    return f"DATE '{value}'" if isinstance(value, date) else ledger.text(value)


def append(rows: pa.Table, table: Path, txn: Txn) -> None:
    """Append rows, in one commit; skipped when `txn` is already in the table. No partition value may be an empty string."""
    if has(table, txn):
        return
    found = snapshots.existing(table)
    schema = pa.schema(found.schema().to_arrow())
    _write(_as(schema, rows), table, mode="append", partition_by=found.metadata().partition_columns, commit_properties=named(txn))


def merge(changes: pa.Table, table: Path, keys: Sequence[str], places: Mapping[str, Collection[Any]], txn: Txn) -> bool:
    """Update, delete and insert rows by their key, in one commit; skipped when `txn` is already in the table.

    changes: one row per key, in the table's columns, with `_put`: false takes the row of the key out. places: partition column ->
    all values that the rows which are updated or taken out have there now. No partition value may be an empty string.
    False: too much would have to be read, or a key has a type whose values are not simply equal; nothing was done.
    """
    found = snapshots.existing(table)
    schema = pa.schema(found.schema().to_arrow())
    if any(pa.types.is_floating(schema.field(key).type) for key in keys):
        return False
    if _sum("size_bytes", snapshots.files(found, places)) > _READ_BYTES:
        return False
    if has(table, txn):
        return True
    old, new = ({name: f"{side}.{ledger.quoted(name)}" for name in schema.names} for side in ("old", "new"))
    values = {ledger.quoted(name): value for name, value in new.items()}
    with commits.to(table) as held:
        merged = held.merge(
            changes.cast(schema.append(pa.field("_put", pa.bool_()))),
            " AND ".join([*(f"{old[key]} = {new[key]}" for key in keys), *_pruned(places, "old.")]),
            source_alias="new",
            target_alias="old",
            writer_properties=compaction.writer(schema),
            commit_properties=named(txn),
        )
        merged.when_matched_delete("NOT new._put").when_matched_update(values).when_not_matched_insert(values, "new._put").execute()
    return True


def join_files(table: Path) -> None:
    """Join small files where a partition has many."""
    compaction.join(table, _JOIN_FILES)


@dataclass(frozen=True)
class Local:
    """Rows that the driver holds."""

    spark: SparkSession
    rows: pa.Table
    schema: StructType

    @cached_property
    def frame(self) -> DataFrame:
        return _frame(self.spark, self.rows, self.schema)


def local(rows: DataFrame) -> Local | None:
    """The same rows, computed now and held by the driver, so that plans over them are short; None: too many."""
    # Without NOT NULL inside of structs: PySpark stumbles over a struct that is NULL itself.
    schema = re.sub(r'("nullable"|"containsNull"|"valueContainsNull"):false', r"\1:true", rows.schema.json())
    free = StructType.fromJson(json.loads(schema))
    freed = {f.name: F.col(quoted(f.name)).cast(f.dataType) for f in free if f.dataType != rows.schema[f.name].dataType}
    found = (rows.withColumns(freed) if freed else rows).limit(MAX_ROWS + 1).toArrow()
    return Local(rows.sparkSession, found, free) if found.num_rows <= MAX_ROWS else None


def _frame(spark: SparkSession, rows: pa.Table, schema: StructType) -> DataFrame:
    # PySpark cannot convert a table of timestamps without a row; by its limit the optimizer knows it to be empty, and joins nothing.
    return spark.createDataFrame(rows, schema) if rows.num_rows else spark.createDataFrame([], schema).limit(0)


def columns(table: Path) -> dict[str, pa.DataType]:
    """Names and types; none where there is no table."""
    found = snapshots.newest(table)
    return {f.name: f.type for f in pa.schema(found.schema().to_arrow())} if found else {}


def blank(spark: SparkSession, columns: Mapping[str, pa.DataType]) -> DataFrame:
    """One row: a text in each column of texts, NULL in the others."""
    row = {name: pa.array(["0"], kind) if pa.types.is_string(kind) else pa.nulls(1, kind) for name, kind in columns.items()}
    return _streamed(spark, pa.table(row), None)


def _streamed(spark: SparkSession, rows: pa.Table, schema: StructType | None) -> DataFrame:
    """As `_frame`, for many rows that are only read once or twice: one task takes them from Arrow.

    Otherwise the driver makes them Spark's rows beforehand, filters them there and sends them along with each task; and where all
    lie in one partition, no group has to be brought together: Gold's part of a round with 30 000 such rows 1.2 -> 0.8 s.
    """
    if not rows.num_rows and schema is not None:
        return _frame(spark, rows, schema)
    conf = {"spark.sql.execution.arrow.localRelationThreshold": "0", "spark.sql.execution.arrow.maxRecordsPerBatch": str(rows.num_rows)}
    for name, value in conf.items():
        spark.conf.set(name, value)
    try:
        return spark.createDataFrame(rows.combine_chunks(), schema).coalesce(1)
    finally:
        for name in conf:
            spark.conf.unset(name)


def replace(present: pa.Table, fresh: pa.Table, table: Path, grain: Sequence[str], units: pa.Table | None) -> int:
    """Make `fresh` the table's rows of these units, all of its rows where units is None; returns how many groups went away.

    present: what the table holds. fresh: one row per group. grain: the columns that name a group. units: values
    of some of them; a group belongs to them when each of its columns has one of the values there. Equal rows are
    not written. One commit; without a transaction, because done again it finds nothing to do.
    """
    inside = _belongs(present, units)
    before, after = present.filter(inside), fresh.select(present.column_names).cast(present.schema)
    if Counter(_texts(before, before.column_names)) == Counter(_texts(after, after.column_names)):
        return 0
    _overwrite(pa.concat_tables([present.filter(pc.invert(inside)), after]), table)
    return len(set(_texts(before, grain)) - set(_texts(after, grain)))


def build(present: pa.Table, fresh: pa.Table, table: Path, grain: Sequence[str], mark: Mapping[str, str]) -> int:
    """Make `fresh` all that the table holds, with `mark` in the metadata of its first column, in one commit.

    Returns how many groups went away.
    """
    rows = fresh.select(present.column_names).cast(present.schema)
    marked = rows.schema.set(0, rows.schema.field(0).with_metadata(mark))
    _write(rows.cast(marked), table, mode="overwrite", schema_mode="overwrite")
    return len(set(_texts(present, grain)) - set(_texts(rows, grain)))


@dataclass(frozen=True)
class Part:
    """The rows of a table that have one of these values in a column."""

    column: str
    values: Collection[str]

    def held(self, table: Path) -> pa.Table | None:
        """All of them, in the types of the table; None: too much would have to be read, or there are too many."""
        found = snapshots.existing(table)
        if self.size(found) > _READ_BYTES:
            return None
        return _matching(found, pa.schema(found.schema().to_arrow()), self.column, self.values, {})

    @property
    def where(self) -> str:
        """DataFusion SQL that its rows satisfy."""
        return f"{ledger.quoted(self.column)} IN ({', '.join(map(_literal, sorted(self.values)))})"

    def size(self, found: DeltaTable) -> int:
        """Bytes of the data files that may hold some of them, by their statistics."""
        files = snapshots.files(found)
        least, most = (
            files[name].to_pylist() if (name := f"{bound}.{self.column}") in files.column_names else [None] * files.num_rows
            for bound in ("min", "max")
        )
        return sum(size for size, *bounds in zip(files["size_bytes"].to_pylist(), least, most, strict=True) if self._may_be_in(*bounds))

    def _may_be_in(self, least: str | None, most: str | None) -> bool:
        return least is None or most is None or any(least <= value <= most for value in self.values)


def put(rows: pa.Table, table: Path, part: Part, txn: Txn) -> bool:
    """Make `rows` those that the table holds of a part, in one commit; skipped when `txn` is already in the table.

    False: too much would have to be read; nothing was done.
    """
    found = snapshots.existing(table)
    if part.size(found) > _READ_BYTES:
        return False
    if not has(table, txn):
        _overwrite(_as(pa.schema(found.schema().to_arrow()), rows), table, part, named(txn))
    return True


def exchange(
    present: pa.Table,
    fresh: pa.Table,
    gone: pa.Table,
    table: Path,
    identity: Sequence[str],
    compared: Sequence[str],
    part: Part | None = None,
) -> None:
    """Put rows into the table and take others out, in one commit, or in none where nothing changes.

    present: what the table holds. fresh: rows to hold, instead of those of their identity; one that agrees with a
    row there on the compared columns is left as it is. gone: identities to take out, fresh ones excepted. A column
    that only the table has is NULL in fresh rows. part: all of these are about no other rows, and the others stay.
    """
    fresh = _as(present.schema, fresh)
    there = set(_texts(present, compared))
    put = fresh.filter(pa.array([text not in there for text in _texts(fresh, compared)], pa.bool_()))
    out = set(_texts(gone, identity)) - set(_texts(fresh, identity)) | set(_texts(put, identity))
    kept = present.filter(pa.array([text not in out for text in _texts(present, identity)], pa.bool_()))
    if part and kept.num_rows == present.num_rows:
        if put.num_rows:
            _write(put, table, mode="append")
    elif put.num_rows or kept.num_rows < present.num_rows:
        _overwrite(pa.concat_tables([kept, put]), table, part)


def _overwrite(rows: pa.Table, table: Path, part: Part | None = None, named: CommitProperties | None = None) -> None:
    _write(rows, table, mode="overwrite", predicate=part.where if part else None, commit_properties=named)


def _write(rows: pa.Table, table: Path, **how: Any) -> None:
    """how: as delta-rs takes it."""
    with commits.to(table) as held:
        write_deltalake(held, rows, writer_properties=compaction.writer(rows.schema), **how)


def has(table: Path, txn: Txn) -> bool:
    """Whether a write was done already. To be asked first: delta-rs records the id, and writes again."""
    return ledger.transaction_version(table, txn.app) >= txn.version


def named(txn: Txn) -> CommitProperties:
    """For the commit of a write through delta-rs."""
    return CommitProperties(app_transactions=[Transaction(txn.app, txn.version)])


def _as(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    """The rows in the columns and types of a table; a column that they lack is NULL."""
    for name in [n for n in schema.names if n not in rows.column_names]:
        rows = rows.append_column(name, pa.nulls(rows.num_rows, schema.field(name).type))
    return rows.select(schema.names).cast(schema)


def schema(table: Path) -> StructType:
    """The columns of a table."""
    return _spark_schema(snapshots.existing(table))


def _spark_schema(found: DeltaTable) -> StructType:
    return StructType.fromJson(json.loads(found.schema().to_json()))


def _belongs(rows: pa.Table, units: pa.Table | None) -> pa.Array:
    if units is None:
        return pa.array([True] * rows.num_rows, pa.bool_())
    columns = [(_texts(rows, [name]), set(_texts(units, [name]))) for name in units.column_names]
    return pa.array([all(values[n] in wanted for values, wanted in columns) for n in range(rows.num_rows)], pa.bool_())


def _texts(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """Each row as text: unlike the values, it can always be hashed, and NaN equals itself."""
    if not columns:
        return ["()"] * rows.num_rows
    return [repr(values) for values in zip(*(rows[name].to_pylist() for name in columns), strict=True)]
