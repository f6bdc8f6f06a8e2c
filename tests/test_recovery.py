"""Die after every write, run again: the tables are as if nothing had happened."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from streaming_jobs import bronze, failpoints, gold, ledger, lines, probe, reading, silver, small, snapshots
from streaming_jobs.errors import DamagedState
from tests import oracle
from tests.conftest import ORDERS, ROOT, Home, assert_rows, assert_same, crash_at
from tests.test_forget import DEATHS

MONDAY = ("1,open,2026-01-05,1.00", "2,open,2026-01-05,2.00", "bad,open,never,3.00")
TUESDAY = ("1,paid,2026-01-06,1.00", "3,open,2026-01-06,4.00", "worse,open,never,3.00")
MONDAY_CORRECTED = ("2,open,2026-01-05,2.50", "still bad,open,never,3.00")
IN_EVERY_RUN = (
    "bronze.probed", "bronze.written", "bronze.intended", "bronze.committed", "bronze.balanced", "bronze.confirmed", "bronze.streamed",
    "silver.judged", "silver.quarantined", "silver.merged", "silver.recorded",
    "gold.touched", "gold.replaced", "gold.recorded",
)  # fmt: skip
COUNTED = ("bronze/orders", "silver/orders", "quarantine/orders", "gold/by_state")


@pytest.fixture
def undisturbed(other_home: Home) -> Home:
    """The same deliveries without a crash."""
    other_home.land("mon.csv", *MONDAY, at=1_767_600_000)
    other_home.ok()
    other_home.land("tue.csv", *TUESDAY, at=1_767_700_000)
    other_home.land("mon.csv", *MONDAY_CORRECTED, at=1_767_700_001)
    other_home.ok()
    return other_home


def assert_equal_tables(home: Home, expected: Home) -> None:
    ours = {"_ingest_id", "_ingested_at", "quarantined_at"}
    for name in COUNTED:
        actual, wanted = home.table(name).drop(*ours), expected.table(name).drop(*ours)
        if "_extra" in actual.columns:
            actual, wanted = (f.withColumn("_extra", f["_extra"].cast("string")) for f in (actual, wanted))
        assert_same(actual, wanted)
    assert home.states() == expected.states()


def test_a_crash_after_any_write_and_a_rerun_give_the_same_tables_as_no_crash(home: Home, undisturbed: Home) -> None:
    """One home meets every failpoint in turn, each twice: on an append, and on a correction with an append beside it."""
    home.land("mon.csv", *MONDAY, at=1_767_600_000)
    for name in IN_EVERY_RUN:
        with crash_at(name):
            home.run()
    home.ok()
    home.land("tue.csv", *TUESDAY, at=1_767_700_000)
    home.land("mon.csv", *MONDAY_CORRECTED, at=1_767_700_001)
    for name in IN_EVERY_RUN:
        with crash_at(name):
            home.run()
    home.ok()
    assert_equal_tables(home, undisturbed)
    assert home.run().notes == ()


def first_run(_: Home, __: pytest.MonkeyPatch) -> None:
    pass


def touched_file(home: Home, _: pytest.MonkeyPatch) -> None:
    home.ok()
    os.utime(home.raw / "mon.csv", (1_767_800_000,) * 2)


def lost_bronze(home: Home, _: pytest.MonkeyPatch) -> None:
    home.ok()
    shutil.rmtree(home.settings.table("bronze/orders"))


def many_commits(_: Home, limits: pytest.MonkeyPatch) -> None:
    limits.setattr(ledger, "_COMPACT_EVERY", 1)


def lost_silver_checkpoint(home: Home, _: pytest.MonkeyPatch) -> None:
    home.ok()
    shutil.rmtree(home.settings.checkpoint("silver", "orders"))


def small_files(home: Home, limits: pytest.MonkeyPatch) -> None:
    limits.setattr(small, "_JOIN_FILES", 2)
    home.ok()
    home.land("tue.csv", *TUESDAY)


def right_gold(home: Home, _: pytest.MonkeyPatch) -> None:
    home.ok()


def right_silver(home: Home, _: pytest.MonkeyPatch) -> None:
    home.ok()


def run(home: Home) -> None:
    home.ok()


def rebuild_bronze(home: Home) -> None:
    home.redo(bronze.rebuild, force=True)


def rebuild_silver(home: Home) -> None:
    home.redo(silver.rebuild)


def rebuild_gold(home: Home) -> None:
    home.redo(gold.rebuild)


IN_SOME_RUNS: Mapping[str, tuple[Callable[[Home, pytest.MonkeyPatch], None], Callable[[Home], None]]] = {
    "bronze.decided": (touched_file, run),
    "bronze.given_up": (lost_bronze, rebuild_bronze),
    "ledger.joined": (many_commits, run),
    "silver.created": (first_run, run),
    "silver.meant": (lost_silver_checkpoint, run),
    "silver.discarded": (right_silver, rebuild_silver),
    "silver.recomputed": (right_silver, rebuild_silver),
    "silver.joined": (small_files, run),
    "gold.discarded": (right_gold, rebuild_gold),
}
"""Failpoint -> what makes the next command reach it, and that command."""


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_SOME_RUNS)
def test_a_crash_where_only_some_runs_come_by_is_as_harmless(home: Home, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, command = IN_SOME_RUNS[name]
    home.land("mon.csv", *MONDAY, at=1_767_600_000)
    prepare(home, monkeypatch)
    with crash_at(name):
        command(home)
    command(home)
    home.ok()
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []
    assert home.run().notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bronze.archived", "bronze.moved"])
def test_a_crash_while_files_are_put_away_loses_none_and_reads_none_twice(home: Home, name: str) -> None:
    home = Home(home.path, home.settings.model_copy(update={"archive_ingested": True}), home.spark)
    home.land("mon.csv", *MONDAY, at=1_767_600_000)
    home.land("tue.csv", *TUESDAY, at=1_767_600_000)
    with crash_at(name):
        home.run()
    home.ok()
    assert list(home.raw.iterdir()) == []
    contract = oracle.parse(ORDERS)
    files = oracle.bronze(home.path / "data/archive/orders", contract)
    assert sorted(files) == ["mon.csv", "tue.csv"]
    assert oracle.table_differences(home.path / "data", files, contract, oracle.ORDERS_LOGIC) == []
    assert home.run().notes == ()


def test_every_failpoint_is_documented_and_fires_in_this_suite() -> None:
    fired = {*IN_EVERY_RUN, *IN_SOME_RUNS, "bronze.archived", "bronze.moved", *(place for place in DEATHS if place.startswith("forget."))}
    documented = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", (ROOT / "docs/reliability.md").read_text("utf-8"), re.MULTILINE)
    assert fired == set(failpoints.NAMES)
    assert documented == list(failpoints.NAMES)


def test_a_failpoint_takes_its_action_when_it_is_reached_for_the_nth_time_and_then_no_more() -> None:
    failpoints.arm("silver.merged=raise@3")
    try:
        failpoints.hit("silver.merged")
        failpoints.hit("gold.replaced")
        failpoints.hit("silver.merged")
        with pytest.raises(failpoints.Crashed):
            failpoints.hit("silver.merged")
        failpoints.hit("silver.merged")
    finally:
        failpoints.disarm()


@pytest.mark.parametrize("text", ["silver.marged=kill", "silver.merged=crash", "silver.merged", "silver.merged=kill@often"])
def test_a_failpoint_that_cannot_be_armed_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"silver|often"):
        failpoints.arm(text)


@pytest.mark.slow
def test_a_file_corrected_between_the_crash_and_the_rerun_is_not_taken_for_what_was_read(home: Home) -> None:
    home.land("mon.csv", "1,open,2026-01-05,1.00", at=1_767_600_000)
    with crash_at("bronze.committed"):
        home.run()
    home.land("mon.csv", "1,paid,2026-01-05,9.00", at=1_767_700_000)
    home.ok()
    assert_rows(home.table("bronze/orders").select("state", "amount"), [("paid", "9.00")], "state string, amount string")
    assert_rows(home.table("gold/by_state"), [("paid", 1, "9.00")], "state string, orders bigint, revenue string")


@pytest.mark.slow
def test_a_file_that_vanished_between_the_intent_and_the_rerun_is_named(home: Home) -> None:
    file = home.land("mon.csv", *MONDAY)
    home.land("tue.csv", *TUESDAY)
    with crash_at("bronze.intended"):
        home.run()
    file.unlink()
    assert home.run().exit_code == 3
    assert home.states() == {"mon.csv": ("rejected", None), "tue.csv": ("ingested", 3)}


@pytest.mark.slow
def test_a_file_that_vanishes_between_the_look_at_it_and_its_reading_is_missing_or_named_if_it_is_new(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok()
    for name in ("mon.csv", "tue.csv", "wed.csv"):
        home.land(name, *TUESDAY)
    look = probe.probe_all

    def look_and_lose(*arguments: Any) -> Any:
        found = look(*arguments)
        for name in ("mon.csv", "tue.csv"):
            (home.raw / name).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(probe, "probe_all", look_and_lose)
    assert home.run().exit_code == 3
    assert home.states() == {"mon.csv": ("missing", None), "tue.csv": ("rejected", None), "wed.csv": ("ingested", 3)}
    reasons = {path: state.reason for path, state in ledger.known(home.settings, "orders").states.items()}
    assert reasons["tue.csv"] == ledger.VANISHED
    assert home.table("bronze/orders").where("_file = 'mon.csv'").count() == 3
    assert home.ok().notes == ()


UNREADABLE = b'id,state,at,amount\n"1,open\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("known", "way"),
    [(True, "in memory"), (True, "through Spark"), (False, "in memory"), (False, "through Spark"), (False, "of lines")],
)
def test_of_a_file_that_is_replaced_while_it_is_read_nothing_is_taken(
    home: Home, known: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader opens the new bytes under the time of the old ones; that they cannot be read makes the mixture stay."""
    if known:
        home.land("mon.csv", *MONDAY, at=1_767_600_000)
        home.ok()
    if way == "through Spark":
        monkeypatch.setattr(small, "MAX_ROWS", 0)
    if way != "of lines":
        monkeypatch.setattr(lines, "may_be", lambda _: False)
    home.land("mon.csv", *MONDAY_CORRECTED, at=1_767_700_000)
    home.land("tue.csv", *TUESDAY, at=1_767_700_000)
    module, name = (lines, "write") if way == "of lines" else (reading, "read")
    read = getattr(module, name)

    def read_late(*arguments: Any) -> Any:
        rows = read(*arguments)
        if "mon.csv" in [facts.path for facts in arguments[3]] and (home.raw / "mon.csv").read_bytes() != UNREADABLE:
            home.land_bytes("mon.csv", UNREADABLE, at=1_767_800_000)
        return rows

    with monkeypatch.context() as while_it_is_read:
        while_it_is_read.setattr(module, name, read_late)
        # Of a new file the sweep of the same run has another look.
        assert [home.run().exit_code, home.run().exit_code] == ([0, 3] if known else [3, 0])
    assert {path: status for path, (status, _) in home.states().items()} == {"mon.csv": "rejected", "tue.csv": "ingested"}
    rows = [("mon.csv", line.split(",")[0], line.split(",")[3]) for line in MONDAY if known]
    rows += [("tue.csv", line.split(",")[0], line.split(",")[3]) for line in TUESDAY]
    assert_rows(home.table("bronze/orders").select("_file", "id", "amount"), rows, "_file string, id string, amount string")
    home.land("mon.csv", *MONDAY_CORRECTED, at=1_767_900_000)
    home.ok()
    assert home.run().notes == ()
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []


