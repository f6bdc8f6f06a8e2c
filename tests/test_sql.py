"""`sql`: every table under its name, queries and nothing else, and an answer that a spreadsheet cannot run."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streaming_jobs import csvtext
from streaming_jobs.commands import app
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.operations import sql
from tests.conftest import ROOT

ORDERS = {"id": ["a", "b", None], "amount": [1, -2, 3]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def write(data: Path, name: str, columns: Any = None) -> Path:
    (data / name).mkdir(parents=True)
    write_deltalake(data / name, pa.table(columns or ORDERS))
    return data / name


def ask(data: Path, query: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    answer = sql.ask(query, data)
    return answer.columns, list(answer.rows)


def test_every_table_has_the_name_of_its_layer_and_dataset_and_gold_its_own(data: Path) -> None:
    for name in ("bronze/my-orders", "silver/orders", "quarantine/orders", "gold/by_state", "ledger/files", "ledger/runs", "set-aside/1"):
        write(data, name)
    assert list(sql.names(data)) == ["bronze_my-orders", "ledger_files", "ledger_runs", "quarantine_orders", "silver_orders", "by_state"]
    for name in sql.names(data):
        assert ask(data, f'SELECT sum(amount) AS s FROM "{name}"') == (("s",), [(2,)])


def test_a_gold_table_that_is_called_like_another_one_keeps_its_layer_in_front(data: Path) -> None:
    write(data, "silver/orders")
    write(data, "gold/silver_orders", {"n": [7]})
    assert ask(data, "SELECT n FROM gold_silver_orders") == (("n",), [(7,)])
    assert ask(data, "SELECT count(*) AS n FROM silver_orders") == (("n",), [(3,)])


def test_tables_are_joined_and_their_names_may_be_written_in_any_case(data: Path) -> None:
    write(data, "silver/orders")
    write(data, "gold/names", {"id": ["a"], "name": ["Ada"]})
    query = "WITH big AS (SELECT * FROM Silver_Orders WHERE amount > 0) SELECT name, amount FROM big JOIN NAMES USING (id)"
    assert ask(data, query) == (("name", "amount"), [("Ada", 1)])


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO 'stolen.csv'",
        "explain copy (SELECT 1) TO 'stolen.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'stolen.csv'",
        "/* SELECT */ COPY (SELECT 1) TO 'stolen.csv'",
        "-- SELECT\n COPY (SELECT 1) TO 'stolen.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'stolen.csv'",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO silver_orders SELECT * FROM silver_orders",
        "WITH a AS (SELECT * FROM silver_orders) INSERT INTO silver_orders SELECT * FROM a",
        "DELETE FROM silver_orders",
        "SELECT 1; DROP TABLE silver_orders",
        "SET datafusion.execution.batch_size = 1",
        "selec 1",
        "",
    ],
)
def test_what_is_no_query_is_refused_and_changes_nothing(data: Path, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(data, "silver/orders")
    monkeypatch.chdir(data)
    before = sorted(data.rglob("*"))
    with pytest.raises(UsageError):
        ask(data, query)
    assert sorted(data.rglob("*")) == before
    assert ask(data, "(SELECT count(*) AS n FROM silver_orders)") == (("n",), [(3,)])
    assert len(list((table / "_delta_log").glob("*.json"))) == 1


def test_an_unknown_table_is_answered_with_the_nearest_and_all_there_are(data: Path) -> None:
    write(data, "silver/orders")
    write(data, "gold/by_state")
    with pytest.raises(UsageError, match=r"no table `silver_order`; did you mean silver_orders\? There are: by_state, silver_orders\."):
        ask(data, "SELECT * FROM silver_order")
    with pytest.raises(UsageError, match=r"No field named nope.*orders\.amount"):
        ask(data, "SELECT nope FROM silver_orders AS orders")


def test_before_the_first_run_the_command_that_makes_tables_is_named(data: Path) -> None:
    with pytest.raises(UsageError, match=r"there is none yet; run `streaming-jobs run`\."):
        ask(data, "SELECT * FROM silver_orders")


def test_a_query_that_fails_while_it_reads_is_one_line(data: Path) -> None:
    write(data, "silver/orders")
    with pytest.raises(UsageError, match=r"^the query failed: .*Divide by zero[^\n]*$"):
        ask(data, "SELECT 1 / (amount - 1) FROM silver_orders")


def test_a_damaged_table_is_named_and_no_other_is_opened(data: Path) -> None:
    write(data, "silver/orders")
    damaged = write(data, "gold/by_state")
    (damaged / "_delta_log" / f"{0:020}.json").write_text("{")
    assert ask(data, "SELECT count(*) AS n FROM silver_orders") == (("n",), [(3,)])
    with pytest.raises(DamagedState, match=r"gold/by_state cannot be read .*`streaming-jobs doctor`"):
        ask(data, "SELECT * FROM by_state")


def records(*rows: tuple[Any, ...], columns: tuple[str, ...] = ("a", "b")) -> str:
    return "".join(csvtext.lines(columns, rows))


@pytest.mark.parametrize("start", list("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
def test_a_text_that_a_spreadsheet_would_run_is_written_behind_an_apostrophe(start: str) -> None:
    text = f"{start}HYPERLINK(1)"
    assert list(csv.reader(io.StringIO(records((text, 1), columns=(text, "b")), newline=""))) == [[f"'{text}", "b"], [f"'{text}", "1"]]


def test_numbers_are_never_changed_negative_ones_included() -> None:
    assert records((-1, Decimal("-1.50")), (-0.5, True)) == "a,b\n-1,-1.50\n-0.5,true\n"


def test_null_and_an_empty_text_stay_apart_and_nested_values_are_json() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert records((None, ""), ("", None), ("x,y", 'q"')) == 'a,b\n,""\n"",\n"x,y","q"""\n'
    assert records(([1, None], {"=k": date(2026, 1, 2)}), (at, b"\x00")) == (
        'a,b\n"[1, null]","{""=k"": ""2026-01-02""}"\n2026-01-02T03:04:05Z,AA==\n'
    )


