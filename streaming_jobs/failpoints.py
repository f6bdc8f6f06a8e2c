"""Named places where a process may die or be held, so that tests can do it exactly there.

    STREAMING_JOBS_FAILPOINTS=silver.merged=kill@2,bronze.intended=sleep

arms two: the action is taken when the place is reached for the N-th time (`@N`, default 1), once. Actions:
`raise` (as far as our code can tell the process dies), `exit` (at once, code 1), `kill` (SIGKILL), `sleep`
(says so on stderr and stays there until it is killed). Disarmed, `hit` costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
import sys
import time

NAMES = (
    "bronze.probed",
    "bronze.decided",
    "bronze.written",
    "bronze.intended",
    "bronze.committed",
    "bronze.balanced",
    "bronze.confirmed",
    "bronze.streamed",
    "bronze.given_up",
    "bronze.archived",
    "bronze.moved",
    "ledger.joined",
    "silver.created",
    "silver.judged",
    "silver.quarantined",
    "silver.merged",
    "silver.recorded",
    "silver.meant",
    "silver.discarded",
    "silver.recomputed",
    "silver.joined",
    "gold.touched",
    "gold.replaced",
    "gold.discarded",
    "gold.recorded",
    "forget.listed",
    "forget.noted",
    "forget.erased",
    "forget.purged",
    "forget.rewritten",
)
"""In the order of the data. Each stands right after the step it is named after; docs/reliability.md says what that is."""

ACTIONS = ("raise", "exit", "kill", "sleep")
_LOOK_SECONDS = 0.1


class Crashed(BaseException):
    """The process died here. Not an Exception: no handler of ours may mistake it for a failure to report."""


_armed: dict[str, tuple[str, int]] = {}


def arm(text: str) -> None:
    """Arm failpoints as the environment variable does. Raises ValueError for a name or an action that does not exist."""
    for entry in filter(None, text.split(",")):
        name, _, action = entry.partition("=")
        action, _, number = action.partition("@")
        if name not in NAMES or action not in ACTIONS:
            known = f"a name of {', '.join(NAMES)} and an action of {', '.join(ACTIONS)}"
            raise ValueError(f"{entry}: NAME=ACTION or NAME=ACTION@N, with {known}")
        _armed[name] = (action, int(number or 1))


def disarm() -> None:
    _armed.clear()


def hit(name: str) -> None:
    """Say that this place is reached."""
    if name in _armed:
        _take(name)


def _take(name: str) -> None:
    action, more = _armed[name]
    if more > 1:
        _armed[name] = (action, more - 1)
        return
    del _armed[name]
    if action == "raise":
        raise Crashed(name)
    if action == "exit":
        os._exit(1)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print(f"failpoint {name}: held until it is killed", file=sys.stderr, flush=True)
    while True:
        time.sleep(_LOOK_SECONDS)


arm(os.environ.get("STREAMING_JOBS_FAILPOINTS", ""))
