"""A signal asks for the end; the batch in hand finishes first."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from types import FrameType

from streaming_jobs.errors import Stopped


@dataclass
class Stop:
    """Set by a signal, read between micro-batches."""

    signum: int | None = None

    def listen(self) -> None:
        """Take SIGTERM and SIGINT. The handler only sets a flag: a py4j call from it would break the connection."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._set)

    def check(self) -> None:
        if self.signum is not None:
            raise Stopped(self.signum)

    def _set(self, signum: int, _frame: FrameType | None) -> None:
        self.signum = signum
