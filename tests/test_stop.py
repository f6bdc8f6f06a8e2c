"""Signals: a flag, a second one at once, a limit; in a process without Spark."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from streaming_jobs.errors import Stopped
from streaming_jobs.stop import Stop
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

# SIGHUP as it is by default, whatever ignores it around the tests.
WORKS_ON = """
import signal, sys
if {default_hup}:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
from streaming_jobs.stop import Stop
stop = Stop(seconds={seconds})
stop.listen()
print("ready", flush=True)
while stop.signum is None:
    stop.wait(60)
print("flagged", flush=True)
sys.stdin.read()  # the batch in hand
print("finished", flush=True)
"""


def working(seconds: float) -> subprocess.Popen[str]:
    """A process with a batch in hand that takes until its standard input ends, told to stop by whoever called."""
    return started(WORKS_ON.format(seconds=seconds, default_hup=True))


def started(code: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def flagged(process: subprocess.Popen[str], signum: int) -> None:
    process.send_signal(signum)
    assert process.stdout is not None
    assert process.stdout.readline() == "flagged\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_work_in_hand_finish(signum: int) -> None:
    process = working(60)
    flagged(process, signum)
    assert process.communicate("")[0] == "finished\n"
    assert process.returncode == 0


def test_a_second_signal_ends_it_at_once_and_says_so() -> None:
    process = working(60)
    flagged(process, signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    assert process.stderr is not None
    assert process.stderr.read().startswith("stopped at once by a second SIGINT; what was committed stays")


def test_work_that_takes_longer_than_the_limit_is_ended_with_the_code_of_the_signal() -> None:
    process = working(0.2)
    flagged(process, signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert process.stderr is not None
    assert "took longer than 0.2 s after SIGTERM" in process.stderr.read()


def test_a_hang_up_that_was_ignored_stays_ignored() -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WORKS_ON.format(seconds=60, default_hup=False)
    process = started(code)
    process.send_signal(signal.SIGHUP)
    flagged(process, signal.SIGTERM)
    process.communicate("")
    assert process.returncode == 0


def test_without_a_signal_nothing_is_raised_and_with_one_its_code_is() -> None:
    stop = Stop()
    stop.check()
    stop.signum = signal.SIGHUP
    stop.wait(3600)
    with pytest.raises(Stopped) as raised:
        stop.check()
    assert raised.value.exit_code == 129
