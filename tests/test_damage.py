"""State that was lost or damaged on disk: seen before anything is read, named in one line, repaired by the command of that line.

Each test damages a copy of a home with four runs behind it. `older` is a copy from before the last two.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from streaming_jobs import ledger, locks, settings
from streaming_jobs.commands import app
from streaming_jobs.run import Healed
from tests import oracle
from tests.conftest import ORDERS, ROOT, Home, forget_tables, home_at

pytestmark = pytest.mark.slow

MONDAY = ("1,open,2026-01-05,1.00", "2,open,2026-01-05,2.00", "bad,open,never,3.00")
TUESDAY = ("1,paid,2026-01-06,1.00", "3,open,2026-01-06,4.00", "worse,open,never,3.00")
MONDAY_CORRECTED = ("2,open,2026-01-05,2.50", "still bad,open,never,3.00", "4,open,2026-01-05,1.00")
WEDNESDAY = ("3,paid,2026-01-07,4.00", "5,open,2026-01-07,5.00", "worst,open,never,3.00")


@dataclass(frozen=True)
class Known:
    """A home, and the same one earlier; both to be copied only."""

    home: Path
    older: Path


@pytest.fixture(scope="module")
def known(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    made = home_at(spark, tmp_path_factory.mktemp("known") / "home")
    made.land("mon.csv", *MONDAY, at=1_767_600_000)
    made.ok()
    made.land("tue.csv", *TUESDAY, at=1_767_700_000)
    made.ok()
    older = made.path.with_name("older")
    shutil.copytree(made.path, older)
    made.land("mon.csv", *MONDAY_CORRECTED, at=1_767_700_001)
    made.ok()
    made.land("wed.csv", *WEDNESDAY, at=1_767_800_000)
    made.ok()
    yield Known(made.path, older)
    forget_tables(spark)


@pytest.fixture
def home(spark: SparkSession, known: Known, tmp_path: Path) -> Iterator[Home]:
    """A copy, and therefore a home that was moved."""
    shutil.copytree(known.home, tmp_path / "home")
    yield Home(tmp_path / "home", settings.load(tmp_path / "home"), spark)
    forget_tables(spark)


Damage = Callable[[Home, Path], object]


def newest(folder: Path) -> Path:
    return max((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))


def log(home: Home, table: str) -> list[Path]:
    """The commits of a table, oldest first."""
    return sorted((home.settings.table(table) / "_delta_log").glob("*.json"))


def checkpoint(home: Home, layer: str) -> Path:
    return home.settings.checkpoint(layer, "orders")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def put_back(home: Home, older: Path, *names: str) -> None:
    """Restore these folders of the home from the older copy."""
    for name in names:
        shutil.rmtree(home.path / name)
        shutil.copytree(older / name, home.path / name)


def lose_newest_commit(home: Home, table: str) -> None:
    commit = log(home, table)[-1]
    commit.unlink()
    commit.with_suffix(".crc").unlink(missing_ok=True)


def delete_by_hand(home: Home, _: Path) -> None:
    home.sql("DELETE FROM {bronze} WHERE id = '2'")


def lose_commits(home: Home, _: Path) -> None:
    for layer in ("silver", "gold"):
        shutil.rmtree(checkpoint(home, layer) / "commits")


def cut_hint(home: Home, _: Path) -> None:
    """As a kill leaves it while a checkpoint of a table's log is written."""
    for table in ("bronze/orders", "silver/orders"):
        DeltaTable(home.settings.table(table)).create_checkpoint()
        cut(home.settings.table(table) / "_delta_log/_last_checkpoint")


def leave_orphan(home: Home, _: Path) -> None:
    """As a kill leaves it between a data file and its commit."""
    bronze = home.settings.table("bronze/orders")
    shutil.copy(next(bronze.glob("*.parquet")), bronze / "part-orphan.parquet")
    dry = DeltaTable(bronze).vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
    assert "part-orphan.parquet" in dry


TABLES = tuple(f"data/{folder}" for folder in ("bronze", "silver", "quarantine", "gold", "ledger"))
SILVER, GOLD = "rebuild silver orders", "rebuild gold orders"
BRONZE, BRONZE_FORCED, LEDGER = "rebuild bronze orders", "rebuild bronze orders --force", "rebuild ledger"

