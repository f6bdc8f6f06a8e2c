from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streaming_jobs import grid
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.operations import show


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def write(data, name, columns):
    (data / name).mkdir(parents=True)
    write_deltalake(data / name, pa.table(columns))
    return data / name


DAYS = {
    "day": [date(2026, 1, 2), None, date(2026, 1, 1), date(2026, 1, 1)],
    "type": ["click", "click", "view", "click"],
    "events": [1, 2, 3, 4],
}


def test_rows_come_by_the_first_two_columns_with_null_last(data):
    rows = show.read(write(data, "gold/days", DAYS), limit=10)
    assert rows.columns == ("day", "type", "events")
    assert rows.values == (
        (date(2026, 1, 1), "click", 4),
        (date(2026, 1, 1), "view", 3),
        (date(2026, 1, 2), "click", 1),
        (None, "click", 2),
    )


def test_the_limit_bounds_the_rows_and_not_the_total(data):
    rows = show.read(write(data, "gold/days", DAYS), limit=1)
    assert (len(rows.values), rows.total) == (1, 4)


def test_a_table_without_rows_has_its_columns(data):
    rows = show.read(write(data, "gold/days", {"day": pa.array([], pa.date32()), "events": pa.array([], pa.int64())}), limit=5)
    assert rows == Rows(("day", "events"), (), 0)
    assert grid.text(rows).endswith("0 rows")


def test_values_are_of_the_type_they_mean(data):
    table = write(
        data,
        "silver/all",
        {
            "at": pa.array([datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "amount": pa.array([Decimal("1.20")], pa.decimal128(12, 2)),
            "extra": pa.array([[("k", None)]], pa.map_(pa.string(), pa.string())),
            "reasons": pa.array([[{"rule": "r"}]]),
            "ok": [True],
        },
    )
    assert show.read(table, 1).values == ((datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC), Decimal("1.20"), {"k": None}, [{"rule": "r"}], True),)


def test_nested_columns_first_do_not_stop_the_order(data):
    table = write(data, "bronze/x", {"list": [[1], [2]], "name": ["b", "a"]})
    assert [row[1] for row in show.read(table, 2).values] == ["a", "b"]


def test_a_column_name_may_hold_quotes_and_capitals(data):
    assert show.read(write(data, "gold/x", {'A "b"': [2, 1]}), 2).values == ((1,), (2,))


def test_a_table_is_found_by_its_path_under_data(data):
    table = write(data, "gold/days", DAYS)
    assert show.find(data, "gold/days") == show.find(data, "gold/days/") == table


def test_an_unknown_table_is_answered_with_the_nearest_and_all_that_exist(data):
    write(data, "gold/days", DAYS)
    write(data, "silver/events", DAYS)
    with pytest.raises(UsageError, match=r"no table `gold/day`; did you mean gold/days\? There are: gold/days, silver/events\."):
        show.find(data, "gold/day")


def test_the_last_part_of_a_name_is_enough_to_be_told_the_whole(data):
    write(data, "gold/events_per_day", DAYS)
    with pytest.raises(UsageError, match="did you mean gold/events_per_day"):
        show.find(data, "events_per_day")


def test_before_the_first_run_the_command_that_makes_tables_is_named(data):
    with pytest.raises(UsageError, match=r"there is none yet .*; run `streaming-jobs run`\."):
        show.find(data, "gold/days")


@pytest.mark.parametrize("name", ["../outside", "gold/../../outside", "/outside"])
def test_a_name_that_leads_out_of_data_is_refused_even_if_a_table_is_there(data, tmp_path, name):
    write(tmp_path, "outside", DAYS)
    data.mkdir()
    with pytest.raises(UsageError, match="leads out of"):
        show.find(data, name.replace("/outside", str(tmp_path / "outside")) if name.startswith("/") else name)


@pytest.mark.parametrize("name", ["", ".", "gold"])
def test_a_folder_that_holds_tables_is_none(data, name):
    write(data, "gold/days", DAYS)
    with pytest.raises(UsageError, match="no table"):
        show.find(data, name)


@pytest.mark.parametrize("name", ["../outside", "../data/gold/days", "/outside"])
def test_reading_refuses_a_path_that_is_not_under_data_even_if_a_table_is_there(data, tmp_path, name):
    write(tmp_path, "outside", DAYS)
    write(data, "gold/days", DAYS)
    with pytest.raises(UsageError, match="is not under data/"):
        show.read(data / name.replace("/outside", str(tmp_path / "outside"), name.startswith("/")), 1)


def test_reading_an_unknown_table_names_the_nearest(data):
    write(data, "gold/days", DAYS)
    with pytest.raises(UsageError, match=r"no table `gold/dayz`; did you mean gold/days\?"):
        show.read(data / "gold" / "dayz", 1)


def test_a_home_may_itself_lie_in_a_folder_called_data(tmp_path):
    table = write(tmp_path / "data" / "home" / "data", "gold/days", DAYS)
    assert show.read(table, 1).total == 4


def test_a_broken_log_is_damage_and_is_said_in_one_line(data):
    table = write(data, "gold/days", DAYS)
    (table / "_delta_log" / "00000000000000000000.json").write_text("{")
    with pytest.raises(DamagedState, match="cannot be read") as error:
        show.read(table, 1)
    assert "\n" not in str(error.value)


def test_a_missing_data_file_is_damage(data):
    table = write(data, "gold/days", DAYS)
    for file in table.glob("*.parquet"):
        file.unlink()
    with pytest.raises(DamagedState, match="cannot be read"):
        show.read(table, 1)


def test_numbers_stand_right_and_words_left():
    rows = Rows(("word", "number"), (("a", Decimal("1.00")), ("bcd", 12), (None, None)), 3)
    assert grid.text(rows).splitlines() == [
        "word   number",
        "─────────────",
        "a        1.00",
        "bcd        12",
        "null     null",
        "",
        "3 rows",
    ]


def test_the_text_says_how_many_rows_it_does_not_show():
    assert grid.text(Rows(("a",), ((1,),), 31)).endswith("1 of 31 rows")


def test_no_cell_is_cut_unless_a_width_is_given():
    rows = Rows(tuple(f"column_{i}" for i in range(40)), (tuple("x" * 50 for _ in range(40)),), 1)
    assert grid.text(rows).splitlines()[2].count("x" * 50) == 40
    assert all(len(line) <= 80 for line in grid.text(Rows(("a",), (("x" * 200,),), 1), width=80).splitlines())


CELLS = [
    (None, "null"),
    ("null", "'null'"),
    ("", "''"),
    (" a ", "' a '"),
    ("a\nb", r"'a\nb'"),
    ("\x1b[31mred", r"'\x1b[31mred'"),
    ("[bold]a[/bold]", "[bold]a[/bold]"),
    ("größer", "größer"),
    (True, "true"),
    (0, "0"),
    (Decimal("1.20"), "1.20"),
    (date(2026, 1, 1), "2026-01-01"),
    (datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC), "2026-01-01 03:04:05Z"),
    ({"k": None}, "{k: null}"),
    ([{"rule": "r"}, ""], "[{rule: r}, '']"),
]


@pytest.mark.parametrize(("value", "expected"), CELLS)
def test_a_value_is_one_printable_line_that_cannot_be_taken_for_another(value, expected):
    assert grid.cell(value) == expected
    assert expected in grid.text(Rows(("a",), ((value,),), 1))
