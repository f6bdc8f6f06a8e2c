"""DuckDB for the rows, in SQL; deltalake for the tables.

    python -m benchmarks.peers.duckdb_delta HOME

The pattern of DuckDB's pages on reading CSV files and of delta-rs's on merging: files that are new or changed by size or time go
into a temporary table as strings, from there to Bronze (appended, or in the place of their rows); the valid ones, the newest
of each event, are merged into Silver; the days a merge can reach are aggregated anew and overwritten in Gold. Rows pass from
DuckDB to deltalake as Arrow batches. DuckDB reads Silver from the Parquet files that the table's log names, because its own
extension for Delta has to be downloaded first. Files are taken 500 or 1 GiB at a time, and DuckDB spills to disk. A corrected
file is seen; an event that it no longer has stays in Silver. Every file is taken to have the six columns.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import duckdb
from deltalake import DeltaTable, write_deltalake

from benchmarks.peers import loaded, window
from benchmarks.peers.duckdb_sql import BY_DAY_AND_TYPE, BY_TYPE, NEWEST, PER_DAY

RAW = """
CREATE OR REPLACE TEMP TABLE raw AS
SELECT * EXCLUDE (filename), parse_filename(filename) AS _file
FROM read_csv(?, auto_detect = false, header = true, filename = true, delim = ',', quote = '"', escape = '"', columns = {
  event_id: 'VARCHAR', user_id: 'VARCHAR', event_type: 'VARCHAR', event_timestamp: 'VARCHAR', country: 'VARCHAR', amount: 'VARCHAR'})
"""


def main(home: Path) -> None:
    state = home / "checkpoints/duckdb_delta"
    with duckdb.connect(
        config={"memory_limit": "8GB", "temp_directory": str(state / "spilled"), "autoinstall_known_extensions": False}
    ) as db:
        db.execute("SET TimeZone = 'UTC'")
        for chunk in loaded.chunks(home / "data/raw", state / "files.json"):
            db.execute(RAW, [chunk.files])
            bronze(home / "data/bronze/events", db, chunk)
            db.execute(f"CREATE OR REPLACE TEMP TABLE newest AS {NEWEST.format(place='rowid')}")
            if days := silver(home / "data/silver/events", db):
                gold(home / "data", db, days)


def bronze(table: Path, db: duckdb.DuckDBPyConnection, chunk: loaded.Chunk) -> None:
    rows = db.table("raw").to_arrow_reader()
    if chunk.again:
        names = ", ".join(f"'{name}'" for name in chunk.names)
        write_deltalake(table, rows, mode="overwrite", predicate=f"_file IN ({names})")
    else:
        write_deltalake(table, rows, mode="append")


def silver(table: Path, db: duckdb.DuckDBPyConnection) -> list[date]:
    """Merge, but an older file never replaces a later one's row; returns the days on which something may have changed."""
    near = window.around(day for (day,) in db.sql("SELECT DISTINCT event_date FROM newest").fetchall())
    rows = db.table("newest").to_arrow_reader()
    if not DeltaTable.is_deltatable(str(table)):
        write_deltalake(table, rows, partition_by="event_date")
    elif near:
        same = f"old.event_id = new.event_id AND {window.within(near, 'old.event_date')}"
        merge = DeltaTable(table).merge(rows, same, source_alias="new", target_alias="old")
        merge.when_matched_update_all("new._file >= old._file").when_not_matched_insert_all().execute()
    return near


def gold(data: Path, db: duckdb.DuckDBPyConnection, days: list[date]) -> None:
    files = DeltaTable(data / "silver/events").file_uris(file_pruning_predicate=window.within(days, "event_date"))
    db.read_parquet(files, hive_partitioning=True).create_view("silver", replace=True)
    for name, query in (("events_per_day", PER_DAY), ("events_by_day_and_type", BY_DAY_AND_TYPE)):
        table = data / "gold" / name
        only = window.within(days, "event_date") if DeltaTable.is_deltatable(str(table)) else None
        write_deltalake(table, db.sql(query).to_arrow_reader(), mode="overwrite", predicate=only)
    db.read_parquet(DeltaTable(data / "gold/events_by_day_and_type").file_uris()).create_view("by_day_and_type", replace=True)
    write_deltalake(data / "gold/events_by_type", db.sql(BY_TYPE).to_arrow_reader(), mode="overwrite")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
