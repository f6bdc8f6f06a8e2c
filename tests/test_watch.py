"""`watch`: rounds of the same functions, driven step by step; what happens between two rounds is a step of the test."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from py4j.finalizer import ThreadSafeFinalizer

from streaming_jobs import ledger, pending, watch
from streaming_jobs.contract import Contract
from streaming_jobs.errors import Failure, Locked, Stopped, UsageError
from streaming_jobs.pending import Pending
from streaming_jobs.run import Run
from streaming_jobs.settings import Settings
from streaming_jobs.stop import Stop
from tests.conftest import BY_STATE, ORDERS, Home, assert_rows, assert_same

pytestmark = pytest.mark.slow

MONDAY = ("1,open,2026-01-01,10.00", "2,open,2026-01-01,20.00")
MONDAY_CORRECTED = ("1,open,2026-01-01,11.00", "2,open,2026-01-01,20.00")
TUESDAY = ("3,closed,2026-01-02,30.00", "1,closed,2026-01-02,10.00")
OTHER = ORDERS.replace("orders", "others").replace("by_state", "others_by_state").replace("data/raw/*.csv", "data/others/*.csv")

Step = Callable[[], Any]


@dataclass
class Scripted(Stop):
    """Between two rounds takes the next step instead of waiting, and passes the time; after the last one a signal comes."""

    steps: Iterator[Step] = field(default_factory=lambda: iter(()))
    clock: float = 0.0

    def wait(self, _seconds: float) -> None:
        self.clock += 5
        step = next(self.steps, None)
        if step is None:
            self.signum = signal.SIGTERM
        else:
            step()


@dataclass
class Watched:
    """What `watch` told. raised: how it ended."""

    said: list[str] = field(default_factory=list)
    failures: list[tuple[Failure, str]] = field(default_factory=list)
    raised: Failure | None = None


Watching = Callable[..., Watched]


@pytest.fixture
def watching(home: Home, monkeypatch: pytest.MonkeyPatch) -> Watching:
    def run(*steps: Step, datasets: tuple[str, ...] = ()) -> Watched:
        stop, told = Scripted(steps=iter(steps)), Watched()
        # Its own clock, so that no test waits for a pause to end.
        monkeypatch.setattr(watch, "time", replace_monotonic(lambda: stop.clock))
        try:
            watch.watch(
                datasets, Run(home.settings, lambda _: None, stop), 5, watch.Told(told.said.append, lambda *f: told.failures.append(f))
            )
        except Failure as failure:
            told.raised = failure
        return told

    return run


def replace_monotonic(monotonic: Callable[[], float]) -> Any:
    return type("Time", (), {"monotonic": staticmethod(monotonic)})


def nothing() -> None:
    pass


def test_what_comes_while_it_watches_ends_in_the_same_tables_as_scheduled_runs(home: Home, other_home: Home, watching: Watching) -> None:
    def deliveries(one: Home) -> list[Step]:
        return [
            lambda: one.land("mon.csv", *MONDAY, at=1_767_600_000),
            lambda: one.land("tue.csv", *TUESDAY, at=1_767_700_000),
            lambda: one.land("mon.csv", *MONDAY_CORRECTED, at=1_767_800_000),
            lambda: (one.raw / "tue.csv").rename(one.raw / "tuesday.csv"),
        ]

    told = watching(*(step for delivery in deliveries(home) for step in (delivery, nothing, nothing)))
    for delivery in deliveries(other_home):
        delivery()
        other_home.ok()
    assert isinstance(told.raised, Stopped)
    assert (told.raised.exit_code, told.failures) == (143, [])
    for name in ("bronze/orders", "silver/orders", "gold/by_state"):
        # A MAP cannot be compared, and all of them are NULL here.
        assert_same(home.table(name).drop("_ingested_at", "_extra"), other_home.table(name).drop("_ingested_at", "_extra"))
    assert home.states() == other_home.states()
    assert home.ok().notes == ()


def test_rounds_with_work_leave_no_thread_and_no_object_of_the_jvm_behind(home: Home, watching: Watching) -> None:
    threads: list[int] = []
    objects: list[int] = []

    def count() -> None:
        threads.append(threading.active_count())
        objects.append(len(ThreadSafeFinalizer.finalizers))

    def deliver() -> None:
        count()
        home.land(f"{len(threads)}.csv", *MONDAY)

    gc.disable()  # by itself it comes now and then; the JVM holds what waits for it
    try:
        watching(*(deliver, nothing) * 4, count)
    finally:
        gc.enable()
    # The first rounds start what stays: the callback server, a connection of the JVM's own garbage collector.
    assert len(set(threads[2:])) == 1
    assert len(set(objects[1:])) == 1


def test_rounds_without_news_write_nothing_and_each_round_with_some_has_a_run_id_of_its_own(home: Home, watching: Watching) -> None:
    seen = []
    watching(
        lambda: home.land("mon.csv", *MONDAY), nothing, nothing, lambda: seen.append(home.versions()), nothing, nothing,
        lambda: seen.append(home.versions()), lambda: home.land("tue.csv", *TUESDAY), nothing,
    )  # fmt: skip
    assert seen[0] == seen[1]
    runs = ledger.query({"runs": home.settings.table(ledger.RUNS)}, "SELECT run_id, layer FROM runs ORDER BY started_at")
    by_run: dict[str, list[str]] = {}
    for row in runs:
        by_run.setdefault(row["run_id"], []).append(row["layer"])
    assert list(by_run.values()) == [["bronze", "silver", "gold"]] * 2


def test_a_dataset_that_fails_is_tried_again_after_growing_pauses_and_the_other_goes_on(home: Home, watching: Watching) -> None:
    home.contract(OTHER, "others")
    (home.path / "data/others").mkdir()
    told = watching(
        (home.path / "data/others").rmdir,
        lambda: home.land("mon.csv", *MONDAY),
        *[nothing] * 20,
    )
    assert home.table("silver/orders").count() == 2
    assert [str(f).split(";")[0].split("data/")[1] for f, _ in told.failures] == ["others does not exist"] * len(told.failures)
    # 5 s a round: due after 5, 15, 60 s.
    assert [then.split(" or ")[0] for _, then in told.failures] == [
        "next try in 5 s",
        "failed 2 times; next try in 15 s",
        "failed 3 times; next try in 60 s",
        "failed 4 times; next try in 300 s",
    ]
    outcomes = ledger.query(
        {"runs": home.settings.table(ledger.RUNS)}, "SELECT layer, outcome FROM runs WHERE dataset = 'others' ORDER BY started_at"
    )
    assert len(outcomes) == 4
    assert all(o["layer"] == "bronze" and o["outcome"].startswith("failed: landing folder") for o in outcomes)


def test_a_layer_that_failed_is_tried_again_as_soon_as_its_contract_is_corrected(home: Home, watching: Watching) -> None:
    good = ORDERS
    home.contract(good.replace("sum(amount)", "sum(1 / (amount - 10))"))
    told = watching(
        lambda: home.land("mon.csv", *MONDAY),
        nothing,
        lambda: home.contract(good),
        nothing,
    )
    assert [(f.exit_code, then.split(" or ")[0]) for f, then in told.failures] == [
        (2, "next try in 5 s"),
        (2, "failed 2 times; next try in 15 s"),
    ]
    assert "conf/orders.yaml has changed and is followed from now on" in told.said
    assert_rows(home.table("gold/by_state"), [("open", 2, "30.00")], BY_STATE)


def test_a_contract_that_breaks_rests_its_dataset_until_it_is_right_and_others_come_and_go(home: Home, watching: Watching) -> None:
    told = watching(
        lambda: home.contract(ORDERS.replace("primaryKey: true", "primarykey: true", 1)),
        lambda: home.land("mon.csv", *MONDAY),
        nothing,
        lambda: home.contract(OTHER, "others"),
        home.contract,
        nothing,
        (home.path / "conf/orders.yaml").unlink,
    )
    assert len(told.failures) == 1
    assert "primarykey" in str(told.failures[0][0])
    assert told.said[1:] == [
        "conf/others.yaml is new: start watch again to take others in",
        "conf/orders.yaml has changed and is followed from now on",
        "conf/orders.yaml is gone: orders is no longer watched, its tables stay",
    ]
    assert home.table("silver/orders").count() == 2
    assert isinstance(told.raised, UsageError)
    assert "no dataset is left" in str(told.raised)


def test_it_ends_with_the_failure_when_no_dataset_has_been_able_to_run_for_long(home: Home, watching: Watching) -> None:
    home.raw.rmdir()
    told = watching(*[nothing] * 200)
    assert isinstance(told.raised, UsageError)
    assert "does not exist" in str(told.raised)
    assert len(told.failures) == 5


def test_a_batch_over_the_quality_limit_waits_and_passes_once_its_file_is_corrected(home: Home, watching: Watching) -> None:
    limited = ORDERS.replace(
        "customProperties: [{property: sequenceBy, value: [at]}]",
        "customProperties: [{property: sequenceBy, value: [at]}, {property: maxQuarantinedShare, value: 0.1}]",
    )
    home.contract(limited)
    told = watching(
        lambda: home.land("mon.csv", "1,open,never,10.00", "2,open,2026-01-01,20.00", at=1_767_600_000),
        nothing,
        nothing,
        lambda: home.land("mon.csv", *MONDAY, at=1_767_700_000),
        nothing,
        nothing,
    )
    assert {f.exit_code for f, _ in told.failures} == {3}
    assert "silver orders works again" in told.said
    assert_rows(home.table("gold/by_state"), [("open", 2, "30.00")], BY_STATE)


def test_a_file_accepted_by_hand_is_let_in_by_the_next_round(home: Home, watching: Watching) -> None:
    from streaming_jobs.operations import files

    many = [f"{n},open,2026-01-01,1.00" for n in range(20)]
    watching(
        lambda: home.land("mon.csv", *many, at=1_767_600_000),
        nothing,
        lambda: home.land("mon.csv", many[0], at=1_767_700_000),
        nothing,
        lambda: files.accept("mon.csv", home.contracts(), home.settings),
        nothing,
        nothing,
    )
    assert home.states() == {"mon.csv": ("ingested", 1)}
    assert_rows(home.table("gold/by_state"), [("open", 1, "1.00")], BY_STATE)


def test_work_that_is_there_whatever_is_done_is_not_done_in_every_round(
    home: Home, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []

    def always(contract: Contract, settings: Settings) -> Pending:
        rounds.append(1)
        return Pending("bronze", contract.dataset, ("1 new",))

    monkeypatch.setitem(pending.OF, "bronze", always)
    watching(*[nothing] * 24)
    assert len(rounds) == 3  # in two minutes: at first, once more, and after a minute


def test_settings_need_a_restart_and_a_touched_contract_tries_refused_files_again(home: Home, watching: Watching) -> None:
    told = watching(
        lambda: home.land_bytes("bad.csv", b"\x00\x01" * 100),
        nothing,
        lambda: (home.path / "conf/settings.yaml").write_text("cores: 1\n"),
        lambda: os.utime(home.path / "conf/orders.yaml"),
        nothing,
    )
    assert told.said[1:] == ["conf/settings.yaml has changed: start watch again to follow it"]
    refused = ledger.query({"files": home.settings.table(ledger.FILES)}, "SELECT path FROM files WHERE status = 'rejected'")
    assert [r["path"] for r in refused] == ["bad.csv"] * 2


def test_every_layer_is_locked_while_it_watches(home: Home, watching: Watching) -> None:
    raised = []

    def scheduled() -> None:
        for layer in ("bronze", "silver", "gold"):
            with pytest.raises(Locked) as error:
                home.run(layer)
            raised.append(error.value.exit_code)

    watching(scheduled)
    assert raised == [75, 75, 75]
    home.ok()
