"""`status`: what needs a hand, then every dataset's layers, files, tables, refused rows and balances. Reads files only, starts no JVM."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from streaming_jobs import grid, ledger
from streaming_jobs.console import printable
from streaming_jobs.facts.gather import gather
from streaming_jobs.facts.model import Balance, Dataset, Facts, Hand, Layer
from streaming_jobs.facts.words import KEPT, expected, span, stamp, verdict
from streaming_jobs.settings import Settings

VERSION = 1  # of the document; a key that goes or changes its meaning raises it, a new one does not
_LABEL = 10  # characters before the text of a line inside a dataset


def status(datasets: Sequence[str], settings: Settings) -> Facts:
    """The facts as they are now. Raises UsageError for a dataset without a contract, or when there is no contract at all."""
    return gather(datasets, settings, ledger.now())


def document(facts: Facts) -> dict[str, Any]:
    """The facts as plain data for --json; docs/status.md describes it. Lengths of time are seconds."""
    return {
        "version": VERSION,
        "exit_code": facts.exit_code,
        "at": facts.at,
        "needs_a_hand": [asdict(hand) for hand in facts.hands],
        "datasets": [_document(one) for one in facts.datasets],
    }


def _document(one: Dataset) -> dict[str, Any]:
    rhythm = asdict(one.rhythm) | {
        "weekdays": sorted(one.rhythm.weekdays),
        "due": None if one.rhythm.due is None else one.rhythm.due.total_seconds(),
    }
    promises = [
        {"promise": type(p.promise).__name__.lower(), "said": p.said, "kept": p.kept, "measured": p.measured, "open": p.open}
        for p in one.promises
    ]
    return asdict(one) | {"files": dict(one.files), "rhythm": rhythm, "promises": promises}


def text(facts: Facts, width: int | None) -> str:
    """The facts for people. width: columns of the terminal; None: every line as long as it is."""
    blocks = ["\n".join(_hands(facts.hands, width)), *("\n\n".join(_blocks(one, facts, width)) for one in facts.datasets)]
    return "\n\n\n".join(blocks)


def _hands(hands: Sequence[Hand], width: int | None) -> Iterator[str]:
    yield verdict(hands) + (":" if hands else "")
    for hand in hands:
        line = printable(str(hand))
        if width is None or len(line) <= width:
            yield line
            continue
        # The command stays in one piece, to be copied.
        said, _, command = line.rpartition(": `")
        yield from textwrap.wrap(f"{said}:", width, subsequent_indent="    ", break_long_words=True, break_on_hyphens=False)
        yield f"    `{command}"


def _blocks(one: Dataset, facts: Facts, width: int | None) -> Iterator[str]:
    yield printable(one.dataset)
    if one.layers:
        yield grid.plain(
            ("layer", "last work", "outcome", "rows", "seconds", "success", "before it"),
            [_layer(layer, facts) for layer in one.layers],
            width,
            ("before it",),
        )
    lines = [line for label, said in _lines(one) for line in _wrapped(label, said, width)]
    if lines:
        yield "\n".join(lines)
    yield grid.plain(
        ("table", "rows", "bytes", "version", "last change"),
        [(t.name, t.rows, t.bytes, t.version, stamp(t.changed_at) if t.changed_at else None) for t in one.tables],
        width,
        ("table",),
    )
    if one.balances:
        columns = ("all runs", "work", "rows in", "accepted", "superseded", "quarantined", "deleted", "seconds")
        yield grid.plain(columns, [_balance(balance) for balance in one.balances], width)
    if one.quarantined:
        rules = [(q.rule, q.column, q.rows, q.files, q.recent, q.newest.date()) for q in one.quarantined]
        yield grid.plain(("refused by", "column", "rows", "files", "7 days", "newest"), rules, width, ("refused by", "column"))
        show, again = f"`streaming-jobs quarantine show {one.dataset} --rule RULE`", f"`streaming-jobs quarantine replay {one.dataset}`"
        yield "\n".join(_wrapped("", f"{show} prints them, {again} judges them again once the contract lets them pass", width))


def _layer(layer: Layer, facts: Facts) -> tuple[Any, ...]:
    before = "cannot be told" if layer.problem else ", ".join(layer.pending)
    success = f"{span(facts.at - layer.succeeded_at)} ago" if layer.succeeded_at else "never"
    outcome = layer.outcome and layer.outcome.partition(":")[0]
    started = stamp(layer.started_at) if layer.started_at else "never"
    seconds = None if layer.seconds is None else round(layer.seconds, 1)
    return layer.layer, started, outcome, layer.rows, seconds, success, before or None


def _lines(one: Dataset) -> Iterator[tuple[str, str]]:
    if one.files:
        yield "files", ", ".join(f"{number} {status}" for status, number in one.files)
    if one.newest:
        yield "newest", f"{one.newest.path}, {one.newest.rows} rows, in bronze since {stamp(one.newest.taken)}"
    if one.layers:
        yield "expected", expected(one.rhythm)
    for promise in one.promises:
        yield "promised", f"{promise.said}: {KEPT[promise.kept]}; {promise.measured}"


def _balance(balance: Balance) -> tuple[Any, ...]:
    numbers = (balance.runs, balance.rows_in, balance.accepted, balance.superseded, balance.quarantined, balance.deleted)
    return balance.layer, *numbers, round(balance.seconds, 1)


def _wrapped(label: str, said: str, width: int | None) -> list[str]:
    line = f"{label:<{_LABEL}}{printable(said)}" if label else printable(said)
    if width is None:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=" " * (_LABEL if label else 0), break_on_hyphens=False)
