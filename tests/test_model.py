"""Whatever is delivered, corrected, renamed, emptied or dropped, and wherever a run dies: the tables are what
a plain-Python reading of the files gives, and do not depend on the order of arrival.

`make test` runs a few histories, always the same ones; `make test-deep` runs HISTORIES random ones.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pyspark.sql import SparkSession

from streaming_jobs import failpoints, gold, small, tables
from tests import oracle
from tests.conftest import HEADER, ORDERS, Home, assert_same, forget_tables, hold_nothing, home_at
from tests.oracle import ORDERS_LOGIC, BronzeRow

NAMES = ("a.csv", "b.csv", "c.csv")
CELLS = (("1", "2", "3", ""), ("open", "paid", ""), ("2026-01-01", "2026-01-02", "", "never"), ("1.00", "2.50", "-1", ""))
RECORDS = st.tuples(*map(st.sampled_from, CELLS)).map(",".join) | st.sampled_from(["1,open", "2,paid,2026-01-02,1.00,more", HEADER])
BLOCK = "customProperties: [{property: sequenceBy, value: [at]}]"
KEY = "{name: state, logicalType: string}\n      - {name: at, logicalType: timestamp}"
CONTRACTS = {
    "by time": ORDERS,
    "by file": ORDERS.replace(f"    {BLOCK}\n", ""),
    "two keys": ORDERS.replace(KEY, KEY.replace("string}", "string, primaryKey: true, primaryKeyPosition: 2}")),
    "in partitions": ORDERS.replace(KEY, KEY.replace("string}", "string, partitioned: true, partitionKeyPosition: 1}")),
}

# Appended to each contract: a filter, a grain of two columns with NULLs, a roll-up, and a roll-up of that.
GOLD = """
  - name: by_day
    physicalName: gold/by_day
    logicalType: object
    customProperties: [{property: where, value: amount < 2}]
    properties:
      - {name: day, logicalType: date, primaryKey: true, primaryKeyPosition: 1, transformLogic: CAST(at AS DATE)}
      - {name: state, logicalType: string, primaryKey: true, primaryKeyPosition: 2, transformLogic: state}
      - {name: amounts, logicalType: integer, transformLogic: count(DISTINCT amount)}
      - {name: median, logicalType: number, physicalType: DOUBLE, transformLogic: "percentile(amount, 0.5)"}
      - {name: last, logicalType: string, transformLogic: "max(struct(at, id)).id"}
  - name: by_kind
    physicalName: gold/by_kind
    logicalType: object
    customProperties: [{property: source, value: by_day}]
    properties:
      - {name: kind, logicalType: string, primaryKey: true, primaryKeyPosition: 1, transformLogic: "coalesce(state, 'none')"}
      - {name: days, logicalType: integer, transformLogic: count(day)}
      - {name: median, logicalType: number, physicalType: DOUBLE, transformLogic: max(median)}
  - name: kinds
    physicalName: gold/kinds
    logicalType: object
    customProperties: [{property: source, value: by_kind}]
    properties:
      - {name: many, logicalType: boolean, primaryKey: true, primaryKeyPosition: 1, transformLogic: days > 1}
      - {name: kinds, logicalType: integer, transformLogic: count(*)}
