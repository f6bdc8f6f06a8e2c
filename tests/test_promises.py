"""What a contract promises about time, and what it classifies: read, refused with one line each, and without any effect on a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, time, timedelta, timezone
from pathlib import Path

import pytest

from streaming_jobs import definition, meaning
from streaming_jobs.contract import Availability, Contract, Frequency, Latency, Promise, load
from streaming_jobs.errors import ContractError
from streaming_jobs.operations import diff
from tests.conftest import ORDERS

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Read = Callable[[str], Contract]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def of(text: str) -> Contract:
        file = tmp_path / "orders.yaml"
        file.write_text(text)
        return load(file)

    return of


def promising(*properties: str) -> str:
    return ORDERS + "slaProperties:\n" + "".join(f"  - {{{p}}}\n" for p in properties)


TAKEN: list[tuple[str, Promise]] = [
    ("property: latency, value: 4, unit: d", Latency(4 * DAY)),
    ("property: LY, value: 1.5, unit: Hours, element: orders.at", Latency(1.5 * HOUR, "at")),
    ("property: latency, value: 90, unit: min, element: at, driver: regulatory", Latency(1.5 * HOUR, "at", "regulatory")),
    ("property: frequency, value: 1, unit: w", Frequency(7 * DAY)),
    (
        "property: fy, value: 1, unit: day, customProperties: [{property: days, value: [Mon, fri]}]",
        Frequency(DAY, frozenset({0, 4})),
    ),
    ('property: timeOfAvailability, value: "09:00"', Availability(time(9, tzinfo=UTC))),
    ("property: timeofavailability, value: 09:30-08:00", Availability(time(9, 30, tzinfo=timezone(-8 * HOUR)))),
    (
        'property: timeOfAvailability, value: "23:59:59Z", customProperties: [{property: days, value: sun}]',
        Availability(time(23, 59, 59, tzinfo=UTC), frozenset({6})),
    ),
]


@pytest.mark.parametrize(("said", "promise"), TAKEN)
def test_a_promise_is_read_as_the_standard_writes_it(read: Read, said: str, promise: Promise) -> None:
    contract = read(promising(said))
    assert contract.promises == (promise,)
    assert contract.without_effect == ()


REFUSED = [
    ("property: latency, value: 4", "slaProperties latency: unit is missing; one of s, min, h, d, w, y."),
    ("property: latency, value: 4, unit: m", "slaProperties latency: unit: 'm' must be one of s, min, h, d, w, y, or their English names."),
    ("property: latency, value: 0, unit: d", "slaProperties latency: value: 0 must be a number above 0, such as 1 with unit d."),
    ('property: frequency, value: "1", unit: d', "slaProperties frequency: value: '1' must be a number above 0, such as 1 with unit d."),
    ("property: frequency, value: true, unit: d", "slaProperties frequency: value: True must be a number above 0, such as 1 with unit d."),
    ("property: frequency, value: .inf, unit: d", "slaProperties frequency: value: inf must be a number above 0, such as 1 with unit d."),
    ("property: frequency, value: 1.0e+300, unit: y", "slaProperties frequency: value: 1e+300 y is more than 100 years."),
    (
        "property: latency, value: 1, unit: d, element: orders.att",
        "slaProperties latency: element: Silver has no column 'att'; did you mean at.",
    ),
    (
        "property: latency, value: 1, unit: d, element: amount",
        "slaProperties latency: element: amount is DECIMAL(10,2); latency needs a DATE or a TIMESTAMP.",
    ),
    (
        "property: latency, value: 1, unit: d, element: by_state.at",
        "slaProperties latency: element: 'by_state.at' is measured in Silver only; write orders.<column>, or the column alone.",
    ),
    (
        "property: latency, value: 1, unit: d, customProperties: [{property: days, value: [mon]}]",
        "slaProperties latency: days belongs to frequency and timeOfAvailability; a latency counts every day.",
    ),
    (
        "property: frequency, value: 6, unit: h, customProperties: [{property: days, value: [mon]}]",
        "slaProperties frequency: days needs a frequency of whole days.",
    ),
    (
        "property: frequency, value: 1, unit: d, customProperties: [{property: days, value: [monday]}]",
        "slaProperties frequency: days: 'monday' is no day of the week; mon, tue, wed, thu, fri, sat, sun.",
    ),
    (
        "property: frequency, value: 1, unit: d, customProperties: [{property: dayz, value: [mon]}]",
        "slaProperties frequency: unknown custom property dayz; did you mean days.",
    ),
    (
        "property: timeOfAvailability, value: 10:00",
        'slaProperties timeOfAvailability: value: 600 must be a time of day such as "09:00" (UTC) or "09:00+01:00"; quote it.',
    ),
    (
        'property: timeOfAvailability, value: "25:00"',
        'slaProperties timeOfAvailability: value: \'25:00\' must be a time of day such as "09:00" (UTC) or "09:00+01:00"; quote it.',
    ),
    (
        'property: timeOfAvailability, value: "09:00+30:00"',
        'slaProperties timeOfAvailability: value: \'09:00+30:00\' must be a time of day such as "09:00" (UTC) or "09:00+01:00"; quote it.',
    ),
]


@pytest.mark.parametrize(("said", "line"), REFUSED)
def test_a_promise_that_cannot_be_measured_is_refused_in_one_line(read: Read, said: str, line: str) -> None:
    with pytest.raises(ContractError) as error:
        read(promising(said))
    (finding,) = error.value.findings
    assert finding.split("orders.yaml: ")[1] == line


IDLE = [
    ("property: retention, value: 3, unit: y", "slaProperties retention; nothing measures it"),
    ("property: latancy, value: 3, unit: d", "slaProperties latancy; nothing measures it; did you mean latency"),
    (
        "property: frequency, value: 1, unit: d, valueExt: 2",
        "slaProperties frequency: valueExt; the time that is measured is `value`",
    ),
    ("property: frequency, value: 1, unit: d, element: orders.at", "slaProperties frequency: element; files are what is counted"),
]


@pytest.mark.parametrize(("said", "line"), IDLE)
def test_what_is_not_measured_is_listed_as_without_effect(read: Read, said: str, line: str) -> None:
    assert read(promising(said)).without_effect == (line,)


def test_promises_and_classifications_change_no_table(read: Read) -> None:
    plain = read(ORDERS)
    marked = read(promising("property: latency, value: 4, unit: d").replace("{name: state,", "{name: state, classification: personal,"))
    assert marked.promises
    assert marked.closed
    assert meaning.of(marked) == meaning.of(plain)
    assert [definition.fingerprint(g, marked) for g in marked.gold] == [definition.fingerprint(g, plain) for g in plain.gold]


def test_a_promise_that_changes_is_a_difference_between_two_editions(tmp_path: Path) -> None:
    for name, text in (("old", ORDERS), ("new", promising("property: latency, value: 4, unit: d"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "orders.yaml").write_text(text)
    found = diff.between(tmp_path / "old/orders.yaml", tmp_path / "new/orders.yaml")
    assert found.values == (("promises", None, "['data is at most 4 d old']", "measured by status from now on"),)


def classified(read: Read, *edits: tuple[str, str], table: str = "") -> set[tuple[str, str]]:
    text = ORDERS + table
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return set(read(text).closed)


ROLLED_UP = """
  - name: names
    physicalName: gold/names
    logicalType: object
    properties:
      - {name: name, logicalType: string, primaryKey: true, transformLogic: "upper(state)"}
      - {name: ids, logicalType: integer, transformLogic: "count(DISTINCT id)"}
      - {name: newest, logicalType: string, transformLogic: max(id)}
  - name: few
    physicalName: gold/few
    logicalType: object
    customProperties: [{property: source, value: names}]
    properties:
      - {name: length, logicalType: integer, primaryKey: true, transformLogic: length(name)}
      - {name: names, logicalType: integer, transformLogic: count(name)}
"""


def test_a_classified_column_is_closed_wherever_its_values_can_show_and_not_where_they_are_counted(read: Read) -> None:
    assert classified(read, table=ROLLED_UP) == set()
    assert classified(read, ("- {name: state,", "- {name: state, classification: personal,"), table=ROLLED_UP) == {
        ("by_state", "state"), ("names", "name"), ("few", "length"),
    }  # fmt: skip
    silver = "- {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}"
    assert classified(read, (silver, silver.replace("}", ", classification: '2'}")), table=ROLLED_UP) == {("names", "newest")}


def test_public_opens_a_column_and_a_column_of_gold_can_be_closed_by_itself(read: Read) -> None:
    bronze = ("- {name: amount, logicalType: string}", "- {name: amount, logicalType: string, classification: restricted}")
    assert classified(read, bronze) == {("by_state", "revenue")}
    opened = ("- {name: revenue,", "- {name: revenue, classification: Public,")
    assert classified(read, bronze, opened) == set()
    assert classified(read, ("- {name: revenue,", "- {name: revenue, classification: internal,")) == {("by_state", "revenue")}
