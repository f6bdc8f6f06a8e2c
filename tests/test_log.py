"""The log: lines for people, or one JSON object per event, each event once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streaming_jobs import ledger, log
from streaming_jobs.console import Console, summary
from streaming_jobs.contract import Contract
from streaming_jobs.errors import ContractError, InputRefused, Stopped, Unexpected, UsageError
from streaming_jobs.increment import Outcome
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.log import Log
from streaming_jobs.run import Began, Ended, Healed, Warned
from streaming_jobs.settings import Settings
from tests.conftest import ROOT

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
AT = "2026-01-02T03:04:05.678+00:00"
BALANCE = RunRow("r1", "orders", "silver", 7, NOW, 1.25, 0, 10, 6, 3, 1, 2, 4, "done", "{}")
REFUSED = FileRow("orders", "b.csv", 3, NOW, "ab", Status.REJECTED, "holds bytes", None, None, None, None, None, 1, None, NOW)


class Written(list[dict[str, Any]]):
    """What a log writes, read back."""

    def log(self) -> Log:
        return Log(lambda line: self.append(json.loads(line)))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setattr(ledger, "now", lambda: NOW)
    return Written()


def started(home: Path, *arguments: str, stderr: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process, with these settings in its environment."""
    known = {f"STREAMING_JOBS_{name.upper()}": value for name, value in environment.items()}
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(home), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | known, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=120
    )


def test_every_note_is_one_event_with_the_fields_of_its_kind(written: Written, orders: Contract) -> None:
    console = Console(json=True, log=written.log())
    console.turn(Began("r1", "silver", orders))
    for note in (BALANCE, REFUSED, Warned("orders", "plausible", 3), Healed("silver", "orders", "made again")):
        console.note(note)
    said = "silver orders batch=7 read=10 accepted=6 quarantined=1 superseded=3 deleted=2 version=4 seconds=1.2"
    assert written == [
        {
            "at": AT, "level": "info", "event": "batch", "message": said, "run_id": "r1", "dataset": "orders", "layer": "silver",
            "batch_id": 7, "version": 4, "files": 0,
            "rows": {"in": 10, "accepted": 6, "superseded": 3, "quarantined": 1, "deleted": 2}, "seconds": 1.25,
        },
        {
            "at": AT, "level": "warning", "event": "file", "message": "rejected orders b.csv: holds bytes", "run_id": "r1",
            "dataset": "orders", "layer": "bronze", "path": "b.csv", "status": "rejected", "reason": "holds bytes",
        },
        {
            "at": AT, "level": "warning", "event": "broken_rule", "message": "3 orders rows break plausible and were accepted",
            "run_id": "r1", "dataset": "orders", "layer": "silver", "rule": "plausible", "rows": {"accepted": 3},
        },
        {
            "at": AT, "level": "warning", "event": "healed", "message": "silver orders: made again", "run_id": "r1",
            "dataset": "orders", "layer": "silver",
        },
    ]  # fmt: skip


def test_a_failure_names_its_layer_where_it_has_one_and_each_of_its_findings_is_an_event(written: Written, orders: Contract) -> None:
    console, of_layer = Console(log=written.log()), InputRefused("too many")
    console.turn(Began("r1", "silver", orders))
    console.turn(Ended("r1", "silver", orders, of_layer))
    for failure in (of_layer, ContractError(["a: wrong", "b: wrong"]), Stopped(15)):
        console.fail(failure)
    stopped = "stopped by SIGTERM after the batch in hand; run the same command again to continue."
    assert written == [
        {
            "at": AT, "level": "error", "event": "failure", "message": "too many", "run_id": "r1", "dataset": "orders",
            "layer": "silver", "exit_code": 3,
        },
        {"at": AT, "level": "error", "event": "failure", "message": "a: wrong", "exit_code": 2},
        {"at": AT, "level": "error", "event": "failure", "message": "b: wrong", "exit_code": 2},
        {"at": AT, "level": "warning", "event": "failure", "message": stopped, "exit_code": 143},
    ]  # fmt: skip


def test_a_layer_that_works_again_gives_its_failure_up(written: Written, orders: Contract) -> None:
    console, failure = Console(log=written.log()), UsageError("no folder")
    console.turn(Ended("r1", "bronze", orders, failure))
    console.turn(Began("r2", "bronze", orders))
    console.fail(failure)
    assert [set(what) for what in written] == [{"at", "level", "event", "message", "exit_code"}]


