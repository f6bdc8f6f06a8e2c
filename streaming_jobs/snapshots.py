"""Delta tables as they are now, read by delta-rs, each opened once per commit.

To open a table is to read its log: 5 ms at first, 20 after fifty commits. A round of work asks for versions, schemas, sizes
and transactions some thirty times.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

if TYPE_CHECKING:
    import pyarrow as pa

Commit = tuple[int, int, int, int]
"""Version, and time, inode and size of its file: a table made anew under its name has others."""

_opened: dict[Path, tuple[Commit, DeltaTable]] = {}
_opening: dict[Path, Lock] = {}


def newest(table: Path) -> DeltaTable | None:
    """The newest version of a table; None: there is no table. To commit through it is for `commits.to`."""
    with _opening.setdefault(table, Lock()):
        held = _opened.get(table)
        if held and _is_newest(table, held[0]):
            return held[1]
        if not DeltaTable.is_deltatable(str(table)):
            return None
        found = DeltaTable(str(table))
        commit = _commit(table, found.version())
        if commit:
            _opened[table] = (commit, found)
        return found


@contextmanager
def opened_ahead(tables: Iterable[Path]) -> Iterator[None]:
    """Tables that will be asked for are opened one after the other beside what is done within; delta-rs does not hold Python up.

    One that cannot be opened is told of when it is asked for.
    """

    def open_each() -> None:
        for table in tables:
            with suppress(Exception):
                newest(table)

    beside = Thread(target=open_each)
    beside.start()
    try:
        yield
    finally:
        beside.join()


def committed(table: Path, found: DeltaTable) -> None:
    """What is held of a table has made the newest commit itself, and need not read the log for it."""
    commit = _commit(table, found.version())
    if commit:
        _opened[table] = (commit, found)


def let_go(table: Path) -> None:
    """Open a table anew when it is asked for next: its log was cut off, and what is held reads files that are gone."""
    _opened.pop(table, None)


def existing(table: Path) -> DeltaTable:
    """As `newest`. Raises TableNotFoundError when there is no table."""
    return newest(table) or DeltaTable(str(table))


def flaw(table: Path) -> str | None:
    """Why a table cannot be trusted, in words; None: it can, or there is no table."""
    try:
        found = newest(table)
    except DeltaError as error:
        return f"cannot be opened ({str(error).splitlines()[0]})"
    named = found and _commit(table, found.version())
    # delta-rs takes an empty commit for one that changed nothing.
    return f"has an empty commit, {_file(table, named[0]).name}" if named and not named[3] else None


def commit(table: Path) -> Commit | None:
    """Names the newest commit of a table: another value after each; None: there is no table."""
    found = newest(table)
    return None if found is None else _commit(table, found.version())


def files(found: DeltaTable, places: Mapping[str, Collection[Any]] | None = None) -> pa.Table:
    """What the log says of a table's files: `path`, `size_bytes`, `num_records`, `partition.<column>` and more.

    places: partition column -> values; only the files there.
    """
    # Only here: a run without work does without it.
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = pa.table(found.get_add_actions(flatten=True))
    for name, wanted in (places or {}).items():
        held = listed[f"partition.{name}"]
        listed = listed.filter(pc.is_in(held, pa.array(wanted, held.type)))
    return listed


@dataclass(frozen=True)
class Amount:
    """Of the newest version of a table. size: bytes. rows: None where its log does not say."""

    size: int
    rows: int | None


def amount(found: DeltaTable) -> Amount:
    """Without pyarrow, whose import takes as long as all else that a command without a JVM does."""
    listed = found.get_add_actions(flatten=True)
    sizes = listed.column("size_bytes").to_pylist()
    rows = listed.column("num_records").to_pylist() if "num_records" in listed.schema.names else [None] * len(sizes)
    return Amount(sum(size or 0 for size in sizes), None if None in rows else sum(rows))


def partitions(found: DeltaTable) -> int:
    """How many partitions have files; without pyarrow, as `amount`."""
    listed = found.get_add_actions(flatten=True)
    values = [listed.column(name).to_pylist() for name in listed.schema.names if name.startswith("partition.")]
    return len(set(zip(*values, strict=True))) if values else 1


def _is_newest(table: Path, known: Commit) -> bool:
    return _commit(table, known[0]) == known and not _file(table, known[0] + 1).exists()


def _commit(table: Path, version: int) -> Commit | None:
    try:
        info = _file(table, version).stat()
    except FileNotFoundError:
        return None
    return version, info.st_mtime_ns, info.st_ino, info.st_size


def _file(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020}.json"
