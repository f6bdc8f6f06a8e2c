"""One scheduled increment: the asked-for layers in the order of the data, for every dataset, in one process."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streaming_jobs import damage, locks, marks, pending, snapshots, space
from streaming_jobs.contract import Contract, remember
from streaming_jobs.errors import Failure, InputRefused, Stopped, as_failure
from streaming_jobs.ledger import FileRow, Status
from streaming_jobs.pending import Pending
from streaming_jobs.run import Began, Ended, Looked, Note, Run
from streaming_jobs.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession  # a run without work does not import it

_WORST_FIRST = (1, 4, 2, 75, 3)


Failed = tuple[str, str, Failure]
"""Layer, dataset, error."""

Step = Callable[["SparkSession", Contract, Run], None]
"""What is done to one layer of one dataset, such as `silver.start`."""


@dataclass(frozen=True)
class Outcome:
    """What one increment did. failures: (layer, dataset, error); the other datasets went on."""

    run_id: str
    notes: tuple[Note, ...]
    failures: tuple[Failed, ...]

    @property
    def exit_code(self) -> int:
        codes = {failure.exit_code for _, _, failure in self.failures}
        if stopped := next((failure for _, _, failure in self.failures if isinstance(failure, Stopped)), None):
            return stopped.exit_code
        if any(isinstance(n, FileRow) and n.status in (Status.REJECTED, Status.HELD) for n in self.notes):
            codes.add(3)
        return next((code for code in _WORST_FIRST if code in codes), 0)


def increment(
    layers: Sequence[str],
    contracts: Sequence[Contract],
    run: Run,
    entered: Callable[[str, str], None],
) -> Outcome:
    """Bring layers up to date with what lies before them now.

    entered: told of each layer and dataset as its turn comes. A failure of one dataset ends that
    dataset only; refused input does not even keep its later layers from what they can do.
    After a signal the batch in hand is finished and the rest left. Raises Locked before anything is
    read when another process holds a layer.
    """
    notes: list[Note] = []

    def note(what: Note) -> None:
        notes.append(what)
        run.notify(what)

    noted = replace(run, notify=note)
    with locks.hold(run.settings, layers, [c.dataset for c in contracts]) as descriptors:
        with snapshots.opened_ahead(_read_last(layers, contracts, run.settings)):
            work, failures = _look(layers, contracts, run)
        if any(p.reasons for p in work):
            failures = _work(layers, contracts, work, failures, noted, descriptors, entered)
        if not failures:  # a run that fails may say that nothing was written
            for contract in contracts:
                remember(contract, run.settings.home)
    return Outcome(run.run_id, tuple(notes), tuple(failures))


def redo(steps: Mapping[str, Step], contracts: Sequence[Contract], run: Run, entered: Callable[[str, str], None]) -> Outcome:
    """Take steps for every dataset whether or not a layer has work; steps: by the layer that each writes, in the order of the data.

    Fails one dataset at a time, and raises Locked, as `increment` does.
    """
    from streaming_jobs import session

    notes: list[Note] = []

    def note(what: Note) -> None:
        notes.append(what)
        run.notify(what)

    noted = replace(run, notify=note)
    with (
        locks.hold(run.settings, list(steps), [c.dataset for c in contracts]) as held,
        session.opened(run.settings, held, small=False) as spark,
    ):
        failures = _each(steps, contracts, spark, noted, entered)
    return Outcome(run.run_id, tuple(notes), tuple(failures))


def _read_last(layers: Sequence[str], contracts: Sequence[Contract], settings: Settings) -> Iterator[Path]:
    """Tables in the order in which the layers after the first are looked at; Silver's log names a file for each day or more."""
    for contract in contracts:
        for layer in layers[1:]:
            yield from (settings.table(name) for name in marks.tables(layer, contract))


