"""Figures for Prometheus: from the ledger and the tables, in a file of a scheduled run, on loopback of `watch`."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from prometheus_client.parser import text_string_to_metric_families

from streaming_jobs import contract as contracts
from streaming_jobs import figures, ledger, locks, metrics, settings
from streaming_jobs.contract import Contract
from streaming_jobs.errors import DamagedState, Locked, Stopped
from streaming_jobs.figures import Balance, Figures, Table
from streaming_jobs.ledger import FileRow, FileState, Known, RunRow, Status
from streaming_jobs.metrics import METRICS, Live, Scheduled
from streaming_jobs.pending import Pending
from streaming_jobs.run import Began, Ended, Looked
from streaming_jobs.settings import Settings
from tests.conftest import ORDERS, ROOT
from tests.test_log import names, started, table

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Values = Mapping[str, Mapping[tuple[str, ...], float]]


@pytest.fixture
def at(bare_home: Path) -> Settings:
    return settings.load(bare_home)


@pytest.fixture
def contract(at: Settings) -> Contract:
    return contracts.load(at.conf / "orders.yaml")


def balance(layer: str, batch: int, rows: int = 8, **over: object) -> RunRow:
    """Of a batch that refuses one row, passes one over and takes half a second; times and seconds add up without rest."""
    stages = json.dumps({"plan": 0.125, "write": 0.375})
    row = RunRow(
        f"r{batch}", "orders", layer, batch, NOW + timedelta(minutes=batch), 0.5, 1, rows, rows - 2, 1, 1, 3, batch, "done", stages
    )
    return replace(row, **over)  # type: ignore[arg-type]


FAILED = balance("silver", 9, 0, accepted=0, superseded=0, quarantined=0, deleted=0, seconds=0.0, outcome="failed: no room", stages=None)
WORKS_AGAIN = replace(FAILED, outcome="done")


def decision(path: str, status: Status) -> FileRow:
    return FileRow("orders", path, 1, NOW, "ab", status, None, None, None, None, None, None, 1, None, NOW)


def parsed(text: str) -> Values:
    """metric -> labels in order -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    order = {metric.name: metric.labels for metric in METRICS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert set(sample.labels) == set(order[sample.name])
            found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in order[sample.name])] = sample.value
    return found


def happened(values: Values, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for labels, value in values.get(name, {}).items() if value}


def test_the_run_ledger_adds_up_by_dataset_and_layer_and_what_only_says_that_a_layer_failed_is_no_batch(at: Settings) -> None:
    assert figures.balances(at) == {}
    rows = [balance("silver", 0), balance("silver", 1, 10), balance("gold", 0), FAILED, WORKS_AGAIN, balance("silver", 0, dataset="others")]
    ledger.append_runs(at, rows, None)
    one = {"read": 8, "accepted": 6, "superseded": 1, "quarantined": 1, "deleted": 3}
    ended = NOW.timestamp() + 0.5
    assert figures.balances(at) == {
        ("orders", "silver"): Balance(
            2, 1.0, {"read": 18, "accepted": 14, "superseded": 2, "quarantined": 2, "deleted": 6}, {"plan": 0.25, "write": 0.75}, ended + 60
        ),
        ("orders", "gold"): Balance(1, 0.5, one, {"plan": 0.125, "write": 0.375}, ended),
        ("others", "silver"): Balance(1, 0.5, one, {"plan": 0.125, "write": 0.375}, ended),
    }


def test_a_batch_without_stages_is_counted_all_the_same(at: Settings) -> None:
    ledger.append_runs(at, [balance("bronze", 0, stages="{}"), balance("bronze", 1, stages='{"plan": 1e-05}')], None)
    assert figures.balances(at)["orders", "bronze"].batches == 2
    assert figures.balances(at)["orders", "bronze"].stages == {"plan": 1e-05}


def test_what_is_added_as_it_happens_comes_to_what_the_ledger_says_afterwards(at: Settings, contract: Contract) -> None:
    ledger.append_runs(at, [balance("bronze", 0)], None)
    live = Live(at, figures.read(at, [contract]))
    for row in (balance("bronze", 1, 20, stages='{"list": 0.5}'), balance("silver", 0), balance("silver", 1)):
        ledger.append_runs(at, [row], None)
        live.note(row)
    live.note(decision("a.csv", Status.REJECTED))
    assert live.figures == figures.read(at, [contract])


