"""Contestants in alternation: each turn everyone from the same state, every other turn in the opposite order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import duckdb
from deltalake.exceptions import DeltaError

from benchmarks import equal, measure
from benchmarks.contestants import HEAP, OURS, Contestant, environment
from benchmarks.deliveries import ROOT
from benchmarks.measure import Stopped, Taken, TooLong
from benchmarks.records import Record

Say = Callable[[str], None]
Digests = dict[str, equal.Digest]
_ONE_TURN = 150  # seconds; a peer that takes longer does so once


@dataclass(frozen=True)
class Entry:
    """One contestant in one case.

    fresh: makes its home for a turn, with what was delivered, always at the same path: checkpoints of some hold paths.
    compared: its tables must equal ours after the first turn, may differ, or are none to compare. Ours comes first in every case.
    excused: that it fails is a result; otherwise it ends the benchmark.
    """

    contestant: Contestant
    case: str
    fresh: Callable[[], Path]
    compared: Literal["must", "may", "no"] = "must"
    excused: bool = False
    heap: str = HEAP


def race(
    entries: Sequence[Entry],
    turns: int,
    logs: Path,
    say: Say,
    limit: float | None = None,
    after: Callable[[Entry, Path, Taken], None] = lambda *_: None,
) -> list[Record]:
    """A record per entry, in their order. after: is told of each command that succeeded, while its home is there."""
    lanes = [_Lane(entry) for entry in entries]
    ours: dict[str, Digests] = {}  # by case
    for turn in range(turns):
        for lane in lanes if turn % 2 == 0 else reversed(lanes):
            if lane.out:
                continue
            entry, home = lane.entry, lane.entry.fresh()
            os.sync()  # so that what was copied is not written to the disk during the turn
            found = _one(entry, home, logs, limit)
            if isinstance(found, Taken):
                lane.taken.append(found)
                say(f"  {entry.case}, {entry.contestant.name}, turn {turn + 1}: {found.seconds:.2f} s, {found.peak_mib} MiB")
                after(entry, home, found)
                if turn == 0 and entry.compared != "no":
                    lane.note = _difference(entry, home, ours)
                    lane.equal = None if entry.contestant.name == OURS else not lane.note
                lane.out = found.seconds > _ONE_TURN and not entry.contestant.name.startswith(OURS)
            else:
                lane.note, lane.out = found, True
                say(f"  {entry.case}, {entry.contestant.name}: {found}")
            shutil.rmtree(home)
    return [
        Record(of.entry.contestant.name, of.entry.contestant.sentence, of.entry.case, tuple(of.taken), of.equal, of.note) for of in lanes
    ]


@dataclass
class _Lane:
    """What is known of an entry so far. out: it takes part no more."""

    entry: Entry
    taken: list[Taken] = field(default_factory=list)
    equal: bool | None = None
    note: str = ""
    out: bool = False


def execute(contestant: Contestant, home: Path, logs: Path, heap: str = HEAP, limit: float | None = None) -> Taken:
    """One command with what it wrote. Raises Stopped when it does not end in 0, TooLong at the limit."""
    log = logs / f"{contestant.name.replace(' ', '-')}.log"
    before, command = measure.versions(home), contestant.command(home)
    taken = measure.run(command, log, cwd=ROOT, environment=environment(heap, contestant.name), limit=limit)
    return measure.with_written(measure.must(command, log, taken), home, before)


def _one(entry: Entry, home: Path, logs: Path, limit: float | None) -> Taken | str:
    """Or, of one that is excused, why there is nothing."""
    try:
        return execute(entry.contestant, home, logs, entry.heap, limit)
    except TooLong as late:
        if entry.contestant.name.startswith(OURS):
            raise Stopped(f"{entry.contestant.name}, {entry.case}: {late}") from None
        return str(late)
    except Stopped as stopped:
        if not entry.excused:
            raise
        return next(line for line in str(stopped).splitlines() if line.startswith("exit code")).partition(":")[0]


def _difference(entry: Entry, home: Path, ours: dict[str, Digests]) -> str:
    """How its tables differ from ours of the same case, which are kept in `ours`; empty if they do not.

    Raises Stopped where they must not.
    """
    try:
        held: Digests = equal.digests(home)
    except (DeltaError, duckdb.Error, ValueError) as error:
        held, told = {}, f"its tables cannot be read: {error}"
    else:
        told = ""
    if entry.contestant.name == OURS and held:
        ours[entry.case] = held
    mine = ours.get(entry.case)
    if mine is None:
        raise Stopped(f"{entry.case}: there is nothing of ours to compare with {told}")
    told = told or ", ".join(f"{name} differs" for name in mine if held[name] != mine[name])
    if told and entry.compared == "must":
        raise Stopped(f"{entry.case}, {entry.contestant.name}: {told}; its home is {home}")
    return told