def test_the_end_of_a_run_comes_after_its_failures_and_a_run_without_work_is_one_event(written: Written) -> None:
    console, failure = Console(log=written.log()), UsageError("no folder")
    console.end(Outcome("r1", (), ()), 0.25)
    console.end(Outcome("r2", (BALANCE,), (("bronze", "orders", failure),)), 2.0)
    console.end(Outcome("r3", (), (("bronze", "orders", failure),)), 2.0)
    console.end(Outcome("r4", (BALANCE, REFUSED), ()), 2.0)
    assert [(w["event"], w["level"], w["message"], w.get("run_id"), w["exit_code"]) for w in written] == [
        ("ended", "info", "nothing to do (0.2 s)", "r1", 0),
        ("failure", "error", "no folder", None, 2),
        ("ended", "error", "done in 2.0 s", "r2", 2),
        ("failure", "error", "no folder", None, 2),
        ("ended", "error", "failed after 2.0 s", "r3", 2),
        ("ended", "warning", "done in 2.0 s", "r4", 3),
    ]


def test_the_last_lines_of_a_run_add_its_batches_up_and_one_of_a_thing_is_one() -> None:
    one = replace(BALANCE, layer="bronze", files=1, rows_in=1, accepted=1, deleted=0)
    more = replace(one, batch_id=None, files=2, rows_in=5, accepted=5, deleted=4)
    below = [replace(BALANCE, rows_in=1, accepted=1, superseded=0, quarantined=0, deleted=1), replace(one, layer="gold", deleted=1)]
    assert [*summary([one, *below], 1.04, failed=False)] == [
        "bronze: 1 file, 1 row in",
        "silver: 1 row read, 1 accepted, 0 superseded, 0 quarantined, 1 key deleted",
        "gold: 1 changed row read, 1 group deleted",
        "done in 1.0 s",
    ]
    assert [*summary([one, more, BALANCE, replace(BALANCE, layer="gold")], 1.04, failed=False)] == [
        "bronze: 3 files, 6 rows in, 4 replaced",
        "silver: 10 rows read, 6 accepted, 3 superseded, 1 quarantined, 2 keys deleted",
        "gold: 10 changed rows read, 2 groups deleted",
        "done in 1.0 s",
    ]


def test_hostile_names_and_reasons_stay_on_their_line_as_printable_ascii_and_read_back_exactly() -> None:
    lines: list[str] = []
    path, reason = 'a\n\x1b[31m\x7f\u202e"\\é\ud800.csv', 'x\r\n{"level": "info"}'
    Console(log=Log(lines.append)).note(replace(REFUSED, path=path, reason=reason))
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    assert (json.loads(line)["path"], json.loads(line)["reason"]) == (path, reason)


def test_quiet_leaves_failures_and_warnings_about_side_effects_only(written: Written, orders: Contract) -> None:
    console = Console(json=True, quiet=True, log=written.log())
    console.note(BALANCE)
    console.say("a result")
    console.tell("watching")
    console.end(Outcome("r1", (BALANCE,), (("bronze", "orders", UsageError("no folder")),)), 1.0)
    console.warn("no room")
    assert [(w["level"], w["event"], w["message"]) for w in written] == [
        ("error", "failure", "no folder"),
        ("warning", "notice", "no room"),
    ]


def test_a_stack_trace_is_a_field_of_its_failure(written: Written) -> None:
    error = Unexpected(ZeroDivisionError("by nothing"))
    Console(verbose=True, log=written.log()).fail(error)
    assert "ZeroDivisionError: by nothing" in written[0].pop("traceback")
    assert written[0]["exit_code"] == 1


def test_a_failure_inside_of_the_jvm_is_named_by_its_classes_and_shows_no_value() -> None:
    class Py4JJavaError(Exception):
        """As py4j's: it holds the exception, and its text is a call and a Java stack trace."""

        java_exception = None

    trace = ": org.apache.spark.SparkException: secret\n\tat a.B.c(D.scala:1)\nCaused by: java.net.SocketTimeoutException: secret too"
    said = str(Unexpected(Py4JJavaError(f"An error occurred while calling o7.getResult.\n{trace}")))
    cause = "org.apache.spark.SparkException, caused by java.net.SocketTimeoutException"
    assert said.startswith(f"unexpected Py4JJavaError: {cause}. What was committed stays")


