"""`maintain`: small files joined, files that nobody needs any more removed. Through delta-rs; starts no JVM, changes no row.

A table lets go of a file when its rows are written anew, and keeps it for readers of older versions and for
the stream over its change feed. Nothing else ever removes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields

from streaming_jobs import checkpoints, compaction, damage, locks, marks, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.grid import Rows
from streaming_jobs.settings import Settings

_AT_LEAST = 2  # small files in a partition that are joined


@dataclass(frozen=True)
class Maintained:
    """What was done to one table. files: it consists of, before and after. removed, freed_bytes: of files it had let go of.

    kept: of those old enough to go, how many a stream has still to read, or all of them while its batch has not ended.
    """

    table: str
    files_before: int
    files: int
    removed: int
    freed_bytes: int
    kept: int


def maintain(contracts: Sequence[Contract], settings: Settings, keep_days: int) -> Rows:
    """Maintain every table of these datasets, one dataset after the other, each under its locks.

    keep_days: what a table let go of later than that stays, for readers of older versions. What the stream of the layer below
    has still to read stays however old it is. Raises Locked, and DamagedState before anything of a damaged dataset is touched.
    """
    done = [found for contract in contracts for found in _dataset(contract, settings, keep_days)]
    return Rows(tuple(f.name for f in fields(Maintained)), tuple(map(astuple, done)), len(done))


def _dataset(contract: Contract, settings: Settings, keep_days: int) -> list[Maintained]:
    with locks.hold(settings, damage.LAYERS, [contract.dataset]):
        for layer in damage.LAYERS:
            damage.require_none(layer, contract, settings)
        found = [found for layer in damage.LAYERS for found in _layer(layer, contract, settings, keep_days)]
        for layer in damage.LAYERS:
            marks.keep(layer, contract, settings)
        return found


def _layer(layer: str, contract: Contract, settings: Settings, keep_days: int) -> Iterator[Maintained]:
    for name in marks.tables(layer, contract):
        table = settings.table(name)
        found = snapshots.newest(table)
        if found is None:
            continue
        before = snapshots.files(found).num_rows
        compaction.join(table, _AT_LEAST)
        follower = marks.follower(name, contract, settings)
        needed = checkpoints.still_read(follower, table) if follower else set[str]()
        let_go = compaction.let_go(table, keep_days)
        removable = [] if needed is None else [path for path in let_go if path not in needed]
        freed = compaction.remove(table, removable)
        after = snapshots.files(snapshots.existing(table)).num_rows
        yield Maintained(name, before, after, len(removable), freed, len(let_go) - len(removable))
