"""Which of several rows of one key is the newest, and what a batch of changes means for Silver.

The order is total: `sequence_by`, then `_file`, `_file_modified_at` where files are appended, and
`_row`. No two rows of Bronze agree on all of it, so the winner does not depend on arrival,
batching or repetition. NULL is older than any value.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from streaming_jobs.contract import Contract, Redelivery
from streaming_jobs.sqltext import quoted

INSERT, UPDATE, DELETE, KEEP, STALE, REDECIDE, NOTHING = "insert", "update", "delete", "keep", "stale", "redecide", "nothing"
"""Verdicts on a key. keep: Silver already has the row. stale: Silver has a newer one. redecide: only
all of Bronze can tell. nothing: a row went away that Silver did not hold."""


def identity(contract: Contract) -> tuple[str, ...]:
    """The columns of Silver that name the row of Bronze it came from."""
    # Under `replace` a file has one delivery at a time, so its modification time tells nothing apart.
    dated = contract.bronze.on_redelivery is Redelivery.APPEND or "_file_modified_at" in contract.silver.sequence_by
    return ("_file", "_file_modified_at", "_row") if dated else ("_file", "_row")


def stored(contract: Contract) -> tuple[str, ...]:
    """Silver's columns in the order of the table."""
    return (*(c.name for c in contract.silver.columns), *identity(contract))


def order(contract: Contract) -> tuple[str, ...]:
    """What decides between two rows of a key, most significant first."""
    sequence = contract.silver.sequence_by
    return (*sequence, *(c for c in identity(contract) if c not in sequence))


def newest_per_key(rows: DataFrame, keys: Sequence[str], newest: Sequence[str]) -> DataFrame:
    """Keep the newest row of each key; adds `_versions`, how many rows of the key there were.

    newest: columns of a total order over the rows of a key; descending, NULL last.
    """
    of_key = Window.partitionBy(*keys)
    newest_first = of_key.orderBy(*(F.col(c).desc_nulls_last() for c in newest))
    return (
        rows.withColumns({"_rank": F.row_number().over(newest_first), "_versions": F.count(F.lit(1)).over(of_key)})
        .where("_rank = 1")
        .drop("_rank")
    )