def test_files_tables_and_pending_work_are_those_of_now(at: Settings, contract: Contract) -> None:
    assert figures.read(at, [contract]).tables == {}
    (at.home / "data/raw/a.csv").write_text("id,state,at,amount\n1,open,2026-01-01,1\n")
    ledger.append_files(at, [decision("b.csv", Status.REJECTED), decision("c.csv", Status.HELD)], None)
    for version in range(2):
        write_deltalake(str(at.table("gold/by_state")), pa.table({"state": ["open", "paid"]}), mode="append")
        found = figures.read(at, [contract])
        assert found.tables.keys() == {("orders", "gold/by_state")}
        held = found.tables["orders", "gold/by_state"]
        assert (held.version, held.rows) == (version, 2 * version + 2)
    assert held.size == sum(file.stat().st_size for file in at.table("gold/by_state").glob("*.parquet"))
    assert list(found.files) == ["orders"]
    assert figures.by_status(found.files["orders"]) == {
        status: int(status in ("rejected", "held")) for status in ("ingested", "repeat", "rejected", "held", "missing")
    }
    bronze = found.pending["orders", "bronze"]
    assert ([e.path for e in bronze.files.new], bronze.files.missing) == (["a.csv"], ("b.csv", "c.csv"))


def test_what_cannot_be_read_is_left_out_and_all_else_is_there(at: Settings, contract: Contract) -> None:
    ledger.append_runs(at, [balance("gold", 0)], None)
    log = at.table("silver/orders") / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("{")
    (at.home / "data/raw").rmdir()
    found = figures.read(at, [contract])
    assert (list(found.balances), list(found.tables), list(found.pending)) == ([("orders", "gold")], [], [])


def test_a_look_and_an_end_leave_figures_of_what_is_there_then(at: Settings, contract: Contract) -> None:
    behind = Pending("gold", "orders", ("behind silver/orders",), 7)
    looked = figures.turned(Figures(), Looked(behind), at)
    assert looked == Figures(pending={("orders", "gold"): behind})
    assert figures.turned(looked, Began("r", "gold", contract), at) == looked
    write_deltalake(str(at.table("gold/by_state")), pa.table({"state": ["open"]}))
    ended = figures.turned(looked, Ended("r", "gold", contract), at)
    assert {of: (t.version, t.rows) for of, t in ended.tables.items()} == {("orders", "gold/by_state"): (0, 1)}
    assert replace(ended, tables={}) == looked
    failed = figures.turned(figures.turned(ended, Ended("r", "gold", contract, DamagedState("x")), at), Looked(behind), at)
    failed = figures.turned(failed, Ended("r", "gold", contract, DamagedState("y")), at)
    assert (failed.failures, failed.pending) == ({("orders", "gold", 4): 2}, {})
    assert figures.turned(failed, Ended("r", "gold", contract, Stopped(15)), at).failures == failed.failures


FIGURES = Figures(
    {("orders", "silver"): Balance(2, 1.5, {"read": 18, "quarantined": 2}, {"plan": 0.5}, 1_767_225_600.5)},
    {("orders", "bronze"): Pending("bronze", "orders", ("1 new",), None), ("orders", "gold"): Pending("gold", "orders", (), 0)},
    {"orders": Known({"b.csv": FileState(decision("b.csv", Status.REJECTED), None)})},
    {("orders", "silver/orders"): Table(3, 1000, 17), ("orders", "quarantine/orders"): Table(1, 500, None)},
    {("orders", "gold", 2): 4},
    (1_767_225_601.0, 2),
)


