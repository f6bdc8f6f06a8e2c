"""Real work, as whoever operates it sees it: log, figures and lineage of processes. Each starts a JVM of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.test_lineage import require_shape
from tests.test_log import started
from tests.test_metrics import free_port, happened, kept, scraped
from tests.test_processes import deliver, jvm_of

pytestmark = pytest.mark.slow

ROWS = "id,state,at,amount\n1,open,2026-01-01,1.00\n2,open,never,1\n1,paid,2026-01-02,2.00\n"


def written(home: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (home / "lineage.jsonl").read_text("ascii").splitlines()]
    for event in found:
        require_shape(event)
    return found


def test_a_run_says_counts_and_traces_the_same_and_one_without_news_adds_nothing(bare_home: Path) -> None:
    deliver(bare_home, "a.csv", ROWS)
    deliver(bare_home, "b.csv", "\x00\x01" * 100)
    done = started(bare_home, "run", "--json", metrics_file="figures.prom", openlineage_file="lineage.jsonl")
    result = json.loads(done.stdout)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(e["event"], e["level"], e.get("layer"), e.get("path"), e.get("exit_code")) for e in said] == [
        ("file", "warning", "bronze", "b.csv", None),
        ("batch", "info", "bronze", None, None),
        ("batch", "info", "silver", None, None),
        ("batch", "info", "gold", None, None),
        ("ended", "warning", None, None, 3),
    ]
    assert {e["run_id"] for e in said} == {result["run_id"]}
    assert [e["rows"] for e in said if e["event"] == "batch"] == [
        {"in": 3, "accepted": 3, "superseded": 0, "quarantined": 0, "deleted": 0},
        {"in": 3, "accepted": 1, "superseded": 1, "quarantined": 1, "deleted": 0},
        {"in": 1, "accepted": 1, "superseded": 0, "quarantined": 0, "deleted": 0},
    ]
    first = kept(bare_home / "figures.prom")
    assert happened(first, "streaming_jobs_rows_total") == {
        **{("orders", "bronze", kind): 3 for kind in ("read", "accepted")},
        **{("orders", "silver", kind): n for kind, n in {"read": 3, "accepted": 1, "superseded": 1, "quarantined": 1}.items()},
        **{("orders", "gold", kind): 1 for kind in ("read", "accepted")},
    }
    assert first["streaming_jobs_batch_seconds_total"] == {("orders", b["layer"]): b["seconds"] for b in result["batches"]}
    assert happened(first, "streaming_jobs_files") == {("orders", "ingested"): 1, ("orders", "rejected"): 1}
    assert first["streaming_jobs_table_rows"] == {
        ("orders", "bronze", "bronze/orders"): 3,
        ("orders", "silver", "silver/orders"): 1,
        ("orders", "quarantine", "quarantine/orders"): 1,
        ("orders", "gold", "gold/by_state"): 1,
    }
    assert first["streaming_jobs_behind"] == {("orders", layer): 0 for layer in ("bronze", "silver", "gold")}
    assert first["streaming_jobs_last_run_exit_code"] == {(): 3}
    events = written(bare_home)
    assert [(e["eventType"], e["job"]["name"]) for e in events] == [
        (kind, f"orders.{layer}") for layer in ("bronze", "silver", "gold") for kind in ("START", "COMPLETE")
    ]
    counts = {
        d["name"].removeprefix(f"{bare_home}/data/"): facet["outputStatistics"]["rowCount"]
        for e in events
        for d in e["outputs"]
        if (facet := d.get("outputFacets"))
    }
    assert counts == {"bronze/orders": 3, "silver/orders": 1, "quarantine/orders": 1, "gold/by_state": 1}

    again = started(bare_home, "run", metrics_file="figures.prom", openlineage_file="lineage.jsonl")
    assert (again.returncode, again.stderr) == (0, "")
    assert written(bare_home) == events
    second = kept(bare_home / "figures.prom")
    last = {"streaming_jobs_last_run_exit_code", "streaming_jobs_last_run_timestamp_seconds"}
    assert {name: values for name, values in second.items() if name not in last} == {n: v for n, v in first.items() if n not in last}
    assert second["streaming_jobs_last_run_exit_code"] == {(): 0}


@contextmanager
def watching(home: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A `watch` that logs events and has said that it watches; killed when it has not ended by itself."""
    known = {f"STREAMING_JOBS_{name.upper()}": value for name, value in {"log_format": "json", **settings}.items()}
    command = [sys.executable, "-m", "streaming_jobs", "--home", str(home), "watch", "--every", "100ms"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | known, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        assert said(process)["message"].startswith("watching orders")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stderr is not None
    found: dict[str, Any] = json.loads(process.stderr.readline())
    return found


def test_watch_can_be_scraped_and_a_jvm_that_is_killed_leaves_nothing_but_events_on_stderr(bare_home: Path) -> None:
    port = free_port()
    with watching(bare_home, metrics_port=str(port), openlineage_file="lineage.jsonl") as process:
        assert "streaming_jobs_batches_total" not in scraped(port)
        deliver(bare_home, "a.csv", ROWS)
        batches = [said(process) for _ in range(3)]
        assert [(b["event"], b["layer"]) for b in batches] == [("batch", layer) for layer in ("bronze", "silver", "gold")]
        assert len({b["run_id"] for b in batches}) == 1
        values = scraped(port)
        assert values["streaming_jobs_batches_total"] == {("orders", layer): 1 for layer in ("bronze", "silver", "gold")}
        assert happened(values, "streaming_jobs_rows_total")["orders", "silver", "quarantined"] == 1
        assert "streaming_jobs_last_run_exit_code" not in values
        wait_for_new_files(port, 0)
        jvm = jvm_of(process)
        os.kill(jvm, signal.SIGSTOP)
        deliver(bare_home, "b.csv", ROWS)
        wait_for_new_files(port, 1)  # it has looked, and asks the JVM for something next
        os.kill(jvm, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    left = [json.loads(line) for line in err.splitlines()]
    assert (process.returncode, out) == (1, "")
    assert [(e["event"], e["level"], e.get("layer"), e.get("exit_code")) for e in left] == [
        ("failure", "error", "bronze", 1),
        ("notice", "info", None, None),
        ("failure", "error", None, 1),
    ]
    assert left[-1]["message"].startswith("the JVM has ended")
    assert Counter(e["eventType"] for e in written(bare_home)) == {"START": 4, "COMPLETE": 3, "FAIL": 1}
    assert "Exception while sending command" in (bare_home / "checkpoints/spark.log").read_text("utf-8")


def wait_for_new_files(port: int, count: int) -> None:
    for _ in range(10_000):
        if scraped(port)["streaming_jobs_pending_files"]["orders", "new"] == count:
            return
    raise AssertionError(f"there never were {count} new files")
