"""What the operator reads: one line per micro-batch, one per refused file, a summary, one line per failure.

Results go to stdout; with --json that is one document, and the lines go to stderr. Values from files and
names are escaped, so that a newline or a terminal code in them stays on its line and harmless.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, TextIO

from rich.console import Console as RichConsole
from rich.status import Status as Spinner

from streaming_jobs.errors import Failure
from streaming_jobs.grid import Rows, text
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.run import Healed, Note, Warned


@dataclass(frozen=True)
class Console:
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    @property
    def lines(self) -> TextIO:
        """Where human lines go."""
        return sys.stderr if self.json else sys.stdout

    def say(self, line: str) -> None:
        if not self.quiet:
            print(printable(line), file=self.lines, flush=True)

    def rows(self, rows: Rows, exit_code: int = 0) -> None:
        """A table as the result of a command; with --json the same rows as data."""
        values = [dict(zip(rows.columns, row, strict=True)) for row in rows.values]
        self.result({"exit_code": exit_code, "rows": values, "total": rows.total})
        if not self.json:
            print(text(rows), flush=True)

    def plain(self, page: str) -> None:
        """A whole document as the result of a command; with --json it is part of `result`."""
        if not self.json:
            print(page, end="", flush=True)

    def page(self, text: Callable[[int | None], str]) -> None:
        """A result in several tables, for people; nothing with --json. text: of the terminal's width, None: not on a terminal."""
        if not self.json:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            print(text(width), flush=True)

    def fail(self, failure: Failure | str) -> None:
        """One line per finding, on stderr, also when quiet."""
        for finding in failure.findings if isinstance(failure, Failure) else (failure,):
            print(printable(finding), file=sys.stderr, flush=True)
        if self.verbose and isinstance(failure, Failure):
            traceback.print_exception(failure)

    def note(self, what: Note) -> None:
        if (line := _line(what)) is not None:
            self.say(line)

    def result(self, document: Mapping[str, Any]) -> None:
        """The machine-readable result; nothing without --json."""
        if self.json:
            print(json.dumps(document, default=_plain, ensure_ascii=False), flush=True)

    @contextmanager
    def progress(self) -> Iterator[Spinner | None]:
        """A moving line on a terminal while a long run works; elsewhere nothing."""
        screen = RichConsole(stderr=True)
        if self.quiet or not screen.is_terminal:
            yield None
            return
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


def _line(what: Note) -> str | None:
    if isinstance(what, Warned):
        return None  # the summary adds them up
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

    if layer == "bronze":
        parts = [f"{total('files')} files", f"{total('accepted')} rows in"]
        parts += [f"{total('deleted')} replaced"] if total("deleted") else []
    elif layer == "silver":
        parts = [f"{total('rows_in')} rows read", f"{total('accepted')} accepted", f"{total('superseded')} superseded"]
        parts += [f"{total('quarantined')} quarantined"]
        parts += [f"{total('deleted')} keys deleted"] if total("deleted") else []
    else:
        parts = [f"{total('rows_in')} changed rows read"]
        parts += [f"{total('deleted')} groups deleted"] if total("deleted") else []
    return f"{layer}: {', '.join(parts)}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
