"""The results as docs/benchmarks.md, between two markers, and docs/benchmarks.svg. No figure of either is written by hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import crossing, plot
from benchmarks.bars import bars, faster_peers, shown
from benchmarks.measure import LAYERS, Taken
from benchmarks.records import Record, Result, ratio, spread

BEGIN, END = "<!-- results: written by `python -m benchmarks page` -->", "<!-- end of results -->"
TITLES = {
    "first": "First load", "day": "One new day", "history": "One new day, ours alone", "correction": "A corrected day",
    "idle": "Nothing to do", "many": "Very many small files", "big": "One big file", "latency": "Left running",
}  # fmt: skip
"""Works in the order of the page."""
VERDICTS = {True: "met", False: "**not met**", None: "not measured"}
EQUAL = {True: "equal", False: "**not equal**", None: "-"}


def write(results: Mapping[str, Result], docs: Path) -> None:
    """Raises ValueError when the page has not both markers."""
    page = docs / "benchmarks.md"
    page.write_text(inserted(page.read_text("utf-8"), text(results)), "utf-8")
    if "day" in results:
        (docs / "benchmarks.svg").write_text(plot.history(results["day"]), "utf-8")


def inserted(page: str, between: str) -> str:
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has lost a marker of its results")
    return f"{head}{begin}\n{between}\n{end}{tail}"


def text(results: Mapping[str, Result]) -> str:
    ordered = {work: results[work] for work in TITLES if work in results}
    parts = ["## What is promised, and what was measured", _promises(ordered), "### Where a peer is faster", _faster(ordered)]
    parts += ["### Where the crossing lies", _crossing(ordered)]
    parts += ["## Who is compared", *_who(ordered)]
    for work, result in ordered.items():
        parts += [f"## {TITLES[work]}", tables(result)]
        if work == "day":
            parts.append("![What a new day costs, by the days of history before it](benchmarks.svg)")
    return "\n\n".join(parts)


def tables(result: Result) -> str:
    """One work: what was given, a table per case, other figures, and the machine."""
    parts = [", ".join(f"{name} {value}" for name, value in result.given.items()) + "."]
    for case, records in result.cases().items():
        parts += [f"**{case}**", _grid(_HEAD, [_row(record, records[0]) for record in records])]
    if result.figures:
        parts.append(_grid(("figure", "value"), [(name, f"{value:.2f}") for name, value in result.figures.items()]))
    machine = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    parts.append(f"{result.made}, commit {result.commit}; {machine}.")
    return "\n\n".join(parts)


_HEAD = (
    "", "turns", "seconds (least to most)", "times ours (least to most)", "CPU seconds", "peak MiB", "commits",
    "MB added bronze / silver / gold", "tables",
)  # fmt: skip


def _row(record: Record, base: Record) -> tuple[str, ...]:
    if not record.turns:
        return (record.contestant, "0", record.note, *["-"] * (len(_HEAD) - 3))
    turns = record.turns
    compared = "1" if record is base else shown(ratio(record, base))
    equal = EQUAL[record.equal] + (f": {record.note}" if record.note else "")
    cpu, peak = _median([t.cpu_seconds for t in turns], "{:.1f}"), _median([t.peak_mib for t in turns], "{:.0f}")
    return (record.contestant, str(len(turns)), shown(spread([t.seconds for t in turns])), compared, cpu, peak, *_written(turns), equal)


def _written(turns: Sequence[Taken]) -> tuple[str, str]:
    """Commits, and megabytes by layer, of the middle turn."""
    if not any(turn.written for turn in turns):
        return "-", "-"
    commits = [sum(of.commits for of in turn.written.values()) for turn in turns]
    sizes = [statistics.median(turn.written[layer].bytes if layer in turn.written else 0 for turn in turns) for layer in LAYERS]
    return f"{statistics.median(commits):.0f}", " / ".join(f"{size / 1e6:.3g}" for size in sizes)


def _median(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(statistics.median(known)) if known else "-"


def _promises(results: Mapping[str, Result]) -> str:
    return _grid(("promise", "measured", ""), [(bar.text, bar.figure, VERDICTS[bar.met]) for bar in bars(results)])


def _faster(results: Mapping[str, Result]) -> str:
    return "\n".join(f"- {line}" for line in faster_peers(results)) or "Nowhere in what was measured."


def _crossing(results: Mapping[str, Result]) -> str:
    loads = crossing.loads(results)
    found = crossing.ratios(loads)
    if not found:
        return "No peer without Spark was measured."
    rows = [(f"{load.rows}", load.work, *(shown(of.get(load.rows)) for of in found.values())) for load in loads]
    said = [f"- {crossing.sentence(peer, of)}" for peer, of in found.items()]
    return "\n\n".join((_grid(("rows at once", "work", *found), rows), "\n".join(said)))


def _who(results: Mapping[str, Result]) -> list[str]:
    said = {record.contestant: record.sentence for result in results.values() for record in result.records}
    return [_grid(("", ""), list(said.items()))] if said else ["Nothing was measured yet."]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
