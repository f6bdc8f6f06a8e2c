"""Small Delta tables in memory: read, compared and written by delta-rs, without a Spark job.

Through Spark a commit takes 0.2 s and reading the table again after it half a second, whatever its size;
here both take milliseconds (docs/spark.md). For tables of a few thousand rows that is most of the work.
Only for tables that this project makes: unpartitioned, no deletion vectors, no column mapping. The
caller holds the layer's lock, as every writer does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, QueryBuilder, WriterProperties, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from streaming_jobs import snapshots
from streaming_jobs.sqltext import quoted

MAX_ROWS = 20_000
_MAX_BYTES = 256 << 10  # each write is the whole table, and the old file stays until a vacuum
_WRITER = WriterProperties(compression="ZSTD")


def held(table: Path) -> pa.Table | None:
    """All rows, in the types of the table; None: too many to be held, and written again whole for any change."""
    return _rows(snapshots.existing(table))


def _rows(found: DeltaTable) -> pa.Table | None:
    files = found.get_add_actions(flatten=True)
    sizes, rows = (files.column(name).to_pylist() for name in ("size_bytes", "num_records"))
    if sum(sizes) > _MAX_BYTES or sum(rows) > MAX_ROWS:
        return None
    # Not `to_pyarrow_table`: the threads of its scan are now and then still there when the process ends, and abort it.
    read = QueryBuilder().register("held", found).execute("SELECT * FROM held").read_all()
    return pa.table(read).cast(pa.schema(found.schema().to_arrow()))


def frame(spark: SparkSession, table: Path) -> DataFrame | None:
    """All rows as a Spark frame that lies in memory; None as `held`."""
    found = snapshots.existing(table)
    rows = _rows(found)
    return None if rows is None else _frame(spark, rows, StructType.fromJson(json.loads(found.schema().to_json())))


def local(rows: DataFrame) -> DataFrame | None:
    """The same rows, computed now and held by the driver, so that plans over them are short; None: too many."""
    # Without NOT NULL inside of structs: PySpark stumbles over a struct that is NULL itself.
    schema = re.sub(r'("nullable"|"containsNull"|"valueContainsNull"):false', r"\1:true", rows.schema.json())
    free = StructType.fromJson(json.loads(schema))
    found = rows.select(*(F.col(quoted(f.name)).cast(f.dataType).alias(f.name) for f in free)).limit(MAX_ROWS + 1).toArrow()
    return _frame(rows.sparkSession, found, free) if found.num_rows <= MAX_ROWS else None


def _frame(spark: SparkSession, rows: pa.Table, schema: StructType) -> DataFrame:
    # PySpark cannot convert a table of timestamps without a row.
    return spark.createDataFrame(rows, schema) if rows.num_rows else spark.createDataFrame([], schema)


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
    _write(pa.concat_tables([present.filter(pc.invert(inside)), after]), table)
    return len(set(_texts(before, grain)) - set(_texts(after, grain)))


def exchange(present: pa.Table, fresh: pa.Table, gone: pa.Table, table: Path, identity: Sequence[str], compared: Sequence[str]) -> None:
    """Put rows into the table and take others out, in one commit, or in none where nothing changes.

    present: what the table holds. fresh: rows to hold, instead of those of their identity; one that agrees with a
    row there on the compared columns is left as it is. gone: identities to take out, fresh ones excepted. A column
    that only the table has is NULL in fresh rows.
    """
    absent = [name for name in present.column_names if name not in fresh.column_names]
    for name in absent:
        fresh = fresh.append_column(name, pa.nulls(fresh.num_rows, present.schema.field(name).type))
    fresh = fresh.select(present.column_names).cast(present.schema)
    there = set(_texts(present, compared))
    put = fresh.filter(pa.array([text not in there for text in _texts(fresh, compared)], pa.bool_()))
    out = set(_texts(gone, identity)) - set(_texts(fresh, identity)) | set(_texts(put, identity))
    kept = present.filter(pa.array([text not in out for text in _texts(present, identity)], pa.bool_()))
    if put.num_rows or kept.num_rows < present.num_rows:
        _write(pa.concat_tables([kept, put]), table)


def _write(rows: pa.Table, table: Path) -> None:
    write_deltalake(str(table), rows, mode="overwrite", writer_properties=_WRITER)


def _belongs(rows: pa.Table, units: pa.Table | None) -> pa.Array:
    if units is None:
        return pa.array([True] * rows.num_rows, pa.bool_())
    columns = [(_texts(rows, [name]), set(_texts(units, [name]))) for name in units.column_names]
    return pa.array([all(values[n] in wanted for values, wanted in columns) for n in range(rows.num_rows)], pa.bool_())


def _texts(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """Each row as text: unlike the values, it can always be hashed, and NaN equals itself."""
    return [repr(values) for values in zip(*(rows[name].to_pylist() for name in columns), strict=True)]
