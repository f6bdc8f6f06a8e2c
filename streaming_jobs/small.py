"""Small Delta tables in memory: read, compared and written by delta-rs, without a Spark job.

Through Spark a commit takes 0.2 s and reading the table again after it half a second, whatever its size;
here both take milliseconds (docs/spark.md). For tables of a few thousand rows that is most of the work.
Only for tables that this project makes: unpartitioned, no deletion vectors, no column mapping. The
caller holds the layer's lock, as every writer does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, QueryBuilder, WriterProperties, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

MAX_ROWS = 20_000
_MAX_BYTES = 256 << 10  # each write is the whole table, and the old file stays until a vacuum
_WRITER = WriterProperties(compression="ZSTD")


def held(table: Path) -> pa.Table | None:
    """All rows, in the types of the table; None: too many to be held, and written again whole for any change."""
    found = DeltaTable(str(table))
    files = found.get_add_actions(flatten=True)
    sizes, rows = (files.column(name).to_pylist() for name in ("size_bytes", "num_records"))
    if sum(sizes) > _MAX_BYTES or sum(rows) > MAX_ROWS:
        return None
    # Not `to_pyarrow_table`: the threads of its scan are now and then still there when the process ends, and abort it.
    read = QueryBuilder().register("held", found).execute("SELECT * FROM held").read_all()
    return pa.table(read).cast(pa.schema(found.schema().to_arrow()))


def frame(spark: SparkSession, table: Path) -> DataFrame | None:
    """All rows as a Spark frame that lies in memory; None as `held`."""
    rows = held(table)
    if rows is None:
        return None
    return spark.createDataFrame(rows, StructType.fromJson(json.loads(DeltaTable(str(table)).schema().to_json())))


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
    rows = pa.concat_tables([present.filter(pc.invert(inside)), after])
    write_deltalake(str(table), rows, mode="overwrite", writer_properties=_WRITER)
    return len(set(_texts(before, grain)) - set(_texts(after, grain)))


def _belongs(rows: pa.Table, units: pa.Table | None) -> pa.Array:
    if units is None:
        return pa.array([True] * rows.num_rows, pa.bool_())
    columns = [(_texts(rows, [name]), set(_texts(units, [name]))) for name in units.column_names]
    return pa.array([all(values[n] in wanted for values, wanted in columns) for n in range(rows.num_rows)], pa.bool_())


def _texts(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """Each row as text: unlike the values, it can always be hashed, and NaN equals itself."""
    return [repr(values) for values in zip(*(rows[name].to_pylist() for name in columns), strict=True)]
