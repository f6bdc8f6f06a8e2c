"""What tables keep of earlier versions, removed: files they let go of, change data, and what the log says of values.

The log names the smallest and the largest value of each file, and a MERGE the keys it looked for. So the log of every table is cut
off behind a checkpoint of the newest version; only commits that a stream opens stay: of Bronze, whose log names no value but files,
and of Silver, whose stream begins anew. The caller holds all locks.
"""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

from streaming_jobs import checkpoints, compaction, damage, marks, snapshots, tables
from streaming_jobs.contract import Contract
from streaming_jobs.settings import Settings


def versions(contract: Contract, settings: Settings) -> None:
    """Leave of every table of the dataset its newest version alone. All streams must have read all of them."""
    for layer in damage.LAYERS:
        for name in marks.tables(layer, contract):
            if snapshots.newest(settings.table(name)) is None:
                continue
            follower = marks.follower(name, contract, settings)
            if follower is None:
                tables.commit_nothing(settings.table(name))
            _purge(settings.table(name), follower)
        marks.keep(layer, contract, settings)


def _purge(table: Path, follower: Path | None) -> None:
    newest = snapshots.existing(table).version()
    needed = checkpoints.first_commit(follower, table) if follower else None
    first = newest if needed is None else min(newest, needed)
    # There, because the stream asks for the table as it was then.
    DeltaTable(str(table), version=first).create_checkpoint()
    compaction.remove(table, compaction.let_go(table, 0))
    log = table / "_delta_log"
    for file in log.iterdir():
        number = file.name.lstrip(".").split(".")[0]
        # Of checkpoints only the new one: others speak of other files.
        if number.isdecimal() and (int(number) < first or ("checkpoint" in file.name and int(number) != first)):
            file.unlink()
    snapshots.let_go(table)
    (log / "._last_checkpoint.crc").unlink(missing_ok=True)  # of what was there before