DAMAGED: dict[str, tuple[Damage, str, str]] = {
    "newest offset empty": (lambda h, _: empty(newest(checkpoint(h, "silver") / "offsets")), "offsets/3 is empty or cut off", SILVER),
    "newest offset cut": (lambda h, _: cut(newest(checkpoint(h, "gold") / "offsets")), "offsets/3 is empty or cut off", GOLD),
    "newest commit empty": (lambda h, _: empty(newest(checkpoint(h, "silver") / "commits")), "commits/3 is empty or cut off", SILVER),
    "newest offset gone": (lambda h, _: newest(checkpoint(h, "gold") / "offsets").unlink(), "offsets/3 is missing", GOLD),
    "an offset gone": (lambda h, _: (checkpoint(h, "silver") / "offsets/1").unlink(), "offsets/1 is missing", SILVER),
    "offsets gone": (lambda h, _: shutil.rmtree(checkpoint(h, "silver") / "offsets"), "offsets/3 is missing", SILVER),
    "metadata gone": (lambda h, _: (checkpoint(h, "gold") / "metadata").unlink(), "metadata is missing or damaged", GOLD),
    "metadata empty": (lambda h, _: empty(checkpoint(h, "silver") / "metadata"), "metadata is missing or damaged", SILVER),
    "older silver checkpoint": (lambda h, o: put_back(h, o, "checkpoints/silver"), "does not know batch 3, which the tables have", SILVER),
    "older gold checkpoint": (lambda h, o: put_back(h, o, "checkpoints/gold"), "does not know batch 3, which the tables have", GOLD),
    "older checkpoints": (lambda h, o: put_back(h, o, "checkpoints"), "does not know batch 3, which the tables have", SILVER),
    "older silver": (lambda h, o: put_back(h, o, "data/silver"), "is at version 2 and was at 4", SILVER),
    "older quarantine": (lambda h, o: put_back(h, o, "data/quarantine"), "is at version 2 and was at 4", SILVER),
    "older gold": (lambda h, o: put_back(h, o, "data/gold"), "is at version 2 and was at 4", GOLD),
    "older bronze": (lambda h, o: put_back(h, o, "data/bronze"), "is at version 2 and was at 4", BRONZE_FORCED),
    "newest silver commit gone": (lambda h, _: lose_newest_commit(h, "silver/orders"), "is at version 3 and was at 4", SILVER),
    "newest silver commit empty": (lambda h, _: empty(log(h, "silver/orders")[-1]), "has an empty commit", SILVER),
    "silver commit cut": (lambda h, _: cut(log(h, "silver/orders")[1]), "cannot be opened", SILVER),
    "quarantine commit cut": (lambda h, _: cut(log(h, "quarantine/orders")[-1]), "cannot be opened", SILVER),
    "gold commit cut": (lambda h, _: cut(log(h, "gold/by_state")[-1]), "cannot be opened", GOLD),
    "bronze commit gone": (lambda h, _: log(h, "bronze/orders")[2].unlink(), "cannot be opened", BRONZE_FORCED),
    "older tables": (lambda h, o: put_back(h, o, *TABLES), "is at version 2 and was at 4", BRONZE_FORCED),
    "bronze changed by hand": (delete_by_hand, "was changed by another hand in version 5 (DELETE)", BRONZE),
    "ledger gone": (lambda h, _: shutil.rmtree(h.settings.table("ledger")), "the ledger knows only 0", f"{LEDGER} orders"),
    "file ledger gone": (lambda h, _: shutil.rmtree(h.settings.table("ledger/files")), "the ledger knows only 0", f"{LEDGER} orders"),
    "older ledger": (lambda h, o: put_back(h, o, "data/ledger"), "holds ingest", f"{LEDGER} orders"),
    "file ledger cut": (lambda h, _: cut(log(h, "ledger/files")[-1]), "data/ledger/files cannot be opened", LEDGER),
    "run ledger cut": (lambda h, _: cut(log(h, "ledger/runs")[-1]), "data/ledger/runs cannot be opened", LEDGER),
}
"""State -> what makes it, what the line says of it, and the command that the line names."""


