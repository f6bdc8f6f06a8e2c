"""What the operator reads: one line per micro-batch, one per refused file, a summary, one line per failure.

Results go to stdout; with --json that is one document, and the lines go to stderr. Values from files and
names are escaped, so that a newline or a terminal code in them stays on its line and harmless. With a log
for machines the lines about work, and failures, are its events instead: each is said once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TextIO

from streaming_jobs import log
from streaming_jobs.errors import Failure
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.log import Log
from streaming_jobs.run import Healed, Note, Turn, Warned

if TYPE_CHECKING:
    # A run that draws nothing does not import rich.
    from rich.status import Status as Spinner

    from streaming_jobs.grid import Rows
    from streaming_jobs.increment import Outcome


@dataclass(frozen=True)
class Console:
    """log: events for machines, on stderr, instead of the lines about work; None: lines for people."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    log: Log | None = None

    def logging(self, log_format: str) -> Console:
        """The same with the log that the setting asks for."""
        wanted = log.is_wanted(log_format, as_json=self.json, terminal=sys.stderr.isatty())
        return replace(self, log=Log(_to_stderr) if wanted else None)

    @property
    def lines(self) -> TextIO:
        """Where human lines go."""
        return sys.stderr if self.json else sys.stdout

    def say(self, line: str) -> None:
        """A result, or part of one; where stdout holds a document it is an event of the log."""
        if self.json and self.log:
            self.tell(line)
        elif not self.quiet:
            written(printable(line), self.lines)

    def tell(self, line: str) -> None:
        """What happens meanwhile."""
        if not self.log:
            self.say(line)
        elif not self.quiet:
            self.log.say(line)

    def warn(self, line: str) -> None:
        """Something beside the work failed. One line on stderr, also when quiet."""
        if self.log:
            self.log.say(line, "warning")
        else:
            _to_stderr(printable(f"warning: {line}"))

    def rows(self, rows: Rows, exit_code: int = 0) -> None:
        """A table as the result of a command; with --json the same rows as data."""
        values = [dict(zip(rows.columns, row, strict=True)) for row in rows.values]
        self.result({"exit_code": exit_code, "rows": values, "total": rows.total})
        if not self.json:
            from streaming_jobs.grid import text

            written(text(rows))

    def plain(self, page: str) -> None:
        """A whole document as the result of a command; with --json it is part of `result`."""
        if not self.json:
            written(page, end="")

    def page(self, text: Callable[[int | None], str]) -> None:
        """A result in several tables, for people; nothing with --json. text: of the terminal's width, None: not on a terminal."""
        if not self.json:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            written(text(width))

    def fail(self, failure: Failure | str) -> None:
        """One line per finding, on stderr, also when quiet."""
        if self.log:
            self.log.fail(failure, verbose=self.verbose)
            return
        for finding in failure.findings if isinstance(failure, Failure) else (failure,):
            _to_stderr(printable(finding))
        if self.verbose and isinstance(failure, Failure):
            traceback.print_exception(failure)

    def last_line(self, line: str) -> str:
        """A failure as it is written, for where printing is out of the question."""
        return log.line_of(log.event("error", "failure", line)) if self.log else printable(line)

    def note(self, what: Note) -> None:
        if self.quiet:
            return
        if self.log:
            self.log.note(what, _line(what))
        elif not isinstance(what, Warned):  # the summary adds them up
            self.say(_line(what))

    def turn(self, what: Turn) -> None:
        if self.log:
            self.log.turn(what)

    def end(self, outcome: Outcome, seconds: float) -> None:
        """What a run did in all, and its failures."""
        lines = tuple(summary(outcome.notes, seconds, failed=bool(outcome.failures)))
        if not self.log:
            for line in lines:
                self.say(line)
        for _, _, failure in outcome.failures:
            self.fail(failure)
        if self.log and not self.quiet:
            self.log.end(outcome.run_id, outcome.exit_code, seconds, lines[-1] if lines else f"failed after {seconds:.1f} s")

    def result(self, document: Mapping[str, Any]) -> None:
        """The machine-readable result; nothing without --json."""
        if self.json:
            written(json.dumps(document, default=_plain, ensure_ascii=False))

    @contextmanager
    def progress(self) -> Iterator[Spinner | None]:
        """A moving line on a terminal while a long run works; elsewhere nothing."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console as RichConsole

        screen = RichConsole(stderr=True)
        with screen.status("starting Spark") as spinner:
            yield spinner


def summary(notes: Sequence[Note], seconds: float, *, failed: bool) -> Iterator[str]:
    """The last lines of a run: per layer what came in and where it went; files that need a look; the next command."""
    balances = [n for n in notes if isinstance(n, RunRow)]
    files = [n for n in notes if isinstance(n, FileRow)]
    if not balances and not files:
        if not failed:
            yield f"nothing to do ({seconds:.1f} s)"
        return
    for layer in dict.fromkeys(b.layer for b in balances):
        yield _total(layer, [b for b in balances if b.layer == layer])
    for rule in dict.fromkeys((n.dataset, n.rule) for n in notes if isinstance(n, Warned)):
        rows = sum(n.rows for n in notes if isinstance(n, Warned) and (n.dataset, n.rule) == rule)
        yield f"warning: {rows} {rule[0]} rows break {rule[1]} and were accepted"
    for status, advice in _ADVICE.items():
        if count := sum(f.status is status for f in files):
            yield f"{count} {'file' if count == 1 else 'files'} {status}: {advice}"
    yield f"done in {seconds:.1f} s"


_ADVICE = {
    Status.REJECTED: "see `streaming-jobs files --status rejected`; a corrected file is read by the next run",
    Status.HELD: "see `streaming-jobs files --status held`; `streaming-jobs files accept PATH` lets one in",
    Status.MISSING: "gone from the landing folder, their rows stay",
}


def document(notes: Sequence[Note]) -> dict[str, list[dict[str, Any]]]:
    """Notes as plain data for --json: `batches`, `files` that were not simply ingested, `warnings`, `healed`."""
    kinds = {"batches": RunRow, "files": FileRow, "warnings": Warned, "healed": Healed}
    return {name: [asdict(n) for n in notes if isinstance(n, kind)] for name, kind in kinds.items()}


def printable(line: str) -> str:
    """Text with control characters, line ends and direction marks written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _to_stderr(line: str) -> None:
    written(line, sys.stderr)


