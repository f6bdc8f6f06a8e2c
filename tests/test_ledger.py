"""The ledger tables: read by commit, joined as they grow, never a row more or less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from streaming_jobs import ledger, settings
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.settings import Settings


@pytest.fixture
def at(tmp_path: Path) -> Settings:
    return settings.load(tmp_path)


def decision(number: int, status: Status = Status.INGESTED, path: str = "a.csv") -> FileRow:
    return FileRow("orders", path, 1, ledger.now(), f"{number:02}", status, None, number, 0, "utf-8", ",", ("id",), number, 1, ledger.now())


def test_after_many_commits_a_table_is_a_few_files_with_the_same_rows_and_still_knows_what_it_was_given(
    at: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_COMPACT_EVERY", 10)
    for number in range(35):
        row = RunRow("r", "orders", "silver", number, ledger.now(), 0.1, 1, 1, 1, 0, 0, 0, number, "done", None)
        for _ in range(2):  # the second one is the repetition of a crash
            ledger.append_runs(at, [row], ("runs:silver:orders", number))
    table = at.table(ledger.RUNS)
    assert [r["batch_id"] for r in ledger.query({"runs": table}, "SELECT batch_id FROM runs ORDER BY batch_id")] == list(range(35))
    assert len(DeltaTable(str(table)).file_uris()) < 12
    assert len(list((table / "_delta_log").glob("*.checkpoint.parquet"))) >= 1


def test_the_state_of_files_is_that_of_the_newest_commit_also_when_another_process_wrote_it(at: Settings) -> None:
    assert ledger.known(at, "orders") == ledger.Known()
    for number in (1, 2, 3):
        ledger.append_files(at, [decision(number)], ("t", number))
        assert ledger.known(at, "orders").states["a.csv"].last.rows == number
    assert ledger.known(at, "others") == ledger.Known()


def test_of_an_ingest_only_what_no_decision_followed_is_open(at: Settings) -> None:
    ledger.append_files(at, [decision(1, Status.READING)], ("i", 1))
    ledger.append_files(at, [decision(1)], ("d", 1))
    ledger.append_files(at, [decision(2, Status.READING, "c.csv"), decision(2, Status.READING, "b.csv")], ("i", 2))
    known = ledger.known(at, "orders")
    assert [i.path for i in known.intents] == ["b.csv", "c.csv"]
    assert (known.last_ingest_id, known.last_loaded_id, list(known.states)) == (2, 1, ["a.csv"])


def test_an_acceptance_by_hand_follows_the_decision_it_is_about_and_gives_way_to_the_next_one(at: Settings) -> None:
    held = decision(4, Status.HELD)
    ledger.append_files(at, [held], ("d", 4))
    # The clock may have been set back meanwhile.
    ledger.append_files(at, [replace(held, reason=ledger.ACCEPTED, decided_at=held.decided_at.replace(year=2020))], None)
    assert ledger.known(at, "orders").states["a.csv"].accepted
    assert [r.reason for r in ledger.latest_files(at, ["orders"])] == [ledger.ACCEPTED]
    ledger.append_files(at, [decision(5)], ("d", 5))
    assert ledger.known(at, "orders").states["a.csv"].status is Status.INGESTED


PATHS = st.sets(st.sampled_from(["a.csv", "b.csv", "sub/c.csv"]), min_size=1)
DECIDED = st.sampled_from([s for s in Status if s is not Status.READING])
REASONS = st.sampled_from([None, ledger.ARCHIVED, ledger.CHANGED_CONTENT])
STEPS = st.lists(st.tuples(st.sampled_from(["load", "die", "decide", "accept"]), PATHS, DECIDED, REASONS, st.integers(0, 2)), max_size=8)


@pytest.mark.slow
@hypothesis.settings(deadline=None)
@given(steps=STEPS, read_after=st.sets(st.integers(0, 7)))
@hypothesis.example(steps=[("load", {"a.csv"}, Status.INGESTED, None, 1), ("accept", {"a.csv"}, Status.INGESTED, None, 1)], read_after={2})
def test_what_is_appended_here_need_not_be_read_again(
    steps: list[tuple[str, set[str], Status, str | None, int]], read_after: set[int]
) -> None:
    """read_after: the steps before which somebody else has read the ledger, as another process would."""
    with TemporaryDirectory() as folder:
        at, number = settings.load(Path(folder)), 0
        for step, (what, paths, status, reason, rows) in enumerate(steps):
            if step in read_after:
                ledger._held.clear()
            ledger.known(at, "orders")
            number += what != "accept"
            decided = [replace(decision(number, status, path), reason=reason, rows=rows, header=None) for path in sorted(paths)]
            if what in ("load", "die"):
                ledger.append_files(at, [replace(r, status=Status.READING, reason=None) for r in decided], ("i", number))
            if what in ("load", "decide"):
                ledger.append_files(at, decided, ("d", number))
            if what == "accept":
                states = ledger.known(at, "orders").states
                accepted = [replace(states[p].last, reason=ledger.ACCEPTED) for p in sorted(paths & states.keys())]
                if accepted:
                    ledger.append_files(at, accepted, None)
            ledger.append_files(at, [replace(r, dataset="others") for r in decided], ("o", step))
            assert ledger.known(at, "orders") == (ledger._known(at.table(ledger.FILES), "orders") if number else ledger.Known())
