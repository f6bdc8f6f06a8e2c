"""Files in, three tables out: the stories a user would tell."""

from __future__ import annotations

import gzip
import os
import shutil

import pytest
from deltalake import DeltaTable

from streaming_jobs import silver, small, snapshots, verify
from streaming_jobs.increment import practice
from streaming_jobs.ledger import FileRow, RunRow
from streaming_jobs.operations import files
from tests.conftest import BY_STATE, HEADER, ORDERS, Home, assert_rows, assert_same, hold_nothing, jobs

SILVER = "id string, state string, at string, amount string, _file string, _row bigint"
BRONZE = "id string, state string, at string, amount string, _file string, _row bigint"

TUESDAY = ("1,open,2026-01-06 08:00:00,10.00", "2,open,2026-01-06 09:00:00,20.00", "3,paid,2026-01-06 10:00:00,")
WEDNESDAY = ("2,paid,2026-01-07 09:00:00,20.00", "4,open,2026-01-07 10:00:00,5.00")


def balances(outcome_notes: tuple[object, ...], layer: str) -> list[tuple[int, int, int, int, int]]:
    """(files, rows in, accepted, superseded, quarantined) of each micro-batch of a layer."""
    return [
        (n.files, n.rows_in, n.accepted, n.superseded, n.quarantined) for n in outcome_notes if isinstance(n, RunRow) and n.layer == layer
    ]


def test_a_file_becomes_bronze_silver_and_gold(home: Home) -> None:
    home.land("tue.csv", *TUESDAY)
    home.ok()
    assert_rows(
        home.table("bronze/orders").drop("_extra", "_malformed", "_file_modified_at", "_ingest_id", "_ingested_at"),
        [
            ("1", "open", "2026-01-06 08:00:00", "10.00", "tue.csv", 1),
            ("2", "open", "2026-01-06 09:00:00", "20.00", "tue.csv", 2),
            ("3", "paid", "2026-01-06 10:00:00", None, "tue.csv", 3),
        ],
        BRONZE,
    )
    assert_rows(
        home.table("silver/orders"),
        [
            ("1", "open", "2026-01-06 08:00:00", "10.00", "tue.csv", 1),
            ("2", "open", "2026-01-06 09:00:00", "20.00", "tue.csv", 2),
            ("3", "paid", "2026-01-06 10:00:00", None, "tue.csv", 3),
        ],
        SILVER,
    )
    assert_rows(home.table("gold/by_state"), [("open", 2, "30.00"), ("paid", 1, None)], BY_STATE)


def test_the_next_day_reads_only_the_new_file_and_a_run_without_news_writes_nothing(home: Home) -> None:
    home.land("tue.csv", *TUESDAY)
    home.ok()
    home.land("wed.csv", *WEDNESDAY)
    outcome = home.ok()
    assert balances(outcome.notes, "bronze") == [(1, 2, 2, 0, 0)]
    assert balances(outcome.notes, "silver") == [(0, 2, 2, 0, 0)]
    assert_rows(home.table("gold/by_state"), [("open", 2, "15.00"), ("paid", 2, "20.00")], BY_STATE)
    before = home.versions()
    quiet = home.ok()
    assert quiet.notes == ()
    assert home.versions() == before


def test_columns_are_found_by_header_name_and_unknown_ones_are_kept(home: Home) -> None:
    home.land("a.csv", "10.00,x,2026-01-01,open,1", header="amount,Device Name,at,STATUS,id")
    home.ok("bronze", "silver")
    assert_rows(home.table("silver/orders"), [("1", "open", "2026-01-01 00:00:00", "10.00", "a.csv", 1)], SILVER)
    assert_rows(home.table("bronze/orders").selectExpr("to_json(_extra) AS extra"), [('{"Device Name":"x"}',)], "extra string")


def test_short_and_long_records_are_kept_whole_and_quarantined(home: Home) -> None:
    home.land("a.csv", "1,open", "2,open,2026-01-01,1.00", "3,open,2026-01-01,1.00,and,more")
    outcome = home.ok("bronze", "silver")
    assert balances(outcome.notes, "silver") == [(0, 3, 1, 0, 2)]
    assert_rows(
        home.table("quarantine/orders").selectExpr("_row", "_malformed", "reasons[0].rule AS rule", "contract_version AS v"),
        [(1, "1,open", "malformed", "1.0.0"), (3, "3,open,2026-01-01,1.00,and,more", "malformed", "1.0.0")],
        "_row bigint, _malformed string, rule string, v string",
    )


