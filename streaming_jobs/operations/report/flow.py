"""The picture of the flow: landing, Bronze, Silver with its quarantine, Gold; each with its rows and what waits before it."""

from __future__ import annotations

from collections.abc import Sequence

from streaming_jobs.facts.model import Dataset, Facts, Layer
from streaming_jobs.facts.words import span
from streaming_jobs.operations.report.markup import figure, text

_ARROW = '<div class="arrow" aria-hidden="true">→</div>'
_READ = ("ingested", "repeat")


def flow(one: Dataset, facts: Facts) -> str:
    """One dataset from file to table."""
    boxes = (
        _landing(one),
        _layer(one, "bronze", facts),
        _layer(one, "silver", facts) + _box("quarantine", "quarantine", _amount(_rows(one, "quarantine"), "rows"), ()),
        _layer(one, "gold", facts),
    )
    return f'<div class="flow">{_ARROW.join(f"<div>{box}</div>" for box in boxes)}</div>'


def _landing(one: Dataset) -> str:
    read = sum(number for status, number in one.files if status in _READ)
    refused = ", ".join(f"{number} {status}" for status, number in one.files if status not in _READ)
    waiting = ", ".join(one.layer("bronze").pending)
    return _box(
        "landing", "behind" if waiting else "", _amount(read, "files read"), (f"next: {waiting}" if waiting else "nothing waits", refused)
    )


def _layer(one: Dataset, name: str, facts: Facts) -> str:
    layer = one.layer(name)
    state, said = _state(layer, one)
    if layer.succeeded_at is None:
        since = ""
    else:
        since = f"{'worked' if layer.outcome == 'done' else 'last success'} {span(facts.at - layer.succeeded_at)} ago"
    return _box(name, state, _tables(one) if name == "gold" else _amount(_rows(one, name), "rows"), (said, since))


def _state(layer: Layer, one: Dataset) -> tuple[str, str]:
    if any(f"/{layer.layer}/" in damage.place for damage in one.damaged):
        return "stopped", "damaged"
    if layer.problem or (layer.outcome or "done") != "done":
        return "stopped", "stopped"
    if layer.pending and layer.layer != "bronze":  # what waits before Bronze stands at the landing folder
        return "behind", ", ".join(layer.pending)
    return "", "up to date" if layer.succeeded_at else "no data yet"


def _tables(one: Dataset) -> str:
    rows = (
        f'<tr><td>{text(t.name.partition("/")[2])}</td><td class="n">{figure(t.rows)}</td></tr>' for t in one.tables if t.layer == "gold"
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _rows(one: Dataset, layer: str) -> int | None:
    known = [t.rows for t in one.tables if t.layer == layer and t.rows is not None]
    return sum(known) if known else None


def _amount(value: int | None, unit: str) -> str:
    return f'<p class="big">{figure(value)} <small>{text(unit)}</small></p>'


def _box(name: str, state: str, body: str, lines: Sequence[str]) -> str:
    said = "".join(f"<p>{text(line)}</p>" for line in lines if line)
    return f'<div class="{" ".join(filter(None, ("box", state)))}"><h4>{text(name)}</h4>{body}{said}</div>'
