"""Named places where a process may die, so that tests can make it die there.

STREAMING_JOBS_FAILPOINTS=name=action[,…] arms them; actions: raise, exit, kill. Disarmed, `hit` costs
one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "bronze.intended",
    "bronze.committed",
    "bronze.confirmed",
    "silver.quarantined",
    "silver.merged",
    "silver.recorded",
    "gold.replaced",
    "gold.recorded",
)
"""In the order of the data. Each stands right after the write it is named after."""


class Crashed(BaseException):
    """The process died here. Not an Exception: no handler of ours may mistake it for a failure to report."""


ARMED: dict[str, str] = dict(entry.split("=", 1) for entry in os.environ.get("STREAMING_JOBS_FAILPOINTS", "").split(",") if "=" in entry)


def hit(name: str) -> None:
    action = ARMED.get(name)
    if action == "raise":
        raise Crashed(name)
    if action == "exit":
        os._exit(1)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