@pytest.mark.slow
def test_what_was_read_of_many_rows_is_not_taken_for_what_was_probed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bytes lay there while Spark read, and the probed ones are back before anybody looks again."""
    monkeypatch.setattr(small, "MAX_CSV_BYTES", 0)
    monkeypatch.setattr(lines, "may_be", lambda _: False)
    home.land("mon.csv", *MONDAY, at=1_767_600_000)
    read = reading.read

    def read_late(*arguments: Any) -> Any:
        rows = read(*arguments)
        home.land("mon.csv", *TUESDAY, at=1_767_700_000)
        return rows

    with monkeypatch.context() as while_it_is_read, crash_at("bronze.committed"):
        while_it_is_read.setattr(reading, "read", read_late)
        home.run()
    home.land("mon.csv", *MONDAY, at=1_767_800_000)
    home.ok()
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []


@pytest.mark.slow
def test_a_file_that_vanishes_between_sparks_listing_and_the_batch_stops_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home.land("mon.csv", *MONDAY)
    home.land("tue.csv", *TUESDAY)
    discovered = bronze._discovered

    def too_late(*given: Any) -> Any:
        apply = discovered(*given)

        def after_it_is_gone(*batch: Any) -> None:
            file.unlink()
            apply(*batch)

        return after_it_is_gone

    monkeypatch.setattr(bronze, "_discovered", too_late)
    home.ok()
    assert home.states() == {"tue.csv": ("ingested", 3)}
    home.land("mon.csv", *MONDAY)
    monkeypatch.undo()
    home.ok()
    assert home.states() == {"mon.csv": ("ingested", 3), "tue.csv": ("ingested", 3)}
    assert home.run().notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["silver", "gold"])
def test_a_batch_whose_end_was_not_recorded_comes_again_and_writes_nothing(home: Home, layer: str) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok()
    before = home.versions()
    (commit,) = (p for p in _commits(home, layer) if p.name == "0")
    commit.unlink()
    home.ok()
    assert home.versions() == before


@pytest.mark.slow
def test_a_bronze_batch_whose_end_was_not_recorded_comes_again_with_newcomers_and_doubles_nothing(home: Home) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok("bronze")
    (commit,) = (p for p in _commits(home, "bronze") if p.name == "0")
    commit.unlink()
    home.land("tue.csv", *TUESDAY)
    home.ok("bronze")
    assert {path: rows for path, (_, rows) in home.states().items()} == {"mon.csv": 3, "tue.csv": 3}
    assert home.table("bronze/orders").count() == 6


def _commits(home: Home, layer: str) -> list[Path]:
    return list((home.path / "checkpoints" / layer / "orders" / "commits").iterdir())


@pytest.mark.slow
def test_a_lost_bronze_checkpoint_does_not_read_the_files_again(home: Home) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok()
    shutil.rmtree(home.path / "checkpoints" / "bronze")
    home.land("tue.csv", *TUESDAY)
    home.ok("bronze")
    assert home.table("bronze/orders").count() == 6


@pytest.mark.slow
def test_a_lost_silver_or_quarantine_table_is_seen_and_made_again_from_bronze(home: Home, undisturbed: Home) -> None:
    home.land("mon.csv", *MONDAY, at=1_767_600_000)
    home.ok()
    home.land("tue.csv", *TUESDAY, at=1_767_700_000)
    home.land("mon.csv", *MONDAY_CORRECTED, at=1_767_700_001)
    home.ok("bronze")
    for lost in ("silver", "quarantine"):
        shutil.rmtree(home.settings.table(f"{lost}/orders"))
        home.ok()
        assert_equal_tables(home, undisturbed)
    assert home.ok().notes == ()


@pytest.mark.slow
def test_a_ledger_that_knows_less_than_the_table_ends_in_4_and_reads_nothing(home: Home) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok()
    shutil.rmtree(home.settings.table("ledger/files"))
    before = home.versions()
    outcome = home.run()
    assert outcome.exit_code == 4
    assert [(layer, type(error)) for layer, _, error in outcome.failures] == [("bronze", DamagedState)]
    assert home.versions() == before


@pytest.mark.slow
def test_a_lost_bronze_table_ends_in_4_and_is_not_taken_for_an_empty_one(home: Home) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok()
    shutil.rmtree(home.settings.table("bronze/orders"))
    home.land("tue.csv", *TUESDAY)
    outcome = home.run()
    assert outcome.exit_code == 4
    assert [(layer, type(error)) for layer, _, error in outcome.failures] == [("bronze", DamagedState)]
    assert not home.settings.table("bronze/orders").exists()
    assert home.table("silver/orders").count() == 2


@pytest.mark.slow
def test_a_layer_that_cannot_be_looked_at_is_reported_once_and_the_layers_before_it_go_on(home: Home) -> None:
    home.land("mon.csv", *MONDAY)
    home.ok()
    (home.settings.table("silver/orders") / "_delta_log" / f"{0:020}.json").write_text("{")
    snapshots.let_go(home.settings.table("silver/orders"))  # as in another process: what is held was read before
    home.land("tue.csv", *TUESDAY)
    outcome = home.run()
    assert [(layer, dataset) for layer, dataset, _ in outcome.failures] == [("silver", "orders")]
    assert home.table("bronze/orders").count() == 6


@pytest.mark.slow
def test_a_replacement_confirmed_after_a_crash_is_balanced_like_any_other(home: Home, other_home: Home) -> None:
    for one in (home, other_home):
        one.land("mon.csv", *MONDAY, at=1_767_600_000)
        one.ok("bronze")
        one.land("mon.csv", *MONDAY_CORRECTED, at=1_767_700_001)
    with crash_at("bronze.committed"):
        home.run("bronze")
    home.ok("bronze")
    other_home.ok("bronze")
    balance = ("layer", "files", "rows_in", "accepted", "deleted")
    assert_same(home.table("ledger/runs").select(*balance), other_home.table("ledger/runs").select(*balance))
