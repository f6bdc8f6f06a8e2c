"""Every layer is proved against the one above, and every way in which it can be wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from streaming_jobs import bronze, gold, silver, verify
from streaming_jobs.errors import UsageError
from streaming_jobs.verify import Finding
from tests.conftest import ORDERS, Home

pytestmark = pytest.mark.slow

ROWS = (*(f"{n},open,2026-01-01,{n}.00" for n in range(1, 6)), "6,open,,", "bad,open,never,1.00", "worse,open", "worst,open,never,1.00")


PROOFS = {"bronze": verify.of_bronze, "silver": verify.of_silver, "gold": verify.of_gold}


def proof(home: Home, of: Callable[..., verify.Proof] = verify.of_silver) -> verify.Proof:
    """What was found, without what was looked at."""
    (contract,) = home.contracts()
    return replace(of(home.spark, contract, home.settings, 20), checked=())


def sql(statement: str) -> Callable[[Home], object]:
    return lambda home: home.sql(statement)


def twice(home: Home) -> None:
    home.table("silver/orders").where("id = '6'").write.format("delta").mode("append").save(str(home.settings.table("silver/orders")))


DAMAGE = {
    "bronze": (
        (sql("UPDATE {bronze} SET amount = '7' WHERE id = '4' AND _file = 'a.csv'"), [("_file=a.csv, _row=4", 1, 1)]),
        (sql("DELETE FROM {bronze} WHERE _file = 'b.csv' AND _row = 2"), [("_file=b.csv", 2, 3)]),
        (
            sql("INSERT INTO {bronze} BY NAME SELECT * EXCEPT (_file), 'x.csv' AS _file FROM {bronze} WHERE _file = 'c.csv'"),
            [("_file=x.csv", 1, 0)],
        ),
    ),
    "silver": (
        (sql("DELETE FROM {silver} WHERE id = '2'"), [("id=2", 0, 1)]),
        (sql("UPDATE {silver} SET amount = 9 WHERE id = '3'"), [("id=3", 1, 1)]),
        (sql("UPDATE {silver} SET state = NULL WHERE id = '4'"), [("id=4", 1, 1)]),
        (sql("INSERT INTO {silver} SELECT 'x', state, at, amount, _file, _row FROM {silver} LIMIT 1"), [("id=x", 1, 0)]),
        (sql("UPDATE {silver} SET _row = 7 WHERE id = '1'"), [("id=1", 1, 1)]),
        (twice, [("id=6", 1, 0)]),
        (sql("DELETE FROM {quarantine} WHERE id = 'bad'"), [("_file=a.csv, _row=7", 0, 1)]),
        (sql("UPDATE {quarantine} SET reasons = array() WHERE id = 'worst'"), [("_file=a.csv, _row=9", 1, 1)]),
    ),
    "gold": (
        (sql("UPDATE {gold} SET orders = 99 WHERE state = 'open'"), [("state=open", 1, 1)]),
        (sql("DELETE FROM {gold} WHERE state = 'paid'"), [("state=paid", 0, 1)]),
        (sql("INSERT INTO {gold} VALUES ('lost', 1, 1)"), [("state=lost", 1, 0)]),
        (sql("INSERT INTO {gold} SELECT * FROM {gold} WHERE state = 'sent'"), [("state=sent", 2, 1)]),
    ),
}


def test_tables_that_runs_made_are_proved_and_every_damage_is_found_and_repaired_by_a_rebuild(home: Home) -> None:
    home.land("a.csv", *ROWS[:5], at=1_767_600_000)
    home.land("c.csv", "7,paid,2026-01-01,7.00", at=1_767_600_000)
    home.ok()
    home.land("b.csv", "1,sent,2026-01-03,1.50", "8,sent,2026-01-03,2.00", "x1,open,never,2.00")
    home.land("a.csv", *ROWS, at=1_767_600_001)
    home.ok()
    (home.raw / "c.csv").unlink()
    for of in PROOFS.values():
        assert proof(home, of) == verify.Proof()
    for layer in ("gold", "silver", "bronze"):  # each is proved against one that is still right
        for damage, _ in DAMAGE[layer]:
            damage(home)
        found = proof(home, PROOFS[layer])
        expected = sorted(finding for _, findings in DAMAGE[layer] for finding in findings)
        assert sorted((f.key, f.held, f.expected) for f in found.findings) == expected
        assert (found.total, f"rebuild {layer} orders" in str(found.failure())) == (len(expected), True)
    home.redo(bronze.rebuild, silver.rebuild, gold.rebuild, force=True)
    for of in PROOFS.values():
        assert proof(home, of) == verify.Proof()
    assert home.table("bronze/orders").where("_file = 'c.csv'").count() == 1  # it no longer lies there


def test_a_version_outside_the_merge_window_is_found(home: Home) -> None:
    day = "{name: day, logicalType: date, required: true, partitioned: true, partitionKeyPosition: 1, transformLogic: to_date(at)}"
    home.contract(
        ORDERS.replace("value: [at]}", "value: [at]}, {property: mergeWindow, value: 1 days}").replace(
            "      - {name: at, logicalType: timestamp}\n", f"      - {{name: at, logicalType: timestamp}}\n      - {day}\n"
        )
    )
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,1.00")
    home.ok("bronze", "silver")
    home.land("b.csv", "2,paid,2026-01-09,1.00")
    home.ok("bronze", "silver")
    assert proof(home) == verify.Proof((Finding("orders", "silver/orders", "id=2", 1, 0),), 1)


def test_silver_that_is_behind_is_not_compared(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok("bronze")
    with pytest.raises(UsageError, match="silver of orders is behind bronze"):
        proof(home)


def test_without_bronze_there_is_nothing_to_prove(home: Home) -> None:
    assert proof(home) == verify.Proof()
