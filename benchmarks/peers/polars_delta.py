"""Polars for the rows, deltalake for the tables.

    python -m benchmarks.peers.polars_delta HOME

The pattern of Polars' page on Delta Lake and of delta-rs's pages on merging and on overwriting part of a table: files that are new
or changed by size or time are read as strings and appended to Bronze, or put in the place of their rows; the valid ones, the
newest of each event, are merged into Silver; the days a merge can reach are aggregated anew and overwritten in Gold. Files
are taken 500 or 1 GiB at a time. A corrected file is seen; an event that it no longer has stays in Silver. Every file is taken
to have the six columns.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.peers import loaded, window

COLUMNS = ("event_id", "user_id", "event_type", "event_timestamp", "country", "amount")
TYPES = ("page_view", "click", "add_to_cart", "purchase", "signup")


def main(home: Path) -> None:
    for chunk in loaded.chunks(home / "data/raw", home / "checkpoints/polars_delta/files.json"):
        rows = read(chunk)
        bronze(home / "data/bronze/events", rows, chunk)
        if days := silver(home / "data/silver/events", newest(valid(rows))):
            gold(home / "data", days)


def read(chunk: loaded.Chunk) -> pl.DataFrame:
    """All rows in the order of the files' names, as strings; an empty cell is NULL."""
    rows = pl.scan_csv(chunk.files, schema=dict.fromkeys(COLUMNS, pl.String), glob=False, include_file_paths="_file")
    return rows.with_columns(pl.col("_file").str.split("/").list.last()).collect(engine="streaming")


def bronze(table: Path, rows: pl.DataFrame, chunk: loaded.Chunk) -> None:
    if chunk.again:
        names = ", ".join(f"'{name}'" for name in chunk.names)
        write_deltalake(table, rows, mode="overwrite", predicate=f"_file IN ({names})")
    else:
        write_deltalake(table, rows, mode="append")


def valid(rows: pl.DataFrame) -> pl.LazyFrame:
    at = pl.col("event_timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC", strict=False)
    amount, raw_amount = pl.col("amount"), pl.col("_amount")
    return (
        rows.lazy()
        .select(
            "event_id",
            at.dt.date().alias("event_date"),
            at.alias("event_timestamp"),
            "user_id",
            pl.col("event_type").str.strip_chars().str.to_lowercase(),
            pl.col("country").fill_null("unknown"),
            amount.cast(pl.Decimal(12, 2), strict=False),
            amount.alias("_amount"),
            "_file",
        )
        .filter(
            pl.col("event_id").is_not_null() & pl.col("event_date").is_not_null() & pl.col("event_type").is_in(TYPES),
            pl.when(amount.is_null()).then(raw_amount.is_null() & (pl.col("event_type") != "purchase")).otherwise(amount >= 0),
        )
        .drop("_amount")
    )


def newest(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.unique("event_id", keep="last", maintain_order=True).collect()


def silver(table: Path, rows: pl.DataFrame) -> list[date]:
    """Merge, but an older file never replaces a later one's row; returns the days on which something may have changed."""
    near = window.around(rows["event_date"].unique())
    if not DeltaTable.is_deltatable(str(table)):
        write_deltalake(table, rows, partition_by="event_date")
    elif near:
        same = f"old.event_id = new.event_id AND {window.within(near, 'old.event_date')}"
        options = {"predicate": same, "source_alias": "new", "target_alias": "old"}
        merge = rows.write_delta(table, mode="merge", delta_merge_options=options)
        merge.when_matched_update_all("new._file >= old._file").when_not_matched_insert_all().execute()
    return near


def gold(data: Path, days: list[date]) -> None:
    rows = pl.scan_delta(data / "silver/events").filter(pl.col("event_date").is_in(days))
    purchases = pl.col("amount").is_not_null().any()
    per_day = rows.group_by("event_date").agg(
        pl.len().cast(pl.Int64).alias("events"),
        pl.col("user_id").drop_nulls().n_unique().cast(pl.Int64).alias("users"),
        pl.when(purchases).then(pl.col("amount").sum()).cast(pl.Decimal(18, 2)).alias("revenue"),
    )
    by_day_and_type = rows.group_by("event_date", "event_type").agg(pl.len().cast(pl.Int64).alias("events"))
    for name, fresh in zip(("events_per_day", "events_by_day_and_type"), pl.collect_all([per_day, by_day_and_type]), strict=True):
        table = data / "gold" / name
        there = DeltaTable.is_deltatable(str(table))
        write_deltalake(table, fresh, mode="overwrite", predicate=window.within(days, "event_date") if there else None)
    types = pl.scan_delta(data / "gold/events_by_day_and_type").group_by("event_type").agg(pl.col("events").sum())
    write_deltalake(data / "gold/events_by_type", types.collect(), mode="overwrite")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
