"""What the layers share during one run: who asks, what was noted, how a balance is recorded."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError

from streaming_jobs import ledger
from streaming_jobs.contract import Contract
from streaming_jobs.errors import DamagedState, Failure, InputRefused
from streaming_jobs.ledger import FileRow, RunRow
from streaming_jobs.settings import Settings
from streaming_jobs.stop import Stop

if TYPE_CHECKING:
    from streaming_jobs.pending import Pending


@dataclass(frozen=True)
class Warned:
    """How many rows of one micro-batch broke a rule of severity `warning`; they were accepted all the same."""

    dataset: str
    rule: str
    rows: int


@dataclass(frozen=True)
class Healed:
    """State of a layer that was lost or damaged, and that the layer put right by itself. what: a sentence about it."""

    layer: str
    dataset: str
    what: str


Note = RunRow | FileRow | Warned | Healed


@dataclass(frozen=True)
class Looked:
    """What a layer of a dataset would find to do, looked at before anything is done."""

    found: Pending


@dataclass(frozen=True)
class Began:
    """A layer of a dataset is worked on from now on."""

    run_id: str
    layer: str
    contract: Contract


@dataclass(frozen=True)
class Ended:
    """It is done with; failure: it could not be looked at, was given up or was stopped, and why."""

    run_id: str
    layer: str
    contract: Contract
    failure: Failure | None = None


Turn = Looked | Began | Ended


def _nobody(_: Turn) -> None:
    pass


def new_id() -> str:
    """The id of one invocation, or of one round of `watch`."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Run:
    """One invocation.

    notify: told of every balance, every file that was not ingested and every warning. turn: told when a layer of a dataset is
    looked at, begun and ended; one that is stopped before it begins is not told of.
    """

    settings: Settings
    notify: Callable[[Note], None]
    stop: Stop = field(default_factory=Stop)
    turn: Callable[[Turn], None] = _nobody
    accept_quality: bool = False
    force: bool = False  # a rebuild may lose rows
    run_id: str = field(default_factory=new_id)


_MOST = 1000  # characters of a failure in the ledger
_MAX_LOSS = 0.1  # of a table's rows, by a rebuild that nobody forced


def require_rows(run: Run, layer: str, dataset: str, table: str, held: int, fresh: int) -> None:
    """Raise InputRefused when a table that is made again would lose more than a tenth of its rows; before anything is written."""
    if run.force or fresh >= held * (1 - _MAX_LOSS):
        return
    raise InputRefused(
        f"data/{table}: made again it would have {fresh} rows instead of {held}. Nothing was written. If that is right: "
        f"`streaming-jobs rebuild {layer} {dataset} --force`; if not, something is missing from what it is made of."
    )


@dataclass(frozen=True)
class Clock:
    """One piece of work: when it began, and the seconds that each of its stages took."""

    started_at: datetime = field(default_factory=ledger.now)
    ticks: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)

    def seconds(self) -> float:
        return round(time.monotonic() - self.ticks, 3)

    def lap(self, stage: str) -> None:
        """What has passed since the last stage ended, or since the beginning, belongs to this one."""
        self.stages[stage] = round(self.stages.get(stage, 0.0) + self.seconds() - sum(self.stages.values()), 3)


def record(
    run: Run,
    clock: Clock,
    *,
    layer: str,
    dataset: str,
    txn: tuple[str, int],
    batch_id: int | None,
    rows_in: int,
    accepted: int,
    superseded: int = 0,
    quarantined: int = 0,
    deleted: int = 0,
    files: int = 0,
    table_version: int | None = None,
) -> None:
    """Write one balance to the run ledger and tell whoever listens; the same txn twice is written once.

    Raises DamagedState when the balance does not hold: then a row was lost or doubled on the way.
    """
    row = RunRow(
        run.run_id, dataset, layer, batch_id, clock.started_at, clock.seconds(), files,
        rows_in, accepted, superseded, quarantined, deleted, table_version, "done", json.dumps(clock.stages),
    )  # fmt: skip
    if rows_in != accepted + superseded + quarantined:
        raise DamagedState(
            f"{layer} of {dataset}, batch {batch_id}: {rows_in} rows in, but {accepted} accepted + {quarantined} quarantined "
            f"+ {superseded} superseded. The batch is not recorded as done and comes again."
        )
    ledger.append_runs(run.settings, [row], txn)
    run.notify(row)


def outcome(run: Run, layer: str, dataset: str, failure: Failure | None) -> None:
    """Write to the run ledger that a layer failed, and why, or, with None, that it does no longer.

    A ledger that cannot be written is no second failure.
    """
    said = "done" if failure is None else f"failed: {' '.join(str(failure).split())}"[:_MOST]
    row = RunRow(run.run_id, dataset, layer, None, ledger.now(), 0.0, 0, 0, 0, 0, 0, 0, None, said, None)
    with suppress(OSError, DeltaError):
        ledger.append_runs(run.settings, [row], None)