def command(home: Home, text: str) -> None:
    """A command as it stands in a message, in this process and its Spark session."""
    result = CliRunner().invoke(app, ["--home", str(home.path), *text.split()])
    assert result.exit_code == 0, (text, result.output, result.exception)


def assert_right(home: Home) -> None:
    """The tables are what the files say, and stay so: a new file goes through, and the next run has nothing to do."""
    home.land("thu.csv", "6,open,2026-01-08,6.00", "2,paid,2026-01-08,2.00", at=1_767_900_000)
    home.ok()
    assert oracle.differences(home.path / "data", home.raw, oracle.parse(ORDERS), oracle.ORDERS_LOGIC) == []
    assert home.ok().notes == ()


@pytest.mark.parametrize("state", DAMAGED)
def test_damage_is_seen_and_named_in_one_line_before_anything_is_read(home: Home, known: Known, state: str) -> None:
    damage, said, repair = DAMAGED[state]
    damage(home, known.older)
    files = {p: p.stat().st_mtime_ns for p in (home.path / "data").rglob("*") if p.is_file()}
    outcome = home.run()
    assert outcome.exit_code == 4
    assert {p: p.stat().st_mtime_ns for p in (home.path / "data").rglob("*") if p.is_file()} == files
    (line,) = {str(failure) for _, _, failure in outcome.failures}
    assert said in line
    assert "\n" not in line
    assert re.findall(r"`streaming-jobs ([^`]+)`", line) == [repair]
    doctor = CliRunner().invoke(app, ["--home", str(home.path), "doctor"])
    assert doctor.exit_code == 4, doctor.output
    assert said.removeprefix("data/ledger/files ").removeprefix("data/ledger/runs ") in doctor.stdout
    assert f"`streaming-jobs {repair}`" in doctor.stdout


def some(states: Iterable[str], *always: str) -> list[Any]:
    """All of them as parameters; those that are not named only with the deep tests."""
    return [pytest.param(state, marks=() if state in always else pytest.mark.deep) for state in states]


@pytest.mark.parametrize(
    "state", some(DAMAGED, "newest offset cut", "older silver checkpoint", "older bronze", "older ledger", "silver commit cut")
)
def test_damage_is_repaired_by_the_command_that_is_named(home: Home, known: Known, state: str) -> None:
    damage, _, repair = DAMAGED[state]
    damage(home, known.older)
    command(home, repair)
    assert_right(home)


HEALED: dict[str, tuple[Damage, str | None]] = {
    "home copied": (lambda h, _: h.path, None),
    "checkpoint hint cut": (cut_hint, None),
    "orphaned data file": (leave_orphan, None),
    "bronze offset empty": (
        lambda h, _: empty(newest(checkpoint(h, "bronze") / "offsets")),
        "offsets/2 is empty or cut off: the stream starts over",
    ),
    "bronze source log gone": (
        lambda h, _: shutil.rmtree(checkpoint(h, "bronze") / "sources"),
        "is missing or cut off: the stream starts over",
    ),
    "bronze metadata gone": (lambda h, _: (checkpoint(h, "bronze") / "metadata").unlink(), "metadata is missing or damaged"),
    "bronze checkpoint gone": (lambda h, _: shutil.rmtree(checkpoint(h, "bronze")), "was lost: the stream starts over; of the 3 files"),
    "older bronze checkpoint": (lambda h, o: put_back(h, o, "checkpoints/bronze"), None),
    "silver checkpoint gone": (lambda h, _: shutil.rmtree(checkpoint(h, "silver")), "was lost: made again from all of bronze"),
    "gold checkpoint gone": (lambda h, _: shutil.rmtree(checkpoint(h, "gold")), None),
    "checkpoints gone": (lambda h, _: shutil.rmtree(h.path / "checkpoints"), "was lost: made again from all of bronze"),
    "silver commit of the stream gone": (lambda h, _: newest(checkpoint(h, "silver") / "commits").unlink(), None),
    "all commits of the streams gone": (lose_commits, None),
    "silver gone": (lambda h, _: shutil.rmtree(h.settings.table("silver/orders")), "data/silver/orders was lost: made again"),
    "quarantine gone": (lambda h, _: shutil.rmtree(h.settings.table("quarantine/orders")), "data/quarantine/orders was lost: made again"),
    "gold gone": (lambda h, _: shutil.rmtree(h.settings.table("gold/by_state")), None),
    "older marks": (lambda h, o: put_back(h, o, "checkpoints/marks"), None),
    "marks gone": (lambda h, _: shutil.rmtree(h.path / "checkpoints/marks"), None),
    "run ledger gone": (lambda h, _: shutil.rmtree(h.settings.table("ledger/runs")), None),
    "everything older": (lambda h, o: put_back(h, o, *TABLES, "checkpoints"), None),
}
"""State -> what makes it, and what the next run says of what it put right by itself."""


