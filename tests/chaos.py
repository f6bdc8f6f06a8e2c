"""Random deliveries and random deaths, then two quiet runs: the tables must be what the files say, and the second writes nothing.

    python -m tests.chaos [--seed N] [--seeds N] [--rounds N] [--in-process]

A round delivers files, starts a command and lets it die: by SIGKILL at a failpoint or at a random time, of Python, of its JVM or
of both. One line per seed; exit 1 at the first seed whose tables differ from the oracle's, whose home is kept then. A seed gives
the same deliveries, commands and failpoints again; where a random moment strikes depends on the machine.

--in-process: no processes; the code dies at a failpoint in one Spark session, which takes a tenth of the time.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from streaming_jobs import failpoints
from tests import oracle
from tests.conftest import HEADER, ORDERS, ROOT
from tests.oracle import ORDERS_LOGIC, BronzeRow
from tests.test_processes import children, is_running

# maxShrink 1: nothing is held back, so that the folder alone says what is to be read.
CONTRACT = ORDERS.replace("bronze/orders\n", "bronze/orders\n    customProperties: [{property: maxShrink, value: 1}]\n")
NAMES = tuple(f"{letter}.csv" for letter in "abcdefgh")
STATES, TIMES, AMOUNTS = ("open", "paid", "sent", ""), ("2026-01-01", "2026-01-02 10:00:00", "", "never"), ("1.00", "2.50", "-1", "")
ODD_RECORDS = ("1,open", "2,paid,2026-01-02,1.00,more", HEADER, '3,"op""en",2026-01-03,"1\n.5"', "")
UNREADABLE = (b"name,state\nx,y\n", b"id,state,at,amount\n1,\xff\xfe,2026-01-01,1\n", b"\x1f\x8b\x08\0\0", b'id,state,at,amount\n"1,open\n')
COMMANDS = ("run",) * 6 + ("bronze", "silver", "gold", "watch --every 100ms", "rebuild silver", "rebuild gold", "maintain --keep-days 0")
LONGEST_SECONDS = 16.0  # until a random kill; a run of one batch takes 10 to 14
MANY_ROWS = 25_000  # more than is held in memory

Content = tuple[bytes, datetime]
"""Bytes, and the modification time as Bronze has it: UTC, milliseconds."""


@dataclass
class Landing:
    """The landing folder, and what may have been read of each path.

    history: the contents that lay there since the last run that came to its end, the one it found included; the newest is last.
    """

    folder: Path
    dice: random.Random
    contract: oracle.Contract
    history: dict[str, list[Content]] = field(default_factory=dict)
    torn: dict[str, bytes] = field(default_factory=dict)  # what is still to come of a file
    at: int = 1_767_600_000

    def deliver(self) -> None:
        """One random act of a source."""
        there = sorted(p.name for p in self.folder.glob("*.csv"))
        acts: list[Callable[[], None]] = [self._new, self._new, self._tear]
        if there:
            acts += [self._correct, self._correct, self._repeat, self._copy, self._rename, self._drop, self._spoil]
        if self.torn:
            acts += [self.complete]
        self.dice.choice(acts)()

    def complete(self) -> None:
        """Bring what is missing of the files that were cut off."""
        for name, content in sorted(self.torn.items()):
            self._land(name, content)
        self.torn.clear()

    def ran(self, found: Mapping[str, Content]) -> None:
        """A run came to its end that found these contents: of a path that could be read, nothing before them is in Bronze.

        What was touched while it ran it may have left to the next one.
        """
        present = self.present()
        for path, content in found.items():
            if present.get(path) == content and self._rows(path, content) is not None:
                self.history[path] = self.history[path][self.history[path].index(content) :]

    def present(self) -> dict[str, Content]:
        return {p.name: self.history[p.name][-1] for p in self.folder.glob("*.csv")}

    def bronze(self, data: Path) -> dict[str, list[BronzeRow]]:
        """What Bronze must hold. Of a path that is gone or unreadable: what it does hold, if that is one of its contents."""
        expected: dict[str, list[BronzeRow]] = {}
        present = self.present()
        for path, contents in self.history.items():
            rows = self._rows(path, contents[-1]) if path in present else None
            expected[path] = self._one_of_its_contents(data, path) if rows is None else rows
        return expected

    def _one_of_its_contents(self, data: Path, path: str) -> list[BronzeRow]:
        candidates = [rows for content in self.history[path] if (rows := self._rows(path, content)) is not None]
        raw = [*(c.name for c in self.contract.raw), "_extra", "_malformed", "_file", "_row"]
        if not (data / "bronze/orders").exists():
            return []  # no file could ever be read
        where = f"SELECT {', '.join(raw)} FROM t WHERE _file = '{path}'"
        held = [tuple(map(oracle._as_expected, raw, row)) for row in oracle.read_table(data / "bronze/orders", where)]
        for rows in candidates:
            if not oracle.compare([oracle.bronze_tuple(row, self.contract) for row in rows], held):
                return rows
        return []

    def _rows(self, path: str, content: Content) -> list[BronzeRow] | None:
        return oracle.read(path, *content, self.contract)

    def _records(self) -> bytes:
        few = self.dice.randrange(12)
        lines = [self._record(self.dice.randrange(1, 15)) for _ in range(few)]
        return "".join(f"{line}\n" for line in (HEADER, *lines)).encode()

    def _record(self, number: int) -> str:
        if self.dice.random() < 0.1:
            return self.dice.choice(ODD_RECORDS)
        return ",".join((str(number), self.dice.choice(STATES), self.dice.choice(TIMES), self.dice.choice(AMOUNTS)))

    def _new(self) -> None:
        name = self.dice.choice(NAMES)
        if self.dice.random() < 0.05:
            lines = (f"{n},open,2026-01-01,1.00" for n in range(100, 100 + MANY_ROWS))
            self._land(name, "\n".join((HEADER, *lines)).encode())
        else:
            self._land(name, self._records())

    def _correct(self) -> None:
        """Other values in some lines, some lines more or less."""
        name = self._known()
        lines = self.history[name][-1][0].split(b"\n")
        kept = [line for line in lines[1:] if self.dice.random() < 0.8]
        more = [self._record(self.dice.randrange(1, 15)).encode() for _ in range(self.dice.randrange(4))]
        self._land(name, b"\n".join([HEADER.encode(), *kept, *more]))

    def _tear(self) -> None:
        name, content = self.dice.choice(NAMES), self._records()
        self._land(name, content[: self.dice.randrange(len(content))])
        self.torn[name] = content

    def _repeat(self) -> None:
        name = self._known()
        self._land(name, self.history[name][-1][0])

    def _copy(self) -> None:
        self._land(self.dice.choice(NAMES), self.history[self._known()][-1][0])

    def _rename(self) -> None:
        name = self._known()
        content = self.history[name][-1][0]
        (self.folder / name).unlink()
        self._land(self.dice.choice(NAMES), content)

    def _drop(self) -> None:
        (self.folder / self._known()).unlink()

    def _spoil(self) -> None:
        self._land(self._known(), self.dice.choice(UNREADABLE))

    def _known(self) -> str:
        return self.dice.choice(sorted(p.name for p in self.folder.glob("*.csv")))

    def _land(self, name: str, content: bytes) -> None:
        self.torn.pop(name, None)
        self.at += self.dice.randrange(1, 100_000)
        staged = self.folder / ".staged"
        staged.write_bytes(content)
        os.utime(staged, (self.at, self.at))
        self.history.setdefault(name, []).append((content, datetime(1970, 1, 1) + timedelta(seconds=self.at)))
        staged.rename(self.folder / name)


@dataclass
class Tally:
    """kills: by how; ended: runs that came to their end before they could be killed."""

    kills: Counter[str] = field(default_factory=Counter)
    ended: int = 0

    def __str__(self) -> str:
        how = ", ".join(f"{name} {times}" for name, times in sorted(self.kills.items()))
        return f"{self.kills.total()} deaths ({how}), {self.ended} came to their end"


def _failpoint(dice: random.Random) -> str:
    """One that the commands of a history come by."""
    return dice.choice([name for name in failpoints.NAMES if name not in ("bronze.given_up", "bronze.archived", "bronze.moved")])


Run = Callable[[], int]
"""One undisturbed run; returns its exit code."""


def make_home(path: Path) -> None:
    for folder in ("conf", "data/raw", "checkpoints"):
        (path / folder).mkdir(parents=True)
    (path / "conf/orders.yaml").write_text(CONTRACT)


def differences(home: Path, landing: Landing, run: Run) -> Iterator[str]:
    """What is wrong after two quiet runs; nothing: the tables are the oracle's."""
    landing.complete()
    if (code := run()) not in (0, 3):
        yield f"the first quiet run ended in {code}"
        return
    before = state(home)
    if (code := run()) != 0:
        yield f"the second quiet run ended in {code}"
    yield from (f"the second quiet run wrote {path}" for path in sorted(state(home) - before))
    expected = landing.bronze(home / "data")
    yield from oracle.table_differences(home / "data", expected, landing.contract, ORDERS_LOGIC)
    yield from _ledger_differences(home, landing, expected)


