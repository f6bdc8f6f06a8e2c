"""One scheduled increment: the asked-for layers in the order of the data, for every dataset, in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from streaming_jobs import bronze, gold, locks, session, silver
from streaming_jobs.contract import Contract
from streaming_jobs.errors import Failure, InputRefused, Stopped, Unexpected
from streaming_jobs.ledger import FileRow, Status
from streaming_jobs.run import Note, Run

LAYERS: dict[str, Callable[[SparkSession, Contract, Run], None]] = {
    "bronze": bronze.start,
    "silver": silver.start,
    "gold": gold.start,
}
_WORST_FIRST = (1, 4, 2, 75, 3)


@dataclass(frozen=True)
class Outcome:
    """What one increment did. failures: (layer, dataset, error); the other datasets went on."""

    run_id: str
    notes: tuple[Note, ...]
    failures: tuple[tuple[str, str, Failure], ...]

    @property
    def exit_code(self) -> int:
        codes = {failure.exit_code for _, _, failure in self.failures}
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
    Raises Locked before anything is read when another process holds a layer, Stopped after a signal.
    """
    notes: list[Note] = []
    failures: list[tuple[str, str, Failure]] = []

    def note(what: Note) -> None:
        notes.append(what)
        run.notify(what)

    noted = replace(run, notify=note)
    with (
        locks.hold(run.settings, layers, [c.dataset for c in contracts]) as descriptors,
        session.opened(run.settings, descriptors) as spark,
    ):
        broken: set[str] = set()
        for layer in layers:
            for contract in contracts:
                if contract.dataset in broken:
                    continue
                run.stop.check()
                entered(layer, contract.dataset)
                try:
                    LAYERS[layer](spark, contract, noted)
                except Stopped:
                    raise
                except Exception as error:
                    failures.append((layer, contract.dataset, error if isinstance(error, Failure) else Unexpected(error)))
                    if not isinstance(error, InputRefused):
                        broken.add(contract.dataset)
    return Outcome(run.run_id, tuple(notes), tuple(failures))
