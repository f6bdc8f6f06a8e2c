"""One Spark session for the suite, and a small home per test to drop files in and run layers on."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs import contract as contracts
from streaming_jobs import failpoints, ledger, lines, session, settings, small, tables
from streaming_jobs.contract import Contract
from streaming_jobs.increment import Outcome, increment
from streaming_jobs.run import Run
from streaming_jobs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("bronze", "silver", "gold")

# A frame of ten rows is planned and compiled far longer than it is computed. The tests that are about
# compiled expressions switch the compiler on again.
FAST = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.memory": "2g",
}

ORDERS = """
apiVersion: v3.2.0
kind: DataContract
id: orders
version: 1.0.0
status: active
servers:
  - {server: landing, type: local, path: "data/raw/*.csv", format: csv}
schema:
  - name: raw_orders
    physicalName: bronze/orders
    logicalType: object
    properties:
      - {name: id, logicalType: string, required: true}
      - {name: state, logicalType: string, synonyms: [{synonym: status}]}
      - {name: at, logicalType: string}
      - {name: amount, logicalType: string}
  - name: orders
    physicalName: silver/orders
    logicalType: object
    customProperties: [{property: sequenceBy, value: [at]}]
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: state, logicalType: string}
      - {name: at, logicalType: timestamp}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(10,2)", logicalTypeOptions: {minimum: 0}}
  - name: by_state
    physicalName: gold/by_state
    logicalType: object
    properties:
      - {name: state, logicalType: string, primaryKey: true, primaryKeyPosition: 1, transformLogic: state}
      - {name: orders, logicalType: integer, transformLogic: count(*)}
      - {name: revenue, logicalType: number, physicalType: "DECIMAL(18,2)", transformLogic: sum(amount)}
"""
HEADER = "id,state,at,amount"
BY_STATE = "state string, orders bigint, revenue string"  # of gold/by_state


@dataclass(frozen=True)
class Home:
    """A home of one test. Contracts are read anew at every run, as the commands do."""

    path: Path
    settings: Settings
    spark: SparkSession

    @property
    def raw(self) -> Path:
        return self.path / "data" / "raw"

    def contract(self, text: str = ORDERS, dataset: str = "orders") -> Path:
        file = self.path / "conf" / f"{dataset}.yaml"
        file.write_text(text)
        return file

    def land(self, name: str, *lines: str, header: str = HEADER, at: float | None = None) -> Path:
        """Deliver a file of these data records by rename; at: modification time, epoch seconds."""
        return self.land_bytes(name, "".join(f"{line}\n" for line in (header, *lines)).encode(), at)

    def land_bytes(self, name: str, content: bytes, at: float | None = None) -> Path:
        file, staged = self.raw / name, self.raw / f".{Path(name).name[:50]}.staged"
        file.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(content)
        if at is not None:
            os.utime(staged, (at, at))
        staged.rename(file)
        return file

    def contracts(self, *datasets: str) -> tuple[Contract, ...]:
        return contracts.load_all(self.settings.conf, datasets)

    def run(self, *layers: str, accept_quality: bool = False) -> Outcome:
        one = Run(self.settings, _ignore, accept_quality=accept_quality)
        return increment(layers or LAYERS, self.contracts(), one, _ignore)

    def ok(self, *layers: str) -> Outcome:
        """A run that must end in 0."""
        outcome = self.run(*layers)
        assert outcome.exit_code == 0, (outcome.failures, outcome.notes)
        return outcome

    def redo(self, *steps: Callable[..., None], accept_quality: bool = False, force: bool = False) -> None:
        """Take steps such as `silver.rebuild`, whether or not there is work."""
        (contract,) = self.contracts()
        for step in steps:
            step(self.spark, contract, Run(self.settings, _ignore, accept_quality=accept_quality, force=force))

    def sql(self, statement: str) -> None:
        """Spark SQL in which {bronze}, {silver}, {quarantine} and {gold} are the tables of orders."""
        names = {layer: f"{layer}/orders" for layer in ("bronze", "silver", "quarantine")} | {"gold": "gold/by_state"}
        self.spark.sql(statement.format(**{layer: f"delta.`{self.settings.table(name)}`" for layer, name in names.items()}))

    def table(self, name: str) -> DataFrame:
        return tables.read(self.spark, self.settings.table(name))

    def version(self, name: str) -> int:
        return tables.version(self.settings.table(name))

    def versions(self) -> Mapping[str, int]:
        """The version of every table there is, the ledger included."""
        found = sorted((self.path / "data").glob("*/*/_delta_log"))
        return {f"{log.parent.parent.name}/{log.parent.name}": tables.version(log.parent) for log in found}

    def states(self, dataset: str = "orders") -> Mapping[str, tuple[str, int | None]]:
        """path -> (status, rows) by the file ledger."""
        return {path: (str(s.status), s.last.rows) for path, s in ledger.known(self.settings, dataset).states.items()}


def _ignore(*_: object) -> None:
    pass


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    home = tmp_path_factory.mktemp("session")
    (home / "checkpoints").mkdir()
    active = session.start(settings.load(home), conf_over=FAST)
    gc.collect()
    gc.freeze()
    yield active
    active.stop()


@pytest.fixture
def home(spark: SparkSession, tmp_path: Path) -> Iterator[Home]:
    yield home_at(spark, tmp_path / "home")
    forget_tables(spark)
    spark.conf.set("spark.sql.shuffle.partitions", "2")  # `watch` suits the session to its work


@pytest.fixture
def other_home(spark: SparkSession, tmp_path: Path) -> Home:
    """A second one, to come to the same end another way."""
    return home_at(spark, tmp_path / "other")


@pytest.fixture
def bare_home(tmp_path: Path) -> Path:
    """A home for processes, without a session."""
    made = tmp_path / "a höme with spaces"
    for folder in ("conf", "data/raw", "checkpoints"):
        (made / folder).mkdir(parents=True)
    (made / "conf/orders.yaml").write_text(ORDERS)
    return made


def call(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process."""
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(home), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def forget_tables(spark: SparkSession) -> None:
    """Drop what Delta remembers of tables for an hour: those of all tests together fill the heap."""
    assert spark._jvm is not None
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    # Frames refer to themselves, and each keeps its plan in the JVM.
    gc.collect()