def state(home: Path) -> set[str]:
    """Every file of every table."""
    return {str(p.relative_to(home)) for p in (home / "data").rglob("*") if p.is_file() and "raw" not in p.relative_to(home).parts[:2]}


def _ledger_differences(home: Path, landing: Landing, expected: Mapping[str, list[BronzeRow]]) -> Iterator[str]:
    """Every file has a state, every file that Bronze holds the number of its rows, every balance holds."""
    if not landing.history:
        return
    newest = "row_number() OVER (PARTITION BY path ORDER BY ingest_id DESC, status = 'reading')"
    sql = f"SELECT path, status, rows FROM (SELECT *, {newest} AS n FROM t) WHERE n = 1"
    decided = oracle.read_table(home / "data/ledger/files", sql) if (home / "data/ledger/files").exists() else []
    states = {path: (status, rows) for path, status, rows in decided}
    for path in landing.present():
        status, rows = states.get(path, ("unknown", None))
        readable = landing._rows(path, landing.history[path][-1]) is not None
        if readable and (status not in ("ingested", "repeat") or rows != len(expected[path])):
            yield f"ledger: {path} is {status} with {rows} rows, not ingested with {len(expected[path])}"
        if not readable and status != "rejected":
            yield f"ledger: {path} is {status}, not rejected"
    wrong = "SELECT layer, batch_id FROM t WHERE rows_in <> accepted + superseded + quarantined"
    if (home / "data/ledger/runs").exists():
        yield from (f"ledger: the balance of {row} does not hold" for row in oracle.read_table(home / "data/ledger/runs", wrong))


