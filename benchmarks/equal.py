"""Whether two homes hold the same Silver and Gold, read by DuckDB from the Parquet files that each table's log names."""

from __future__ import annotations

from pathlib import Path

import duckdb
from deltalake import DeltaTable

TABLES = {
    "silver/events": "event_id, CAST(event_date AS DATE), CAST(event_timestamp AS TIMESTAMP), user_id, event_type, country, "
    "CAST(amount AS DECIMAL(12,2))",
    "gold/events_per_day": "CAST(event_date AS DATE), CAST(events AS BIGINT), CAST(users AS BIGINT), CAST(revenue AS DECIMAL(18,2))",
    "gold/events_by_day_and_type": "CAST(event_date AS DATE), event_type, CAST(events AS BIGINT)",
    "gold/events_by_type": "event_type, CAST(events AS BIGINT)",
}
"""Result table -> the columns that are compared; a contestant may have more."""

Digest = tuple[int, int, int]
"""Rows, and the sum and the exclusive or of a hash of every row: equal for equal tables in whatever order."""


def digests(home: Path) -> dict[str, Digest]:
    return {name: digest(home / "data" / name, columns) for name, columns in TABLES.items()}


def digest(table: Path, columns: str) -> Digest:
    """Raises where the table has deletion vectors: its files alone would not say what it holds."""
    held = DeltaTable(str(table))
    if any(action for action in held.get_add_actions(flatten=True).schema.names if action.startswith("deletion_vector")):
        raise ValueError(f"{table} has deletion vectors")
    files = [uri.removeprefix("file://") for uri in held.file_uris()]
    if not files:
        return (0, 0, 0)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.read_parquet(files, hive_partitioning=True).select(f"hash({columns}) AS h")
        ((count, total, parity),) = rows.aggregate("count(*), sum(CAST(h AS HUGEINT)), bit_xor(h)").fetchall()
    return (int(count), int(total), int(parity))


def differences(home: Path, other: Path) -> list[str]:
    """The tables that differ, in words; empty: none."""
    mine, theirs = digests(home), digests(other)
    return [f"{name}: {mine[name][0]} rows and {theirs[name][0]}, not the same" for name in TABLES if mine[name] != theirs[name]]
