"""`maintain`: fewer files, the same rows, and never a file that a stream has still to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streaming_jobs import gold, locks, silver, verify
from streaming_jobs.errors import DamagedState, Locked
from streaming_jobs.operations.maintain import maintain
from streaming_jobs.run import Healed
from tests import oracle
from tests.conftest import ORDERS, Home, crash_at

pytestmark = pytest.mark.slow

PARTITIONED = ORDERS.replace(
    "{name: state, logicalType: string}\n      - {name: at", "{name: state, logicalType: string, partitioned: true}\n      - {name: at"
)
TABLES = ("bronze/orders", "silver/orders", "quarantine/orders", "gold/by_state")


def done(home: Home, keep_days: int = 0) -> dict[str, dict[str, Any]]:
    rows = maintain(home.contracts(), home.settings, keep_days)
    named = [dict(zip(rows.columns, row, strict=True)) for row in rows.values]
    assert [row["table"] for row in named] == list(TABLES)
    return {row.pop("table"): row for row in named}


def files(home: Home, table: str) -> list[Path]:
    """All there are, those of the change feed included."""
    return [p for p in home.settings.table(table).rglob("*.parquet") if "_delta_log" not in p.parts]


def assert_right(home: Home) -> None:
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []
    (contract,) = home.contracts()
    proofs = [of(home.spark, contract, home.settings, 20) for of in (verify.of_bronze, verify.of_silver, verify.of_gold)]
    assert [proof.findings for proof in proofs] == [(), (), ()]


def three_days(home: Home) -> None:
    """The last one corrects the first."""
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,1.00", "bad,open,never,1", at=1_767_600_000)
    home.ok()
    home.land("b.csv", "1,paid,2026-01-02,2.00", "3,open,2026-01-02,1.00", at=1_767_700_000)
    home.ok()
    home.land("a.csv", "2,sent,2026-01-03,1.00", "worse,open,never,1", at=1_767_800_000)


@pytest.mark.parametrize("contract", [ORDERS, PARTITIONED], ids=["one folder", "partitions"])
def test_files_are_joined_and_those_let_go_of_are_removed_and_every_row_stays(home: Home, contract: str) -> None:
    home.contract(contract)
    three_days(home)
    home.ok()
    before = {table: sum(p.stat().st_size for p in files(home, table)) for table in TABLES}
    found = done(home)
    for table in TABLES:
        left = sum(p.stat().st_size for p in files(home, table))
        assert len(files(home, table)) == found[table]["files"]
        assert (found[table]["kept"], found[table]["removed"] > 0) == (0, True)
        assert before[table] - left <= found[table]["freed_bytes"]  # what was joined was written anew
    assert found["bronze/orders"]["files"] == 1 < found["bronze/orders"]["files_before"]
    assert_right(home)
    assert home.ok().notes == ()
    home.land("c.csv", "2,paid,2026-01-09,1.00", "4,open,2026-01-09,1.00")
    assert not [note for note in home.ok().notes if isinstance(note, Healed)]  # the streams go on from where they were
    assert_right(home)


def test_what_the_streams_have_still_to_read_stays_however_old_it_is(home: Home) -> None:
    three_days(home)
    home.ok("bronze")
    home.land("b.csv", "3,paid,2026-01-04,5.00", at=1_767_900_000)
    home.ok("bronze")
    found = done(home)
    assert found["bronze/orders"]["kept"] > 0
    home.ok("silver")
    found = done(home)
    assert (found["bronze/orders"]["kept"], found["silver/orders"]["kept"] > 0) == (0, True)
    home.ok("gold")
    assert {table: row["kept"] for table, row in done(home).items()} == dict.fromkeys(TABLES, 0)
    assert_right(home)


def test_while_a_batch_has_not_ended_nothing_is_removed_above_it(home: Home) -> None:
    three_days(home)
    with crash_at("silver.merged"):
        home.run()
    found = done(home)
    assert (found["bronze/orders"]["removed"], found["bronze/orders"]["kept"] > 0) == (0, True)
    home.ok()
    assert_right(home)


def test_what_was_let_go_of_stays_for_as_many_days_as_are_asked_for(home: Home) -> None:
    three_days(home)
    home.ok()
    before = {p for table in TABLES for p in files(home, table)}
    assert {table: row["removed"] for table, row in done(home, keep_days=1).items()} == dict.fromkeys(TABLES, 0)
    assert before <= {p for table in TABLES for p in files(home, table)}


def test_what_is_done_twice_is_done_once(home: Home) -> None:
    three_days(home)
    home.ok()
    done(home)
    before = home.versions()
    again = done(home)
    assert {table: (row["removed"], row["files_before"] - row["files"]) for table, row in again.items()} == dict.fromkeys(TABLES, (0, 0))
    assert home.versions() == before


def test_after_it_a_layer_can_be_made_again_and_a_stream_that_was_lost_starts_over(home: Home) -> None:
    three_days(home)
    home.ok()
    done(home)
    home.redo(silver.rebuild, gold.rebuild, force=True)
    assert_right(home)


def test_a_layer_in_use_or_damaged_is_left_alone(home: Home) -> None:
    three_days(home)
    home.ok()
    before = {p for table in TABLES for p in files(home, table)}
    with locks.hold(home.settings, ["silver"], ["orders"]), pytest.raises(Locked):
        done(home)
    commit = max((home.settings.table("gold/by_state") / "_delta_log").glob("*.json"))
    commit.write_text("")
    with pytest.raises(DamagedState, match=r"gold/by_state .*rebuild gold orders"):
        done(home)
    assert {p for table in TABLES for p in files(home, table)} == before


def test_before_the_first_run_there_is_nothing_to_maintain(home: Home) -> None:
    assert maintain(home.contracts(), home.settings, 0).values == ()