def test_a_quoted_newline_and_doubled_quotes_are_one_cell(home: Home) -> None:
    home.land("a.csv", '1,"say ""hi""\nthere",2026-01-01,1.00', "2,open,2026-01-01,1.00")
    home.ok("bronze", "silver")
    assert_rows(
        home.table("silver/orders").select("id", "state", "_row"),
        [("1", 'say "hi"\nthere', 1), ("2", "open", 2)],
        "id string, state string, _row bigint",
    )


def test_a_file_that_cannot_be_read_is_rejected_alone_and_the_rest_goes_in(home: Home) -> None:
    home.land("good.csv", *TUESDAY)
    home.land("no_id.csv", "open,2026-01-01", header="state,at")
    home.land_bytes("picture.csv", bytes(range(256)) * 40)
    outcome = home.run("bronze", "silver")
    assert outcome.exit_code == 3
    refused = {n.path: n.reason for n in outcome.notes if isinstance(n, FileRow)}
    assert set(refused) == {"no_id.csv", "picture.csv"}
    assert "lacks required id" in str(refused["no_id.csv"])
    assert home.table("silver/orders").count() == 3
    assert home.states() == {"good.csv": ("ingested", 3), "no_id.csv": ("rejected", None), "picture.csv": ("rejected", None)}
    assert home.run("bronze", "silver").exit_code == 0


@pytest.mark.usefixtures("either_way")
def test_a_corrected_file_corrects_everything_below_it(home: Home) -> None:
    home.land("tue.csv", *TUESDAY)
    home.land("wed.csv", *WEDNESDAY)
    home.ok()
    home.land("wed.csv", "4,paid,2026-01-07 10:00:00,6.00", "5,open,2026-01-07 11:00:00,7.00")
    home.ok()
    assert_rows(
        home.table("silver/orders").select("id", "state", "amount", "_file", "_row"),
        [
            ("1", "open", "10.00", "tue.csv", 1),
            ("2", "open", "20.00", "tue.csv", 2),  # its newer version went away with Wednesday's first edition
            ("3", "paid", None, "tue.csv", 3),
            ("4", "paid", "6.00", "wed.csv", 1),
            ("5", "open", "7.00", "wed.csv", 2),
        ],
        "id string, state string, amount string, _file string, _row bigint",
    )
    assert_rows(home.table("gold/by_state"), [("open", 3, "37.00"), ("paid", 2, "6.00")], BY_STATE)
    assert home.table("bronze/orders").count() == 5


@pytest.mark.slow
def test_rows_that_a_new_delivery_of_their_file_leaves_as_they_are_are_not_written_again(home: Home) -> None:
    home.land("a.csv", *TUESDAY, at=1_767_600_000)
    home.ok("bronze", "silver")
    before = home.version("silver/orders")
    home.land("a.csv", *TUESDAY, "bad,open,never,1.00", at=1_767_600_001)
    home.ok("bronze", "silver")
    assert (home.version("silver/orders"), home.table("quarantine/orders").count()) == (before, 1)
    home.land("a.csv", TUESDAY[0], "2,paid,2026-01-06 09:00:00,20.00", TUESDAY[2], at=1_767_600_002)
    home.ok("bronze", "silver")
    changes = home.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", before + 1)
    changed = changes.load(str(home.settings.table("silver/orders")))
    assert_rows(
        changed.select("_change_type", "id", "state"),
        [("update_preimage", "2", "open"), ("update_postimage", "2", "paid")],
        "_change_type string, id string, state string",
    )


@pytest.mark.usefixtures("either_way")
def test_a_key_and_a_group_without_rows_disappear_and_so_does_their_quarantine(home: Home) -> None:
    home.land("a.csv", "1,lost,2026-01-01,1.00", "2,open,2026-01-01,1.00", "3,open,never,1.00")
    home.ok()
    assert home.table("quarantine/orders").count() == 1
    home.land("a.csv", "2,open,2026-01-01,1.00", "3,open,2026-01-01,1.00")
    home.ok()
    assert_rows(home.table("silver/orders").select("id", "_row"), [("2", 1), ("3", 2)], "id string, _row bigint")
    assert_rows(home.table("gold/by_state"), [("open", 2, "2.00")], BY_STATE)
    assert home.table("quarantine/orders").count() == 0


