"""Charts as SVG text, by matplotlib without its global state. The same figures give the same bytes."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming_jobs.console import printable
from streaming_jobs.operations.report.history import Day, Line, Moment
from streaming_jobs.operations.report.markup import figure
from streaming_jobs.operations.report.svg import COLOURS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 360, 190  # units of the drawing, near to pixels on the page
_TEXT = 11
_FOLDER = "MPLCONFIGDIR"  # an environment variable of matplotlib
SERIES = tuple(COLOURS[f"c{n}"] for n in range(1, 7))
_DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3)), "-")  # type: ignore[assignment]


@dataclass(frozen=True)
class Drawing:
    """One chart. tips: what its parts say when pointed at, by their ids. names: of its series, in the order of the colours."""

    svg: str
    tips: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def prepare(folder: Path) -> None:
    """Import matplotlib so that it keeps what it knows of fonts in this folder, and nowhere outside of the home."""
    given = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = given or str(folder)
    try:
        import matplotlib.font_manager  # noqa: F401  it looks for its folder now
    finally:
        if given is None:
            del os.environ[_FOLDER]


def lines(series: Sequence[Line]) -> Drawing:
    """Values over time; a line of one point is a dot."""
    with _canvas(HEIGHT) as (axes, out):
        for n, line in enumerate(series):
            at, values = zip(*line.points, strict=True)
            marker = "o" if len(at) == 1 else None
            axes.plot(list(at), list(values), color=SERIES[n], linestyle=_DASHES[n], linewidth=1.6, marker=marker, markersize=4)
        _dates(axes)
        _values(axes)
    return Drawing(out.getvalue(), names=_names(series))


def bars(values: Sequence[tuple[str, float]]) -> Drawing:
    """A value per category, the first one on top, each with its number."""
    with _canvas(26 + 20 * len(values), left=130, bottom=8, right=52) as (axes, out):
        places = range(len(values) - 1, -1, -1)
        tips = {}
        for n, (patch, (name, value)) in enumerate(
            zip(axes.barh(list(places), [v for _, v in values], color=SERIES[0], height=0.68), values, strict=True)
        ):
            tips[_mark(patch, n)] = f"{printable(name)}: {figure(value)}"
            axes.annotate(
                short(value),
                (max(value, 0), places[n]),
                (4, 0),
                textcoords="offset points",
                va="center",
                color=COLOURS["ink"],
                fontsize=_TEXT,
            )
        axes.set_yticks(list(places), [_cut(name) for name, _ in values])
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    return Drawing(out.getvalue(), tips)


def per_day(days: Sequence[Day], usual: float | None, odd: Sequence[date]) -> Drawing:
    """Rows per day; days with an odd file stand out, and so does what is usual."""
    with _canvas(HEIGHT) as (axes, out):
        at: Any = [d.day for d in days]
        drawn = axes.bar(at, [d.rows for d in days], color=[COLOURS["bad"] if d.day in odd else SERIES[0] for d in days], width=0.8)
        tips = {_mark(patch, n): f"{d.day}: {figure(d.rows)} rows" for n, (patch, d) in enumerate(zip(drawn, days, strict=True))}
        if odd:
            held = {d.day: d.rows for d in days}
            there: Any = [day for day in odd if day in held]
            # A bar of a hundredth of the others is no bar.
            axes.plot(there, [held[day] for day in there], "o", color=COLOURS["bad"], markersize=5, clip_on=False)
        if usual is not None:
            axes.axhline(usual, color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
        _dates(axes)
        _values(axes)
    return Drawing(out.getvalue(), tips)


def stacked(series: Sequence[Line], width_days: float = 0.8) -> Drawing:
    """Several amounts per day, one upon the other."""
    with _canvas(HEIGHT) as (axes, out):
        tips: dict[str, str] = {}
        heights: dict[Moment, float] = {}
        for n, line in enumerate(series):
            at, values = zip(*line.points, strict=True)
            below = [heights.get(moment, 0.0) for moment in at]
            drawn = axes.bar(
                list(at), list(values), bottom=below, color=SERIES[n], width=width_days, linewidth=0.5, edgecolor=COLOURS["paper"]
            )
            for patch, moment, value in zip(drawn, at, values, strict=True):
                tips[_mark(patch, len(tips))] = f"{moment}: {printable(line.name)} {figure(value)}"
                heights[moment] = heights.get(moment, 0.0) + value
        _dates(axes)
        _values(axes)
    return Drawing(out.getvalue(), tips, _names(series))


def dots(series: Sequence[Line]) -> Drawing:
    """Values in the order in which they came, oldest first; lines only lead the eye."""
    with _canvas(HEIGHT) as (axes, out):
        for n, line in enumerate(series):
            values = [value for _, value in line.points]
            begin = max(len(s.points) for s in series) - len(values)
            axes.plot(
                range(begin, begin + len(values)), values, color=SERIES[n], linestyle=_DASHES[n], linewidth=1.2, marker="o", markersize=2.5
            )
        axes.set_xticks([])
        _values(axes)
    return Drawing(out.getvalue(), names=_names(series))


def shares(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Drawing:
    """Parts of a whole in seconds, one bar per row, its largest parts named inside where they fit."""
    with _canvas(26 + 34 * len(rows), left=58, bottom=24) as (axes, out):
        tips: dict[str, str] = {}
        longest = max((sum(v for _, v in parts) for _, parts in rows), default=0) or 1
        for place, (name, parts) in enumerate(reversed(rows)):
            at = 0.0
            for n, (part, seconds) in enumerate(parts):
                (patch,) = axes.barh(
                    [place], [seconds], left=at, color=SERIES[n % 6], height=0.62, linewidth=0.8, edgecolor=COLOURS["paper"]
                )
                tips[_mark(patch, len(tips))] = f"{name} {printable(part)}: {seconds:.2f} s"
                if seconds / longest > 0.026 * max(3, len(part)):
                    axes.text(
                        at + seconds / 2, place, printable(part), ha="center", va="center", fontsize=_TEXT - 1, color=COLOURS["paper"]
                    )
                at += seconds
        axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
        axes.set_xlim(0, longest * 1.02)
        axes.xaxis.set_major_formatter(lambda value, _: f"{short(value)} s")
    return Drawing(out.getvalue(), tips)


def calendar(days: Sequence[Day]) -> Drawing:
    """A square per day, a column per week: how many files came, and where one is missing."""
    from matplotlib.patches import Rectangle

    first = days[0].day - timedelta(days=days[0].day.weekday())
    weeks = (days[-1].day - first).days // 7 + 1
    size = min(17.0, (WIDTH - 36) / max(weeks, 1))
    with _canvas(int(size * 7) + 26, left=32, right=4, top=20, bottom=4) as (axes, out):
        tips: dict[str, str] = {}
        for d in days:
            week, weekday = divmod((d.day - first).days, 7)
            filled = "none" if d.missing or not d.files else SERIES[0]
            edge = COLOURS["bad"] if d.missing else "none" if d.files else COLOURS["line"]
            patch = Rectangle(
                (week + 0.09, weekday + 0.09), 0.82, 0.82, facecolor=filled, edgecolor=edge, linewidth=1.6 if d.missing else 0.8
            )
            patch.set_alpha(None if d.files != 1 else 0.62)
            axes.add_patch(patch)
            came = (
                "missing" if d.missing else f"{d.files} file{'' if d.files == 1 else 's'}, {figure(d.rows)} rows" if d.files else "no file"
            )
            tips[_mark(patch, len(tips))] = f"{d.day}, {d.day:%a}: {came}"
            if d.missing:
                axes.plot([week + 0.3, week + 0.7], [weekday + 0.3, weekday + 0.7], color=COLOURS["bad"], linewidth=1.4)
                axes.plot([week + 0.3, week + 0.7], [weekday + 0.7, weekday + 0.3], color=COLOURS["bad"], linewidth=1.4)
        axes.set_xlim(0, (WIDTH - 36) / size)
        axes.set_ylim(7, 0)
        axes.set_yticks([0.5, 2.5, 4.5, 6.5], ["Mon", "Wed", "Fri", "Sun"])
        months = [day for n in range(weeks) if (day := first + timedelta(days=7 * n)).day <= 7]
        axes.set_xticks([(m - first).days / 7 + 0.1 for m in months], [f"{m:%b}" for m in months], ha="left")
        axes.xaxis.tick_top()
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0, pad=2)
    return Drawing(out.getvalue(), tips)


def short(value: float) -> str:
    """A number in little room: 950, 1.2 k, 34 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