# ---- Processes ----


def by_processes(home: Path, seed: int, rounds: int) -> tuple[Landing, Tally, Run]:
    """Let commands die that run as processes. Raises RuntimeError when one ends in a code that no death explains."""
    dice, tally = random.Random(seed), Tally()
    landing = Landing(home / "data/raw", dice, oracle.parse(CONTRACT))
    for _ in range(rounds):
        for _ in range(dice.randrange(1, 5)):
            landing.deliver()
        _one_process(home, landing, dice, tally)
    return landing, tally, lambda: _start(home, "run").wait()


def _one_process(home: Path, landing: Landing, dice: random.Random, tally: Tally) -> None:
    command = dice.choice(COMMANDS)
    at_failpoint = dice.random() < 0.5
    point = f"{_failpoint(dice)}=kill@{dice.choice((1, 1, 1, 2))}" if at_failpoint else ""
    # A command without a failpoint in its way has to be ended somehow: `watch` ends by nothing else.
    patience = dice.uniform(0.5, LONGEST_SECONDS) if not at_failpoint else 2 * LONGEST_SECONDS if "watch" in command else None
    victims = dice.choice(("Python", "JVM", "both"))
    delivers_at = dice.uniform(0, 12) if dice.random() < 0.5 else None
    found, process = landing.present(), _start(home, command, point)
    began, jvms = time.monotonic(), set[int]()
    struck = None
    while process.poll() is None:
        jvms |= children(process.pid)
        now = time.monotonic() - began
        if delivers_at is not None and now > delivers_at:
            landing.deliver()
            delivers_at = None
        if struck is None and patience is not None and now > patience:
            struck = victims if jvms else "Python"
            for pid in jvms if struck == "JVM" else {process.pid, *jvms} if struck == "both" else {process.pid}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    if delivers_at is not None:
        landing.deliver()  # a seed means the same deliveries, however fast the machine is
    said = process.communicate()[1]
    while any(is_running(pid) for pid in jvms):
        time.sleep(0.02)  # the next command would find the locks held
    if struck or process.returncode == -signal.SIGKILL:
        tally.kills[point.split("=", 1)[0] if struck is None else f"{struck} at a random time"] += 1
    elif process.returncode in (0, 3):
        tally.ended += 1
        if command == "run":
            landing.ran(found)
    else:
        raise RuntimeError(f"{command} ended in {process.returncode}: {said}")


