"""The harness of the benchmark: that its files, its comparison, its measurements and its page say what is so."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

pytest.importorskip("duckdb", reason="the benchmark writes its files and compares tables with DuckDB")

from benchmarks import crossing, deliveries, equal, measure, page, plot, race, records
from benchmarks.bars import bars
from benchmarks.contestants import OURS, Contestant
from benchmarks.measure import Stopped, Taken, TooLong, Written
from benchmarks.race import Entry
from benchmarks.records import Record, Result, Spread

DAY = date(2018, 1, 1)


def rows(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines()[1:]


def delivered(folder: Path, day: int, **options: bool) -> list[str]:
    deliveries.deliver(folder, [day], 2000, **options)
    return rows(folder / deliveries.name(day))


def test_the_same_day_is_the_same_file_and_another_day_is_another(tmp_path):
    first, again = delivered(tmp_path / "a", 1), delivered(tmp_path / "b", 1)
    assert first == again
    assert not set(first) & set(delivered(tmp_path / "c", 2))


def test_a_day_corrects_the_day_before_repeats_rows_and_has_invalid_ones(tmp_path):
    before, lines = delivered(tmp_path, 0), delivered(tmp_path, 1)
    ids = [line.split(",")[0] for line in lines]
    late = set(ids) & {line.split(",")[0] for line in before}
    assert (len(before), len(lines)) == (2000 + 2, 2000 + 2 + 20)
    assert (len(ids) - len(set(ids)), len(late)) == (2, 20)
    assert [sum(line.split(",")[2] == "teleport" for line in lines), sum(line.endswith(",abc") for line in lines)] == [2, 2]
    assert sum(line.split(",")[3] == "" for line in lines) == 2


def test_a_corrected_day_differs_in_the_amount_of_one_row_in_a_hundred(tmp_path):
    before, after = delivered(tmp_path / "a", 0), delivered(tmp_path / "b", 0, corrected=True)
    changed = [(old.split(","), new.split(",")) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 20
    assert all(old[:5] == new[:5] and old[5] != new[5] for old, new in changed)


def test_many_small_files_and_one_big_one_hold_the_rows_of_their_days(tmp_path):
    deliveries.cut(tmp_path / "many", [0, 1], 50, 4)
    deliveries.deliver(tmp_path / "days", [0, 1], 200)
    whole = rows(tmp_path / "days" / deliveries.name(0)) + rows(tmp_path / "days" / deliveries.name(1))
    small = sorted((tmp_path / "many").iterdir())
    assert [line for file in small for line in rows(file)] == whole
    assert {len(rows(file)) for file in small} <= {50, 51}
    big = deliveries.joined(tmp_path / "big", [0, 1], 200)
    assert [big.name, *rows(big)] == [deliveries.name(1), *whole]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big", "days", "many"]


def test_a_file_lands_by_rename_over_one_of_its_name_and_a_copied_home_keeps_its_own(tmp_path):
    deliveries.deliver(tmp_path / "old", [0], 100)
    deliveries.deliver(tmp_path / "new", [0], 100, corrected=True)
    home = deliveries.home(tmp_path / "home", deliveries.contract(), tmp_path / "old")
    copy = deliveries.copied(home, tmp_path / "copy")
    deliveries.land(tmp_path / "new" / deliveries.name(0), copy)
    raw = Path("data/raw") / deliveries.name(0)
    assert (copy / raw).read_bytes() == (tmp_path / "new" / deliveries.name(0)).read_bytes()
    assert (home / raw).read_bytes() == (tmp_path / "old" / deliveries.name(0)).read_bytes()
    assert [file.name for file in (copy / "data/raw").iterdir()] == [deliveries.name(0)]


def tables(home: Path, *amounts: str) -> Path:
    """Silver with an event per amount, and empty Gold tables."""
    from decimal import Decimal

    silver = {
        "event_id": [f"e{n}" for n in range(len(amounts))],
        "event_date": [DAY] * len(amounts),
        "event_timestamp": pa.array([0] * len(amounts), pa.timestamp("us", "UTC")),
        "user_id": ["u"] * len(amounts),
        "event_type": ["click"] * len(amounts),
        "country": ["IT"] * len(amounts),
        "amount": pa.array([Decimal(amount) for amount in amounts], pa.decimal128(12, 2)),
    }
    write_deltalake(home / "data/silver/events", pa.table(silver), partition_by=["event_date"])
    day, number, text = pa.array([DAY]), pa.array([1]), pa.array(["click"])
    money = pa.array([Decimal("1.00")], pa.decimal128(18, 2))
    gold = home / "data/gold"
    write_deltalake(gold / "events_per_day", pa.table({"event_date": day, "events": number, "users": number, "revenue": money}))
    write_deltalake(gold / "events_by_day_and_type", pa.table({"event_date": day, "event_type": text, "events": number}))
    write_deltalake(gold / "events_by_type", pa.table({"event_type": text, "events": number}))
    return home


def test_equal_tables_are_equal_in_whatever_order_and_number_of_files(tmp_path):
    one, other = tables(tmp_path / "one", "1.00", "2.00"), tables(tmp_path / "other", "1.00")
    silver = DeltaTable(one / "data/silver/events").to_pyarrow_table()
    write_deltalake(other / "data/silver/events", silver.filter(pa.compute.field("event_id") == "e1"), mode="append")
    assert equal.differences(one, other) == []


@pytest.mark.parametrize("amounts", [("1.00", "2.01"), ("1.00",), ("1.00", "2.00", "2.00")], ids=["a cell", "a row less", "a row more"])
def test_one_changed_cell_and_one_missing_row_are_found(tmp_path, amounts):
    one, other = tables(tmp_path / "one", "1.00", "2.00"), tables(tmp_path / "other", *amounts)
    assert equal.differences(one, other) == [f"silver/events: 2 rows and {len(amounts)}, not the same"]


@pytest.mark.parametrize("times", [1, 2])
def test_one_row_that_stands_there_again_is_found(tmp_path, times):
    one, other = tables(tmp_path / "one", "1.00", "2.00"), tables(tmp_path / "other", "1.00", "2.00")
    row = DeltaTable(other / "data/silver/events").to_pyarrow_table().slice(0, 1)
    for _ in range(times):
        write_deltalake(other / "data/silver/events", row, mode="append")
    assert equal.differences(one, other) == [f"silver/events: 2 rows and {2 + times}, not the same"]


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


BUSY = "import time\nwhile time.process_time() < 0.4: pass\n"


def test_a_command_is_measured_with_what_it_started(tmp_path):
    code = f"import subprocess, sys\nheld = bytearray(120 << 20)\nsubprocess.run([sys.executable, '-c', {BUSY!r}])\nprint('said')"
    taken = measure.run(command(code), tmp_path / "log", cwd=tmp_path)
    assert (taken.exit_code, (tmp_path / "log").read_text()) == (0, "said\n")
    assert taken.cpu_seconds is not None
    assert taken.peak_mib is not None
    assert 0.4 <= taken.cpu_seconds <= taken.seconds * (os.cpu_count() or 1) + 0.1
    assert 120 <= taken.peak_mib < 400
    assert taken.samples[0][0] < 0.1


def test_the_work_of_a_process_that_outlives_the_command_counts_and_is_waited_for(tmp_path):
    code = f"import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', {BUSY!r}], start_new_session=True).pid)"
    taken = measure.run(command(code), tmp_path / "log", cwd=tmp_path)
    assert taken.cpu_seconds is not None
    assert taken.cpu_seconds > 0.4
    assert not Path(f"/proc/{(tmp_path / 'log').read_text().strip()}").exists()


def test_at_its_limit_a_command_is_ended_with_all_that_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True).pid, flush=True)\n"
        "time.sleep(60)"
    )
    with pytest.raises(TooLong, match=r"not finished in 0\.015 min"):
        measure.run(command(code), tmp_path / "log", cwd=tmp_path, limit=0.9)
    assert not Path(f"/proc/{(tmp_path / 'log').read_text().strip()}").exists()


def test_a_command_that_fails_is_named_with_what_it_said_and_its_log(tmp_path):
    failing = command("print('out of luck'); raise SystemExit(7)")
    taken = measure.run(failing, tmp_path / "log", cwd=tmp_path)
    with pytest.raises(Stopped) as stopped:
        measure.must(failing, tmp_path / "log", taken)
    assert str(stopped.value).splitlines() == [
        "out of luck",
        f"exit code 7: {' '.join(failing)}",
        f"its whole output: {tmp_path / 'log'}",
    ]


def test_what_was_committed_is_counted_by_layer_in_files_and_bytes(tmp_path):
    silver, gold = tmp_path / "data/silver/events", tmp_path / "data/gold/events_per_day"
    some = pa.table({"day": ["a", "b"], "n": [1, 2]})
    write_deltalake(silver, some, partition_by=["day"])
    before = measure.versions(tmp_path)
    assert before == {"silver/events": 0}
    write_deltalake(silver, some, mode="append")
    write_deltalake(silver, some.slice(0, 1), mode="append")
    write_deltalake(gold, some)
    size = {name: sum(f.stat().st_size for f in folder.rglob("*.parquet")) for name, folder in (("silver", silver), ("gold", gold))}
    held = sum(DeltaTable(silver, version=0).get_add_actions(flatten=True).column("size_bytes").to_pylist())
    assert measure.written(tmp_path, before) == {
        "bronze": Written(0, 0, 0),
        "silver": Written(2, 3, size["silver"] - held),
        "gold": Written(1, 1, size["gold"]),
    }


def test_a_table_that_was_made_anew_counts_from_its_start(tmp_path):
    silver = tmp_path / "data/silver/events"
    write_deltalake(silver, pa.table({"n": [1]}))
    assert measure.written(tmp_path, {"silver/events": 5})["silver"].commits == 1


def entry(name: str, home: Path, made: list[str], *amounts: str, **options: object) -> Entry:
    """A contestant that does nothing on a home that has tables."""

    def fresh() -> Path:
        made.append(name)
        return tables(home / name, *amounts)

    return Entry(Contestant(name, "", ("-c", "")), "a case", fresh, **options)  # type: ignore[arg-type]


def test_contestants_alternate_and_every_other_turn_is_in_the_opposite_order(tmp_path):
    made: list[str] = []
    entries = [entry(OURS, tmp_path, made, "1.00"), entry("naive", tmp_path, made, "1.00")]
    found = race.race(entries, 3, tmp_path, lambda _: None)
    assert made == [OURS, "naive", "naive", OURS, OURS, "naive"]
    assert [(r.contestant, len(r.turns), r.equal, r.note) for r in found] == [(OURS, 3, None, ""), ("naive", 3, True, "")]


def test_other_tables_than_ours_stop_the_benchmark_unless_they_may_differ(tmp_path):
    may = [entry(OURS, tmp_path, [], "1.00"), entry("naive", tmp_path, [], "9.00", compared="may")]
    (_, found) = race.race(may, 2, tmp_path, lambda _: None)
    assert (found.equal, found.note, len(found.turns)) == (False, "silver/events differs", 2)
    must = [entry(OURS, tmp_path, [], "1.00"), entry("naive", tmp_path, [], "9.00")]
    with pytest.raises(Stopped, match="a case, naive: silver/events differs; its home is"):
        race.race(must, 2, tmp_path, lambda _: None)


def test_who_fails_ends_the_benchmark_or_is_out_with_a_note_if_excused(tmp_path):
    ours = entry(OURS, tmp_path, [], "1.00")
    failing = Contestant("naive", "", ("-c", "raise SystemExit(9)"))
    excused = Entry(failing, "a case", lambda: tables(tmp_path / "excused", "1.00"), excused=True)
    (_, found) = race.race([ours, excused], 2, tmp_path, lambda _: None)
    assert (found.turns, found.equal, found.note) == ((), None, "exit code 9")
    with pytest.raises(Stopped, match="exit code 9"):
        race.race([ours, Entry(failing, "a case", lambda: tables(tmp_path / "other", "1.00"))], 1, tmp_path, lambda _: None)


def taken(seconds: float, **options: object) -> Taken:
    return Taken(seconds, 2 * seconds, 100, 0, {"silver": Written(2, 3, 1_500_000)}, **options)  # type: ignore[arg-type]


def made_up() -> dict[str, Result]:
    def result(work: str, *found: Record, **figures: float) -> Result:
        return Result(work, "2026-03-01", "abc1234", {"cores": "2"}, {"rows a day": "10000"}, found, figures)

    def record(name: str, case: str, *seconds: float, equal: bool | None = None, note: str = "") -> Record:
        return Record(name, f"what {name} is", case, tuple(taken(s) for s in seconds), equal, note)

    return {
        "day": result(
            "day",
            record(OURS, "30 days", 2, 4, 3),
            record("naive", "30 days", 4, 4, 9, equal=True),
            record("polars_delta", "30 days", 1, 1, 1, equal=True),
            record(OURS, "3000 days", 3, 6, 3),
            record("naive", "3000 days", note="3000 days of history not finished in 20 min"),
        ),
        "history": result("history", record(OURS, "30 days", 2, 4, 3), record(OURS, "3000 days", 3, 5, 4.5)),
        "idle": result("idle", record(OURS, "30 days", 0.5, 0.7, 0.6)),
    }


def test_the_page_says_what_was_measured_and_which_promise_was_not_kept():
    text = page.text(made_up())
    assert "| a new day takes at most 1.15 times as long with 3000 days of history as with 30 | 1.50 (1.25 to 1.50) | **not met** |" in text
    assert "| nothing to do: less than a second | 0.60 s at the most, 30 days | met |" in text
    assert "| a file of 2 GB in a heap of 4 GB, all three layers | - | not measured |" in text
    assert "### Where a peer is faster\n\n- day, 30 days: polars_delta takes 0.33 (0.25 to 0.50) of our time.\n\n" in text
    assert text.endswith("2026-03-01, commit abc1234; cores 2.")
    table = text[text.index("## One new day") : text.index("![What a new day costs")].splitlines()
    assert table == [
        "## One new day",
        "",
        "rows a day 10000.",
        "",
        "**30 days**",
        "",
        "|  | turns | seconds (least to most) | times ours (least to most) | CPU seconds | peak MiB | commits | "
        "MB added bronze / silver / gold | tables |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| streaming_jobs | 3 | 3.00 (2.00 to 4.00) | 1 | 6.0 | 100 | 2 | 0 / 1.5 / 0 | - |",
        "| naive | 3 | 4.00 (4.00 to 9.00) | 2.00 (1.00 to 3.00) | 8.0 | 100 | 2 | 0 / 1.5 / 0 | equal |",
        "| polars_delta | 3 | 1.00 (1.00 to 1.00) | 0.33 (0.25 to 0.50) | 2.0 | 100 | 2 | 0 / 1.5 / 0 | equal |",
        "",
        "**3000 days**",
        "",
        "|  | turns | seconds (least to most) | times ours (least to most) | CPU seconds | peak MiB | commits | "
        "MB added bronze / silver / gold | tables |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| streaming_jobs | 3 | 3.00 (3.00 to 6.00) | 1 | 6.0 | 100 | 2 | 0 / 1.5 / 0 | - |",
        "| naive | 0 | 3000 days of history not finished in 20 min | - | - | - | - | - | - |",
        "",
        "2026-03-01, commit abc1234; cores 2.",
        "",
    ]


@pytest.mark.parametrize(
    ("of_ours", "said"),
    [
        ((0.1, 0.5), "faster at every size that was measured, up to 25 000 000 rows at once: no crossing there. Nearest to it: 0.50 of"),
        ((0.5, 1.0), "faster up to 10 000 rows at once, we from 25 000 000 on; the crossing lies between."),
        ((1.0, 1.5), "not faster from 10 000 rows at once on."),
    ],
)
def test_the_page_says_from_how_many_rows_on_a_peer_without_spark_is_not_faster(of_ours, said):
    small, large = (Spread(value, value, value) for value in of_ours)
    assert crossing.sentence("duckdb_delta", {10_000: small, 25_000_000: large}).startswith(f"duckdb_delta: {said}")
    loads = crossing.loads(made_up())
    assert crossing.ratios(loads) == {"polars_delta": {10_000: Spread(1 / 3, 0.25, 0.5)}}, "of the shortest history, without Spark"


def test_a_spark_peer_that_is_slower_everywhere_is_a_promise_kept_and_one_that_ties_is_not():
    results = made_up()
    said = {bar.text: bar for bar in bars(results)}
    naive = said["faster than naive in everything that it finished"]
    assert (naive.met, naive.figure) == (True, "its time / ours at the least 2.00 (1.00 to 3.00), day, 30 days; 1 of 1 cases")
    ours, _ = results["day"].records[:2]
    tie = {"day": Result("day", "", "", {}, {}, [ours, Record("naive", "", "30 days", ours.turns, True)])}
    assert {bar.text: bar.met for bar in bars(tie)}["faster than naive in everything that it finished"] is False


@pytest.mark.parametrize(("seconds", "p99", "met"), [(2.9, 7.9, True), (3.1, 7.9, False), (2.9, 8.1, False)])
def test_what_is_left_running_keeps_its_promise_in_the_median_and_at_the_end(seconds, p99, met):
    turns = (Taken(seconds - 0.5), Taken(seconds), Taken(seconds + 2))
    result = Result("latency", "", "", {}, {}, [Record("streaming_jobs", "", "a file", turns)], {"streaming_jobs: p99 s": p99})
    (bar,) = [bar for bar in bars({"latency": result}) if bar.text.startswith("left running")]
    assert (bar.figure, bar.met) == (f"{seconds:.2f} s, {p99:.2f} s", met)


def test_results_come_back_from_their_files_as_they_were(tmp_path):
    for result in made_up().values():
        records.write(tmp_path, result)
    assert page.text(records.read(tmp_path)) == page.text(made_up())


def test_only_what_stands_between_the_markers_of_the_page_is_replaced(tmp_path):
    (tmp_path / "benchmarks.md").write_text(f"by hand\n{page.BEGIN}\nold\n{page.END}\nby hand too\n")
    page.write(made_up(), tmp_path)
    said = (tmp_path / "benchmarks.md").read_text()
    assert said == f"by hand\n{page.BEGIN}\n{page.text(made_up())}\n{page.END}\nby hand too\n"
    with pytest.raises(ValueError, match="lost a marker"):
        page.inserted("by hand\n", "new")


def test_the_picture_shows_everyone_who_finished_and_names_no_address_but_that_of_svg():
    drawn = plot.history(made_up()["day"])
    assert all(name in drawn for name in (OURS, "naive", "polars_delta"))
    assert "dlt_delta" not in drawn
    assert drawn.count("http") == 1
    assert drawn == plot.history(made_up()["day"])


def test_the_command_line_refuses_what_it_does_not_know():
    run = subprocess.run([sys.executable, "-m", "benchmarks", "nonsense"], cwd=deliveries.ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "nonsense: not among" in run.stderr