def test_the_last_line_of_a_process_that_ends_at_once_is_an_event_too(written: Written) -> None:
    assert json.loads(Console(log=written.log()).last_line("stopped at once")) == {
        "at": AT, "level": "error", "event": "failure", "message": "stopped at once",
    }  # fmt: skip
    assert Console().last_line("stopped at once") == "stopped at once"


@pytest.mark.parametrize(
    ("log_format", "as_json", "terminal", "events"),
    [
        ("auto", True, False, True),
        ("auto", True, True, False),
        ("auto", False, False, False),
        ("auto", False, True, False),
        ("json", False, True, True),
        ("json", True, False, True),
        ("text", True, False, False),
    ],
)
def test_events_are_for_whoever_asks_for_them_and_beside_a_document_unless_a_person_looks_on(
    log_format: str, as_json: bool, terminal: bool, events: bool
) -> None:
    assert log.is_wanted(log_format, as_json=as_json, terminal=terminal) is events


def test_a_process_without_a_terminal_writes_events_beside_its_document_and_lines_otherwise(bare_home: Path) -> None:
    (bare_home / "data/raw").rmdir()
    documented = started(bare_home, "run", "--json")
    (failure, ended) = (json.loads(line) for line in documented.stderr.splitlines())
    result = json.loads(documented.stdout)
    assert (failure["event"], failure["dataset"], failure["layer"], failure["exit_code"]) == ("failure", "orders", "bronze", 2)
    assert (ended["event"], ended["run_id"], ended["exit_code"]) == ("ended", result["run_id"], documented.returncode)
    assert result["errors"] == [failure["message"]]
    for form, arguments in (("auto", ["run"]), ("text", ["run", "--json"])):
        assert started(bare_home, *arguments, log_format=form).stderr == f"{failure['message']}\n"
    asked = started(bare_home, "run", log_format="json")
    assert (asked.stdout, [json.loads(line)["event"] for line in asked.stderr.splitlines()]) == ("", ["failure", "ended"])


def test_results_stay_where_they_are_whatever_the_log_is(bare_home: Path) -> None:
    assert started(bare_home, "doctor", log_format="json").stdout == "nothing to put right\n"
    documented = started(bare_home, "doctor", "--json")
    assert json.loads(documented.stdout) == {"exit_code": 0, "findings": []}
    assert [json.loads(line)["message"] for line in documented.stderr.splitlines()] == ["nothing to put right"]


def test_on_a_terminal_the_lines_are_for_people_also_beside_a_document(bare_home: Path) -> None:
    (bare_home / "data/raw").rmdir()
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = started(bare_home, "run", "--json", stderr=theirs)
        os.close(theirs)
        shown = screen.read(10_000).decode()
    assert json.loads(done.stdout)["exit_code"] == 2
    assert "does not exist; nothing was read" in shown
    assert '"event"' not in shown


def test_an_unknown_format_is_a_settings_error(bare_home: Path) -> None:
    done = started(bare_home, "run", log_format="yaml")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "STREAMING_JOBS_LOG_FORMAT" in done.stderr


def test_what_libraries_log_goes_to_the_file_of_the_jvm(tmp_path: Path) -> None:
    """py4j reports a JVM that is gone through the root logger, which would set itself up to write to stderr."""
    code = (
        "import logging, pathlib, sys\n"
        "from streaming_jobs import session\n"
        "session._log_to(pathlib.Path(sys.argv[1]))\n"
        "logging.exception('Exception while sending command.')\n"
        "logging.getLogger('py4j.java_gateway').error('lost')\n"
    )
    file = tmp_path / "spark.log"
    done = subprocess.run([sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [line for line in file.read_text().splitlines() if line != "NoneType: None"] == ["Exception while sending command.", "lost"]


def table(heading: str, page: str = "operations.md") -> list[list[str]]:
    """The cells of the first table below a heading of a page."""
    section = (ROOT / "docs" / page).read_text("utf-8").split(f"\n{heading}\n")[1].split("\n#")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_documented_events_and_fields_are_those_that_are_written() -> None:
    assert [names(row[0])[0] for row in table("### Events")] == list(log.EVENTS)
    assert [name for row in table("### Fields") for name in names(row[0])] == list(log.FIELDS)


def test_the_documented_settings_are_those_there_are() -> None:
    documented = {names(row[0])[0]: names(row[3])[0] for row in table("## Settings", "layout.md")}
    assert documented == {name: f"STREAMING_JOBS_{name.upper()}" for name in Settings.model_fields}