@given(st.lists(st.tuples(st.text(), st.one_of(st.none(), st.text())), max_size=5))
def test_any_text_is_read_back_by_a_csv_reader_as_it_was_but_for_the_apostrophe(rows: list[tuple[str, str | None]]) -> None:
    read = [[c.removeprefix("'") for c in row] for row in csv.reader(io.StringIO(records(*rows), newline=""))]
    assert read == [["a", "b"], *([(v or "").removeprefix("'") for v in row] for row in rows)]


def invoke(data: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["--home", str(data.parent), *arguments])


def test_the_command_prints_csv_into_a_pipe_a_table_where_asked_and_json_with_every_row(data: Path) -> None:
    write(data, "gold/by_state", {"state": ["=open", None], "n": [1, -2]})
    query = "SELECT * FROM by_state ORDER BY n"
    assert invoke(data, "sql", query).stdout == "state,n\n,-2\n'=open,1\n"
    table = invoke(data, "sql", query, "--format", "table").stdout
    assert [line.split() for line in table.splitlines()[2:]] == [["null", "-2"], ["=open", "1"], [], ["2", "rows"]]
    rows = [{"state": None, "n": -2}, {"state": "=open", "n": 1}]
    assert json.loads(invoke(data, "--json", "sql", query).stdout) == {"exit_code": 0, "rows": rows, "total": 2}
    assert invoke(data, "sql", "DROP TABLE by_state").exit_code == 2


def test_a_terminal_gets_the_first_thousand_rows_and_the_number_of_all(data: Path) -> None:
    write(data, "gold/many", {"n": list(range(2500))})
    found = sql.first(sql.ask("SELECT n FROM many ORDER BY n", data), sql.MOST_ON_SCREEN)
    assert (found.values[-1], len(found.values), found.total) == ((999,), 1000, 2500)


@pytest.mark.parametrize("query", ["SELECT n FROM many", "SELECT n FROM many LIMIT 1"], ids=["many lines", "one"])
def test_a_reader_that_has_seen_enough_ends_it_without_a_word(data: Path, query: str) -> None:
    write(data, "gold/many", {"n": list(range(50_000))})
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(data.parent), "sql", query]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait() == 0