def net(changes: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Part changes into rows that arrived and rows that went away; a row that did both is in neither.

    changes: of a change feed, any number of commits, unordered, with `_change` (true: arrived),
    `_commit_version` and Bronze's identity `_ingest_id`, `_file`, `_row`. Of a row that came, went
    and came again the last arrival remains.
    """
    same = ["_ingest_id", "_file", "_row"]
    arrived, gone = changes.where("_change"), changes.where("NOT _change")
    return _without(arrived, gone, same), _without(gone, arrived, same, after=False)


def _without(rows: DataFrame, others: DataFrame, same: Sequence[str], *, after: bool = True) -> DataFrame:
    """Rows that no other of the same identity cancels: a later removal, or an earlier arrival."""
    mine, theirs = rows.alias("mine"), others.select(*same, "_commit_version").alias("theirs")
    matched = F.lit(True)
    for column in same:
        matched = matched & F.col(f"mine.{column}").eqNullSafe(F.col(f"theirs.{column}"))
    mine_at, theirs_at = F.col("mine._commit_version"), F.col("theirs._commit_version")
    return mine.join(theirs, matched & (theirs_at > mine_at if after else theirs_at < mine_at), "left_anti")


def decide(newest: DataFrame, gone: DataFrame | None, current: DataFrame, contract: Contract) -> DataFrame:
    """Give a verdict on every key of a batch.

    newest: the newest valid arrival per key, Silver's columns and `_versions`. gone: rows with a key that
    left Bronze, keys and identity; None: none. current: Silver's rows, at least those of the keys.
    Result: one row per key: the keys, `_new`, `_old` (Silver's columns as a struct, or NULL),
    `_versions` and `_verdict`.

    A winner that went away is followed without a look at Bronze by an arrival that is at least as new:
    every row that stays was older than the winner. Record numbers do not count there, because a file
    is replaced whole: its own rows are all among the arrivals.
    """
    keys = list(contract.silver.keys)
    columns = [F.col(quoted(c)) for c in stored(contract)]
    arrivals = newest.select(*keys, F.struct(*columns).alias("_new"), "_versions")
    touched = arrivals if gone is None else arrivals.join(gone.select(*keys).distinct(), keys, "full_outer")
    # Semi first: the few keys are broadcast and Silver streams past them.
    held = current.join(touched.select(*keys), keys, "left_semi")
    if gone is not None:
        same = [*keys, *identity(contract)]
        lost = gone.select(*same).distinct().withColumn("_lost", F.lit(True))
        held = held.join(lost, same, "left")
    else:
        held = held.withColumn("_lost", F.lit(None).cast("boolean"))
    held = held.select(*keys, F.struct(*columns).alias("_old"), "_lost")
    return touched.join(held, keys, "left").withColumn("_verdict", _verdict(contract)).drop("_lost")


def settle(decided: DataFrame, winners: DataFrame, contract: Contract) -> DataFrame:
    """Replace the verdict `redecide` by what all of Bronze says.

    winners: the newest valid row of Bronze for those keys, Silver's columns. Here an older row may
    follow a newer one: the newer is gone.
    """
    keys = list(contract.silver.keys)
    found = winners.select(*keys, F.struct(*(F.col(quoted(c)) for c in stored(contract))).alias("_found"))
    joined = decided.join(found, keys, "left")
    verdict = F.when(F.col("_found").isNull(), DELETE).when(F.col("_found").eqNullSafe(F.col("_old")), KEEP).otherwise(UPDATE)
    again = F.col("_verdict") == REDECIDE
    # The fields of two structs that are not there are equal, too.
    both = F.col("_found").isNotNull() & F.col("_new").isNotNull()
    arrival_won = both & (_fields("_found", identity(contract)) == _fields("_new", identity(contract)))
    return joined.select(
        *keys,
        F.when(again, F.col("_found")).otherwise(F.col("_new")).alias("_new"),
        "_old",
        "_versions",
        F.when(again, verdict).otherwise(F.col("_verdict")).alias("_verdict"),
        F.when(again, arrival_won).otherwise(_accepts()).alias("_accepted"),
    )


def accept(decided: DataFrame) -> DataFrame:
    """Mark the keys whose arrival is what Silver holds afterwards: `_accepted`; for decisions without `redecide`."""
    return decided.withColumn("_accepted", _accepts())


def _accepts() -> Column:
    return F.col("_verdict").isin(INSERT, UPDATE, KEEP)


def _verdict(contract: Contract) -> Column:
    by, by_delivery = order(contract), [c for c in order(contract) if c != "_row" or "_row" in contract.silver.sequence_by]
    new, old = F.col("_new"), F.col("_old")
    same = new.eqNullSafe(old)
    follows = _fields("_new", by_delivery) >= _fields("_old", by_delivery)
    newer, equal = _fields("_new", by) > _fields("_old", by), _fields("_new", by) == _fields("_old", by)
    return (
        F.when(new.isNull() & old.isNull(), NOTHING)
        .when(old.isNull(), INSERT)
        .when(new.isNotNull() & same, KEEP)
        .when(F.col("_lost") & new.isNotNull() & follows, UPDATE)
        .when(F.col("_lost"), REDECIDE)
        .when(new.isNull(), NOTHING)
        # Equal in order but not in content: the same row of a file that was replaced.
        .when(newer | equal, UPDATE)
        .otherwise(STALE)
    )


def _fields(struct: str, names: Sequence[str]) -> Column:
    """Struct comparison sorts NULL lowest, as the order wants it."""
    return F.struct(*(F.col(f"{struct}.{quoted(n)}") for n in names))
