"""The log for machines: one JSON object per event and line, plain ASCII.

Names of files and reasons may hold anything; JSON escapes them, so that an event stays on its line and harmless, and is exact
when it is read again. No value of a row is part of any event. Every field: docs/operations.md.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streaming_jobs import ledger
from streaming_jobs.errors import Failure, InputRefused, Stopped
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.run import Began, Ended, Looked, Note, Turn, Warned

Event = Mapping[str, Any]

EVENTS = ("batch", "file", "broken_rule", "healed", "failure", "notice", "ended")
FIELDS = (
    "at", "level", "event", "message", "run_id", "dataset", "layer", "batch_id", "version", "files", "rows", "seconds", "path", "status",
    "reason", "rule", "exit_code", "traceback",
)  # fmt: skip
_NEEDS_A_LOOK = (Status.REJECTED, Status.HELD, Status.MISSING)


@dataclass
class Log:
    """Writes events as lines. It listens to what turn it is, because a note does not say which run it belongs to."""

    write: Callable[[str], None]
    _run_id: str | None = None
    _ended: dict[tuple[str, str], Ended] = field(default_factory=dict)

    def turn(self, what: Turn) -> None:
        if isinstance(what, Looked):
            return
        self._run_id = what.run_id
        if isinstance(what, Began):
            self._ended.pop((what.layer, what.contract.dataset), None)
        else:
            self._ended[what.layer, what.contract.dataset] = what

    def note(self, what: Note, said: str) -> None:
        """said: the same for people."""
        self._put(of_note(what, said, self._run_id))

    def fail(self, failure: Failure | str, *, verbose: bool = False) -> None:
        """An event per line of it; the layer and dataset where it is known whose failure it is."""
        about: dict[str, Any] = {}
        if turn := next((t for t in self._ended.values() if t.failure is failure), None):
            about |= {"run_id": turn.run_id, "dataset": turn.contract.dataset, "layer": turn.layer}
        if isinstance(failure, Failure):
            about["exit_code"] = failure.exit_code
            if verbose:
                about["traceback"] = "".join(traceback.format_exception(failure))
        level = "warning" if isinstance(failure, Stopped) else "error"
        for line in failure.findings if isinstance(failure, Failure) else (failure,):
            self._put(event(level, "failure", line, **about))

    def say(self, line: str, level: str = "info") -> None:
        self._put(event(level, "notice", line))

    def end(self, run_id: str, exit_code: int, seconds: float, said: str) -> None:
        """The last event of a run. said: the same for people."""
        level = "info" if exit_code == 0 else "warning" if exit_code == InputRefused.exit_code or exit_code > 128 else "error"
        self._put(event(level, "ended", said, run_id=run_id, seconds=round(seconds, 3), exit_code=exit_code))

    def _put(self, what: Event) -> None:
        self.write(line_of(what))


def event(level: str, name: str, message: str, **fields: Any) -> Event:
    """at: UTC, now. level: `info`, `warning` or `error`."""
    return {"at": ledger.now().isoformat(timespec="milliseconds"), "level": level, "event": name, "message": message, **fields}


def of_note(what: Note, said: str, run_id: str | None) -> Event:
    """said: the same for people. run_id: of the run in hand."""
    if isinstance(what, RunRow):
        rows = {"in": what.rows_in, **{kind: getattr(what, kind) for kind in ("accepted", "superseded", "quarantined", "deleted")}}
        return event(
            "info", "batch", said, run_id=what.run_id, dataset=what.dataset, layer=what.layer, batch_id=what.batch_id,
            version=what.table_version, files=what.files, rows=rows, seconds=what.seconds,
        )  # fmt: skip
    if isinstance(what, FileRow):
        return event(
            "warning" if what.status in _NEEDS_A_LOOK else "info", "file", said, run_id=run_id, dataset=what.dataset, layer="bronze",
            path=what.path, status=str(what.status), reason=what.reason,
        )  # fmt: skip
    if isinstance(what, Warned):
        about = {"rule": what.rule, "rows": {"accepted": what.rows}}
        return event("warning", "broken_rule", said, run_id=run_id, dataset=what.dataset, layer="silver", **about)
    return event("warning", "healed", said, run_id=run_id, dataset=what.dataset, layer=what.layer)


def line_of(what: Event) -> str:
    """One line of ASCII that reads back as the event."""
    return json.dumps(what).replace("\x7f", "\\u007f")


def is_wanted(log_format: str, *, as_json: bool, terminal: bool) -> bool:
    """Whether the log is for machines. as_json: stdout holds one document, so that stderr is all there is for the log."""
    return log_format == "json" or (log_format == "auto" and as_json and not terminal)