def test_every_figure_is_exported_under_its_name_and_labels(at: Settings) -> None:
    live = Live(at, FIGURES)
    with served(live) as port:
        live.figures = FIGURES
        values = scraped(port)
    assert {name: happened(values, name) for name in values if name != "streaming_jobs_build_info"} == {
        "streaming_jobs_rows_total": {("orders", "silver", "read"): 18, ("orders", "silver", "quarantined"): 2},
        "streaming_jobs_batches_total": {("orders", "silver"): 2},
        "streaming_jobs_batch_seconds_total": {("orders", "silver"): 1.5},
        "streaming_jobs_stage_seconds_total": {("orders", "silver", "plan"): 0.5},
        "streaming_jobs_last_success_timestamp_seconds": {("orders", "silver"): 1_767_225_600.5},
        "streaming_jobs_files": {("orders", "rejected"): 1},
        "streaming_jobs_behind": {("orders", "bronze"): 1},
        "streaming_jobs_pending_files": {},
        "streaming_jobs_pending_bytes": {},
        "streaming_jobs_table_version": {("orders", "silver", "silver/orders"): 3, ("orders", "quarantine", "quarantine/orders"): 1},
        "streaming_jobs_table_rows": {("orders", "silver", "silver/orders"): 17},
        "streaming_jobs_table_bytes": {("orders", "silver", "silver/orders"): 1000, ("orders", "quarantine", "quarantine/orders"): 500},
        "streaming_jobs_failures_total": {("orders", "gold", "2"): 4},
        "streaming_jobs_last_run_timestamp_seconds": {(): 1_767_225_601},
        "streaming_jobs_last_run_exit_code": {(): 2},
    }
    # Zeros too, so that the first of each can be seen to happen.
    assert values["streaming_jobs_failures_total"].keys() == {
        *(("orders", layer, code) for layer in ("bronze", "silver", "gold") for code in "1234"),
        *(("", "", code) for code in ("1", "2", "4", "75")),
    }
    assert values["streaming_jobs_pending_bytes"] == {("orders", "gold"): 0}
    assert values["streaming_jobs_behind"] == {("orders", "bronze"): 1, ("orders", "gold"): 0}
    ((build, one),) = values["streaming_jobs_build_info"].items()
    assert (one, all(build)) == (1, True)


def test_names_follow_the_rules_and_every_one_is_documented_with_its_labels() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"streaming_jobs(_[a-z]+)+", metric.name), metric.name
        assert (metric.kind == "counter") is metric.name.endswith("_total"), metric.name
        assert not re.search(r"_(milli|micro)?(minutes|hours|days|milliseconds|kilobytes|megabytes|mb|ms)(_|$)", metric.name)
    documented = [(names(row[0])[0], row[1], tuple(names(row[2]))) for row in table("### Names")]
    assert documented == [(m.name, m.kind, m.labels) for m in METRICS]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(live: Live) -> Iterator[int]:
    port = free_port()
    with metrics.served(port, live, ()):
        yield port


def scraped(port: int, host: str = "127.0.0.1") -> Values:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        return parsed(response.read().decode())
    finally:
        connection.close()


def test_a_scrape_is_answered_on_loopback_only_with_what_there_is_and_nobody_answers_afterwards(at: Settings) -> None:
    ledger.append_runs(at, [balance("bronze", 0)], None)
    live = Live(at)
    with served(live) as port:
        assert scraped(port)["streaming_jobs_batches_total"] == {("orders", "bronze"): 1}
        live.note(balance("bronze", 1))
        assert scraped(port)["streaming_jobs_batches_total"] == {("orders", "bronze"): 2}
        # Another address of this host; all of 127.0.0.0/8 is there.
        with pytest.raises(ConnectionRefusedError):
            scraped(port, "127.0.0.2")
    with pytest.raises(ConnectionRefusedError):
        scraped(port)