@pytest.mark.parametrize(
    ("limits", "operation"),
    [({}, "WRITE"), ({"_MAX_BYTES": 0}, "WRITE"), ({"_MAX_BYTES": 0, "_READ_BYTES": -1}, "MERGE")],
    ids=["short: all of it in memory", "long: the rows of the files in memory", "very long: through Spark"],
)
def test_a_quarantine_of_any_length_follows_its_files_and_keeps_the_rows_of_others(
    home: Home, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], operation: str
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(small, name, value)
    home.land("it's.csv", "1,open,never,1.00", "2,open,2026-01-01,1.00", "3,open,2026-01-01,-3.00", "4,open,2026-01-01,-4.00")
    home.ok()
    home.land("tue.csv", "5,open,2026-01-02,-5.00")
    home.ok()
    before = home.table("quarantine/orders").select("_file", "_row", "id", "amount").collect()
    assert sorted(before) == [("it's.csv", 1, "1", "1.00"), ("it's.csv", 3, "3", "-3.00"), ("it's.csv", 4, "4", "-4.00"), ("tue.csv", 1, "5", "-5.00")]  # fmt: skip # noqa: E501
    home.land("it's.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,-2.00", "3,open,2026-01-01,-3.00")
    home.ok()
    assert_rows(
        home.table("quarantine/orders").select("_file", "_row", "id", "amount"),
        [("it's.csv", 2, "2", "-2.00"), ("it's.csv", 3, "3", "-3.00"), ("tue.csv", 1, "5", "-5.00")],
        "_file string, _row bigint, id string, amount string",
    )
    assert DeltaTable(str(home.settings.table("quarantine/orders"))).history(1)[0]["operation"] == operation
    version = home.version("quarantine/orders")
    home.land("wed.csv", "6,open,2026-01-03,1.00")
    home.ok()
    assert home.version("quarantine/orders") == version


@pytest.mark.slow
@pytest.mark.usefixtures("either_way")
def test_an_empty_string_as_a_partition_is_null_and_its_key_is_found_again(home: Home) -> None:
    state = "{name: state, logicalType: string"
    home.contract(ORDERS.replace(f"{state}}}", f"{state}, partitioned: true, partitionKeyPosition: 1, transformLogic: trim(raw.state)}}"))
    home.land("a.csv", "1, ,2026-01-01,1.00", "2,open,2026-01-01,2.00")
    home.ok()
    home.land("b.csv", "1, ,2026-01-02,3.00")
    home.ok()
    assert_rows(
        home.table("silver/orders").select("id", "state", "amount"),
        [("1", None, "3.00"), ("2", "open", "2.00")],
        "id string, state string, amount string",
    )
    assert_rows(home.table("gold/by_state"), [(None, 1, "3.00"), ("open", 1, "2.00")], BY_STATE)
    (contract,) = home.contracts()
    assert verify.of_silver(home.spark, contract, home.settings, 20).findings == ()


