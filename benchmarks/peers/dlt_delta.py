"""dlt with its filesystem destination and the table format delta; DuckDB for the SQL between the layers.

    python -m benchmarks.peers.dlt_delta HOME

The pattern of dlt's pages on the filesystem source (incremental by time of modification, in goes of so many files), on merge loading
(upsert by primary key, hard deletes) and on Delta tables: one pipeline and dataset per layer. The primary key of Silver begins
with the partition column, so that the merge reads only the days of its rows; an event whose day moved is deleted where it
was. An upsert has no condition: rows older than those Silver holds are left out before it. What a layer has to read is the
files that the table before it gained (and the days of those it gained or lost) since the version in dlt's state.

A corrected file is seen, if it is newer than all files before it: Bronze then holds its old and its new rows, and an event that
it no longer has stays in Silver. A file that is older than the newest one loaded is never seen. Every file is taken to have
the six columns.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

# Before the import, which reads them. Completed jobs would stay on disk: all rows once more.
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "LOAD__DELETE_COMPLETED_JOBS": "true"}

import dlt
import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from dlt.common.storages.fsspec_filesystem import FileItemDict
from dlt.sources.filesystem import filesystem
from pyarrow import csv

from benchmarks.peers import window
from benchmarks.peers.duckdb_sql import BY_DAY_AND_TYPE, BY_TYPE, NEWEST, PER_DAY

COLUMNS = ("event_id", "user_id", "event_type", "event_timestamp", "country", "amount")
MOST_FILES, PAGE = 500, 100  # files in one go, and in a page of its listing
STRINGS = csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()), strings_can_be_null=True, null_values=[""])

# Rows that win over those Silver holds, and the deletion of what they leave behind on another day.
CHANGES = """
WITH winning AS (
  SELECT newest.*, old.event_date AS old_date
  FROM newest LEFT JOIN old USING (event_id)
  WHERE old._file IS NULL OR newest._file >= old._file)
SELECT * EXCLUDE (old_date), false AS _gone FROM winning
UNION ALL BY NAME SELECT event_id, old_date AS event_date, true AS _gone FROM winning WHERE old_date <> event_date
"""


def main(home: Path) -> None:
    data = home / "data"
    to = dlt.destinations.filesystem(str(data), deltalake_streamed_exec=False)  # else the merge knows no days of its source
    bronze, silver, gold = (
        dlt.pipeline(f"events_{layer}", destination=to, dataset_name=layer, pipelines_dir=str(home / "checkpoints/dlt_delta"))
        for layer in ("bronze", "silver", "gold")
    )
    more = True
    while more:
        taken: list[str] = []
        bronze.run(landed(data / "raw") | raw_events(taken))
        silver.run(events(data))
        gold.run([events_per_day(data), events_by_day_and_type(data), events_by_type(data)])
        more = len(taken) >= MOST_FILES


def landed(raw: Path) -> Any:
    newer = dlt.sources.incremental[Any]("modification_date", row_order="asc", primary_key="file_name")
    return filesystem(str(raw), file_glob="*.csv", files_per_page=PAGE, incremental=newer).add_limit(MOST_FILES, count_rows=True)


@dlt.transformer(name="events", table_format="delta")
def raw_events(files: list[FileItemDict], taken: list[str]) -> Iterator[pa.Table]:
    """The rows of each file as strings, with its name and their number; an empty cell is NULL."""
    for file in files:
        with file.open() as opened:
            rows = csv.read_csv(opened, convert_options=STRINGS)
        taken.append(file["file_name"])
        names = pa.repeat(file["file_name"], rows.num_rows)
        yield rows.append_column("_file", names).append_column("_row", pa.array(range(rows.num_rows), pa.int64()))


@dlt.resource(
    table_format="delta",
    primary_key=("event_date", "event_id"),
    write_disposition={"disposition": "merge", "strategy": "upsert"},
    columns={"event_date": {"partition": True}, "_gone": {"hard_delete": True}},
)
def events(data: Path) -> Iterator[pa.RecordBatch]:
    gained, _ = since_last_time(data / "bronze/events")
    if gained:
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'")
            db.read_parquet(gained).create_view("raw")
            db.execute(f"CREATE TEMP TABLE newest AS {NEWEST.format(place='_row')}")
            near = window.around(day for (day,) in db.sql("SELECT DISTINCT event_date FROM newest").fetchall())
            if held := files(data / "silver/events", near):
                db.read_parquet(held, hive_partitioning=True).create_view("old")
            else:
                db.sql("SELECT * FROM newest LIMIT 0").create_view("old")
            yield from db.sql(CHANGES).to_arrow_reader(100_000)


def events_per_day(data: Path) -> Any:
    return dlt.resource(groups(data, PER_DAY), name="events_per_day", primary_key="event_date", table_format="delta")


def events_by_day_and_type(data: Path) -> Any:
    key = ("event_date", "event_type")
    return dlt.resource(groups(data, BY_DAY_AND_TYPE), name="events_by_day_and_type", primary_key=key, table_format="delta")


def groups(data: Path, query: str) -> Iterator[Any]:
    """Groups of the days that changed in Silver; the merge deletes those of these days that are not among them."""
    with duckdb.connect() as db:
        if days := changed_days(db, data):
            only = window.within(days, "{table}.event_date")
            hints = dlt.mark.make_hints(write_disposition={"disposition": "merge", "strategy": "cdc", "destination_scope": only})
            yield dlt.mark.with_hints(db.sql(query).to_arrow_table(), hints)


@dlt.resource(table_format="delta", primary_key="event_type", write_disposition={"disposition": "merge", "strategy": "cdc"})
def events_by_type(data: Path) -> Iterator[pa.Table]:
    """All types, from the groups of the days that changed and what Gold holds of the others; `replace` would empty it without news."""
    with duckdb.connect() as db:
        if days := changed_days(db, data):
            groups = db.sql(BY_DAY_AND_TYPE)
            table = data / "gold/events_by_day_and_type"
            if DeltaTable.is_deltatable(str(table)):
                others = db.read_parquet(DeltaTable(table).file_uris()).filter(f"NOT {window.within(days, 'event_date')}")
                groups = groups.union(others.select("event_date, event_type, events"))
            groups.create_view("by_day_and_type")
            yield db.sql(BY_TYPE).to_arrow_table()


def changed_days(db: duckdb.DuckDBPyConnection, data: Path) -> list[date]:
    """Days that changed in Silver since the resource asked last; their rows are the view `silver`."""
    _, days = since_last_time(data / "silver/events")
    if days:
        db.read_parquet(files(data / "silver/events", days), hive_partitioning=True).create_view("silver")
    return days


def files(table: Path, days: list[date]) -> list[str]:
    there = DeltaTable.is_deltatable(str(table)) and days
    return DeltaTable(table).file_uris(file_pruning_predicate=window.within(days, "event_date")) if there else []


def since_last_time(table: Path) -> tuple[list[str], list[date]]:
    """Files that a table gained since the resource asked last, and the days of those that it gained or lost."""
    if not DeltaTable.is_deltatable(str(table)):
        return [], []
    state, now = dlt.current.resource_state(), DeltaTable(table)
    before = set(DeltaTable(table, version=state["version"]).file_uris()) if "version" in state else set()
    held = set(now.file_uris())
    state["version"] = now.version()
    named = (part.removeprefix("event_date=") for file in before ^ held for part in file.split("/") if part.startswith("event_date="))
    return sorted(held - before), sorted({date.fromisoformat(day) for day in named})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