def test_a_port_that_is_taken_ends_watch_before_anything_starts_unless_another_watch_is_why(bare_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = started(bare_home, "watch", metrics_port=port)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert done.stderr.startswith(f"metrics_port {port} of 127.0.0.1 cannot be listened on: ")
        with locks.hold(settings.load(bare_home), ["bronze"], ["orders"]):
            assert started(bare_home, "watch", metrics_port=port).returncode == Locked.exit_code
    assert not (bare_home / "checkpoints/spark.log").exists()


def kept(file: Path) -> Values:
    return parsed(file.read_text("utf-8"))


def test_a_run_leaves_its_figures_in_a_file_also_when_it_fails_and_failures_add_up_from_run_to_run(bare_home: Path) -> None:
    file = bare_home / "figures.prom"
    ledger.append_runs(settings.load(bare_home), [balance("gold", 0)], None)
    for command, prepare, code, failures in (
        ("run", None, 0, {}),
        ("run", (bare_home / "data/raw").rmdir, 2, {("orders", "bronze", "2"): 1}),
        ("bronze", None, 2, {("orders", "bronze", "2"): 2}),
        ("gold", lambda: (bare_home / "conf/orders.yaml").write_text("x"), 2, {("orders", "bronze", "2"): 2, ("", "", "2"): 1}),
        ("gold", lambda: (bare_home / "conf/orders.yaml").write_text(ORDERS), 0, {("orders", "bronze", "2"): 2, ("", "", "2"): 1}),
    ):
        if prepare:
            prepare()
        before = kept(file) if file.exists() else {}
        assert started(bare_home, command, metrics_file=file.name).returncode == code
        values = kept(file)
        assert (values["streaming_jobs_last_run_exit_code"], happened(values, "streaming_jobs_failures_total")) == ({(): code}, failures)
        assert (
            values["streaming_jobs_last_run_timestamp_seconds"][()] > before.get("streaming_jobs_last_run_timestamp_seconds", {(): 0})[()]
        )
    assert values["streaming_jobs_batches_total"] == {("orders", "gold"): 1}
    with locks.hold(settings.load(bare_home), ["gold"], ["orders"]):
        assert started(bare_home, "run", metrics_file=file.name).returncode == Locked.exit_code
    assert happened(kept(file), "streaming_jobs_failures_total") == {**failures, ("", "", "75"): 1}
    assert [path.name for path in bare_home.iterdir() if path.is_file()] == [file.name]


def test_a_file_that_was_cut_off_is_written_anew_and_its_failures_begin_again(at: Settings) -> None:
    file = at.home / "figures.prom"
    known = Scheduled({("orders", "gold", 4): 1}, 4)
    for held in ("", 'streaming_jobs_failures_total{dataset="orders",lay', 'streaming_jobs_failures_total{place="x"} 1\n'):
        file.write_text(held)
        metrics.write(file, at, known)
        assert happened(kept(file), "streaming_jobs_failures_total") == {("orders", "gold", "4"): 1}
    metrics.write(file, at, known)
    assert happened(kept(file), "streaming_jobs_failures_total") == {("orders", "gold", "4"): 2}


def test_a_file_that_cannot_be_written_is_one_warning_and_changes_nothing_else(bare_home: Path) -> None:
    without = started(bare_home, "run", "-q")
    file = bare_home.resolve() / "missing" / "figures.prom"
    done = started(bare_home, "run", "-q", metrics_file="missing/figures.prom")
    why = "No such file or directory; what the command did is not affected."
    assert (done.returncode, done.stdout) == (without.returncode, without.stdout) == (0, "")
    assert done.stderr == f"warning: metrics_file {file} was not written: {why}\n"
    (bare_home / "data/raw").rmdir()
    failing = started(bare_home, "run", "--json", metrics_file="missing/figures.prom")
    assert failing.returncode == json.loads(failing.stdout)["exit_code"] == 2
    assert [json.loads(line)["event"] for line in failing.stderr.splitlines()] == ["failure", "ended", "notice"]


def test_without_a_setting_nothing_of_it_is_even_imported_and_with_one_no_spark(bare_home: Path) -> None:
    code = (
        "import sys; from streaming_jobs.commands import app\n"
        f"try: app(['--home', {str(bare_home)!r}, 'run'])\n"
        "except SystemExit: print(sorted({'pyspark', 'prometheus_client', 'streaming_jobs.lineage'} & set(sys.modules)))"
    )
    both = {"STREAMING_JOBS_METRICS_FILE": "figures.prom", "STREAMING_JOBS_OPENLINEAGE_FILE": "lineage.jsonl"}
    for environment, imported in ({}, []), (both, ["prometheus_client", "streaming_jobs.lineage"]):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == str(imported)