def _start(home: Path, command: str, point: str = "") -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "streaming_jobs", "--home", str(home), *command.split()]
    armed = {"STREAMING_JOBS_FAILPOINTS": point, "STREAMING_JOBS_DRIVER_MEMORY": "1g"}
    return subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **armed}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


# ---- In one process ----


def in_process(home: Path, seed: int, rounds: int) -> tuple[Landing, Tally, Run]:
    """Let the code die at failpoints in the Spark session of this process."""
    import pytest

    from streaming_jobs import gold, ledger, session, settings, silver, small, snapshots
    from streaming_jobs.operations import maintain
    from tests.conftest import Home, hold_nothing

    dice, tally = random.Random(seed), Tally()
    landing = Landing(home / "data/raw", dice, oracle.parse(CONTRACT))
    one = Home(home, settings.load(home), session.start(settings.load(home)))  # the one that runs

    def step() -> int:
        return one.run().exit_code

    def maintained() -> int:
        maintain.maintain(one.contracts(), one.settings, 0)
        return 0

    def silver_again() -> int:
        one.redo(silver.rebuild, gold.rebuild, force=True)
        return 0

    for _ in range(rounds):
        for _ in range(dice.randrange(1, 5)):
            landing.deliver()
        found = landing.present()
        with pytest.MonkeyPatch.context() as limits:
            if dice.random() < 0.5:
                hold_nothing(limits)
            limits.setattr(small, "_JOIN_FILES", dice.choice((2, 32)))
            limits.setattr(ledger, "_COMPACT_EVERY", 3)
            name = _failpoint(dice)
            failpoints.arm(f"{name}=raise@{dice.choice((1, 1, 1, 2))}")
            command = dice.choice((step,) * 8 + (silver_again, maintained))
            try:
                code = command()
            except failpoints.Crashed:
                tally.kills[name] += 1
                # A new process remembers nothing.
                ledger._held.clear()
                snapshots._opened.clear()
            else:
                if code not in (0, 3):
                    raise RuntimeError(f"a run ended in {code}")
                tally.ended += 1
                if command is step:
                    landing.ran(found)
            finally:
                failpoints.disarm()
    return landing, tally, step


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--rounds", type=int, default=10, help="of each")
    parser.add_argument("--in-process", action="store_true")
    chosen = parser.parse_args(arguments)
    began, deaths = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as scratch:
        if chosen.in_process:
            _session(Path(scratch))
        for seed in range(chosen.seed, chosen.seed + chosen.seeds):
            home = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
            make_home(home)
            die = in_process if chosen.in_process else by_processes
            landing, tally, run = die(home, seed, chosen.rounds)
            deaths += tally.kills.total()
            found = list(differences(home, landing, run))
            print(f"seed {seed}: {tally}; {'equal' if not found else f'DIFFERENT, {home} is kept'}", flush=True)
            for line in found:
                print(f"  {line}")
            if found:
                return 1
            shutil.rmtree(home)
    print(f"{chosen.seeds} seeds, {deaths} deaths, {(time.monotonic() - began) / 60:.0f} minutes: no difference")
    return 0


def _session(scratch: Path) -> None:
    from streaming_jobs import session, settings
    from tests.conftest import FAST

    (scratch / "checkpoints").mkdir()
    session.start(settings.load(scratch), conf_over=FAST)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