@pytest.mark.parametrize("state", some(HEALED, "home copied", "bronze offset empty", "checkpoints gone", "everything older"))
def test_what_the_rest_of_the_state_says_is_put_right_by_the_next_run(home: Home, known: Known, state: str) -> None:
    damage, said = HEALED[state]
    damage(home, known.older)
    home.land("fri.csv", "7,open,2026-01-09,6.00", at=1_767_950_000)
    notes = [note.what for note in home.ok().notes if isinstance(note, Healed)]
    assert [note for note in notes if said and said in note] == (notes[-1:] if said else [])
    assert bool(notes) == bool(said)
    assert_right(home)


def feed_of_bronze_gone(home: Home) -> None:
    home.land("mon.csv", *MONDAY, at=1_767_850_000)
    home.ok("bronze")
    shutil.rmtree(home.settings.table("bronze/orders") / "_change_data")


def log_of_bronze_gone(home: Home) -> None:
    home.land("mon.csv", *MONDAY, at=1_767_850_000)
    home.ok("bronze")
    home.land("fri.csv", "7,open,2026-01-09,6.00", at=1_767_950_000)
    home.ok("bronze")
    DeltaTable(home.settings.table("bronze/orders")).create_checkpoint()
    for commit in log(home, "bronze/orders")[:-1]:
        commit.unlink()


def start_of_last_batch_gone(home: Home) -> None:
    """Read long ago; but Spark asks for the last batch again when it starts."""
    DeltaTable(home.settings.table("bronze/orders")).create_checkpoint()
    for commit in log(home, "bronze/orders")[:-1]:
        commit.unlink()
    home.land("mon.csv", *MONDAY, at=1_767_850_000)


def feed_of_silver_gone(home: Home) -> None:
    home.land("mon.csv", *MONDAY, at=1_767_850_000)
    home.ok("bronze", "silver")
    shutil.rmtree(home.settings.table("silver/orders") / "_change_data")


CLEANED: dict[str, tuple[Callable[[Home], None], str]] = {
    "change data of bronze gone": (feed_of_bronze_gone, "was cleaned away, and the stream needs it: made again from all of bronze"),
    "commits of bronze gone": (log_of_bronze_gone, "was cleaned away, and the stream needs it: made again from all of bronze"),
    "commits of bronze gone that were read": (
        start_of_last_batch_gone,
        "was cleaned away, and the stream needs it: made again from all of bronze",
    ),
    "change data of silver gone": (feed_of_silver_gone, "was cleaned away, and the stream needs it: every table is computed again"),
}


@pytest.mark.parametrize("state", CLEANED)
def test_changes_that_were_cleaned_away_before_they_were_read_are_not_passed_over(home: Home, state: str) -> None:
    damage, said = CLEANED[state]
    damage(home)
    assert [note.what for note in home.ok().notes if isinstance(note, Healed) and said in note.what]
    assert_right(home)


DATA_FILES = {"bronze/orders": BRONZE_FORCED, "silver/orders": SILVER, "quarantine/orders": SILVER, "gold/by_state": GOLD}


@pytest.mark.parametrize("table", some(DATA_FILES, "silver/orders"))
def test_missing_data_files_are_named_when_a_run_comes_upon_them_and_by_doctor(home: Home, table: str) -> None:
    for file in home.settings.table(table).glob("*.parquet"):
        file.unlink()
    home.land("mon.csv", *MONDAY_CORRECTED, "9,open,2026-01-05,9.00", "bad again,open,never,9.00", at=1_767_850_000)
    outcome = home.run()
    assert outcome.exit_code == 4
    (line,) = [str(failure) for _, _, failure in outcome.failures]
    doctor = CliRunner().invoke(app, ["--home", str(home.path), "doctor"])
    assert doctor.exit_code == 4
    for text in (line, doctor.stdout):
        assert re.search(rf"data/{table}:? lacks \d of its \d data files", text)
        assert f"`streaming-jobs {DATA_FILES[table]}`" in text
    command(home, DATA_FILES[table])
    assert_right(home)
    left = CliRunner().invoke(app, ["--home", str(home.path), "doctor"])
    assert left.exit_code == 0
    assert re.search(rf"note: data/set-aside/{table.replace('/', '-')}-\S+: is a damaged table", left.stdout)


