"""`status` for people who did not build it."""

from __future__ import annotations

from streaming_jobs.errors import UsageError
from streaming_jobs.operations.status import COLUMNS, status
from streaming_jobs.run import Run, outcome
from tests.conftest import Home


def rows(home: Home) -> list[dict[str, object]]:
    found = status(home.contracts(), home.settings)
    return [dict(zip(COLUMNS, row, strict=True)) for row in found.values]


def test_every_layer_is_listed_with_its_last_work_and_what_lies_before_it(home: Home) -> None:
    home.land("mon.csv", "1,open,2026-01-01,1.00")
    assert [(r["layer"], r["last"], r["outcome"], r["before it"]) for r in rows(home)] == [
        ("bronze", None, None, "1 new"),
        ("silver", None, None, None),
        ("gold", None, None, None),
    ]
    home.ok("bronze")
    assert [(r["outcome"], r["rows"], r["before it"]) for r in rows(home)] == [
        ("done", 1, None),
        (None, None, "behind bronze/orders"),
        (None, None, None),
    ]
    home.ok()
    assert [(r["outcome"], r["before it"]) for r in rows(home)] == [("done", None)] * 3


def test_a_layer_that_failed_is_shown_as_failing_until_it_works_again(home: Home) -> None:
    one = Run(home.settings, lambda _: None)
    outcome(one, "silver", "orders", UsageError("the contract means\nsomething else"))
    assert [r["outcome"] for r in rows(home)] == [None, "failed: the contract means something else", None]
    outcome(one, "silver", "orders", None)
    assert [r["outcome"] for r in rows(home)] == [None, "done", None]


def test_what_keeps_a_layer_from_being_looked_at_stands_in_its_row(home: Home) -> None:
    home.raw.rmdir()
    assert "does not exist; nothing was read" in str(rows(home)[0]["before it"])
