"""The benchmark: this project and what people would use instead, on the same files.

    python -m benchmarks [WORK]... [--turns N] [--days 30,300,3000] [--scratch FOLDER] [--only NAME,...] [--limit MINUTES] [--small]
    python -m benchmarks page

Works: first, day, history, correction, idle, many, big, latency; all of them, and the page, when none is named. The results of a
work are written when it ends. With --scratch, files and prepared histories stay for the next call; remove the folder when a contestant
has changed.
--small tries everything with few rows, and prints the tables instead of writing them to the results.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import contestants, page, records, works
from benchmarks.deliveries import ROOT
from benchmarks.measure import Stopped
from benchmarks.records import Result
from benchmarks.works import Setting, Sizes

RESULTS = ROOT / "benchmarks" / "results"
PAGE = "page"
WORKS: dict[str, Callable[[Setting], Result]] = {
    "first": works.first, "day": works.day, "history": works.history, "correction": works.correction, "idle": works.idle,
    "many": works.many, "big": works.big, "latency": works.latency,
}  # fmt: skip

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    named: Annotated[list[str] | None, typer.Argument(metavar="[WORK]...", help=f"{', '.join(WORKS)}, {PAGE}.")] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="Of each comparison.")] = None,
    days: Annotated[str | None, typer.Option(help="Of history, such as 30,300,3000.")] = None,
    scratch: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where files and homes are made, and stay.")] = None,
    only: Annotated[str, typer.Option(metavar="NAME,...", help="Peers beside ours.")] = "",
    limit: Annotated[float, typer.Option(min=0.01, help="Minutes for one command of a contestant, or for its history.")] = 20,
    small: Annotated[bool, typer.Option("--small", help="Few rows and one turn, to try it.")] = False,
) -> None:
    """This project and what people would use instead, on the same files."""
    chosen = tuple(named or [*WORKS, *([] if small else [PAGE])])
    peers = tuple(name for name in only.split(",") if name)
    _refuse([name for name in chosen if name not in (*WORKS, PAGE)], [*WORKS, PAGE])
    _refuse([name for name in peers if name not in contestants.PEERS], contestants.PEERS)
    sizes = works.SMALL if small else Sizes()
    if days:
        sizes = replace(sizes, days=tuple(sorted(int(number) for number in days.split(","))))
    folder = (scratch or Path(tempfile.mkdtemp(prefix="benchmark-"))).resolve()
    setting = Setting(folder, typer.echo, sizes, turns or (1 if small else None), peers, limit * 60)
    try:
        for work in chosen:
            _one(work, setting, setting.folder("results") if small else RESULTS)
    except Stopped as stopped:
        typer.echo(f"stopped: {stopped}\nwhat there was is in {folder}", err=True)
        raise typer.Exit(1) from None
    if scratch is None:
        shutil.rmtree(folder)


def _one(work: str, setting: Setting, results: Path) -> None:
    if work == PAGE:
        page.write(records.read(RESULTS), ROOT / "docs")
        return
    typer.echo(f"{work}: {(WORKS[work].__doc__ or '').partition(chr(10))[0]}")
    found = WORKS[work](setting)
    typer.echo(f"results: {records.write(results, found)}\n\n{page.tables(found)}")


def _refuse(unknown: Sequence[str], known: Sequence[str]) -> None:
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not among {', '.join(known)}")


if __name__ == "__main__":
    os.umask(0o077)
    app()