"""
GOLD_SQL = {
    "by_state": "SELECT state, count(*) AS orders, CAST(sum(amount) AS DECIMAL(18,2)) AS revenue FROM silver GROUP BY state",
    "by_day": """SELECT CAST(at AS DATE) AS day, state, count(DISTINCT amount) AS amounts, percentile(amount, 0.5) AS median,
                 max(struct(at, id)).id AS last FROM silver WHERE amount < 2 GROUP BY CAST(at AS DATE), state""",
    "by_kind": """SELECT coalesce(state, 'none') AS kind, count(day) AS days, max(median) AS median FROM by_day
                  GROUP BY coalesce(state, 'none')""",
    "kinds": "SELECT days > 1 AS many, count(*) AS kinds FROM by_kind GROUP BY days > 1",
}


def assert_gold(home: Home) -> None:
    """Every Gold table is its SQL over all of Silver, and over Gold tables that were computed the same way here."""
    home.table("silver/orders").createOrReplaceTempView("silver")
    for name, sql in GOLD_SQL.items():
        expected = home.spark.sql(sql)
        expected.createOrReplaceTempView(name)
        assert_same(home.table(f"gold/{name}"), expected)


class Deliveries(RuleBasedStateMachine):
    """One home, and beside it what its Bronze must hold: per path the rows of the newest content that was read."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        super().__init__()
        self.home = home_at(spark, folder / f"home{next(_numbers)}")
        self.read: dict[str, list[BronzeRow]] = {}
        self.deliveries = 0
        self.limits = pytest.MonkeyPatch()
        self.unread = False  # a run died: what it had read by then is known to Bronze only

    @initialize(
        contract=st.sampled_from(sorted(CONTRACTS)),
        batch=st.sampled_from([1, 2, 1000]),
        in_memory=st.booleans(),
        units=st.sampled_from([1000, 1]),
        joined=st.sampled_from([2, 32]),
    )
    def begin(self, contract: str, batch: int, in_memory: bool, units: int, joined: int) -> None:
        if not in_memory:
            hold_nothing(self.limits)
        self.limits.setattr(small, "_JOIN_FILES", joined)
        self.limits.setattr(gold, "MAX_UNITS", units)
        # maxShrink 1: nothing is held back, so that the folder alone says what is to be read.
        text = CONTRACTS[contract].replace("bronze/orders\n", "bronze/orders\n    customProperties: [{property: maxShrink, value: 1}]\n")
        self.home.contract(text + GOLD)
        self.home = Home(self.home.path, self.home.settings.model_copy(update={"max_files_per_batch": batch}), self.home.spark)
        self.contract = oracle.parse(text)

    @rule(name=st.sampled_from(NAMES), records=st.lists(RECORDS, max_size=4))
    def deliver_or_correct(self, name: str, records: Sequence[str]) -> None:
        self._land(name, "".join(f"{line}\n" for line in (HEADER, *records)).encode())

    @rule(name=st.sampled_from(NAMES), content=st.sampled_from([b"", HEADER.encode()]))
    def empty(self, name: str, content: bytes) -> None:
        self._land(name, content)

    @precondition(lambda self: self._landed())
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(self._landed()))
        self._land(file.name, file.read_bytes())

    @precondition(lambda self: self._landed() and not self.unread)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def rename(self, data: st.DataObject, name: str) -> None:
        file = data.draw(st.sampled_from(self._landed()))
        content = file.read_bytes()
        file.unlink()
        self._land(name, content)

    @precondition(lambda self: self._landed() and not self.unread)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self._landed())).unlink()

    @rule(name=st.sampled_from(failpoints.NAMES))
    def die(self, name: str) -> None:
        failpoints.arm(f"{name}=raise")
        try:
            self.home.run()
        except failpoints.Crashed:
            self.unread = True
        else:
            self._has_read()
        finally:
            failpoints.disarm()

    @rule(layers=st.sampled_from([("bronze",), ("bronze", "silver"), ("silver",), ("gold",)]))
    def run_some(self, layers: Sequence[str]) -> None:
        assert self.home.run(*layers).failures == ()
        if "bronze" in layers:
            self._has_read()

    @rule()
    def run(self) -> None:
        self.home.ok()
        self._has_read()
        assert oracle.table_differences(self.home.path / "data", self.read, self.contract, ORDERS_LOGIC) == []
        if tables.exists(self.home.settings.table("gold/by_state")):
            assert_gold(self.home)

    def teardown(self) -> None:
        if hasattr(self, "contract"):
            self.run()
        self.limits.undo()
        shutil.rmtree(self.home.path)
        forget_tables(self.home.spark)

    def _land(self, name: str, content: bytes) -> None:
        self.deliveries += 1
        self.home.land_bytes(name, content, at=1_767_600_000 + self.deliveries)

    def _landed(self) -> list[Path]:
        return sorted(self.home.raw.glob("*.csv"))

    def _has_read(self) -> None:
        self.read |= oracle.bronze(self.home.raw, self.contract)
        self.unread = False


