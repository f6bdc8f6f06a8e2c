"""The page: facts and drawings as one HTML document that needs nothing else.

The order is that of the questions of somebody who answers for the data: is it right, is it fresh, what came, what was
refused, where does time go.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import resources
from statistics import median
from string import Template
from typing import Any

from streaming_jobs.console import printable
from streaming_jobs.damage import LAYERS
from streaming_jobs.facts.arrivals import RECENT, USUAL
from streaming_jobs.facts.model import Balance, Dataset, Facts, Hand, Layer
from streaming_jobs.facts.words import KEPT, expected, span, stamp, verdict
from streaming_jobs.operations.report import charts
from streaming_jobs.operations.report.charts import Drawing
from streaming_jobs.operations.report.flow import flow
from streaming_jobs.operations.report.history import DAYS, WEEKS, GoldChart, History, Line, Work
from streaming_jobs.operations.report.markup import answer, code, counted, note, table, text
from streaming_jobs.operations.report.svg import Styles, embed

_ROWS = 60  # of the figures under a chart
_FILES = 50  # refused ones; `files` has them all
_STOPPED = ("wrong", "changed", "failed", "stuck")

_Pairs = Sequence[tuple[Dataset, History]]


@dataclass
class _Figures:
    """The charts of one page so far, and the styles that they share."""

    styles: Styles = field(default_factory=Styles)
    count: int = 0

    def draw(self, title: str, more: str, drawing: Drawing, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> str:
        """A chart with its title, what is to be known about it, its colours and its figures."""
        self.count += 1
        markup = embed(drawing.svg, f"f{self.count}", printable(title), printable(more), drawing.tips, self.styles)
        names = "".join(f'<li><i class="k{n}"></i>{text(name)}</li>' for n, name in enumerate(drawing.names, 1))
        legend = f'<ul class="legend">{names}</ul>' if len(drawing.names) > 1 else ""
        summary = f"the newest {_ROWS} of {len(rows)} figures" if len(rows) > _ROWS else "as figures"
        details = f"<details><summary>{summary}</summary>{table(columns, rows[-_ROWS:])}</details>"
        return f'<figure><figcaption>{text(title)}<span class="more">{text(more)}</span></figcaption>{markup}{legend}{details}</figure>'


def page(facts: Facts, histories: Sequence[History], name: str) -> str:
    """The document. histories: of the datasets of `facts`, in their order. name: of the home, as people call it."""
    figures, pairs = _Figures(), [*zip(facts.datasets, histories, strict=True)]
    sections = {
        "right": "\n".join(_right(facts)),
        "fresh": "\n".join(_fresh(facts)),
        "came": "\n".join(_came(facts, pairs, figures)),
        "refused": "\n".join(_refused(facts, pairs, figures)),
        "time": "\n".join(_time(pairs, figures)),
    }
    style = _file("page.css") + figures.styles.css()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Template(_file("page.html")).substitute(
        sections,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        title=text(f"{name}: the data"),
        subtitle=text(f"As of {stamp(facts.at)}. {counted(len(facts.datasets), 'dataset')}; {verdict(facts.hands)}. All times are UTC."),
        style=style,
        footer=f"Written by {code('streaming-jobs report')}, which reads tables, ledger and folders and changes none of them.",
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _right(facts: Facts) -> Iterator[str]:
    damaged = sum(bool(hand.exit_code) for hand in facts.hands)
    stopped = sum(hand.kind in _STOPPED for hand in facts.hands)
    if damaged:
        yield answer("No:", f"{counted(damaged, 'thing')} damaged, or not adding up.", "no")
    elif stopped:
        yield answer("As far as it goes:", f"{counted(stopped, 'contract or layer')} stopped, and what lies before cannot go on.", "no")
    else:
        yield answer("Yes:", "no damage is seen, all work adds up, and tables and ledger agree.", "yes")
    yield note(f"That every row is what the layer above gives is proved by {code('streaming-jobs verify')}.")
    yield "<h3>What needs a hand</h3>"
    hands = "".join(map(_hand, facts.hands))
    yield f'<ul class="hands">{hands}</ul>' if hands else '<p class="nothing">Nothing.</p>'
    for one in facts.datasets:
        yield f"<h3>{text(one.dataset)}: from file to table</h3>"
        yield flow(one, facts)
        if one.balances:
            columns = ("layer", "pieces of work", "rows in", "accepted", "superseded", "quarantined", "deleted", "adds up")
            yield table(columns, [_balance(balance) for balance in one.balances])


def _hand(hand: Hand) -> str:
    of = f'<span class="of">{text(hand.dataset)}</span>' if hand.dataset else ""
    kind = "bad" if hand.exit_code else "hand"
    return f'<li class="{kind}"><b>{text(hand.kind)}</b>{of}{text(hand.what)}{code(hand.command)}</li>'


def _balance(b: Balance) -> tuple[Any, ...]:
    adds_up = f"not in {b.off}" if b.off else "yes"
    return b.layer, b.runs, b.rows_in, b.accepted, b.superseded, b.quarantined, b.deleted, adds_up


def _fresh(facts: Facts) -> Iterator[str]:
    late = sorted({hand.dataset or "" for hand in facts.hands if hand.kind == "late"})
    silent = [one.dataset for one in facts.datasets if not one.promises and one.rhythm.unknown]
    if late:
        yield answer("No:", f"something of {', '.join(late)} is late.", "no")
    elif len(silent) == len(facts.datasets):
        yield answer("Nobody can tell:", "no contract promises anything, and no rhythm is known yet.")
    else:
        unknown = f"; of {', '.join(silent)} nothing is known" if silent else ""
        yield answer("Yes:", f"all that is promised or usual has come{unknown}.", "yes")
    columns = ("dataset", "newest file", "taken in", "silver worked", "gold worked", "expected, by the last weeks")
    yield table(columns, [_freshness(one, facts) for one in facts.datasets], long=(1, 5))
    promised = [(one.dataset, p.said, KEPT[p.kept], p.measured) for one in facts.datasets for p in one.promises]
    if promised:
        yield table(("dataset", "promised by the contract", "", "measured"), promised, long=(1, 3))


def _freshness(one: Dataset, facts: Facts) -> tuple[str, ...]:
    newest, taken = (one.newest.path, f"{span(facts.at - one.newest.taken)} ago") if one.newest else ("none yet", "")
    return one.dataset, newest, taken, _since(one.layer("silver"), facts), _since(one.layer("gold"), facts), expected(one.rhythm)


def _since(layer: Layer, facts: Facts) -> str:
    return f"{span(facts.at - layer.succeeded_at)} ago" if layer.succeeded_at else "never"


def _came(facts: Facts, pairs: _Pairs, figures: _Figures) -> Iterator[str]:
    recent = [file for _, history in pairs for file in history.arrivals if facts.at - file.taken <= RECENT]
    rows = sum(file.rows or 0 for file in recent)
    yield answer(counted(len(recent), "file"), f"with {counted(rows, 'row')} came in the last 7 days.")
    for one, history in pairs:
        yield f"<h3>{text(one.dataset)}</h3>"
        drawn = "".join([*_arrivals(one, history, figures), *_gold(history, figures)])
        yield f'<div class="figures">{drawn}</div>' if drawn else '<p class="muted">Nothing to draw yet.</p>'
        if history.not_drawn:
            yield note(f"Not drawn: {text('; '.join(f'{what} ({why})' for what, why in history.not_drawn))}.")


def _arrivals(one: Dataset, history: History, figures: _Figures) -> Iterator[str]:
    days = history.calendar
    if not days:
        return
    by = "by the dates in their names" if history.by == "name" else "by the days they came"
    missing = sum(day.missing for day in days)
    known = f"{counted(missing, 'day')} without the expected file" if missing else "no expected file is missing"
    known = "which to expect is not known" if one.rhythm.unknown else known
    rows = [(str(d.day), d.files, d.rows, "missing" if d.missing else "") for d in days]
    yield figures.draw("Files per day", f"Up to {WEEKS} weeks, {by}; {known}.", charts.calendar(days), rows, ("day", "files", "rows", ""))
    shown = days[-DAYS:]
    filled = [day.rows for day in shown if day.files][-USUAL:]
    usual = median(filled) if len(filled) >= 3 else None
    odd = [day for day, _ in history.odd_days]
    more = "As Bronze holds them" + (f"; dashed: the median of the newest {len(filled)} days with files" if usual is not None else "")
    more += f"; {counted(len(odd), 'day')} far from the usual." if odd else "."
    yield figures.draw("Rows per day", more, charts.per_day(shown, usual, odd), [(str(d.day), d.rows) for d in shown], ("day", "rows"))


def _gold(history: History, figures: _Figures) -> Iterator[str]:
    for gold in history.gold:
        more = f"{gold.table}; {_about(gold)}."
        if gold.bars:
            yield figures.draw(gold.aggregate, more, charts.bars(gold.bars), gold.bars, ("group", gold.aggregate))
        else:
            yield figures.draw(gold.aggregate, more, charts.lines(gold.lines), _points(gold.lines), ("at", "of", gold.aggregate))


def _about(gold: GoldChart) -> str:
    if gold.left_out:
        return f"the {len(gold.bars or gold.lines)} largest, {gold.left_out} more are not shown"
    if len(gold.lines) == 1:
        return f"the newest {counted(len(gold.lines[0].points), 'group')}"
    return "every group"


def _points(lines: Sequence[Line]) -> list[tuple[str, str, float]]:
    return sorted((str(at), line.name, value) for line in lines for at, value in line.points)


def _refused(facts: Facts, pairs: _Pairs, figures: _Figures) -> Iterator[str]:
    rows = sum(t.rows or 0 for one in facts.datasets for t in one.tables if t.layer == "quarantine")
    files = sum(file.status != "missing" for one in facts.datasets for file in one.refused)
    yield answer(counted(rows, "row"), f"in quarantine, {counted(files, 'file')} not let in.")
    listed = [(one.dataset, f.path, f.status, stamp(f.decided_at), f.reason or "", f.rows) for one in facts.datasets for f in one.refused]
    if listed:
        yield table(("dataset", "file", "status", "since", "why", "rows of before"), listed[:_FILES], long=(1, 4))
    if len(listed) > _FILES:
        yield note(f"{len(listed) - _FILES} more: {code('streaming-jobs files')}")
    for one, history in pairs:
        if not one.quarantined:
            continue
        yield f"<h3>{text(one.dataset)}</h3>"
        rules = [(q.rule, q.column or "", q.rows, q.files, q.recent, stamp(q.newest)) for q in one.quarantined]
        yield f'<div class="figures two">{"".join(_refusals(history, figures))}'
        yield table(("rule", "column", "rows", "files", "in 7 days", "newest"), rules) + "</div>"
        show, again = (code(f"streaming-jobs quarantine {what} {one.dataset}") for what in ("show", "replay"))
        yield note(f"{show} prints them, {again} judges them again once the contract lets them pass.")


def _refusals(history: History, figures: _Figures) -> Iterator[str]:
    if not history.refused:
        return
    most = len(charts.SERIES)
    kept, rest = history.refused[: most - 1], history.refused[most - 1 :]
    series = (*kept, _together(f"{len(rest)} other rules", rest)) if len(rest) > 1 else history.refused
    more = f"By rule and the day they came into quarantine, the last {DAYS} days; a row that broke several rules counts under each."
    yield figures.draw("Refused rows per day", more, charts.stacked(series), _points(history.refused), ("day", "rule", "rows"))


def _together(name: str, lines: Sequence[Line]) -> Line:
    sums: dict[Any, float] = {}
    for at, value in (point for line in lines for point in line.points):
        sums[at] = sums.get(at, 0.0) + value
    return Line(name, tuple(sorted(sums.items())))


def _time(pairs: _Pairs, figures: _Figures) -> Iterator[str]:
    seconds = {layer: sum(b.seconds for one, _ in pairs for b in one.balances if b.layer == layer) for layer in LAYERS}
    whole = sum(seconds.values())
    if not whole:
        yield answer("Nowhere yet:", "no work is recorded.")
        return
    shares = ", ".join(f"{layer} {round(100 * seconds[layer] / whole)} %" for layer in LAYERS)
    yield answer(span(timedelta(seconds=whole)), f"took all recorded work: {shares}. Starting Spark is no part of it.")
    for one, history in pairs:
        if history.work:
            yield f"<h3>{text(one.dataset)}</h3>"
            yield f'<div class="figures">{"".join(_work(history, figures))}</div>'


def _work(history: History, figures: _Figures) -> Iterator[str]:
    of = {layer: [w for w in history.work if w.layer == layer] for layer in LAYERS}
    lines = [Line(layer, tuple((w.at, w.seconds) for w in work)) for layer, work in of.items() if work]
    rows = [(stamp(w.at), w.layer, w.seconds) for w in history.work]
    more = f"The newest {max(len(line.points) for line in lines)} of each layer; the newest is on the right."
    yield figures.draw("Seconds per piece of work", more, charts.dots(lines), rows, ("began", "layer", "seconds"))
    parts = [(layer, _stages(work)) for layer, work in of.items() if work]
    stages = [(layer, stage, seconds) for layer, named in parts for stage, seconds in named]
    if stages:
        more = f"The mean of the newest {USUAL} of each layer, in the order in which they follow."
        yield figures.draw("Seconds by stage", more, charts.shares(parts), stages, ("layer", "stage", "seconds"))


def _stages(work: Sequence[Work]) -> list[tuple[str, float]]:
    newest = work[-USUAL:]
    names = list(dict.fromkeys(stage for piece in newest for stage, _ in piece.stages))
    return [(name, sum(dict(piece.stages).get(name, 0.0) for piece in newest) / len(newest)) for name in names]
