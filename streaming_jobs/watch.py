"""Left running: rounds of the scheduled increment in one session, woken by a look at folders.

A round does for each dataset what `run` does, with the same functions and in the same order. Between rounds
only file stamps are compared: the landing folders, the contracts, the file ledger. The locks of every layer
of every dataset are held from before the JVM starts until it has ended, so no other writer comes between,
and no sweep runs beside a Bronze batch. Why rounds and not three continuous streams: docs/watch.md.

A layer that fails is tried again after growing pauses, and at once when its contract changes; the layers
before it and the other datasets go on.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streaming_jobs import damage, landing, ledger, locks, pending, space
from streaming_jobs.contract import SETTINGS, Contract, examine_all, load_all
from streaming_jobs.errors import ContractError, Failure, InputRefused, Stopped, UsageError, as_failure
from streaming_jobs.increment import Step, practice, starts, take
from streaming_jobs.run import Ended, Looked, Run, new_id, outcome
from streaming_jobs.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PAUSES = (5, 15, 60, 300)  # seconds until a failed layer is tried again; the last one from then on
_ENDLESS_SECONDS = 60  # until work that does not end is done again
_TRIES = 5  # failures in a row of every dataset, after which nothing can run

_Stamps = Mapping[Path, tuple[int, int] | None]


@dataclass
class _Failing:
    """A layer that failed, the last time or several times in a row. due: monotonic seconds."""

    failure: Failure
    times: int
    due: float

    @property
    def lets_others_go_on(self) -> bool:
        return isinstance(self.failure, InputRefused)


@dataclass
class _Dataset:
    """contract None: its file has these findings.

    seen: what the last round saw, where another one would find nothing new; None: look again. again: monotonic seconds when to
    look even so. listed: the landing folder as the last round with work saw it.
    """

    name: str
    contract: Contract | None
    findings: tuple[str, ...] = ()
    failing: dict[str, _Failing] = field(default_factory=dict)
    seen: object = None
    again: float = math.inf
    listed: object = None


@dataclass(frozen=True)
class Told:
    """What the operator is told between rounds. say: an event; fail: a failure, and when it is tried again."""

    say: Callable[[str], None]
    fail: Callable[[Failure, str], None]


def watch(datasets: Sequence[str], run: Run, every: float, told: Told, beside: AbstractContextManager[object] | None = None) -> None:
    """Keep the layers of these datasets, or of all, up to date until a signal comes; never returns otherwise.

    every: seconds between two looks. beside: entered under the locks, before the JVM starts. Raises Stopped after a signal, when
    the batch in hand is complete. Raises before anything is read as `increment` does, and ContractError for a broken contract.
    Later a failure is told and tried again; it is raised when every dataset has failed several times in a row, or the JVM has ended.
    """
    stamps = _contract_stamps(run.settings)
    contracts = load_all(run.settings.conf, datasets)
    with locks.hold(run.settings, list(pending.OF), [c.dataset for c in contracts]) as held, beside or nullcontext():
        from streaming_jobs import session

        steps = starts()
        with session.opened(run.settings, held, lasting=True) as spark:
            session.prepare(spark, run.settings, practice(contracts[0], list(steps), run.settings))
            told.say(f"watching {', '.join(c.dataset for c in contracts)} every {every:g} s until SIGTERM or Ctrl-C")
            watched = [_Dataset(c.dataset, c) for c in contracts]
            gc.freeze()  # what is there now stays: the collections below need not look at it
            while True:
                run.stop.check()
                began = time.monotonic()
                if (now := _contract_stamps(run.settings)) != stamps:
                    watched = _reload(watched, run.settings, told)
                    _say_what_needs_a_restart(stamps, now, [] if datasets else [d.name for d in watched], told)
                    stamps = now
                for dataset in watched:
                    worked = _round(dataset, steps, spark, run, told)
                    if not session.is_alive():
                        raise _gone(run.settings)
                    if worked:
                        # Frames refer to themselves, and each keeps its plan in the JVM: 500 of them a round.
                        gc.collect()
                _require_one(watched)
                run.stop.wait(every - (time.monotonic() - began))


def _round(dataset: _Dataset, steps: Mapping[str, Step], spark: SparkSession, run: Run, told: Told) -> bool:
    """What there is to do for one dataset now; returns whether there was anything."""
    from streaming_jobs.session import suit

    contract, due = dataset.contract, min([dataset.again, *(f.due for f in dataset.failing.values())])
    if contract is None:
        return False
    listed = _listed(contract, run.settings)
    if (listed, ledger.stamp(run.settings)) == dataset.seen and time.monotonic() < due:
        return False
    one, worked = replace(run, run_id=new_id()), False
    for layer, step in steps.items():
        held_up = dataset.failing.get(layer)
        if held_up and held_up.due > time.monotonic() and not (worked and held_up.lets_others_go_on):
            if held_up.lets_others_go_on:
                continue
            break
        run.stop.check()
        try:
            work = pending.OF[layer](contract, run.settings)
            one.turn(Looked(work))
            if work.reasons:
                space.require([work], run.settings)
                worked = True
                suit(spark, run.settings, small=pending.is_small([work], 0, run.settings))
                take(step, layer, contract, spark, one)
        except Stopped as stopped:
            one.turn(Ended(one.run_id, layer, contract, stopped))
            raise
        except Exception as error:
            failing = dataset.failing[layer] = _failed_again(held_up, damage.explained(as_failure(error), contract, run.settings))
            outcome(one, layer, contract.dataset, failing.failure)
            one.turn(Ended(one.run_id, layer, contract, failing.failure))
            told.fail(failing.failure, _when(failing))
            if not failing.lets_others_go_on:
                break
        else:
            if dataset.failing.pop(layer, None):
                outcome(one, layer, dataset.name, None)
                told.say(f"{layer} {dataset.name} works again")
    # A file may have come meanwhile, or be one that was still being written: a round with work is followed by another look. Work
    # that is still there when nothing has come, such as a file without permission, is not done every few seconds.
    endless = worked and listed == dataset.listed
    dataset.seen = (listed, ledger.stamp(run.settings)) if endless or not worked else None
    dataset.again = time.monotonic() + _ENDLESS_SECONDS if endless else math.inf
    dataset.listed = listed if worked else None
    return worked


def _listed(contract: Contract, settings: Settings) -> object:
    """The landing folder, or why it cannot be listed."""
    try:
        return landing.list_folder(settings.landing(contract.landing.folder))
    except (UsageError, OSError) as error:
        return str(error)


def _failed_again(before: _Failing | None, failure: Failure) -> _Failing:
    times = before.times + 1 if before else 1
    return _Failing(failure, times, time.monotonic() + _PAUSES[min(times, len(_PAUSES)) - 1])


def _when(failing: _Failing) -> str:
    times = "" if failing.times == 1 else f"failed {failing.times} times; "
    return f"{times}next try in {failing.due - time.monotonic():.0f} s or when its contract changes"


def _require_one(watched: Sequence[_Dataset]) -> None:
    """Raise the failure of the first dataset when none can run any more."""
    if not watched:
        raise UsageError("no dataset is left to watch; nothing is running. Add a contract, then start watch again.")
    stuck = [next((f.failure for f in d.failing.values() if f.times >= _TRIES and not f.lets_others_go_on), None) for d in watched]
    if stuck[0] is not None and None not in stuck:
        raise stuck[0]


def _contract_stamps(settings: Settings) -> _Stamps:
    return {file: _stamp(file) for file in sorted(settings.conf.glob("*.yaml"))}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        info = file.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size


def _reload(watched: Sequence[_Dataset], settings: Settings, told: Told) -> list[_Dataset]:
    """The datasets by their contracts as they are now; each change is told."""
    try:
        examined = {e.dataset: e for e in examine_all(settings.conf)}
    except UsageError:
        examined = {}
    kept = []
    for dataset in watched:
        found = examined.get(dataset.name)
        if found is None:
            told.say(f"conf/{dataset.name}.yaml is gone: {dataset.name} is no longer watched, its tables stay")
        elif (found.contract, found.findings) == (dataset.contract, dataset.findings):
            dataset.seen = None  # a younger contract file: refused files are looked at again
            kept.append(dataset)
        elif found.contract is None:
            told.fail(ContractError(found.findings), f"{dataset.name} is not worked on until its contract is correct")
            kept.append(_Dataset(dataset.name, None, found.findings))
        else:
            told.say(f"conf/{dataset.name}.yaml has changed and is followed from now on")
            kept.append(_Dataset(dataset.name, found.contract))
    return kept


def _say_what_needs_a_restart(before: _Stamps, now: _Stamps, watched: Sequence[str], told: Told) -> None:
    """Settings, which the JVM was started with, and new datasets, whose locks are not held. watched: empty if only some were asked for."""
    for file, stamp in now.items():
        if file.name == SETTINGS and before.get(file) != stamp:
            told.say("conf/settings.yaml has changed: start watch again to follow it")
        elif file not in before and file.name != SETTINGS and watched and file.stem not in watched:
            told.say(f"conf/{file.name} is new: start watch again to take {file.stem} in")


def _gone(settings: Settings) -> Failure:
    return Failure(
        f"the JVM has ended; its last words are at the end of {settings.home / 'checkpoints' / 'spark.log'}, the kernel's log names a "
        "process that was killed for its memory. What was committed stays, the rest comes again: start watch again."
    )