_numbers = itertools.count()


def check(spark: SparkSession, folder: Path, histories: int, *, fixed: bool) -> None:
    machine: Any = lambda: Deliveries(spark, folder)  # noqa: E731 # typed as a class, called without arguments
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=12,
            deadline=None,
            derandomize=fixed,
            database=None,
            suppress_health_check=list(HealthCheck),
            # A smaller example of a failure would take an hour to find.
            phases=[Phase.generate],
        ),
    )


def test_after_any_history_the_tables_are_what_a_plain_reading_of_the_files_gives(spark: SparkSession, tmp_path: Path) -> None:
    check(spark, tmp_path, 4, fixed=True)


@pytest.mark.deep
def test_after_hundreds_of_histories_the_tables_are_what_a_plain_reading_gives(spark: SparkSession, tmp_path: Path) -> None:
    check(spark, tmp_path, int(os.environ.get("HISTORIES", "200")), fixed=False)


@pytest.mark.usefixtures("either_way")
def test_a_key_that_moves_to_another_partition_is_found_in_its_old_one(home: Home) -> None:
    home.contract(CONTRACTS["in partitions"])
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,2.00", "3,,2026-01-01,3.00")
    home.ok()
    home.land("b.csv", "1,paid,2026-01-02,1.00", "3,paid,2026-01-02,3.00", "4,sent,2026-01-02,4.00")
    home.ok()
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(CONTRACTS["in partitions"]), ORDERS_LOGIC) == []


FIVE = {
    "a.csv": ("1,open,2026-01-01,1.00", "2,open,2026-01-03,2.00", "4,open,,4.00"),
    "b.csv": ("1,paid,2026-01-02,1.50", "3,open,2026-01-01,3.00", "bad,open,never,1.00"),
    "c.csv": ("2,paid,2026-01-02,2.50", "1,sent,2026-01-02,1.75"),
    "d.csv": ("3,paid,2026-01-01,3.50", "4,paid,,4.50", "5,open,2026-01-05,-1"),
    "e.csv": ("5,open,2026-01-04,5.00", "2,sent,2026-01-03,2.75", "1,open"),
}


def orders_of_arrival(home: Home, waiting: Sequence[str], folder: Path) -> Iterator[Home]:
    """Deliver the waiting files one by one in every order, a run after each. A home is gone when the next one comes."""
    if not waiting:
        yield home
    for name in waiting:
        path = folder / f"copy{next(_numbers)}"
        shutil.copytree(home.path, path)
        copy = Home(path, home.settings.model_copy(update={"home": path}), home.spark)
        copy.land(name, *FIVE[name], at=1_767_600_000)
        copy.ok("bronze", "silver")
        yield from orders_of_arrival(copy, [w for w in waiting if w != name], folder)
        shutil.rmtree(path)
        forget_tables(home.spark)


@pytest.mark.deep
def test_every_order_of_five_files_ends_in_the_same_silver_and_quarantine(home: Home, other_home: Home, tmp_path: Path) -> None:
    for name, records in FIVE.items():
        other_home.land(name, *records, at=1_767_600_000)
    other_home.ok("bronze", "silver")
    refused = ["id", "state", "at", "amount", "_malformed", "_file", "_row", "reasons"]
    seen = 0
    for arrived in orders_of_arrival(home, list(FIVE), tmp_path):
        assert_same(arrived.table("silver/orders"), other_home.table("silver/orders"))
        assert_same(arrived.table("quarantine/orders").select(refused), other_home.table("quarantine/orders").select(refused))
        seen += 1
    assert seen == 120