@pytest.fixture
def orders(tmp_path: Path) -> Contract:
    """The contract of ORDERS, for tests that need no home."""
    file = tmp_path / "orders.yaml"
    file.write_text(ORDERS)
    return contracts.load(file)


def home_at(spark: SparkSession, path: Path) -> Home:
    """A new home with the contract of ORDERS."""
    for folder in ("conf", "data/raw", "checkpoints"):
        (path / folder).mkdir(parents=True)
    made = Home(path, settings.load(path), spark)
    made.contract()
    return made


@pytest.fixture
def compiled(spark: SparkSession) -> Iterator[None]:
    """Run the test with Spark's expression compiler, as production does."""
    before = {key: value for key, value in FAST.items() if "codegen" in key}
    spark.conf.set("spark.sql.codegen.wholeStage", "true")
    spark.conf.set("spark.sql.codegen.factoryMode", "CODEGEN_ONLY")
    yield
    for key, value in before.items():
        spark.conf.set(key, value)


@contextmanager
def crash_at(name: str) -> Iterator[None]:
    """Within this block the process dies, as far as our code can tell, at a failpoint."""
    failpoints.arm(f"{name}=raise")
    try:
        with pytest.raises(failpoints.Crashed, match=name):
            yield
    finally:
        failpoints.disarm()


def hold_nothing(limits: pytest.MonkeyPatch) -> None:
    """Let every table and batch go through Spark, however small it is."""
    limits.setattr(small, "MAX_ROWS", 0)
    limits.setattr(small, "MAX_CSV_BYTES", -1)
    limits.setattr(lines, "may_be", lambda _: False)


@pytest.fixture(params=["in memory", pytest.param("through Spark", marks=pytest.mark.slow)])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs twice: with little held in memory, as it is, and with everything through Spark."""
    if request.param == "through Spark":
        hold_nothing(monkeypatch)


def jobs(spark: SparkSession) -> int:
    """How many jobs this session has begun."""
    scheduler = spark.sparkContext._jsc.sc().dagScheduler()
    return int(scheduler.numTotalJobs())


def assert_rows(actual: DataFrame, rows: Sequence[tuple[Any, ...]], schema: str) -> None:
    """The frame holds exactly these rows, in any order; schema: `name type, …`, a cast of the actual columns."""
    expected = actual.sparkSession.createDataFrame(list(rows), schema)
    assert_same(actual.select(*(actual[f.name].cast(f.dataType).alias(f.name) for f in expected.schema)), expected)


def assert_same(actual: DataFrame, expected: DataFrame) -> None:
    """Equal as multisets, schemas included, nullability aside."""
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True, allow_nan_equality=True, ignore_metadata=True)