@contextmanager
def _canvas(height: int, left: int = 42, right: int = 20, top: int = 10, bottom: int = 26) -> Iterator[tuple[Axes, io.StringIO]]:
    """A figure that is written as SVG at the end. Labels are text, so fonts only measure them."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ours: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "streaming_jobs",
        "text.parse_math": False,
        "font.size": _TEXT,
        "font.family": ["DejaVu Sans"],
    }
    out = io.StringIO()
    with matplotlib.rc_context(ours), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has more of them
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        axes = figure.add_axes((left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (bottom + top) / height))
        axes.set_facecolor("none")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(COLOURS["line"])
        axes.tick_params(colors=COLOURS["muted"], labelsize=_TEXT, length=0, pad=4)
        yield axes, out
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})


def _dates(axes: Axes) -> None:
    """Days and months below, at least a week of them; hours only where the whole is a few days of hours."""
    from matplotlib.dates import AutoDateLocator, DateFormatter

    axes.margins(x=0.02)
    first, last = axes.get_xlim()
    if last - first < 7:
        axes.set_xlim((first + last) / 2 - 3.5, (first + last) / 2 + 3.5)
    locator = AutoDateLocator(minticks=2, maxticks=5, interval_multiples=False)  # type: ignore[no-untyped-call]
    locator.intervald[4] = [1, 2, 3, 4, 6, 12]  # hours
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(DateFormatter("%-d %b" if last - first < 300 else "%b %Y"))  # type: ignore[no-untyped-call]


def _values(axes: Axes) -> None:
    """Few lines across, from zero to the tick above the highest value; below zero only where values are."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    locator = MaxNLocator(4)
    ticks = locator.tick_values(min(low, 0.0) if axes.dataLim.y0 < 0 else 0.0, high if axes.dataLim.y1 > 0 else 1.0)
    axes.set_ylim(ticks[0], ticks[-1])
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    axes.grid(axis="y", color=COLOURS["line"], linewidth=0.7)
    axes.set_axisbelow(True)


def _mark(artist: Artist, number: int) -> str:
    """An id by which the part is known in the drawing."""
    name = f"t{number}"
    artist.set_gid(name)
    return name


def _names(series: Sequence[Line]) -> tuple[str, ...]:
    return tuple(line.name for line in series)


def _cut(name: str, most: int = 18) -> str:
    """A label in one short line."""
    text = printable(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
