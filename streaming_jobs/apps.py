"""Application ids: the names under which layers commit, and by which a commit that comes again, or is missing, is known.

One id covers one kind of write to one table. `query` is the id of the stream's query, which is born and dies with its
checkpoint and counts its batches from 0; anything else in its place names work outside of a stream.
"""

from __future__ import annotations


def bronze(dataset: str) -> str:
    """Of Bronze's commits; its version in the table is the last ingest that was committed."""
    return f"bronze:{dataset}"


def silver(dataset: str, write: str, query: str) -> str:
    """write: `quarantine`, or `merge` for Silver itself."""
    return f"silver:{dataset}:{write}:{query}"


def gold(table: str, query: str) -> str:
    return f"gold:{table}:{query}"


def files(dataset: str, what: str) -> str:
    """In the file ledger; what: `intent` or `decision`."""
    return f"files:{dataset}:{what}"


def runs(layer: str, dataset: str, *work: str) -> str:
    """In the run ledger; work: the query of a stream, or what else names it. Bronze counts ingests instead."""
    return ":".join(("runs", layer, dataset, *work))
