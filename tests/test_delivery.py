"""How files are delivered, and what each way ends in. The labels B1 … B20 and D1 … D15 are those of docs/delivery-faults.md."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from streaming_jobs import archive, bronze, checkpoints, landing, ledger, pending, probe, settings
from streaming_jobs.errors import Stopped
from streaming_jobs.failpoints import Crashed
from streaming_jobs.ledger import FileRow
from streaming_jobs.operations import files
from streaming_jobs.run import Run
from streaming_jobs.stop import Stop
from tests.conftest import HEADER, ORDERS, Home, assert_rows, crash_at

pytestmark = pytest.mark.slow

ROW = "1,open,2026-01-01,1.00"


def with_bronze(properties: str, text: str = ORDERS) -> str:
    return text.replace("physicalName: bronze/orders\n", f"physicalName: bronze/orders\n    customProperties: {properties}\n")


def rows_by_file(home: Home) -> dict[str, int]:
    return {row["_file"]: row["count"] for row in home.table("bronze/orders").groupBy("_file").count().collect()}


def ids(home: Home) -> list[str]:
    return sorted(str(row["id"]) for row in home.table("bronze/orders").select("id").collect())


# --- B: delivery -------------------------------------------------------------------------------------------------


def test_b1_a_half_written_file_is_right_after_it_was_completed(home: Home) -> None:
    whole = f"{HEADER}\n1,open,2026-01-01,1.00\n2,open,2026-01-02,2.00\n3,paid,2026-01-03,3.00\n".encode()
    for size in (len(HEADER) + 10, len(whole) - 30, len(whole)):
        home.land_bytes("a.csv", whole[:size])
        home.run("bronze", "silver")
    assert_rows(
        home.table("silver/orders").select("id", "amount", "_row"),
        [("1", "1.00", 1), ("2", "2.00", 2), ("3", "3.00", 3)],
        "id string, amount string, _row bigint",
    )
    assert home.table("quarantine/orders").count() == 0


HEAD, WHOLE = ("1,open,2026-01-01,1.00", "2,op"), ("1,open,2026-01-01,1.00", "2,open,2026-01-01,2.00", "3,open,2026-01-01,3.00")


def test_b1_under_append_the_torn_head_stays_in_bronze_and_silver_is_right(home: Home) -> None:
    home.contract(with_bronze("[{property: onRedelivery, value: append}]"))
    home.land("a.csv", *HEAD, at=1_767_600_000)
    home.ok("bronze", "silver")
    home.land("a.csv", *WHOLE, at=1_767_600_001)
    home.ok("bronze", "silver")
    assert rows_by_file(home) == {"a.csv": 5}
    assert_rows(
        home.table("silver/orders").select("id", "amount"), [("1", "1.00"), ("2", "2.00"), ("3", "3.00")], "id string, amount string"
    )
    assert_rows(home.table("quarantine/orders").select("id", "_row"), [("2", 2)], "id string, _row bigint")


def test_b1_under_reject_the_rest_of_a_half_written_file_waits_to_be_accepted(home: Home) -> None:
    home.contract(with_bronze("[{property: onRedelivery, value: reject}]"))
    home.land("a.csv", *HEAD, at=1_767_600_000)
    home.ok("bronze")
    home.land("a.csv", *WHOLE, at=1_767_600_001)
    assert home.run("bronze").exit_code == 3
    assert rows_by_file(home) == {"a.csv": 2}
    files.accept("a.csv", home.contracts(), home.settings)
    home.ok("bronze")
    assert rows_by_file(home) == {"a.csv": 3}


def test_b3_changed_content_is_refused_where_the_contract_says_so_until_it_is_accepted(home: Home) -> None:
    home.contract(with_bronze("[{property: onRedelivery, value: reject}]"))
    home.land("a.csv", ROW)
    home.ok("bronze")
    home.land("a.csv", "2,open,2026-01-01,2.00")
    assert home.run("bronze").exit_code == 3
    assert (ids(home), home.states()["a.csv"][0]) == (["1"], "rejected")
    assert home.run("bronze").exit_code == 0  # nothing new: said once
    files.accept("a.csv", home.contracts(), home.settings)
    home.ok("bronze")
    assert ids(home) == ["2"]


def test_b3_content_that_goes_back_to_an_earlier_edition_is_taken_each_time(home: Home) -> None:
    for number, row in enumerate((ROW, "2,open,2026-01-01,2.00", ROW)):
        home.land("a.csv", row, at=1_767_600_000 + number)
        home.ok("bronze")
    assert ids(home) == ["1"]


def test_b4_the_same_content_under_another_name_is_another_file_and_the_ledger_says_so(home: Home) -> None:
    home.land("a.csv", ROW)
    home.ok()
    home.land("b.csv", ROW)
    home.ok()
    assert rows_by_file(home) == {"a.csv": 1, "b.csv": 1}
    assert_rows(home.table("gold/by_state").select("state", "orders"), [("open", 1)], "state string, orders bigint")
    listed = {row[1]: row[-1] for row in files.newest(home.contracts(), home.settings).values}
    assert listed == {"a.csv": None, "b.csv": "same content as a.csv"}


def test_b5_b6_one_key_many_times_in_one_batch_ends_in_one_row(home: Home) -> None:
    home.land("a.csv", ROW, ROW, "1,paid,2026-01-01,1.00")
    home.land("b.csv", ROW, "1,sent,,1.00")
    home.ok("bronze", "silver")
    assert_rows(home.table("silver/orders").select("id", "state", "_file", "_row"), [("1", "open", "b.csv", 1)], "id string, state string, _file string, _row bigint")  # fmt: skip # noqa: E501


def test_b8_old_and_future_modification_times_keep_no_file_out(home: Home) -> None:
    now = time.time()
    home.land("future.csv", ROW, at=now + 40 * 86_400)
    home.ok("bronze")
    home.land("old.csv", "2,open,2026-01-01,1.00", at=now - 30 * 86_400)
    home.land("ancient.csv", "3,open,2026-01-01,1.00", at=1_000_000)
    home.land("now.csv", "4,open,2026-01-01,1.00")
    home.ok("bronze")
    assert ids(home) == ["1", "2", "3", "4"]


def test_b9_a_file_that_is_gone_when_its_batch_runs_is_named_and_the_others_go_in(home: Home) -> None:
    gone = home.land("a.csv", ROW)
    home.land("b.csv", "2,open,2026-01-01,1.00")
    with crash_at("bronze.intended"):
        home.run("bronze")
    gone.unlink()
    outcome = home.run("bronze")
    assert outcome.exit_code == 3
    assert [(n.path, n.reason) for n in outcome.notes if isinstance(n, FileRow)] == [("a.csv", ledger.VANISHED)]
    assert ids(home) == ["2"]


def test_b9_a_file_that_is_gone_when_it_is_probed_is_named_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = home.land("a.csv", ROW)
    home.land("b.csv", "2,open,2026-01-01,1.00")
    probe_all = probe.probe_all

    def too_late(*given: Any) -> Any:
        gone.unlink(missing_ok=True)
        return probe_all(*given)

    monkeypatch.setattr(probe, "probe_all", too_late)
    outcome = home.run("bronze")
    assert outcome.exit_code == 3
    assert [(n.path, n.reason) for n in outcome.notes if isinstance(n, FileRow)] == [("a.csv", ledger.VANISHED)]
    assert ids(home) == ["2"]
    assert home.ok("bronze").notes == ()


def test_b9_a_file_planned_and_gone_before_any_listing_leaves_no_trace_and_is_read_when_it_comes_back(home: Home) -> None:
    gone = home.land("a.csv", ROW)
    with pytest.raises(Stopped):  # the batch is planned, its function not entered
        bronze.start(home.spark, home.contracts()[0], Run(home.settings, print, stop=Stop(signum=15)))
    gone.unlink()
    home.ok("bronze")
    assert home.states() == {}
    home.land("a.csv", ROW)
    home.ok("bronze")
    assert ids(home) == ["1"]


def test_b10_a_file_replaced_between_probe_and_read_ends_as_it_lies_there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land("a.csv", ROW, at=1_767_600_000)
    hits: list[Path] = []

    def replace_once(name: str) -> None:
        if name == "bronze.intended" and not hits:
            hits.append(home.land("a.csv", "2,open,2026-01-01,1.00", "3,open,2026-01-01,1.00"))

    monkeypatch.setattr(bronze, "hit", replace_once)
    home.ok("bronze")
    assert (len(hits), ids(home)) == (1, ["2", "3"])
    assert home.states() == {"a.csv": ("ingested", 2)}
    assert pending.of_bronze(home.contracts()[0], home.settings).reasons == ()


def test_b10_under_append_a_file_that_turns_unreadable_while_it_is_read_again_keeps_what_was_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    appending = with_bronze("[{property: onRedelivery, value: append}]")
    home.contract(appending.replace("data/raw/*.csv", "data/raw/*.csv.gz"))
    whole = gzip.compress(csv_bytes(*(f"{n},open,2026-01-01,{n}.00" for n in range(3000))))
    home.land_bytes("a.csv.gz", whole, at=1_767_600_000)
    hits: list[str] = []

    def disturb(name: str) -> None:
        hits.append(name)
        if name == "bronze.intended" and hits.count(name) == 1:  # another modification time than the probe's: the hash is left open
            os.utime(home.raw / "a.csv.gz", (1_767_600_001, 1_767_600_001))
        elif name == "bronze.intended":
            (home.raw / "a.csv.gz").write_bytes(whole[:-3000])

    monkeypatch.setattr(bronze, "hit", disturb)
    assert home.run("bronze").exit_code == 3
    assert (rows_by_file(home), home.states()["a.csv.gz"][0]) == ({"a.csv.gz": 3000}, "rejected")


def test_b11_a_file_deleted_after_ingestion_changes_nothing_and_is_missing_and_may_come_back(home: Home) -> None:
    home.land("a.csv", ROW)
    home.land("b.csv", "2,open,2026-01-01,1.00")
    home.ok("bronze")
    (home.raw / "a.csv").unlink()
    before = home.version("bronze/orders")
    home.ok("bronze")
    assert (home.states()["a.csv"][0], home.version("bronze/orders")) == ("missing", before)
    home.land("a.csv", ROW)
    home.ok("bronze")
    assert (home.states()["a.csv"][0], home.version("bronze/orders")) == ("repeat", before)
    (home.raw / "a.csv").unlink()
    home.ok("bronze")
    home.land("a.csv", "9,open,2026-01-01,1.00")
    home.ok("bronze")
    assert ids(home) == ["2", "9"]


def test_b12_to_b16_every_name_and_kind_of_entry_has_its_outcome(home: Home, tmp_path: Path) -> None:
    home.contract(ORDERS.replace("data/raw/*.csv", "data/raw/**/*.csv"))
    taken = [
        "plain.csv", "sub/folder/deep.csv", "k=v/partition.csv", "a b+c.csv", "50%25.csv", "star*.csv", "q?.csv", "[x].csv", "{a,b}.csv",
        "back\\slash.csv", "quote'd \".csv", "new\nline.csv", "ünï→.csv", "\u202erevo.csv", "x" * 251 + ".csv", "#hash&.csv",
    ]  # fmt: skip
    for number, name in enumerate(taken):
        home.land(name, f"{number},open,2026-01-01,1.00")
    unclaimed = ["UPPER.CSV", "notes.txt", "x.csv.tmp", "x.csv.part", "_hidden.csv", ".dot.csv", "x._COPYING_", ".git/x.csv"]
    for name in unclaimed:
        home.land(name, ROW)
    (home.raw / "folder.csv").mkdir()
    outside = tmp_path / "outside.csv"
    outside.write_text(f"{HEADER}\n99,open,2026-01-01,1.00\n")
    (home.raw / "link.csv").symlink_to(outside)
    (home.raw / "dangling.csv").symlink_to(tmp_path / "nowhere.csv")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "in.csv").write_text(f"{HEADER}\n98,open,2026-01-01,1.00\n")
    (home.raw / "linked").symlink_to(linked)
    os.mkfifo(home.raw / "pipe.csv")
    home.land("co:lon.csv", ROW)
    (home.raw / os.fsdecode(b"not-utf8-\xff.csv")).write_text(f"{HEADER}\n{ROW}\n")

    outcome = home.run("bronze")

    assert outcome.exit_code == 3
    assert rows_by_file(home) == dict.fromkeys(taken, 1)
    refused = {n.path: n.reason for n in outcome.notes if isinstance(n, FileRow)}
    link, pipe = "a symbolic link; only regular files are read", "not a regular file"
    assert refused == {
        "link.csv": link,
        "dangling.csv": link,
        "pipe.csv": pipe,
        "co:lon.csv": "a colon in the name, which Hadoop paths cannot carry; rename it",
        "not-utf8-\\xff.csv": "the name is not valid UTF-8; rename it",
    }
    (contract,) = home.contracts()
    found = pending.of_bronze(contract, home.settings)
    assert found.reasons == ()
    assert sorted(found.files.unclaimed) == sorted([*unclaimed, "linked"])
    assert home.run("bronze").notes == ()


@pytest.mark.parametrize(
    ("glob", "path", "claimed"),
    [
        ("*.csv", "a.csv", True), ("*.csv", "sub/a.csv", False), ("**/*.csv", "a.csv", True), ("**/*.csv", "x/y/a.csv", True),
        ("a?.csv", "ab.csv", True), ("a?.csv", "a/.csv", False), ("a[0-9].csv", "a1.csv", True), ("a[!0-9].csv", "a1.csv", False),
        ("*.csv", "a.CSV", False), ("*.csv", "a\n.csv", True), ("*/*.csv", "_x/a.csv", False), ("a+(b).csv", "a+(b).csv", True),
    ],
)  # fmt: skip
def test_the_landing_path_claims_what_it_says(glob: str, path: str, claimed: bool) -> None:
    from streaming_jobs.contract import Landing

    assert landing.claims(Landing("data/raw", glob), path) is claimed


@pytest.mark.parametrize("told", [True, False], ids=["its log is read", "its log cannot be read"])
def test_b17_a_first_load_is_taken_in_batches_of_bounded_size(home: Home, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    if not told:
        monkeypatch.setattr(checkpoints, "files_of", lambda *_: None)
    small = Home(home.path, home.settings.model_copy(update={"max_files_per_batch": 4}), home.spark)
    for number in range(10):
        small.land(f"{number}.csv", f"{number},open,2026-01-01,1.00")
    outcome = small.ok("bronze")
    assert [n.files for n in outcome.notes if hasattr(n, "files")] == [4, 4, 2]
    assert ids(small) == [str(n) for n in range(10)]


def test_b17_the_log_of_the_source_tells_the_files_of_each_batch_as_spark_does(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Home(home.path, home.settings.model_copy(update={"max_files_per_batch": 1}), home.spark)
    names = ["a b+c.csv", "50%25.csv", "star*.csv", "[x].csv", "ünï→.csv", "new\nline.csv", *(f"{number}.csv" for number in range(6))]
    for number, name in enumerate(names):  # more than ten: by then the source has written its log anew
        small.land(name, f"{number},open,2026-01-01,1.00")
    told: list[tuple[str, ...]] = []
    asked: list[tuple[str, ...]] = []
    discovered = bronze._discovered

    def and_ask(ingest: Any, checkpoint: Path) -> Any:
        apply = discovered(ingest, checkpoint)

        def both(batch: Any, batch_id: int, clock: Any) -> None:
            told.append(tuple(bronze._relative(path, ingest.folder) for path in checkpoints.files_of(checkpoint, batch_id) or ()))
            asked.append(tuple(bronze._relative(row.path, ingest.folder) for row in batch.collect()))
            apply(batch, batch_id, clock)

        return both

    monkeypatch.setattr(bronze, "_discovered", and_ask)
    small.ok("bronze")
    assert told == asked
    assert sorted(told) == sorted((name,) for name in names)


def test_b19_rows_that_slide_out_of_a_window_file_go_under_replace_and_stay_under_append(home: Home, other_home: Home) -> None:
    other_home.contract(with_bronze("[{property: onRedelivery, value: append}]"))
    for one in (home, other_home):
        for day in range(2):
            one.land("window.csv", *(f"{n},open,2026-01-0{n},{day}.00" for n in range(day + 1, day + 3)), at=1_767_600_000 + day)
            one.ok("bronze", "silver")
    assert_rows(home.table("silver/orders").select("id", "amount"), [("2", "1.00"), ("3", "1.00")], "id string, amount string")
    assert_rows(
        other_home.table("silver/orders").select("id", "amount"), [("1", "0.00"), ("2", "1.00"), ("3", "1.00")], "id string, amount string"
    )
    assert rows_by_file(other_home) == {"window.csv": 4}


def test_b20_a_replacement_that_loses_too_much_is_held_back_until_it_is_accepted_or_whole_again(home: Home) -> None:
    home.contract(with_bronze("[{property: maxShrink, value: 0.5}]"))
    full = tuple(f"{n},open,2026-01-01,1.00" for n in range(10))
    home.land("a.csv", *full, at=1_767_600_000)
    home.ok("bronze")
    before = home.version("bronze/orders")
    for number, kept in enumerate((full[:4], (), full[:2])):
        home.land("a.csv", *kept, at=1_767_600_001 + number)
        assert home.run("bronze").exit_code == 3
        assert (home.states()["a.csv"][0], home.version("bronze/orders")) == ("held", before)
        assert home.run("bronze").exit_code == 0
    home.land("a.csv", *full[:6], at=1_767_600_010)  # not more than half is lost: an ordinary correction
    home.ok("bronze")
    assert rows_by_file(home) == {"a.csv": 6}
    home.land("a.csv", *full[:1], at=1_767_600_011)
    assert home.run("bronze").exit_code == 3
    files.accept("a.csv", home.contracts(), home.settings)
    home.ok("bronze")
    assert rows_by_file(home) == {"a.csv": 1}


def test_b20_a_replacement_that_loses_too_much_is_held_back_although_the_hash_was_left_open(home: Home) -> None:
    home.land("a.csv", *(f"{n},open,2026-01-01,1.00" for n in range(20)), at=1_767_600_000)
    with crash_at("bronze.committed"):
        home.run("bronze")
    home.land("a.csv", "1,open,2026-01-01,1.00", at=1_767_600_001)
    assert home.run("bronze").exit_code == 3
    assert (rows_by_file(home), home.states()["a.csv"][0]) == ({"a.csv": 20}, "held")
    assert home.ok("bronze").notes == ()


def test_b20_an_accepted_file_that_changes_once_more_is_judged_again(home: Home) -> None:
    full = tuple(f"{n},open,2026-01-01,1.00" for n in range(20))
    home.land("a.csv", *full, at=1_767_600_000)
    home.ok("bronze")
    home.land("a.csv", full[0], at=1_767_600_001)
    assert home.run("bronze").exit_code == 3
    files.accept("a.csv", home.contracts(), home.settings)
    home.land("a.csv", full[1], at=1_767_600_002)
    assert home.run("bronze").exit_code == 3
    assert rows_by_file(home) == {"a.csv": 20}


def test_ingested_files_are_archived_where_the_setting_says_so_and_are_not_missed(home: Home) -> None:
    archiving = Home(home.path, settings.load(home.path).model_copy(update={"archive_ingested": True}), home.spark)
    archiving.land("a.csv", ROW)
    archiving.land_bytes("bad.csv", b"\x00" * 20)
    archiving.run("bronze")
    put_away = home.path / "data/archive/orders"
    assert (sorted(p.name for p in home.raw.iterdir()), [p.name for p in put_away.iterdir()]) == (["bad.csv"], ["a.csv"])
    assert archiving.ok("bronze").notes == ()
    archiving.land("a.csv", "2,open,2026-01-01,1.00")  # a correction of an archived file
    archiving.ok("bronze")
    assert ids(home) == ["2"]
    assert len(list(put_away.iterdir())) == 2
    assert archiving.ok("bronze").notes == ()


def test_a_file_that_two_contracts_read_is_not_archived(home: Home) -> None:
    archiving = Home(home.path, home.settings.model_copy(update={"archive_ingested": True}), home.spark)
    archiving.contract(ORDERS.replace("orders", "deliveries").replace("by_state", "by_state_too").replace("*.csv", "s*.csv"), "deliveries")
    archiving.land("shared.csv", ROW)
    archiving.land("mine.csv", "2,open,2026-01-01,1.00")
    archiving.ok("bronze")
    assert [p.name for p in home.raw.iterdir()] == ["shared.csv"]
    assert (ids(home), home.table("bronze/deliveries").count()) == (["1", "2"], 1)
    assert archiving.ok("bronze").notes == ()
    assert pending.of_bronze(archiving.contracts()[0], archiving.settings).reasons == ()


def test_a_crash_between_the_note_and_the_move_of_the_archive_is_made_good_by_the_next_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    archiving = Home(home.path, home.settings.model_copy(update={"archive_ingested": True}), home.spark)
    archiving.land("a.csv", ROW)

    def die(*_: object) -> None:
        raise Crashed("between")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "put_away", die)
        with pytest.raises(Crashed):
            archiving.run("bronze")
    assert [p.name for p in home.raw.iterdir()] == ["a.csv"]
    archiving.ok("bronze")
    assert (list(home.raw.iterdir()), ids(home)) == ([], ["1"])
    assert [p.name for p in (home.path / "data/archive/orders").iterdir()] == ["a.csv"]
    assert archiving.ok("bronze").notes == ()


# --- D: bytes ----------------------------------------------------------------------------------------------------


def csv_bytes(*lines: str, encoding: str = "utf-8", end: str = "\n", final: bool = True) -> bytes:
    return (end.join((HEADER, *lines)) + (end if final else "")).encode(encoding)


def test_d_every_fault_of_the_bytes_ends_in_the_right_rows_or_a_named_reason(home: Home) -> None:
    home.contract(ORDERS.replace("format: csv}", "format: csv, customProperties: [{property: fallbackEncodings, value: [iso-8859-1]}]}"))
    two = ("1,Forlì,2026-01-01,1.00", "2,open,2026-01-01,2.00")
    taken: dict[str, tuple[bytes, list[tuple[str | None, str | None]]]] = {
        "d1_empty.csv": (b"", []),
        "d1_header_only.csv": (csv_bytes(), []),
        "d1_header_without_newline.csv": (csv_bytes(final=False), []),
        "d2_bom.csv": (b"\xef\xbb\xbf" + csv_bytes(*two), [("1", "Forlì"), ("2", "open")]),
        "d4_latin1.csv": (csv_bytes(*two, encoding="iso-8859-1"), [("1", "Forlì"), ("2", "open")]),
        "d5_semicolon.csv": (csv_bytes(*two).replace(b",", b";"), [("1", "Forlì"), ("2", "open")]),
        "d5_tab.csv": (csv_bytes(*two).replace(b",", b"\t"), [("1", "Forlì"), ("2", "open")]),
        "d6_quotes.csv": (csv_bytes('1,"a ""b"" c",,', '2,5" pipe,,'), [("1", 'a "b" c'), ("2", '5" pipe')]),
        "d7_newline.csv": (csv_bytes('1,"a\nb",,', "2,open,,"), [("1", "a\nb"), ("2", "open")]),
        "d9_crlf.csv": (csv_bytes(*two, end="\r\n"), [("1", "Forlì"), ("2", "open")]),
        "d9_cr.csv": (csv_bytes(*two, end="\r"), [("1", "Forlì"), ("2", "open")]),
        "d9_no_final_newline.csv": (csv_bytes(*two, final=False), [("1", "Forlì"), ("2", "open")]),
        "d9_blank_lines.csv": (b"\n\n" + csv_bytes(two[0], "", two[1]), [("1", "Forlì"), ("2", "open")]),
        "d10_quoted_empty.csv": (csv_bytes('1,"",,', "2,,,"), [("1", None), ("2", None)]),
        "d9_only_separators.csv": (csv_bytes(",,,"), [(None, None)]),
        "d14_long_cell.csv": (csv_bytes(f"1,{'x' * 2_000_000},,"), [("1", "x" * 2_000_000)]),
    }
    refused: dict[str, tuple[bytes, str]] = {
        "d3_utf16.csv": (csv_bytes(*two, encoding="utf-16"), "utf-16"),
        "d8_unclosed.csv": (csv_bytes('1,"never closed,,', *two), "quote"),
        "d8_cancelling.csv": (csv_bytes('1,"opened,,', *(f"{n},x,," for n in range(1500)), 'z,closed",,', *two), "quote"),
        "d11_nul.csv": (csv_bytes("1,a\0b,,"), "NUL"),
        "d12_gzip.csv": (gzip.compress(csv_bytes(*two)), "gzip"),
        "d12_zip.csv": (b"PK\x03\x04" + b"\0" * 40, "zip"),
        "d15_wide.csv": ((",".join(f"c{n}" for n in range(probe.MAX_HEADER_COLUMNS + 1)) + "\n1\n").encode(), "columns"),
        "c6_twice.csv": (csv_bytes("1,2").replace(HEADER.encode(), b"id,ID"), "more than once"),
        "c6_no_header.csv": (f"{ROW}\n{ROW}\n".encode(), "lacks required id"),
    }
    for name, content in {**taken, **refused}.items():
        home.land_bytes(name, content[0])
    outcome = home.run("bronze")
    reasons = {n.path: str(n.reason) for n in outcome.notes if isinstance(n, FileRow)}
    assert {name: fragment.lower() in reasons.get(name, "").lower() for name, (_, fragment) in refused.items()} == dict.fromkeys(
        refused, True
    ), reasons
    assert set(reasons) == set(refused)
    rows = home.table("bronze/orders").select("_file", "id", "state", "_row", "_malformed").collect()
    found = {name: [(r["id"], r["state"]) for r in sorted(rows, key=lambda r: int(r["_row"])) if r["_file"] == name] for name in taken}
    assert found == {name: expected for name, (_, expected) in taken.items()}
    assert [r["_file"] for r in rows if r["_malformed"] is not None] == []


def test_d12_d13_compressed_files_are_read_by_their_name_and_damaged_ones_rejected_alone(home: Home) -> None:
    home.contract(ORDERS.replace("data/raw/*.csv", "data/raw/*.csv*"))
    whole = csv_bytes(ROW, '2,"a\nb",2026-01-01,2.00')
    big = csv_bytes(*(f"{n},open,2026-01-01,1.00" for n in range(5000)))
    home.land_bytes("good.csv.gz", gzip.compress(whole))
    home.land_bytes("good.csv.bz2", bz2.compress(whole))
    home.land_bytes("members.csv.gz", gzip.compress(whole[:30]) + gzip.compress(whole[30:]))
    home.land_bytes("truncated.csv.gz", gzip.compress(big)[:-2000])
    home.land_bytes("plain.csv.gz", whole)
    home.land_bytes("bomb.csv.gz", gzip.compress(csv_bytes(*(["1,open,," + "x" * 1_000_000] * 120)), mtime=0))
    home.land_bytes("other.csv.zst", b"\x28\xb5\x2f\xfd" + b"\0" * 20)
    outcome = home.run("bronze")
    assert {n.path for n in outcome.notes if isinstance(n, FileRow)} == {"truncated.csv.gz", "plain.csv.gz", "bomb.csv.gz", "other.csv.zst"}
    assert rows_by_file(home) == {"good.csv.gz": 2, "good.csv.bz2": 2, "members.csv.gz": 2}
    assert home.run("bronze").notes == ()


def test_a_file_that_only_spark_finds_unreadable_is_found_by_halving_and_rejected_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.contract(ORDERS.replace("data/raw/*.csv", "data/raw/*.csv*"))
    whole = gzip.compress(csv_bytes(*(f"{n},open,2026-01-01,{n}.00" for n in range(3000))))
    home.land_bytes("cut.csv.gz", whole)
    for number in range(4):
        home.land(f"{number}.csv", f"{number},open,2026-01-01,1.00")

    def damage(name: str) -> None:  # after the probe found it good
        if name == "bronze.intended":
            (home.raw / "cut.csv.gz").write_bytes(whole[:-3000])

    monkeypatch.setattr(bronze, "hit", damage)
    outcome = home.run("bronze")
    assert outcome.exit_code == 3
    reasons = [(n.path, str(n.reason)) for n in outcome.notes if isinstance(n, FileRow)]
    assert reasons[0][0] == "cut.csv.gz"
    assert reasons[0][1].startswith("Spark cannot read it")
    assert rows_by_file(home) == {f"{n}.csv": 1 for n in range(4)}
    assert home.run("bronze").notes == ()


# --- C: schema ---------------------------------------------------------------------------------------------------


def test_c_every_change_of_the_header_is_mapped_by_name_or_rejected(home: Home) -> None:
    taken = {
        "c1_added_at_the_end.csv": ("id,state,at,amount,extra", "1,open,,1.00,e", ("1", "open", "1.00", {"extra": "e"})),
        "c1_added_in_the_middle.csv": ("id,extra,state,at,amount", "1,e,open,,1.00", ("1", "open", "1.00", {"extra": "e"})),
        "c1_two_unknown_alike.csv": ("id,x,state,x", "1,e,open,f", ("1", "open", None, {"x": "e", "x#4": "f"})),
        "c2_optional_removed.csv": ("id,state,at", "1,open,", ("1", "open", None, None)),
        "c3_renamed_to_a_synonym.csv": ("id,status,at,amount", "1,open,,1.00", ("1", "open", "1.00", None)),
        "c3_renamed_otherwise.csv": ("id,zustand,at,amount", "1,open,,1.00", ("1", None, "1.00", {"zustand": "open"})),
        "c4_reordered.csv": ("amount,at,state,id", "1.00,,open,1", ("1", "open", "1.00", None)),
        "c6_case_and_spaces.csv": (" ID , State,AT,amount ", "1,open,,1.00", ("1", "open", "1.00", None)),
        "c6_unnamed_column.csv": ("id,state,,amount", "1,open,e,1.00", ("1", "open", "1.00", {"": "e"})),
    }
    rejected = {"c2_required_removed.csv": "state,at\nopen,\n", "c3_required_renamed.csv": "number,state\n1,open\n"}
    for name, (header, row, _) in taken.items():
        home.land(name, row, header=header)
    for name, text in rejected.items():
        home.land_bytes(name, text.encode())
    outcome = home.run("bronze")
    assert {n.path for n in outcome.notes if isinstance(n, FileRow)} == set(rejected)
    found = home.table("bronze/orders").select("_file", "id", "state", "amount", "_extra").collect()
    assert {r["_file"]: (r["id"], r["state"], r["amount"], r["_extra"]) for r in found} == {
        n: wanted for n, (_, _, wanted) in taken.items()
    }


def test_c8_a_raw_column_new_in_the_contract_is_added_and_older_rows_read_null(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok("bronze", "silver")
    column = "      - {name: amount, logicalType: string}"
    typed = "      - {name: state, logicalType: string}"
    home.contract(
        ORDERS.replace(column, f"{column}\n      - {{name: note, logicalType: string}}").replace(
            typed, f"{typed}\n      - {{name: note, logicalType: string}}", 1
        )
    )
    home.land("b.csv", "2,open,2026-01-01,1.00,hello", header=f"{HEADER},note")
    home.ok("bronze", "silver")
    assert_rows(home.table("silver/orders").select("id", "note"), [("1", None), ("2", "hello")], "id string, note string")


def test_a_file_replaced_while_it_is_being_archived_stays_and_is_read_by_the_next_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    archiving = Home(home.path, home.settings.model_copy(update={"archive_ingested": True}), home.spark)
    archiving.land("a.csv", ROW)
    move = shutil.move
    replaced: list[Path] = []

    def replace_first(source: Path, target: Path) -> None:
        if not replaced:
            replaced.append(archiving.land("a.csv", "2,open,2026-01-01,1.00", "3,open,2026-01-01,1.00"))
        move(source, target)

    monkeypatch.setattr(shutil, "move", replace_first)
    archiving.ok("bronze")
    assert [p.name for p in home.raw.iterdir()] == ["a.csv"]
    archiving.ok("bronze")
    assert ids(home) == ["2", "3"]


def test_d17_white_space_in_a_key_is_kept_unless_the_contract_trims_and_unicode_forms_stay_two_keys(home: Home, other_home: Home) -> None:
    rows = ("a,open,2026-01-01,1.00", " a ,open,2026-01-02,1.00", "\u00e9,open,2026-01-01,1.00", "e\u0301,open,2026-01-01,1.00")
    key = "{name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1"
    other_home.contract(ORDERS.replace(key, f"{key}, transformLogic: trim(raw.id)"))
    for one in (home, other_home):
        one.land("a.csv", *rows)
        one.ok("bronze", "silver")
    kept = [("a",), (" a ",), ("\u00e9",), ("e\u0301",)]
    assert_rows(home.table("silver/orders").select("id"), kept, "id string")
    assert_rows(other_home.table("silver/orders").select("id"), [kept[0], *kept[2:]], "id string")


def test_files_looked_at_by_name_are_told_as_a_listing_of_the_whole_folder_tells_them(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    (folder / "2026/01").mkdir(parents=True)
    for name in ("a.csv", "2026/01/b.csv", ".hidden.csv", "a:b.csv", "not asked for.csv"):
        (folder / name).write_text("id\n1\n")
    (folder / "folder.csv").mkdir()
    (folder / "link.csv").symlink_to(folder / "a.csv")
    (folder / "linked").symlink_to(folder / "2026")
    os.mkfifo(folder / "pipe.csv")
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text("id\n1\n")
    listed = {e.path: e for e in landing.list_folder(folder)}
    asked = [name for name in listed if name != "not asked for.csv" and "\\x" not in name]
    beside = ["gone.csv", "a.csv/b.csv", "linked/01/b.csv", "gone/c.csv", r"caf\xe9.csv", f"{'x' * 300}.csv"]
    assert len(asked) == 10
    assert landing.named(folder, {*asked, *beside}) == tuple(e for e in listed.values() if e.path in asked)