def test_bronze_is_not_made_again_without_what_lies_nowhere_else_unless_that_is_said(home: Home) -> None:
    cut(log(home, "bronze/orders")[1])
    result = CliRunner().invoke(app, ["--home", str(home.path), *BRONZE.split()])
    assert result.exit_code == 4
    assert f"`streaming-jobs {BRONZE_FORCED}`" in result.stderr
    assert not (home.path / "data/set-aside").exists()


def test_a_ledger_that_was_made_again_knows_the_hash_of_what_lies_there_as_it_was_read(home: Home) -> None:
    before = {path: (s.sha256, s.last.rows, s.last.malformed_rows) for path, s in ledger.known(home.settings, "orders").states.items()}
    shutil.rmtree(home.settings.table("ledger"))
    home.land("tue.csv", *TUESDAY, "8,open,2026-01-06,8.00", at=1_767_990_000)
    (home.raw / "wed.csv").unlink()
    command(home, LEDGER)
    after = {path: (s.sha256, s.last.rows, s.last.malformed_rows) for path, s in ledger.known(home.settings, "orders").states.items()}
    gone = {path: ("unknown", *before[path][1:]) for path in ("tue.csv", "wed.csv")}
    assert after == {"mon.csv": before["mon.csv"]} | gone
    home.ok()
    assert home.states() == {"mon.csv": ("repeat", 3), "tue.csv": ("ingested", 4), "wed.csv": ("missing", None)}


def test_a_ledger_that_is_there_is_not_made_again(home: Home) -> None:
    before = home.versions()
    command(home, LEDGER)
    assert home.versions() == before


def test_doctor_finds_nothing_in_a_home_that_is_right(home: Home) -> None:
    result = CliRunner().invoke(app, ["--home", str(home.path), "doctor"])
    assert (result.exit_code, result.stdout) == (0, "nothing to put right\n")


def test_doctor_says_what_is_wrong_with_machine_and_contract_and_what_is_in_use(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5 << 20))
    monkeypatch.setenv("STREAMING_JOBS_JARS", "nowhere")
    (home.path / "conf/broken.yaml").write_text("kind: DataContract\n")
    with locks.hold(home.settings, ["silver"], ["orders"]):
        result = CliRunner().invoke(app, ["--home", str(home.path), "doctor"])
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    for start, said in (
        ("wrong: machine", "delta-spark_4.2_2.13-4.4.0.jar"),
        ("wrong: data", "has 5 MiB of free space left"),
        ("wrong: conf/broken.yaml", "apiVersion"),
        ("note: dataset orders", f"silver of orders is in use by process {os.getpid()}"),
    ):
        assert [line for line in lines if line.startswith(start) and said in line], (start, lines)


def test_doctor_compares_bronze_with_the_ledger_file_by_file(home: Home) -> None:
    home.sql("DELETE FROM {bronze} WHERE id = '2'")
    marks = home.path / "checkpoints/marks"
    shutil.rmtree(marks)  # as after an update from a version that kept none
    result = CliRunner().invoke(app, ["--home", str(home.path), "doctor"])
    assert result.exit_code == 4
    assert "data/bronze/orders: holds 2 rows of mon.csv, the ledger says 3" in result.stdout
    assert f"`streaming-jobs {BRONZE}`" in result.stdout


def test_the_documented_states_are_those_that_are_tested() -> None:
    text = (ROOT / "docs/reliability.md").read_text("utf-8")
    documented = re.findall(r"^\| ([a-z][a-z ,]+?) \| ", text.split("## Damage")[1].split("\n## ")[0], re.MULTILINE)
    assert documented == [*DAMAGED, *HEALED, *CLEANED, "data files gone"]
