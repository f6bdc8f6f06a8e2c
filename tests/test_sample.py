import csv
from collections import Counter
from datetime import date
from decimal import Decimal, InvalidOperation

import pytest

from streaming_jobs.errors import UsageError
from streaming_jobs.operations import sample

TYPES = {"page_view", "click", "add_to_cart", "purchase", "signup"}


@pytest.fixture
def landing(tmp_path):
    return tmp_path / "data" / "raw"


def days(landing, count, rows=200):
    return [sample.write_next_day(landing, rows).path for _ in range(count)]


def read(path):
    """The well-formed records as dicts, and the malformed ones as lists."""
    header, *lines = csv.reader(path.read_text("utf-8").splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)], [x for x in lines if len(x) != len(header)]


def refused(record):
    """What Silver refuses of a well-formed record, said independently of the generator."""
    kind = record["event_type"].strip().lower()
    try:
        amount = Decimal(record["amount"]) if record["amount"] else None
    except InvalidOperation:
        return True
    if amount is not None and amount < 0:
        return True
    return kind not in TYPES or not record["event_timestamp"] or (kind == "purchase" and amount is None)


def test_the_first_day_is_the_first_of_2026_and_the_folder_is_created(landing):
    assert sample.write_next_day(landing).path == landing / "events_2026-01-01.csv"


def test_the_next_day_follows_the_newest_file_even_over_gaps_months_and_strange_names(landing):
    landing.mkdir(parents=True)
    for name in ["events_2026-01-05.csv", "events_2026-01-31.csv", "events_2026-13-01.csv", "events_2027-01-01.csv.tmp", "notes.txt"]:
        (landing / name).touch()
    assert sample.write_next_day(landing).path.name == "events_2026-02-01.csv"


def test_a_file_appears_whole_under_its_own_name_and_nothing_stays_beside_it(landing):
    written = days(landing, 1)
    assert list(landing.iterdir()) == written


def test_the_same_day_number_of_rows_and_seed_give_the_same_bytes_whatever_lies_in_the_folder(tmp_path):
    third = days(tmp_path / "a", 3)[-1].read_bytes()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "events_2026-01-02.csv").touch()
    assert sample.write_next_day(tmp_path / "b").path.read_bytes() == third


def test_another_seed_gives_other_bytes():
    assert sample.content(sample.FIRST_DAY, 200, seed=0) != sample.content(sample.FIRST_DAY, 200, seed=1)


@pytest.mark.parametrize("rows", [100, 200, 1000])
def test_the_file_has_as_many_records_as_were_asked_for_and_less_than_a_tenth_is_refused(landing, rows):
    for path in days(landing, 12, rows):
        records, malformed = read(path)
        assert len(records) + len(malformed) == rows
        assert 5 <= sum(map(refused, records)) + len(malformed) < rows / 10


def test_too_few_rows_are_refused_and_nothing_is_written(landing):
    with pytest.raises(UsageError, match="at least 100 rows, not 99"):
        sample.write_next_day(landing, rows=99)
    assert not landing.exists()


def test_every_day_holds_each_kind_of_flaw(landing):
    for path in days(landing, 4):
        records, malformed = read(path)
        kinds = [record["event_type"] for record in records]
        amounts = [record["amount"] for record in records]
        assert sum(not record["country"] for record in records) == 1
        assert sum(not record["user_id"] for record in records) == 1
        assert sum(not record["event_timestamp"] for record in records) == 1
        assert amounts.count("abc") == 1
        assert sum(amount.startswith("-") for amount in amounts) == 1
        assert sum(kind.strip().lower() not in TYPES for kind in kinds) == 1
        assert sum(kind != kind.strip() for kind in kinds) == 1
        assert sum(kind.isupper() for kind in kinds) == 1
        assert sum(record["event_type"] == "purchase" and not record["amount"] for record in records) == 1
        assert sum(amount[:1].isdigit() and Decimal(amount) >= 10_000 for amount in amounts) == 1
        width = len(records[0])
        assert sorted(len(line) > width for line in malformed) == [False, True]


def test_exact_duplicates_are_in_every_file(landing):
    for path in days(landing, 4):
        counts = Counter(tuple(sorted(record.items())) for record in read(path)[0])
        assert sorted(counts.values())[-4:] == [1, 2, 2, 2]


def test_from_the_second_day_on_one_record_of_the_day_before_comes_again_with_another_amount(landing):
    before, *later = days(landing, 13)
    for path in later:
        old = {record["event_id"]: record for record in read(before)[0]}
        again = [record for record in read(path)[0] if record["event_id"] in old]
        assert len(again) == 1
        was = old[again[0]["event_id"]]
        assert not refused(was)
        assert {c: v for c, v in again[0].items() if c not in {"amount", "device"}} == {
            c: v for c, v in was.items() if c not in {"amount", "device"}
        }
        assert again[0]["amount"] != was["amount"]
        before = path


def test_every_third_day_has_a_device_in_the_middle_and_every_fourth_another_order(landing):
    headers = [path.read_text("utf-8").splitlines()[0].split(",") for path in days(landing, 12)]
    for number, header in enumerate(headers, 1):
        assert (header[3] == "device") == (number % 3 == 0)
        assert sorted(set(header) - {"device"}) == sorted(sample.COLUMNS)
        assert (header[0] == "event_id") == (number % 4 != 0)


def test_timestamps_lie_on_the_day_of_the_file_but_for_the_late_correction(landing):
    path = days(landing, 2)[-1]
    other = [r for r in read(path)[0] if r["event_timestamp"] and date.fromisoformat(r["event_timestamp"][:10]) != date(2026, 1, 2)]
    assert len(other) == 1


def test_the_oddities_that_are_told_are_those_of_the_file(landing):
    first, second, third, fourth = (sample.write_next_day(landing).oddities for _ in range(4))
    assert "1 amount abc" in first
    assert not any("day before" in odd for odd in first)
    assert any("day before" in odd for odd in second)
    assert "new column device" in third
    assert "new column device" not in fourth
    assert "header in another order" in fourth
