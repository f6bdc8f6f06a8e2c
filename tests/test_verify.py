"""Silver and quarantine are proved against Bronze, and every way in which they can be wrong is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deltalake import DeltaTable, write_deltalake

from streaming_jobs import silver, verify
from streaming_jobs.errors import UsageError
from streaming_jobs.run import Run
from streaming_jobs.verify import Finding
from tests.conftest import ORDERS, Home

ROWS = ("1,open,2026-01-01,1.00", "2,open,2026-01-01,2.00", "3,paid,2026-01-02,3.00", "bad,open,never,1.00", "worse,open")


def proof(home: Home) -> verify.Proof:
    (contract,) = home.contracts()
    return verify.of_silver(home.spark, contract, home.settings, 20)


def sql(statement: str) -> Callable[[Home], object]:
    def run(home: Home) -> object:
        names = {n: f"delta.`{home.settings.table(f'{n}/orders')}`" for n in ("silver", "quarantine")}
        return home.spark.sql(statement.format(**names))

    return run


def twice(home: Home) -> None:
    table = str(home.settings.table("silver/orders"))
    write_deltalake(table, DeltaTable(table).to_pyarrow_table().slice(0, 1), mode="append")


DAMAGE: dict[str, tuple[Callable[[Home], object], list[tuple[str, str, int, int]]]] = {
    "a row lost": (sql("DELETE FROM {silver} WHERE id = '2'"), [("silver", "id=2", 0, 1)]),
    "a value changed": (sql("UPDATE {silver} SET amount = 9 WHERE id = '2'"), [("silver", "id=2", 1, 1)]),
    "a value turned NULL": (sql("UPDATE {silver} SET state = NULL WHERE id = '3'"), [("silver", "id=3", 1, 1)]),
    "a row that bronze does not give": (
        sql("INSERT INTO {silver} SELECT 'x', state, at, amount, _file, _row FROM {silver} LIMIT 1"), [("silver", "id=x", 1, 0)],
    ),
    "another source of a row": (sql("UPDATE {silver} SET _row = 7 WHERE id = '1'"), [("silver", "id=1", 1, 1)]),
    "a refused row lost": (sql("DELETE FROM {quarantine} WHERE id = 'bad'"), [("quarantine", "_file=a.csv, _row=4", 0, 1)]),
    "a reason lost": (sql("UPDATE {quarantine} SET reasons = array() WHERE id = 'bad'"), [("quarantine", "_file=a.csv, _row=4", 1, 1)]),
}  # fmt: skip


def test_tables_that_runs_made_are_proved_and_every_damage_is_found_and_repaired_by_a_rebuild(home: Home) -> None:
    home.land("a.csv", *ROWS[:4], "5,open,,", at=1_767_600_000)
    home.ok("bronze", "silver")
    home.land("b.csv", "1,sent,2026-01-03,1.50", "x1,open,never,2.00")
    home.land("a.csv", *ROWS, at=1_767_600_001)
    home.ok("bronze", "silver")
    assert proof(home) == verify.Proof()
    whole = {name: home.version(f"{name}/orders") for name in ("silver", "quarantine")}
    for name, (damage, expected) in DAMAGE.items():
        damage(home)
        found = proof(home)
        assert [(f.table.split("/")[0], f.key, f.held, f.expected) for f in found.findings] == expected, name
        assert found.total == 1, name
        table = expected[0][0]
        DeltaTable(str(home.settings.table(f"{table}/orders"))).restore(whole[table])
    for damage, _ in DAMAGE.values():
        damage(home)
    (contract,) = home.contracts()
    silver.rebuild(home.spark, contract, Run(home.settings, lambda _: None))
    assert proof(home) == verify.Proof()


def test_a_key_held_twice_is_found(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00")
    home.ok("bronze", "silver")
    twice(home)
    assert proof(home) == verify.Proof((Finding("orders", "silver/orders", "id=1", 1, 0),), 1)


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