def _look(layers: Sequence[str], contracts: Sequence[Contract], run: Run) -> tuple[list[Pending], list[Failed]]:
    """What there is to do, and what keeps a dataset from being looked at."""
    work: list[Pending] = []
    failures: list[Failed] = []
    for contract in contracts:
        for layer in layers:
            try:
                found = pending.OF[layer](contract, run.settings)
            except Exception as error:
                failure = as_failure(error)
                failures.append((layer, contract.dataset, failure))
                run.turn(Ended(run.run_id, layer, contract, failure))
                break
            run.turn(Looked(found))
            work.append(found)
    return work, failures


def _work(
    layers: Sequence[str],
    contracts: Sequence[Contract],
    work: Sequence[Pending],
    failed: Sequence[Failed],
    run: Run,
    descriptors: Sequence[int],
    entered: Callable[[str, str], None],
) -> list[Failed]:
    """Run every layer of the datasets that have something to do in any of them.

    failed: layers that could not even be looked at; they and those after them are left out. Returns these and what failed now.
    """
    space.require(work, run.settings)
    # Only here: a run without work neither imports nor starts Spark.
    from streaming_jobs import session

    start = starts()
    busy = {p.dataset for p in work if p.reasons}
    wanted = [c for c in contracts if c.dataset in busy]
    unseen = {(layer, dataset) for layer, dataset, _ in failed}
    # What cannot be looked at cannot be measured either.
    small = not unseen and _is_small(work, wanted, run.settings)
    with session.opened(run.settings, descriptors, small=small) as spark:
        if {"bronze", "silver"} <= set(layers):
            session.prepare(spark, run.settings, practice(wanted[0], layers, run.settings) if small else [])
        return [*failed, *_each({layer: start[layer] for layer in layers}, wanted, spark, run, entered, unseen)]


def _is_small(work: Sequence[Pending], contracts: Sequence[Contract], settings: Settings) -> bool:
    files = {p.dataset: len(p.files.candidates) for p in work if p.layer == "bronze"}
    against = sum(pending.set_against(c, files.get(c.dataset, 1), settings) for c in contracts)
    return pending.is_small(work, against, settings)


def starts() -> dict[str, Step]:
    """What brings each layer up to date, in the order of the data."""
    from streaming_jobs import bronze, gold, silver

    return {"bronze": bronze.start, "silver": silver.start, "gold": gold.start}


def practice(contract: Contract, layers: Container[str], settings: Settings) -> list[Callable[[SparkSession], None]]:
    """What layers do, for the first time and with a row that nobody needs; none where no core is free for it."""
    from streaming_jobs import gold, silver

    of = {"silver": silver.practice, "gold": gold.practice}
    return [of[layer](contract, settings) for layer in of if layer in layers and settings.cores > 1]


def take(step: Step, layer: str, contract: Contract, spark: SparkSession, run: Run) -> None:
    """One step, and the mark of how far its tables have come then. What it raises is the caller's to tell as its end."""
    run.turn(Began(run.run_id, layer, contract))
    step(spark, contract, run)
    marks.keep(layer, contract, run.settings)
    run.turn(Ended(run.run_id, layer, contract))


def _each(
    steps: Mapping[str, Step],
    contracts: Sequence[Contract],
    spark: SparkSession,
    run: Run,
    entered: Callable[[str, str], None],
    unseen: Container[tuple[str, str]] = (),
) -> list[Failed]:
    """Layer by layer, dataset by dataset. A dataset is left out from the layer on that failed, or is among `unseen`."""
    failures: list[Failed] = []
    broken: set[str] = set()
    for layer, step in steps.items():
        for contract in contracts:
            if (layer, contract.dataset) in unseen:
                broken.add(contract.dataset)
            if contract.dataset in broken:
                continue
            entered(layer, contract.dataset)
            try:
                run.stop.check()
            except Stopped as stopped:
                return [*failures, (layer, contract.dataset, stopped)]
            try:
                take(step, layer, contract, spark, run)
            except Exception as error:
                failure = damage.explained(as_failure(error), contract, run.settings)
                failures.append((layer, contract.dataset, failure))
                run.turn(Ended(run.run_id, layer, contract, failure))
                if isinstance(error, Stopped):
                    return failures
                if not isinstance(error, InputRefused):
                    broken.add(contract.dataset)
    return failures
