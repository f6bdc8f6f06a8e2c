"""Our commits through delta-rs: what each of them leaves behind, said once.

`tables.create` makes version 0 of a table by itself; the ledger, which no stream reads, commits by itself too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deltalake import DeltaTable

from streaming_jobs import checksums, snapshots


@contextmanager
def to(table: Path) -> Iterator[DeltaTable]:
    """The newest version of a table, to commit through. Afterwards it is what is held of the table, with its version checksum written.

    The caller holds the layer's lock. What fails within leaves the table at the version that it has, to be opened anew.
    """
    found = snapshots.existing(table)
    try:
        yield found
    except BaseException:
        snapshots.let_go(table)
        raise
    found.update_incremental()  # after a transaction made by hand delta-rs stays where it was
    snapshots.committed(table, found)
    checksums.write(table)