@pytest.mark.slow
def test_many_rows_in_many_partitions_are_one_file_for_each(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    hold_nothing(monkeypatch)
    monkeypatch.setattr(silver, "_FEW_ROWS", 0)
    day = "{name: day, logicalType: date, required: true, partitioned: true, partitionKeyPosition: 1, transformLogic: to_date(at)}"
    at = "      - {name: at, logicalType: timestamp}\n"
    placed = ORDERS.replace("value: [at]}", "value: [at]}, {property: mergeWindow, value: 1 days}").replace(at, f"{at}      - {day}\n")
    home.contract(placed)
    for month in (1, 2):  # into an empty table, and beside rows that are there
        days = range(1, silver._SPREAD + 1)
        home.land(f"{month}.csv", *(f"{month}-{d}-{n},open,2026-{month:02}-{d:02},1.00" for d in days for n in range(8)))
        home.ok("bronze", "silver")
        assert len(snapshots.existing(home.settings.table("silver/orders")).file_uris()) == month * silver._SPREAD
    held = home.table("silver/orders")
    home.redo(silver.rebuild)
    assert_same(home.table("silver/orders"), held)
    assert len(snapshots.existing(home.settings.table("silver/orders")).file_uris()) == 2 * silver._SPREAD


def test_rows_of_a_packed_file_are_not_held_in_memory_however_small_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    appended: list[object] = []
    monkeypatch.setattr(small, "append", lambda *given: appended.append(given))
    home.contract(ORDERS.replace("*.csv", "*.csv*"))
    home.land_bytes("a.csv.GZ", gzip.compress(f"{HEADER}\n1,open,2026-01-01,1.00\n".encode()))
    home.ok("bronze")
    assert (home.table("bronze/orders").count(), appended) == (1, [])


def test_a_touched_file_with_the_same_content_writes_no_data(home: Home) -> None:
    home.land("tue.csv", *TUESDAY, at=1_767_600_000)
    home.ok()
    before = {name: version for name, version in home.versions().items() if not name.startswith("ledger")}
    os.utime(home.raw / "tue.csv", (1_767_700_000, 1_767_700_000))
    home.ok()
    assert {name: version for name, version in home.versions().items() if not name.startswith("ledger")} == before
    assert home.states() == {"tue.csv": ("repeat", 3)}
    assert home.ok().notes == ()


def test_a_quality_limit_holds_the_batch_back_and_a_correction_releases_it(home: Home) -> None:
    home.contract(ORDERS.replace("value: [at]}]", "value: [at]}, {property: maxQuarantinedShare, value: 0.4}]"))
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,never,1.00", "3,open,never,1.00")
    outcome = home.run("bronze", "silver")
    assert outcome.exit_code == 3
    assert [(layer, dataset) for layer, dataset, _ in outcome.failures] == [("silver", "orders")]
    assert "2 of 3 rows (67%)" in str(outcome.failures[0][2])
    assert "a.csv (2)" in str(outcome.failures[0][2])
    assert (home.table("silver/orders").count(), home.table("quarantine/orders").count()) == (0, 0)
    assert home.run("bronze", "silver").exit_code == 3
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,1.00", "3,open,never,1.00")
    home.ok("bronze", "silver")
    assert_rows(home.table("silver/orders").select("id"), [("1",), ("2",)], "id string")
    assert home.table("quarantine/orders").count() == 1


def test_a_quality_limit_can_be_waived_for_one_run(home: Home) -> None:
    home.contract(ORDERS.replace("value: [at]}]", "value: [at]}, {property: maxQuarantinedShare, value: 0.4}]"))
    home.land("a.csv", "1,open,never,1.00")
    assert home.run("bronze", "silver").exit_code == 3
    assert home.run("bronze", "silver", accept_quality=True).exit_code == 0
    assert home.table("quarantine/orders").count() == 1


def test_several_datasets_share_a_run_and_a_broken_one_does_not_stop_the_others(home: Home) -> None:
    other = ORDERS.replace("orders", "returns").replace("by_state", "returns_by_state").replace("data/raw/*.csv", "data/returns/*.csv")
    home.contract(other, "returns")
    home.land("tue.csv", *TUESDAY)
    outcome = home.run()
    assert outcome.exit_code == 2  # the landing folder of `returns` is missing
    assert [(layer, dataset) for layer, dataset, _ in outcome.failures] == [("bronze", "returns")]
    assert home.table("gold/by_state").count() == 2
    (home.path / "data/returns").mkdir()
    (home.path / "data/returns/r.csv").write_text(f"{HEADER}\n9,open,2026-01-01,1.00\n")
    home.ok()
    assert_rows(home.table("gold/returns_by_state").select("state"), [("open",)], "state string")


ROLLED_UP = """
  - name: totals
    physicalName: gold/totals
    logicalType: object
    customProperties: [{property: source, value: by_state}, {property: where, value: "state <> 'void'"}]
    properties:
      - {name: kind, logicalType: string, primaryKey: true, transformLogic: "CASE WHEN state = 'open' THEN 'open' ELSE 'closed' END"}
      - {name: orders, logicalType: integer, transformLogic: sum(orders)}
"""  # fmt: skip


def test_a_gold_table_can_roll_up_another_and_one_new_in_the_contract_is_built_from_all_of_silver(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,paid,2026-01-01,1.00", "3,void,2026-01-01,1.00", "4,,2026-01-01,1.00")
    home.ok()
    untouched = home.version("gold/by_state")
    home.contract(ORDERS + ROLLED_UP)
    home.ok("gold")
    assert_rows(home.table("gold/totals"), [("open", 1), ("closed", 1)], "kind string, orders bigint")
    assert home.version("gold/by_state") == untouched
    home.land("b.csv", "1,sent,2026-01-02,1.00")
    home.ok()
    assert_rows(home.table("gold/totals"), [("closed", 2)], "kind string, orders bigint")


@pytest.mark.slow
def test_a_gold_definition_that_changes_and_changes_back_is_built_anew_each_time(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,3.00")
    home.ok()
    changed = ORDERS.replace("transformLogic: sum(amount)", "transformLogic: max(amount)")
    for text, revenue in ((changed, "3.00"), (ORDERS, "4.00")):
        home.contract(text)
        home.ok()
        assert_rows(home.table("gold/by_state"), [("open", 2, revenue)], BY_STATE)


def test_a_null_group_is_kept_up_to_date_like_any_other(home: Home) -> None:
    home.land("a.csv", "1,,2026-01-01,1.00", "2,,2026-01-01,2.00")
    home.ok()
    assert_rows(home.table("gold/by_state"), [(None, 2, "3.00")], BY_STATE)
    home.land("b.csv", "1,open,2026-01-02,1.00")
    home.ok()
    assert_rows(home.table("gold/by_state"), [(None, 1, "2.00"), ("open", 1, "1.00")], BY_STATE)


def test_a_gold_table_that_a_change_does_not_reach_is_not_written(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok()
    before = home.version("gold/by_state")
    home.land("b.csv", "1,open,2026-01-02,1.00")  # newer, and the same to Gold
    home.ok()
    assert home.version("gold/by_state") == before


@pytest.mark.slow
def test_a_lost_silver_checkpoint_ends_in_the_same_tables(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,never,1.00")
    home.land("b.csv", "1,paid,2026-01-02,1.00")
    home.ok()
    home.land("b.csv", "3,paid,2026-01-02,1.00")
    home.ok("bronze")
    shutil.rmtree(home.path / "checkpoints" / "silver")
    home.ok()
    assert_rows(home.table("silver/orders").select("id", "state"), [("1", "open"), ("3", "paid")], "id string, state string")
    assert home.table("quarantine/orders").count() == 1
    assert_rows(home.table("gold/by_state"), [("open", 1, "1.00"), ("paid", 1, "1.00")], BY_STATE)


PARTITIONED = ORDERS.replace("      - {name: state, logicalType: string}", "      - {name: state, logicalType: string, partitioned: true}")


@pytest.mark.slow
def test_a_lost_checkpoint_of_an_emptied_table_leaves_nothing_behind_and_keeps_the_partitions(home: Home) -> None:
    home.contract(PARTITIONED)
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,never,1.00")
    home.ok()
    assert home.table("quarantine/orders").count() == 1
    home.land("a.csv", header=HEADER)
    assert home.run().exit_code == 3  # held back: it would lose every row
    files.accept("a.csv", home.contracts(), home.settings)
    home.ok("bronze")
    shutil.rmtree(home.path / "checkpoints" / "silver")
    shutil.rmtree(home.path / "checkpoints" / "gold")
    home.ok()
    assert {n: home.table(n).count() for n in ("silver/orders", "quarantine/orders", "gold/by_state")} == {
        "silver/orders": 0,
        "quarantine/orders": 0,
        "gold/by_state": 0,
    }
    home.land("b.csv", "1,open,2026-01-01,1.00")
    home.ok()
    assert DeltaTable(str(home.settings.table("silver/orders"))).metadata().partition_columns == ["state"]


@pytest.mark.slow
def test_a_lost_gold_checkpoint_does_not_keep_groups_that_went_away(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,lost,2026-01-01,1.00")
    home.ok()
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok("bronze", "silver")
    shutil.rmtree(home.path / "checkpoints" / "gold")
    home.ok()
    assert_rows(home.table("gold/by_state"), [("open", 1, "1.00")], BY_STATE)


@pytest.mark.slow
def test_a_raw_column_dropped_from_the_contract_does_not_keep_a_correction_out(home: Home) -> None:
    unused = "      - {name: amount, logicalType: string}\n"
    home.contract(ORDERS.replace(unused, f"{unused}      - {{name: note, logicalType: string}}\n"))
    home.land("a.csv", "1,open,2026-01-01,1.00,x", "2,open,never,1.00,y", header=f"{HEADER},note")
    home.ok("bronze", "silver")
    home.contract()
    home.land("a.csv", "1,paid,2026-01-01,1.00,x", "2,open,2026-01-01,1.00,y", header=f"{HEADER},note")
    home.ok("bronze", "silver")
    assert_rows(home.table("silver/orders").select("id", "state"), [("1", "paid"), ("2", "open")], "id string, state string")
    assert home.table("quarantine/orders").count() == 0


def test_what_is_practised_beside_a_run_is_what_the_layers_do_and_leaves_nothing(home: Home) -> None:
    home.contract()
    (contract,) = home.contracts()
    layers = ("bronze", "silver", "gold")
    several = home.settings.model_copy(update={"cores": 2})
    for piece in practice(contract, layers, several):
        piece(home.spark.newSession())  # before there are tables
    assert not (home.path / "data" / "bronze").exists()
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok()
    before, done = home.versions(), jobs(home.spark)
    pieces = practice(contract, layers, several)
    for piece in pieces:
        piece(home.spark.newSession())
    assert (len(pieces), home.versions()) == (2, before)
    assert jobs(home.spark) - done >= 2
    assert practice(contract, layers, home.settings.model_copy(update={"cores": 1})) == []
    assert practice(contract, ("bronze",), several) == []
