"""Files of a table: small ones joined, in one commit that changes no row and that change feeds pass over; those let go of removed.

The caller holds the layer's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, DeltaTable, WriterProperties

from streaming_jobs import commits, snapshots

JOINED_BYTES = 16 << 20  # a file of this size is not written again; and a MERGE writes the files anew that it finds a key in
_EXACT_DIGITS = 15  # of a decimal that survives as a floating-point number, which delta-rs makes of it in statistics


def join(table: Path, at_least: int) -> None:
    """Join the small files of every partition, once one of them has so many."""
    found = snapshots.existing(table)
    files = snapshots.files(found)
    files = files.filter(pc.less(files["size_bytes"], JOINED_BYTES))
    partitions = [files[name].to_pylist() for name in files.column_names if name.startswith("partition.")]
    places = Counter(zip(*partitions, strict=True)) if partitions else Counter({(): files.num_rows})
    if max(places.values(), default=0) >= at_least:
        schema = pa.schema(found.schema().to_arrow())
        with commits.to(table) as held:
            held.optimize.compact(target_size=JOINED_BYTES, writer_properties=writer(schema))


def let_go(table: Path, keep_days: int) -> list[str]:
    """Files, relative to the table, that do not belong to it: let go of, never committed, or of its change feed; not younger than that."""
    # Only listed here: delta-rs would remove what a stream still reads, and commit twice to say that it did.
    listed = DeltaTable(str(table)).vacuum(retention_hours=24 * keep_days, dry_run=True, enforce_retention_duration=False, full=True)
    present = (path if (table / path).exists() else unquote(path) for path in listed)
    return [path for path in dict.fromkeys(present) if (table / path).exists() and not Path(path).name.startswith(".")]


def remove(table: Path, paths: Sequence[str]) -> int:
    """Remove files that `let_go` names; returns their bytes."""
    freed = 0
    for file in (table / path for path in paths):
        freed += file.stat().st_size
        file.unlink()
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)  # Hadoop's checksum beside it
    return freed


def writer(schema: pa.Schema) -> WriterProperties:
    """Without statistics that are not exact, by which a reader would pass over rows: NaN is left out, long decimals are rounded."""
    inexact = [f.name for f in schema if pa.types.is_floating(f.type) or _is_long(f.type)]
    none = ColumnProperties(statistics_enabled="NONE")
    return WriterProperties(compression="ZSTD", column_properties=dict.fromkeys(inexact, none) or None)


def _is_long(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind) and kind.precision > _EXACT_DIGITS)
