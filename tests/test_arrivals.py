"""Which file is missed, which has too few rows, which promise is kept: pure, with `now` as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_jobs.contract import Availability, Frequency, Latency, Promise
from streaming_jobs.facts import arrivals, words
from streaming_jobs.facts.model import Arrival, Unusual

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
FIRST = date(2026, 10, 1)  # a Thursday
WORKDAYS = frozenset(range(5))


def at(day: date, hours: float = 0) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(hours=hours)


def named(days: Sequence[date], hours: float = 26, rows: int | None = 100) -> list[Arrival]:
    """A file for each day, taken in so many hours after the day began."""
    return [Arrival(f"orders_{day}.csv", at(day, hours), at(day, hours), rows) for day in days]


def unnamed(moments: Sequence[datetime]) -> list[Arrival]:
    return [Arrival(f"{n}.csv", moment, moment, 100) for n, moment in enumerate(moments)]


def days(count: int, first: date = FIRST) -> list[date]:
    return [first + DAY * n for n in range(count)]


NAMES = [
    ("orders_2026-11-25.csv", date(2026, 11, 25)),
    ("20261125.csv", date(2026, 11, 25)),
    ("orders_20261125T031500.csv", date(2026, 11, 25)),
    ("orders_20261125031500.csv", date(2026, 11, 25)),
    ("orders.2026_11_25.v2.csv.gz", date(2026, 11, 25)),
    ("2026/11/25/orders.csv", date(2026, 11, 25)),
    ("day=2026-11-24/orders_2026-11-25.csv", date(2026, 11, 25)),
    ("2026-11-25_2026-11-25.csv", date(2026, 11, 25)),
    ("2026-11-24_2026-11-25.csv", None),
    ("2026-02-30.csv", None),
    ("order-120261125.csv", None),
    ("2026112599.csv", None),
    ("orders.csv", None),
]


@pytest.mark.parametrize(("name", "day"), NAMES)
def test_the_date_of_a_name_is_read_year_first_and_only_where_it_is_one(name: str, day: date | None) -> None:
    assert arrivals.date_in(name) == day


def test_the_file_of_yesterday_is_missed_once_it_is_late_and_not_before() -> None:
    came = named(days(40))  # at 02:00 of the day after; the last is of 9 November
    due = at(date(2026, 11, 10), 28)  # two hours of grace
    assert arrivals.rhythm(came, due - MINUTE).missing == ()
    late = arrivals.rhythm(came, due)
    assert (late.by, late.newest, late.weekdays, late.due) == ("name", date(2026, 11, 9), frozenset(range(7)), 28 * HOUR)
    assert late.missing == (date(2026, 11, 10),)


def test_days_on_which_no_file_ever_comes_are_not_expected() -> None:
    came = named([day for day in days(44) if day.weekday() in WORKDAYS])  # the last is of Friday, 13 November
    found = arrivals.rhythm(came, at(date(2026, 11, 16), 20))
    assert (found.weekdays, found.missing) == (WORKDAYS, ())
    assert arrivals.rhythm(came, at(date(2026, 11, 18))).missing == (date(2026, 11, 16),)
    assert words.expected(found) == "a file mon-fri, by 04:00Z the day after; by the dates in their names"


def test_a_file_a_week_is_expected_on_its_day() -> None:
    came = named(days(56)[::7])
    found = arrivals.rhythm(came, at(date(2026, 11, 30)))
    assert (found.weekdays, found.missing) == (frozenset({3}), (date(2026, 11, 26),))


def test_a_hole_is_named_for_a_week_also_when_later_files_came() -> None:
    came = named([day for day in days(40) if day != date(2026, 11, 5)])
    assert arrivals.rhythm(came, at(date(2026, 11, 10))).missing == (date(2026, 11, 5),)
    later = named([day for day in days(44) if day != date(2026, 11, 5)])
    assert arrivals.rhythm(later, at(date(2026, 11, 14))).missing == ()


def test_a_source_that_stopped_is_missed_on_and_on() -> None:
    found = arrivals.rhythm(named(days(40)), at(date(2026, 11, 25)))
    assert found.missing == tuple(days(14, date(2026, 11, 10)))


SILENT = [
    ("no file at all", [], "no file has come yet"),
    ("three weeks", named(days(21)), "21 days with files over 21 days are too few to expect any; 28 days are needed"),
    ("two files in a month", named(days(40)[::39]), "2 days with files over 40 days are too few to expect any; 28 days are needed"),
    ("now and then", named([d for n, d in enumerate(days(56)) if n % 9 in (0, 4)]), "files came on no day of the week regularly"),
    (
        "an archive",
        [Arrival(f"{day}.csv", at(day, 26), at(date(2026, 12, 24)), 1) for day in days(56)],
        "files came long after their days, as from an archive",
    ),
]


@pytest.mark.parametrize(("came", "why"), [case[1:] for case in SILENT], ids=[case[0] for case in SILENT])
def test_without_a_clear_rhythm_nothing_is_expected_and_the_reason_is_said(came: list[Arrival], why: str) -> None:
    found = arrivals.rhythm(came, at(date(2027, 3, 1)))
    assert (found.due, found.missing, found.unknown) == (None, (), why)
    assert words.expected(found) == f"no file by itself: {why}"


def test_files_without_dates_are_missed_by_the_day_they_come() -> None:
    came = unnamed([at(day, 6) for day in days(40)])
    found = arrivals.rhythm(came, at(date(2026, 11, 10), 7.9))
    assert (found.by, found.newest, found.missing) == ("arrival", date(2026, 11, 9), ())
    assert arrivals.rhythm(came, at(date(2026, 11, 10), 8)).missing == (date(2026, 11, 10),)


def test_files_that_come_around_midnight_are_one_a_day() -> None:
    moments = [at(day) + MINUTE * (20 if n % 2 else -20) for n, day in enumerate(days(40))]
    found = arrivals.rhythm(unnamed(moments), moments[-1] + 3 * HOUR)
    assert (found.weekdays, found.missing) == (frozenset(range(7)), ())
    assert len(arrivals.rhythm(unnamed(moments), moments[-1] + 27 * HOUR).missing) == 1


def test_what_counts_is_when_a_file_was_taken_in_where_it_keeps_the_time_of_another_machine() -> None:
    came = [Arrival(f"{day}.csv", at(day, 20), at(day, 30), 1) for day in days(40)]
    assert arrivals.rhythm(came, at(date(2026, 11, 10), 31)).missing == ()
    assert arrivals.rhythm(came, at(date(2026, 11, 10), 32)).missing == (date(2026, 11, 10),)


def test_four_days_after_an_archive_was_loaded_a_file_is_missed_as_ever() -> None:
    archive = [Arrival(f"{day}.csv", at(day, 26), at(FIRST, 24 * 36), 1) for day in days(36)]
    live = named(days(4, FIRST + 36 * DAY))
    due = at(FIRST + 40 * DAY, 28)
    assert arrivals.rhythm([*archive, *live], due - MINUTE).missing == ()
    assert arrivals.rhythm([*archive, *live], due).missing == (FIRST + 40 * DAY,)


def test_files_that_are_always_taken_in_together_are_late_when_they_were_never_so_late() -> None:
    weekly = [Arrival(f"{day}.csv", at(day, 26), at(FIRST, 24 * (n // 7 * 7 + 8)), 1) for n, day in enumerate(days(42))]
    assert arrivals.rhythm(weekly, at(FIRST, 24 * 49)).missing == ()
    assert arrivals.rhythm(weekly, at(FIRST, 24 * 60)).missing != ()


@given(st.lists(st.integers(0, 119), min_size=40, max_size=60), st.sampled_from([WORKDAYS, frozenset(range(7)), frozenset({0, 3})]))
def test_a_file_that_comes_within_two_hours_of_its_usual_time_is_never_missed(minutes: list[int], weekdays: frozenset[int]) -> None:
    expected = [day for day in days(len(minutes)) if day.weekday() in weekdays]
    came = [Arrival(f"{day}.csv", at(day, 26) + MINUTE * m, at(day, 26) + MINUTE * m, 1) for day, m in zip(expected, minutes, strict=False)]
    for n in range(1, len(came)):
        assert arrivals.rhythm(came[:n], came[n].taken).missing == ()
    if arrivals.rhythm(came, came[-1].taken).due is not None:
        assert arrivals.rhythm(came, came[-1].taken + 8 * DAY).missing != ()


def test_a_hundredth_of_the_usual_rows_is_unusual_and_so_is_a_hundredfold() -> None:
    came = named(days(20))
    odd = Arrival("few.csv", at(date(2026, 10, 21), 2), at(date(2026, 10, 21), 2), 1)
    now = at(date(2026, 10, 22))
    assert arrivals.unusual([*came, odd], now) == (Unusual("few.csv", 1, 100, odd.taken),)
    many = Arrival("many.csv", odd.came, odd.taken, 10_000)
    assert arrivals.unusual([*came, many], now) == (Unusual("many.csv", 10_000, 100, odd.taken),)


QUIET = [
    ("half of the usual", [100] * 20 + [50]),
    ("no rows, as on quiet days before", [100, 0] * 10 + [0]),
    ("a weekend", [100, 100, 100, 100, 100, 12, 9] * 3 + [7]),
    ("too little to compare with", [100] * 7 + [1]),
    ("growth", [2**n for n in range(20)]),
]


@pytest.mark.parametrize("rows", [case[1] for case in QUIET], ids=[case[0] for case in QUIET])
def test_rows_that_were_so_few_before_or_cannot_be_compared_are_not_unusual(rows: list[int]) -> None:
    came = [Arrival(f"{n}.csv", at(FIRST, n), at(FIRST, n), number) for n, number in enumerate(rows)]
    assert arrivals.unusual(came, came[-1].taken) == ()


def test_an_unusual_file_is_named_for_a_week() -> None:
    came = [*named(days(20)), Arrival("few.csv", at(date(2026, 10, 21)), at(date(2026, 10, 21)), 1)]
    assert len(arrivals.unusual(came, at(date(2026, 10, 28)))) == 1
    assert arrivals.unusual(came, at(date(2026, 10, 28), 1)) == ()


def test_files_of_an_archive_that_is_loaded_today_are_not_unusual() -> None:
    came = [Arrival(f"{n}.csv", at(FIRST, n), at(date(2026, 11, 26)), 1 if n == 20 else 100) for n in range(30)]
    assert arrivals.unusual(came, at(date(2026, 11, 26), 1)) == ()


NOON = at(date(2026, 11, 26), 12)  # a Thursday
NINE = Availability(time(9, tzinfo=UTC))
PROMISES: list[tuple[str, Promise, list[float], bool | None, bool, str]] = [
    ("data of today", Latency(DAY), [-3], True, False, "the newest is of 2026-11-26 09:00Z, 3 h ago"),
    ("data of the day before yesterday", Latency(DAY), [-48], False, True, "the newest is of 2026-11-24 12:00Z, 2 d ago"),
    ("no data", Latency(DAY), [], None, False, "there is no data yet"),
    ("by column", Latency(3 * HOUR, "at"), [-1], False, True, "the newest is of 2026-11-26 08:00Z, 4 h ago"),
    ("by a date, which ends with its day", Latency(13 * HOUR, "on"), [-1], True, False, "the newest is of 2026-11-26 00:00Z, 12 h ago"),
    ("every hour", Frequency(HOUR), [-0.5], True, False, "the newest file came 2026-11-26 11:30Z, 30 min ago"),
    ("not every hour", Frequency(HOUR), [-1.5], False, True, "the newest file came 2026-11-26 10:30Z, 1 h 30 min ago"),
    ("daily, yesterday early", Frequency(DAY), [-35], True, False, "the newest file came 2026-11-25 01:00Z, 1 d 11 h ago"),
    ("daily, a day left out", Frequency(DAY), [-37], False, True, "the newest file came 2026-11-24 23:00Z, 1 d 13 h ago"),
    ("on Mondays, and came", Frequency(DAY, frozenset({0})), [-72], True, False, "the newest file came 2026-11-23 12:00Z, 3 d ago"),
    ("on Mondays, and did not", Frequency(DAY, frozenset({0})), [-96], False, True, "the newest file came 2026-11-22 12:00Z, 4 d ago"),
    ("nothing yet", Frequency(DAY), [], None, False, "no file has come yet"),
    ("in time", NINE, [-30, -4], True, False, "the file due 2026-11-26 09:00Z was there"),
    ("not there", NINE, [-30], False, True, "the file due 2026-11-26 09:00Z is 3 h late"),
    ("late, and there", NINE, [-30, -1], False, False, "the file due 2026-11-26 09:00Z came 2 h late"),
    ("on Fridays", Availability(time(9, tzinfo=UTC), frozenset({4})), [-24 * 6.2], True, False, "the file due 2026-11-20 09:00Z was there"),
    ("first file after the deadline", NINE, [-1], None, False, "no deadline has passed since the first file came"),
    (
        "in another zone",
        Availability(time(14, tzinfo=timezone(2 * HOUR))),
        [-30, -1],
        True,
        False,
        "the file due 2026-11-26 12:00Z was there",
    ),
]


@pytest.mark.parametrize(("promise", "hours", "kept", "open_", "measured"), [case[1:] for case in PROMISES], ids=[c[0] for c in PROMISES])
def test_a_promise_is_measured_now(promise: Promise, hours: list[float], kept: bool | None, open_: bool, measured: str) -> None:
    came = unnamed([NOON + timedelta(hours=h) for h in hours])
    newest = {"at": NOON - 4 * HOUR, "on": date(2026, 11, 25)}
    found = arrivals.kept(promise, came, lambda column: newest[column], NOON)
    assert (found.kept, found.open, found.measured) == (kept, open_, measured)


SPANS = [
    (0, "0 s"),
    (59, "59 s"),
    (60, "1 min"),
    (3599, "59 min"),
    (3600, "1 h"),
    (5400, "1 h 30 min"),
    (90_000, "1 d 1 h"),
    (172_800, "2 d"),
]


@pytest.mark.parametrize(("seconds", "said"), SPANS)
def test_a_length_of_time_is_said_in_its_two_largest_units(seconds: int, said: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == said