def written(text: str, stream: TextIO | None = None, end: str = "\n") -> bool:
    """Write to a stream, stdout by default; False: whoever reads it has gone, as `head` does.

    That is no reason to leave the work, so from then on the rest goes nowhere.
    """
    stream = stream or sys.stdout
    try:
        print(text, file=stream, end=end, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False
    return True


def _line(what: Note) -> str:
    if isinstance(what, Warned):
        return f"{what.rows} {what.dataset} rows break {what.rule} and were accepted"
    if isinstance(what, Healed):
        return f"{what.layer} {what.dataset}: {what.what}"
    if isinstance(what, FileRow):
        return f"{what.status} {what.dataset} {what.path}" + (f": {what.reason}" if what.reason else "")
    batch = "sweep" if what.batch_id is None and what.layer == "bronze" else what.batch_id
    facts = {
        "batch": "build" if batch is None else batch,
        "files": what.files if what.layer == "bronze" else None,
        "read": what.rows_in,
        "accepted": what.accepted,
        "quarantined": what.quarantined if what.layer == "silver" else None,
        "superseded": what.superseded if what.layer == "silver" else None,
        "deleted": what.deleted or None,
        "version": what.table_version,
        "seconds": f"{what.seconds:.1f}",
    }
    return f"{what.layer} {what.dataset} " + " ".join(f"{k}={v}" for k, v in facts.items() if v is not None)


def _total(layer: str, balances: Sequence[RunRow]) -> str:
    def total(name: str) -> int:
        return sum(getattr(b, name) for b in balances)

    def many(name: str, what: str) -> str:
        return f"{total(name)} {what}{'' if total(name) == 1 else 's'}"

    if layer == "bronze":
        parts = [many("files", "file"), f"{many('accepted', 'row')} in"]
        parts += [f"{total('deleted')} replaced"] if total("deleted") else []
    elif layer == "silver":
        parts = [f"{many('rows_in', 'row')} read", f"{total('accepted')} accepted", f"{total('superseded')} superseded"]
        parts += [f"{total('quarantined')} quarantined"]
        parts += [f"{many('deleted', 'key')} deleted"] if total("deleted") else []
    else:
        parts = [f"{many('rows_in', 'changed row')} read"]
        parts += [f"{many('deleted', 'group')} deleted"] if total("deleted") else []
    return f"{layer}: {', '.join(parts)}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
