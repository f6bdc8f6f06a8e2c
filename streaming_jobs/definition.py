"""What a Gold table was built from, kept in the table itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

from streaming_jobs import commits, snapshots
from streaming_jobs.contract import Contract, Gold

KEY = "streaming_jobs.definition"
"""In the metadata of the table's first column, so that content and mark are one commit."""


def fingerprint(gold: Gold, contract: Contract) -> str:
    """Changes with everything that decides the table's content, its source included."""
    source = next((fingerprint(g, contract) for g in contract.gold if g.name == gold.source), "")
    return hashlib.sha256(repr((gold.grain, gold.aggregates, gold.where, source)).encode()).hexdigest()[:16]


def is_built(gold: Gold, contract: Contract, table: Path) -> bool:
    """True when the table exists and was built from this very definition."""
    found = snapshots.newest(table)
    if found is None:
        return False
    first = found.schema().fields[0]
    return bool(first.metadata.get(KEY) == fingerprint(gold, contract))


def forget(table: Path) -> None:
    """Let the table count as not built."""
    first = snapshots.existing(table).schema().fields[0]
    if first.metadata.get(KEY):
        with commits.to(table) as held:
            held.alter.set_column_metadata(first.name, {KEY: ""})
