"""`explain`: the rows of one key, judged as the layers judge them, down to the groups of Gold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from streaming_jobs.errors import UsageError
from streaming_jobs.explain import explain
from tests.conftest import ORDERS, Home

pytestmark = pytest.mark.slow

BRONZE = "bronze/orders"
OPEN_ONLY = """  - name: all_states
    physicalName: gold/all_states
    logicalType: object
    customProperties: [{property: source, value: by_state}]
    properties:
      - {name: everything, logicalType: string, primaryKey: true, primaryKeyPosition: 1, transformLogic: "'all'"}
      - {name: orders, logicalType: integer, transformLogic: sum(orders)}
  - name: large
    physicalName: gold/large
    logicalType: object
    customProperties: [{property: where, value: amount > 100}]
    properties:
      - {name: state, logicalType: string, primaryKey: true, primaryKeyPosition: 1, transformLogic: state}
      - {name: orders, logicalType: integer, transformLogic: count(*)}
"""


def told(home: Home, *key: str) -> list[tuple[Any, ...]]:
    (contract,) = home.contracts()
    return list(explain(contract, home.settings, key).values)


def test_a_key_is_followed_from_every_row_of_its_files_to_the_groups_it_counts_in(home: Home) -> None:
    home.contract(ORDERS + OPEN_ONLY)
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,5.00", "1,paid,never,-2")
    home.land("b.csv", "1,paid,2026-01-02,2.50", "3,paid,2026-01-02,1.00")
    home.land("c.csv", "1,sent,2026-01-01,3.00")
    home.ok()
    refused = "refused, cast at: not TIMESTAMP; minimum amount: must be at least 0"
    assert told(home, "1") == [
        (BRONZE, "a.csv row 3", refused, {"id": "1", "state": "paid", "at": "never", "amount": "-2"}),
        (BRONZE, "a.csv row 1", "older than b.csv row 1 by at", {"id": "1", "state": "open", "at": "2026-01-01", "amount": "1.00"}),
        (BRONZE, "c.csv row 1", "older than b.csv row 1 by at", {"id": "1", "state": "sent", "at": "2026-01-01", "amount": "3.00"}),
        (BRONZE, "b.csv row 1", "wins", {"id": "1", "state": "paid", "at": "2026-01-02", "amount": "2.50"}),
        (
            "silver/orders",
            "b.csv row 1",
            "the row of this key",
            {"id": "1", "state": "paid", "at": datetime(2026, 1, 2, tzinfo=UTC), "amount": Decimal("2.50")},
        ),
        ("gold/by_state", None, "counts in this group", {"state": "paid", "orders": 2, "revenue": Decimal("3.50")}),
        ("gold/all_states", None, "counts in this group", {"everything": "all", "orders": 3}),
        ("gold/large", None, "in no group of it: its `where` does not hold, amount > 100", {}),
    ]  # fmt: skip


def test_layers_that_have_not_caught_up_are_named_with_their_command(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok()
    home.land("b.csv", "1,paid,2026-01-02,2.00", "2,open,2026-01-02,2.00")
    home.ok("bronze")
    late = "the row of this key; not what bronze gives now, run `streaming-jobs run orders`"
    below = [(table, judgement) for table, _, judgement, _ in told(home, "1")][2:]
    assert below == [("silver/orders", late), ("gold/by_state", "counts in this group")]
    assert [judgement for _, _, judgement, _ in told(home, "2")] == ["wins", "no row; behind bronze, run `streaming-jobs silver orders`"]


def test_a_key_that_nobody_delivered_is_said_to_be_none(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok()
    assert told(home, "9") == [("bronze/orders", None, "no row carries this key", {}), ("silver/orders", None, "no row", {})]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ((), "the key of orders is id: --key <id>. Nothing was read."),
        (("1", "2"), "the key of orders is id: --key <id>. Nothing was read."),
        (("seven",), "--key seven: no BIGINT, which id of orders is. Nothing was read."),
    ],
)
def test_a_key_that_cannot_be_one_is_refused(home: Home, key: Sequence[str], line: str) -> None:
    text, number = (f"{{name: id, logicalType: {kind}, required: true, primaryKey" for kind in ("string", "integer"))
    home.contract(ORDERS.replace(text, number))
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok("bronze")
    with pytest.raises(UsageError) as refusal:
        told(home, *key)
    assert str(refusal.value) == line


def test_before_the_first_run_the_command_that_makes_the_tables_is_named(home: Home) -> None:
    with pytest.raises(UsageError, match=r"does not exist yet; run `streaming-jobs run orders`\."):
        told(home, "1")
