"""A layer made again from the one above: right afterwards, never half seen, never smaller unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from streaming_jobs import bronze, gold, silver, verify
from streaming_jobs.errors import DamagedState, InputRefused, UsageError
from tests.conftest import BY_STATE, HEADER, ORDERS, Home, assert_rows, assert_same, crash_at, forget_tables

pytestmark = pytest.mark.slow

ROWS = ("1,open,2026-01-01,1.00", "2,open,2026-01-01,2.00", "3,paid,2026-01-02,3.00", "bad,open,never,1.00")


def assert_proved(home: Home) -> None:
    (contract,) = home.contracts()
    proofs = [of(home.spark, contract, home.settings, 20) for of in (verify.of_bronze, verify.of_silver, verify.of_gold)]
    assert [proof.findings for proof in proofs] == [(), (), ()]


def assert_refused(home: Home, step: Callable[..., None], line: str) -> None:
    """The rebuild says so, and writes nothing."""
    before = home.versions()
    with pytest.raises(InputRefused, match=line):
        home.redo(step)
    assert home.versions() == before


def test_a_silver_rebuild_that_dies_at_any_write_shows_the_old_table_or_the_new_one_and_the_next_finishes(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    right = home.table("silver/orders").localCheckpoint()
    home.sql("UPDATE {silver} SET amount = 9 WHERE id = '1'")
    damaged = home.table("silver/orders").localCheckpoint()
    for point, seen in (("silver.quarantined", damaged), ("silver.merged", right), ("silver.recorded", right)):
        with crash_at(point):
            home.redo(silver.rebuild)
        assert_same(home.table("silver/orders"), seen)
    home.redo(silver.rebuild, gold.rebuild)
    assert_same(home.table("silver/orders"), right)
    assert_proved(home)
    assert home.ok().notes == ()


@pytest.mark.parametrize("point", ["silver.discarded", "silver.quarantined", "silver.merged", "silver.meant", "silver.recomputed"])
def test_a_delivery_that_came_and_went_around_a_silver_rebuild_that_died_leaves_nothing(home: Home, other_home: Home, point: str) -> None:
    deliveries = (ROWS, ("4,open,2026-01-05,1.00", "bad,open,never,2.00"), ("5,open,2026-01-06,1.00",))
    home.land("a.csv", *deliveries[0], at=1_767_600_000)
    home.ok()
    home.land("a.csv", *deliveries[1], at=1_767_700_000)
    home.ok("bronze")
    with crash_at(point):
        home.redo(silver.rebuild, force=True)
    home.land("a.csv", *deliveries[2], at=1_767_800_000)
    home.ok()
    other_home.land("a.csv", *deliveries[2], at=1_767_800_000)
    other_home.ok()
    left_out = ("_extra", "quarantined_at")  # a map cannot be sorted; the time of refusal
    for table in ("silver/orders", "quarantine/orders", "gold/by_state"):
        assert_same(home.table(table).drop(*left_out), other_home.table(table).drop(*left_out))


def test_a_rebuild_that_would_lose_rows_writes_nothing_until_it_is_forced(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    home.sql("DELETE FROM {bronze} WHERE id = '1'")
    assert_refused(home, silver.rebuild, r"silver/orders: made again it would have 2 rows instead of 3.*rebuild silver orders --force")
    home.redo(silver.rebuild, force=True)
    home.sql("DELETE FROM {silver} WHERE id = '3'")
    assert_refused(home, gold.rebuild, r"gold/by_state: made again it would have 1 rows instead of 2")
    home.redo(gold.rebuild, force=True)
    assert_rows(home.table("gold/by_state"), [("open", 1, "2.00")], BY_STATE)


def test_a_silver_stream_that_cannot_go_on_is_set_right_by_a_rebuild(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    offset = max((home.path / "checkpoints/silver/orders/offsets").glob("[0-9]*"))
    offset.write_text(offset.read_text().replace('"reservoirVersion":', '"reservoirVersion":9'))
    home.land("b.csv", "4,open,2026-01-03,4.00")
    assert home.run().exit_code != 0
    home.redo(silver.rebuild, gold.rebuild)
    assert_proved(home)
    home.land("c.csv", "5,open,2026-01-03,5.00")
    home.ok()
    assert_proved(home)


def test_a_gold_rebuild_repairs_what_is_wrong_and_leaves_the_rest_unwritten(home: Home) -> None:
    home.contract(ORDERS + ORDERS[ORDERS.index("  - name: by_state") :].replace("by_state", "again"))
    home.land("a.csv", *ROWS)
    home.ok()
    home.sql("UPDATE {gold} SET orders = 7")
    before = home.version("gold/again")
    home.redo(gold.rebuild)
    assert_rows(home.table("gold/by_state"), [("open", 2, "3.00"), ("paid", 1, "3.00")], BY_STATE)
    assert home.version("gold/again") == before
    assert home.ok().notes == ()


AMOUNT = "      - {name: amount, logicalType: string}\n"
NOTED = ORDERS.replace(AMOUNT, f"{AMOUNT}      - {{name: note, logicalType: string}}\n")


def test_a_bronze_rebuild_reads_every_file_by_the_contract_of_today_in_one_commit_and_keeps_what_no_longer_lies_there(home: Home) -> None:
    home.land("a.csv", *(f"{row},hello" for row in ROWS), header=f"{HEADER},note")
    gone = home.land("b.csv", "4,open,2026-01-03,4.00")
    home.ok()
    gone.unlink()
    home.contract(NOTED)
    home.ok()
    assert home.table("bronze/orders").where("note IS NOT NULL").count() == 0
    before = home.version("bronze/orders")
    home.redo(bronze.rebuild)
    assert home.version("bronze/orders") == before + 1
    assert_rows(
        home.table("bronze/orders").select("id", "note", "_file", "_row"),
        [*((row.split(",")[0], "hello", "a.csv", n) for n, row in enumerate(ROWS, 1)), ("4", None, "b.csv", 1)],
        "id string, note string, _file string, _row bigint",
    )
    home.ok()
    assert_proved(home)
    assert home.ok().notes == ()


def test_a_bronze_rebuild_that_would_lose_rows_writes_nothing(home: Home) -> None:
    file = home.land("a.csv", *ROWS, at=1_767_600_000)
    home.ok("bronze")
    # A file that was damaged in place: nothing about it says so.
    whole = file.read_bytes()
    file.write_bytes(whole[: len(HEADER)] + b"\n" * (len(whole) - len(HEADER)))
    os.utime(file, (1_767_600_000, 1_767_600_000))
    assert_refused(home, bronze.rebuild, r"bronze/orders: made again it would have 0 rows instead of 4.*rebuild bronze orders --force")


APPENDING = ORDERS.replace("bronze/orders\n", "bronze/orders\n    customProperties: [{property: onRedelivery, value: append}]\n")


def test_under_append_bronze_cannot_be_rebuilt(home: Home) -> None:
    home.contract(APPENDING)
    home.land("a.csv", *ROWS)
    home.ok("bronze")
    with pytest.raises(UsageError, match="onRedelivery: append"):
        home.redo(bronze.rebuild)


def test_a_lost_bronze_table_is_made_from_the_files_that_still_lie_there_when_that_is_asked_for(home: Home) -> None:
    home.land("a.csv", *ROWS)
    gone = home.land("b.csv", "4,open,2026-01-03,4.00")
    home.ok()
    gone.unlink()
    home.ok()
    shutil.rmtree(home.settings.table("bronze/orders"))
    with pytest.raises(DamagedState, match="rebuild bronze orders --force"):
        home.redo(bronze.rebuild)
    with crash_at("bronze.intended"):
        home.redo(bronze.rebuild, force=True)
    home.redo(bronze.rebuild, silver.rebuild, gold.rebuild, force=True)
    assert home.states()["a.csv"] == ("ingested", 4)
    assert home.table("bronze/orders").where("_file = 'b.csv'").count() == 0
    assert_proved(home)
    assert home.ok().notes == ()


@contextmanager
def restored_afterwards(home: Home) -> Iterator[None]:
    """What Bronze becomes within this block is lost at its end."""
    table, backup = home.settings.table("bronze/orders"), home.path / "backup"
    shutil.copytree(table, backup)
    yield
    shutil.rmtree(table)
    backup.rename(table)
    forget_tables(home.spark)


def test_an_older_bronze_table_that_was_restored_is_completed_when_that_is_asked_for(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    with restored_afterwards(home):
        home.land("b.csv", "4,open,2026-01-03,4.00")
        home.ok()
    (home.raw / "a.csv").unlink()
    assert home.run().exit_code == 4
    home.redo(bronze.rebuild, silver.rebuild, gold.rebuild, force=True)
    assert home.table("silver/orders").count() == 4
    assert_proved(home)


def test_under_append_the_ledger_counts_only_the_newest_delivery_of_what_was_restored(home: Home) -> None:
    home.contract(APPENDING)
    for number in (2, 3):
        home.land("a.csv", *ROWS[:number], at=1_767_600_000 + number)
        home.ok("bronze")
    with restored_afterwards(home):
        home.land("b.csv", "4,open,2026-01-03,4.00")
        home.ok("bronze")
    (home.raw / "a.csv").unlink()
    home.redo(bronze.rebuild, force=True)
    (contract,) = home.contracts()
    assert verify.of_bronze(home.spark, contract, home.settings, 20).findings == ()
