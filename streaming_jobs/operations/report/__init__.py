"""`report`: one self-contained HTML page about an installation. Reads tables, ledger and folders; starts no JVM, takes no lock.

It needs no network, neither to be made nor to be looked at, and holds no row of Bronze, Silver or quarantine: of Gold it
draws what the contract does not classify.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streaming_jobs import ledger
from streaming_jobs.contract import Contract
from streaming_jobs.contract.load import examine_all
from streaming_jobs.errors import UsageError
from streaming_jobs.facts.gather import gather
from streaming_jobs.facts.model import Facts
from streaming_jobs.settings import Settings

PLACE = "report.html"  # under data/: ignored by git as the tables are, and no folder, so never taken for one
_ENDS = (".html", ".htm")


@dataclass(frozen=True)
class Written:
    """shown: its path as an operator types it."""

    path: Path
    shown: str
    facts: Facts


def write(datasets: Sequence[str], settings: Settings, out: Path | None = None) -> Written:
    """Write the page, whole or not at all. out: relative to the current directory; None: data/report.html of the home.

    Raises UsageError for a place that is no HTML file, does not exist, or lies inside a table or a landing folder, and for a
    dataset without a contract.
    """
    target = settings.table(PLACE) if out is None else out.absolute()
    known = {e.dataset: e.contract for e in examine_all(settings.conf) if e.contract}
    _require_place(target, known.values(), settings)
    # Only here: nothing else of the commands needs matplotlib, whose import takes half a second.
    from streaming_jobs.operations.report import charts
    from streaming_jobs.operations.report.history import history
    from streaming_jobs.operations.report.page import page

    charts.prepare(settings.home / "checkpoints" / "matplotlib")
    now = ledger.now()
    facts = gather(datasets, settings, now)
    histories = [history(known[one.dataset], one, settings, now) for one in facts.datasets]
    document = page(facts, histories, settings.home.name or "home")
    target.parent.mkdir(exist_ok=True)
    staged = target.with_name(f".{target.name}.partial")
    try:
        staged.write_text(document, "utf-8")
        staged.replace(target)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise UsageError(f"{target} cannot be written: {error.strerror}; nothing was changed. Name another with --out.") from None
    return Written(target, "data/report.html" if out is None else str(out), facts)


def _require_place(target: Path, contracts: Iterable[Contract], settings: Settings) -> None:
    if target.suffix.lower() not in _ENDS or target.is_dir():
        raise UsageError(f"--out {target}: a file whose name ends with .html is needed; nothing was written.")
    if not target.parent.is_dir() and target.parent != settings.home / "data":
        raise UsageError(f"--out {target}: there is no folder {target.parent}; nothing was written. Create it, or name another file.")
    landings = [settings.landing(contract.landing.folder) for contract in contracts]
    for folder in target.resolve().parents:
        if (folder / "_delta_log").is_dir() or folder in (settings.home / "checkpoints", *(place.resolve() for place in landings)):
            raise UsageError(f"--out {target}: {folder} is for tables, checkpoints or deliveries; nothing was written. Name another file.")
