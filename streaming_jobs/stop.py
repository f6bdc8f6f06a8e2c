"""A signal asks for the end; the batch in hand finishes first, unless it takes too long or a second signal comes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from streaming_jobs.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TICK_SECONDS = 0.1


@dataclass
class Stop:
    """Set by a signal, read between micro-batches.

    seconds: how long the batch in hand may take after it. written: how the last line is written when it took longer.
    """

    signum: int | None = None
    seconds: float = 60
    written: Callable[[str], str] = str

    def listen(self) -> None:
        """Take SIGTERM, SIGINT and, unless it is ignored as under nohup, SIGHUP. A second one ends the process at once.

        The handler only sets a flag: a py4j call from it would break the connection.
        """
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._set)
        signal.signal(signal.SIGALRM, self._too_late)

    def check(self) -> None:
        """Raise Stopped when a signal has come."""
        if self.signum is not None:
            raise Stopped(self.signum)

    def wait(self, seconds: float) -> None:
        """Sleep, and no longer than until a signal comes."""
        until = time.monotonic() + seconds
        while self.signum is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_SECONDS))

    def _set(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is not None:
            self._end(signum, f"by a second {signal.Signals(signum).name}")
        self.signum = signum
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def _too_late(self, _signum: int, _frame: FrameType | None) -> None:
        if self.signum is not None:
            self._end(
                self.signum, f"because the batch in hand took longer than {self.seconds:g} s after {signal.Signals(self.signum).name}"
            )

    def _end(self, signum: int, why: str) -> None:
        """End this process as a kill would; the JVM ends with it, and holds the locks until then."""
        last = f"stopped at once {why}; what was committed stays, the batch in hand comes again with the next run."
        os.write(2, f"{self.written(last)}\n".encode())
        os._exit(128 + signum)
