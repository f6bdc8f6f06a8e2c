"""Print a table. Reads through deltalake and starts no JVM; changes nothing.

rows = read(find(data, "gold/events_per_day"), limit=20)
print(grid.text(rows))
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

import arro3.core as arrow
from deltalake import DeltaTable, QueryBuilder
from deltalake.schema import PrimitiveType

from streaming_jobs import ledger
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.grid import Rows


def find(data: Path, name: str) -> Path:
    """The folder of the table `name`, which is its path under `data`.

    Raises UsageError for a name that leads out of `data` or is no table; it names those that are.
    """
    # By the name alone: a link below data/, to another disk, is the user's own.
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{name} leads out of {data}; a table is named by its path under it, such as gold/events_per_day.")
    if path.parts and (data / path / "_delta_log").is_dir():
        return data / path
    known = sorted(tables(data))
    if not known:
        raise UsageError(f"no table `{name}`: there is none yet under {data}; run `streaming-jobs run`.")
    by_last_name = [table for table in known if PurePosixPath(table).name == path.name]
    near = difflib.get_close_matches(name, known, 1, 0.4) or by_last_name
    raise UsageError(f"no table `{name}`{f'; did you mean {near[0]}' if near else ''}? There are: {', '.join(known)}.")


def tables(data: Path) -> Iterator[str]:
    """The name of every Delta table under `data`."""
    for folder, children, _ in os.walk(data):
        if "_delta_log" in children:
            yield Path(folder).relative_to(data).as_posix()
            children.clear()


def read(table: Path, limit: int) -> Rows:
    """The first `limit` rows by the table's first two columns that can be ordered, NULL last.

    table: `data/<name>` of a home. Raises UsageError as `find` does, DamagedState when a table cannot be read.
    """
    data = next((folder for folder in (table, *table.parents) if folder.name == "data"), None)
    if data is None or ".." in table.parts:
        raise UsageError(f"{table} is not under data/; a table is named by its path there, such as gold/events_per_day. Nothing was read.")
    found = find(data, table.relative_to(data).as_posix())
    try:
        return _read(DeltaTable(found), limit)
    except Exception as error:  # a query that fails while it reads is a bare Exception of deltalake
        raise DamagedState(f"{table} cannot be read ({' '.join(str(error).split())}); nothing was changed.") from error


def _read(table: DeltaTable, limit: int) -> Rows:
    fields = table.schema().fields
    order = [ledger.quoted(field.name) for field in fields if isinstance(field.type, PrimitiveType)][:2]
    order_by = f" ORDER BY {', '.join(f'{name} NULLS LAST' for name in order)}" if order else ""
    ask = QueryBuilder().register("t", table)
    total = ask.execute("SELECT count(*) FROM t").read_all().column(0).to_pylist()[0]
    found = ask.execute(f"SELECT * FROM t{order_by} LIMIT {max(limit, 0)}").read_all()
    names = tuple(found.schema.names)
    return Rows(names, tuple(zip(*(values(found.column(name)) for name in names), strict=True)), total)


def values(column: arrow.Array | arrow.ChunkedArray) -> list[Any]:
    """The values of a column as Python has them; a map is a dict."""
    found = cast("list[Any]", column.to_pylist())
    return [None if pairs is None else dict(pairs) for pairs in found] if arrow.DataType.is_map(column.type) else found
