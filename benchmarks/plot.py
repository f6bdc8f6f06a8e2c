"""Cost against history, as an SVG that reads on a light page and on a dark one."""

from __future__ import annotations

import io
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.contestants import OURS, PEERS
from benchmarks.measure import Taken
from benchmarks.records import Result
from streaming_jobs import grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GRID = "#808890", "#80889055"  # as far from white as from black
COLOURS = {
    OURS: "#e8590c", "naive": "#868e96", "streaming_merge": "#1c7ed6", "declarative": "#ae3ec9", "dlt_delta": "#2b9a44",
    "polars_delta": "#12a2b0", "duckdb_delta": "#c99a06",
}  # fmt: skip
MARKS = dict(zip(COLOURS, "osD^v<>", strict=True))


def history(day: Result) -> str:
    """Two panels over the days of history, both axes logarithmic: seconds of one new day, and megabytes that it wrote."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 11, "font.family": "sans-serif"}):
        figure = Figure(figsize=(10, 4.8))
        panels = figure.subplots(1, 2)
        for axes, title, value in zip(panels, ("seconds of one new day", "MB written to the tables"), (_seconds, _megabytes), strict=True):
            for name in (OURS, *PEERS):
                points = _points(day, name, value)
                if points:
                    wide = 2.6 if name == OURS else 1.4
                    axes.plot(*zip(*points, strict=True), color=COLOURS[name], marker=MARKS[name], linewidth=wide, label=name, zorder=wide)
            _dress(axes, title, sorted({int(case.split()[0]) for case in day.cases()}), day.given["rows a day"])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False, labelcolor=INK)
        figure.tight_layout(rect=(0, 0.13, 1, 1))
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _plain(out.getvalue())


def _points(day: Result, name: str, value: Callable[[Taken], float]) -> list[tuple[int, float]]:
    """(days of history, median) of one contestant; what is nothing has no place on such an axis."""
    found = [(int(r.case.split()[0]), statistics.median(map(value, r.turns))) for r in day.records if r.contestant == name and r.turns]
    return sorted((days, cost) for days, cost in found if cost > 0)


def _seconds(taken: Taken) -> float:
    return taken.seconds


def _megabytes(taken: Taken) -> float:
    return sum(of.bytes for of in taken.written.values()) / 1e6


def _dress(axes: Axes, title: str, days: Sequence[int], rows: str) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(days, [grid.number(number) for number in days])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"days of history, {rows} rows each", color=INK)
    axes.set_title(title, color=INK, fontsize=11)
    axes.tick_params(which="both", colors=INK)
    axes.grid(which="major", color=GRID, linewidth=0.6)
    for side in axes.spines.values():
        side.set_color(GRID)


def _plain(drawn: str) -> str:
    """Without metadata and the addresses in it; links within the picture in SVG's own words."""
    root = ET.fromstring(drawn)
    space = root.tag.partition("}")[0] + "}"
    ET.register_namespace("", space[1:-1])
    for element in list(root.iter()):
        for child in [c for c in element if c.tag == f"{space}metadata"]:
            element.remove(child)
        for name in [n for n in element.attrib if n.endswith("}href")]:
            element.set("href", element.attrib.pop(name))
    return ET.tostring(root, encoding="unicode") + "\n"
