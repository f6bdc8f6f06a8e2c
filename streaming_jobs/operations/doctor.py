"""`doctor`: machine, contracts, checkpoints, tables and ledger, looked at without Spark; every finding with its remedy.

Changes nothing. What it calls damage a run would stop at too, or fail on; `verify` proves the rows themselves.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from streaming_jobs import agreement, checkpoints, damage, jars, landing, ledger, locks, meaning, snapshots
from streaming_jobs.contract import Contract, examine_all
from streaming_jobs.contract.model import Examined
from streaming_jobs.errors import DamagedState, Failure, Locked, SetupError, UsageError
from streaming_jobs.settings import Settings

_LEAST_FREE = 1 << 30  # bytes; also the least that a run asks for
_AHEAD = timedelta(minutes=5)  # of this machine's clock
KINDS = {DamagedState.exit_code: "damaged:", UsageError.exit_code: "wrong:", 0: "note:"}
"""Exit code of a finding -> how it is called; the first that occurs is the exit code of the command."""


@dataclass(frozen=True)
class Finding:
    """exit_code: 4 damage, 2 something to correct, 0 worth knowing. place: relative to the home, where it is below it."""

    exit_code: int
    place: str
    what: str
    remedy: str


def examine(datasets: Sequence[str], settings: Settings) -> tuple[Finding, ...]:
    """Everything that is found, damage first. datasets: of these only; empty: of all."""
    examined = examine_all(settings.conf, datasets)
    found = [*_machine(settings), *_contracts(examined), *_ledger(settings)]
    for one in examined:
        found += _of_dataset(one.contract, settings) if one.contract else ()
    found += _left_over(settings)
    return tuple(sorted(dict.fromkeys(found), key=lambda f: (-f.exit_code, f.place)))


def exit_code(findings: Sequence[Finding]) -> int:
    return next((code for code in KINDS if any(f.exit_code == code for f in findings)), 0)


def _machine(settings: Settings) -> Iterator[Finding]:
    for look in (jars.require_java, lambda: jars.verify(settings.jars), _versions):
        try:
            look()
        except SetupError as error:
            yield Finding(2, "machine", str(error).rstrip("."), "")
    for folder in (settings.home / "data", settings.home / "checkpoints"):
        place = folder.name
        nearest = folder if folder.exists() else settings.home
        if not os.access(nearest, os.W_OK | os.X_OK):
            yield Finding(2, place, "cannot be written by this user", "Give it to the user that runs the jobs.")
        if (free := shutil.disk_usage(nearest).free) < _LEAST_FREE:
            yield Finding(
                2, place, f"has {free >> 20} MiB of free space left", "Make room: a run that finds none fails, and is done again."
            )


def _versions() -> None:
    """Python and Java sides of Delta have to be of one version."""
    wanted = jars.read_lock().package.rsplit(":", 1)[1]
    try:
        held = importlib.metadata.version("delta-spark")
    except importlib.metadata.PackageNotFoundError:
        held = "not installed"
    if held != wanted:
        raise SetupError(f"the package delta-spark is {held}, its jars are {wanted}; run `make setup`.")


def _contracts(examined: Sequence[Examined]) -> Iterator[Finding]:
    for one in examined:
        for line in one.findings:
            yield Finding(2, f"conf/{one.file.name}", line, "Correct the contract.")


def _ledger(settings: Settings) -> Iterator[Finding]:
    unreadable = [*damage.of_ledger(settings)]
    yield from map(_damaged, unreadable)
    if not unreadable:
        newest = _newest_entry(settings)
        if newest and newest > ledger.now() + _AHEAD:
            what = f"has an entry of {newest:%Y-%m-%d %H:%M:%S} UTC, which is still to come: this machine's clock was set back"
            yield Finding(0, "data/ledger/runs", what, "Correct the clock; the tables are not ordered by it.")


def _newest_entry(settings: Settings) -> datetime | None:
    table = settings.table(ledger.RUNS)
    if snapshots.newest(table) is None:
        return None
    found: datetime | None = ledger.query({"runs": table}, "SELECT max(started_at) AS at FROM runs")[0]["at"]
    return found


def _of_dataset(contract: Contract, settings: Settings) -> Iterator[Finding]:
    yield from _in_use(contract, settings)
    sound = True
    for layer in damage.LAYERS:
        for found in (*damage.of_layer(layer, contract, settings), *damage.of_files(layer, contract, settings)):
            sound = False
            yield _damaged(found)
    if not sound:
        return  # what follows reads tables
    try:
        landing.require_folder(settings.landing(contract.landing.folder))
        agreement.require(contract, settings)
        meaning.require_same(contract, settings.table(contract.silver_table))
    except Failure as failure:
        yield Finding(failure.exit_code, f"dataset {contract.dataset}", str(failure).rstrip("."), "")
        return
    yield from _rows_of_files(contract, settings)
    yield from _checkpoint_of_bronze(contract, settings)
    yield from _feeds(contract, settings)


def _in_use(contract: Contract, settings: Settings) -> Iterator[Finding]:
    try:
        with locks.hold(settings, damage.LAYERS, [contract.dataset]):
            pass
    except Locked as locked:
        yield Finding(
            0,
            f"dataset {contract.dataset}",
            str(locked).split(";")[0],
            "What is found may be work that is not finished; look again when it has ended.",
        )
    except UsageError:
        pass  # a folder that cannot be written is a finding of its own


def _rows_of_files(contract: Contract, settings: Settings) -> Iterator[Finding]:
    """Files of which Bronze holds more or fewer rows than the ledger says."""
    if snapshots.newest(settings.table(contract.bronze_table)) is None:
        return
    held = {path: rows for path, (rows, _) in agreement.rows_per_file(contract, settings).items()}
    states = ledger.known(settings, contract.dataset).states
    said = {path: state.loaded.rows or 0 for path, state in states.items() if state.loaded}
    wrong = sorted(path for path in {*held, *said} if held.get(path, 0) != said.get(path, 0))
    if wrong:
        what = f"holds {held.get(wrong[0], 0)} rows of {wrong[0]}, the ledger says {said.get(wrong[0], 0)}; {len(wrong)} such files"
        yield Finding(4, f"data/{contract.bronze_table}", what, f"`streaming-jobs rebuild bronze {contract.dataset}` reads them again.")


def _checkpoint_of_bronze(contract: Contract, settings: Settings) -> Iterator[Finding]:
    if flaw := checkpoints.flaw(settings.checkpoint("bronze", contract.dataset)):
        remedy = "The next run starts the stream over; the ledger knows what was read."
        yield Finding(0, f"checkpoints/bronze/{contract.dataset}/{flaw.split()[0]}", " ".join(flaw.split()[1:]), remedy)


def _feeds(contract: Contract, settings: Settings) -> Iterator[Finding]:
    for layer, source in (("silver", contract.bronze_table), ("gold", contract.silver_table)):
        if snapshots.newest(settings.table(source)) is None:
            continue
        checkpoint = settings.checkpoint(layer, contract.dataset)
        if gone := checkpoints.feed_is_gone(checkpoint, settings.table(source)):
            what = f"was cleaned away before {layer} had read it"
            remedy = f"The next run makes {layer} again from {source.split('/')[0]}; let less time pass between runs."
            yield Finding(0, f"data/{source}/{gone}", what, remedy)


def _left_over(settings: Settings) -> Iterator[Finding]:
    for folder in sorted(settings.table("set-aside").glob("*")):
        yield Finding(
            0, f"data/set-aside/{folder.name}", "is a damaged table that was moved out of the way", "Remove it when you no longer need it."
        )


def _damaged(found: damage.Damage) -> Finding:
    return Finding(DamagedState.exit_code, found.place, found.what, found.repair)
