"""The command line: exit codes, general options in any place, machine-readable results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from streaming_jobs import ledger, locks, settings
from streaming_jobs.commands import _hoisted, app
from streaming_jobs.ledger import FileRow, Status
from tests.conftest import ORDERS, call


@pytest.fixture
def home(bare_home: Path) -> Path:
    return bare_home


def invoke(home: Path, *arguments: str) -> Any:
    """As `call`, in this process and on the session of the suite."""
    return CliRunner().invoke(app, ["--home", str(home), *_hoisted(arguments)])


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["run", "events"], ["run", "events"]),
        (["run", "--json", "events", "--home", "x"], ["--json", "--home", "x", "run", "events"]),
        (["show", "t", "-q", "--limit", "3", "--home=x"], ["-q", "--home=x", "show", "t", "--limit", "3"]),
        (["files", "accept", "--", "--json"], ["files", "accept", "--", "--json"]),
        (["run", "--home"], ["--home", "run"]),
    ],
)
def test_general_options_are_taken_wherever_they_stand(given: list[str], understood: list[str]) -> None:
    assert _hoisted(given) == understood


def test_garbage_is_looked_for_while_a_command_works_and_not_once_it_is_over() -> None:
    code = (
        "import atexit, gc\n"
        "from streaming_jobs import __main__, commands\n"
        "atexit.register(lambda: print('after', gc.isenabled()))\n"  # called last, being registered first
        "commands.main = lambda: print('within', gc.isenabled())\n"
        "__main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["within True", "after False", ""]


def test_an_unknown_command_or_option_is_a_usage_error(home: Path) -> None:
    assert call(home, "runn").returncode == 2
    assert call(home, "run", "--fast").returncode == 2


def test_a_broken_contract_stops_before_anything_is_read_and_names_the_place(home: Path) -> None:
    (home / "conf/orders.yaml").write_text(ORDERS.replace("primaryKey: true", "primarykey: true", 1))
    done = call(home, "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "primarykey" in done.stderr
    assert "primaryKey" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((home / "data").iterdir()) == [home / "data/raw"]


def test_an_unknown_dataset_names_those_that_exist(home: Path) -> None:
    done = call(home, "run", "order")
    assert done.returncode == 2
    assert "orders" in done.stderr


def test_a_missing_landing_folder_is_one_line_and_not_nothing_to_do(home: Path) -> None:
    (home / "data/raw").rmdir()
    done = call(home, "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist; nothing was read" in done.stderr


def test_a_home_without_contracts_says_so(tmp_path: Path) -> None:
    done = call(tmp_path, "run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_lint_prints_every_finding_and_ends_in_2(home: Path) -> None:
    assert call(home, "contract", "lint").returncode == 0
    (home / "conf/orders.yaml").write_text(ORDERS.replace("count(*)", "count(").replace("DECIMAL(10,2)", "DECIMAL(99,2)"))
    done = call(home, "contract", "lint", "--json")
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["contracts"][0]["findings"]) == 2


def test_a_layer_in_use_ends_in_75_at_once_and_names_the_holder(home: Path) -> None:
    with locks.hold(settings.load(home), ["bronze"], ["orders"]):
        done = call(home, "bronze")
    assert done.returncode == 75
    assert "bronze of orders is in use" in done.stderr
    assert not (home / "data/bronze").exists()


def test_show_prints_a_table_or_gives_it_as_json(home: Path) -> None:
    import pyarrow as pa

    write_deltalake(str(home / "data/gold/days"), pa.table({"day": ["b", "a", None], "n": [2, 1, 3]}))
    shown = call(home, "show", "gold/days", "--limit", "2")
    assert (shown.returncode, shown.stdout.splitlines()[0].split()) == (0, ["day", "n"])
    assert "2 of 3 rows" in shown.stdout
    assert json.loads(call(home, "show", "gold/days", "--json").stdout)["rows"][0] == {"day": "a", "n": 1}
    unknown = call(home, "show", "gold/day")
    assert unknown.returncode == 2
    assert "did you mean gold/days" in unknown.stderr


def held(home: Path, path: str) -> None:
    now = ledger.now()
    row = FileRow("orders", path, 1, now, "ab", Status.HELD, "too few rows", None, None, "utf-8", ",", ("id",), 1, None, now)
    ledger.append_files(settings.load(home), [row], ("test", 1))


def test_a_held_back_file_is_listed_and_can_be_accepted_once(home: Path) -> None:
    held(home, "a.csv")
    assert "too few rows" in call(home, "files", "--status", "held").stdout
    assert call(home, "files", "accept", "b.csv").returncode == 2
    accepted = call(home, "files", "accept", "a.csv")
    assert (accepted.returncode, accepted.stdout.split()[0]) == (0, "accepted")
    assert call(home, "files", "accept", "a.csv").returncode == 2


def test_control_characters_in_a_name_stay_on_their_line(home: Path) -> None:
    held(home, "a\n\x1b[31mred.csv")
    shown = call(home, "files")
    assert "\x1b" not in shown.stdout
    assert sum("red.csv" in line for line in shown.stdout.splitlines()) == 1


def test_sample_writes_the_next_day_each_time(home: Path) -> None:
    for _ in range(2):
        assert call(home, "sample").returncode == 0
    assert sorted(p.name for p in (home / "data/raw").iterdir()) == ["events_2026-01-01.csv", "events_2026-01-02.csv"]


@pytest.mark.slow
def test_a_run_as_a_process_ends_in_3_when_a_file_was_refused(home: Path) -> None:
    (home / "data/raw/a.csv").write_text("id,state,at,amount\n1,open,2026-01-01,1.00\n2,open,never,1\n")
    (home / "data/raw/b.csv").write_bytes(b"\x00\x01\x02" * 100)
    done = call(home, "run", "--json")
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert [(b["layer"], b["rows_in"], b["accepted"], b["quarantined"]) for b in result["batches"]] == [
        ("bronze", 2, 2, 0),
        ("silver", 2, 1, 1),
        ("gold", 1, 1, 0),
    ]
    assert [(f["path"], f["status"]) for f in result["files"]] == [("b.csv", "rejected")]
    assert result["exit_code"] == 3
    assert "Traceback" not in done.stderr
    assert "WARN" not in done.stderr
    # The JVM is gone with the command: what it held is free for the next one.
    with locks.hold(settings.load(home), ["bronze", "silver", "gold"], ["orders"]):
        pass
    listed = json.loads(call(home, "quarantine", "list", "--json").stdout)["rows"]
    assert [(row["rule"], row["column"], row["file"], row["rows"]) for row in listed] == [("cast", "at", "a.csv", 1)]
    assert "cast at 'never': not TIMESTAMP" in call(home, "quarantine", "show", "orders").stdout
    assert call(home, "contract", "diff", "conf/orders.yaml").returncode == 2


@pytest.mark.slow
def test_verify_ends_in_4_when_a_table_was_damaged_and_a_rebuild_asks_before_it_loses_rows(home: Path, spark: SparkSession) -> None:
    (home / "data/raw/a.csv").write_text("id,state,at,amount\n1,open,2026-01-01,1.00\n")
    assert invoke(home, "run").exit_code == 0
    proved = invoke(home, "verify")
    assert proved.exit_code == 0
    assert "data/silver/orders: 1 rows compared with 1 rows of bronze" in proved.output
    table = str(home / "data/silver/orders")
    spark.read.format("delta").load(table).write.format("delta").mode("append").save(table)
    assert invoke(home, "gold").exit_code == 0
    done = invoke(home, "verify", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout) == {
        "exit_code": 4, "rows": [{"dataset": "orders", "table": "silver/orders", "key": "id=1", "held": 1, "expected": 0}], "total": 1,
    }  # fmt: skip
    assert "`streaming-jobs rebuild silver orders`" in done.stderr
    refused = invoke(home, "rebuild", "silver")
    assert refused.exit_code == 3
    assert "`streaming-jobs rebuild silver orders --force`" in refused.stderr
