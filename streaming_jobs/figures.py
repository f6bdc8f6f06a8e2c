"""What is counted and what is measured of a home: the run ledger added up; files, tables and pending work as they are. No JVM.

A scheduled run reads all of it at its end. `watch` reads it once and then adds what it is told of, which
comes to the same. What cannot be read is left out: figures never stop any work.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from typing import TypeVar

from streaming_jobs import ledger, marks, pending, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.errors import Failure, Stopped
from streaming_jobs.ledger import Known, RunRow
from streaming_jobs.pending import Pending
from streaming_jobs.run import Ended, Looked, Turn
from streaming_jobs.settings import Settings

KINDS = {"read": "rows_in", "accepted": "accepted", "superseded": "superseded", "quarantined": "quarantined", "deleted": "deleted"}
"""What became of rows -> the column of the run ledger."""

Of = tuple[str, str]
"""A dataset, and one of its layers or tables."""

Failures = Mapping[tuple[str, str, int], int]
"""Dataset, layer and exit code -> how many."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Balance:
    """All micro-batches of one layer of a dataset.

    rows: by KINDS. stages: stage -> seconds. succeeded_at: when the newest ended, epoch seconds.
    """

    batches: int
    seconds: float
    rows: Mapping[str, int]
    stages: Mapping[str, float]
    succeeded_at: float


@dataclass(frozen=True)
class Table:
    """As it is now. size: bytes. rows: None where its log does not say."""

    version: int
    size: int
    rows: int | None


@dataclass(frozen=True)
class Figures:
    """balances, pending: by layer. tables: by path under data/. files: by dataset; counted only when somebody asks.

    failures: by dataset, layer and exit code; the first two are empty where it is of none. ended: epoch seconds and exit code of the
    last command; None under `watch`.
    """

    balances: Mapping[Of, Balance] = field(default_factory=dict)
    pending: Mapping[Of, Pending] = field(default_factory=dict)
    files: Mapping[str, Known] = field(default_factory=dict)
    tables: Mapping[Of, Table] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    ended: tuple[float, int] | None = None


def read(settings: Settings, contracts: Sequence[Contract]) -> Figures:
    """Everything of these datasets; no failures."""
    datasets = {c.dataset for c in contracts}
    layers = [(c, layer) for c in contracts for layer in pending.OF]
    looked = [_readable(partial(pending.OF[layer], c, settings)) for c, layer in layers]
    return Figures(
        balances={of: b for of, b in (_readable(partial(balances, settings)) or {}).items() if of[0] in datasets},
        pending={(work.dataset, work.layer): work for work in looked if work},
        files={dataset: known for c in contracts for dataset, known in _files(c, settings).items()},
        tables={of: t for c, layer in layers for of, t in _tables(c, layer, settings).items()},
    )


def balances(settings: Settings) -> dict[Of, Balance]:
    """The run ledger added up, by dataset and layer; rows about failures under `watch`, which have no stages, are no micro-batches."""
    runs = settings.table(ledger.RUNS)
    if snapshots.newest(runs) is None:
        return {}
    stages: dict[Of, dict[str, float]] = {}
    for row in ledger.query({"runs": runs}, _STAGES):
        stages.setdefault((row["dataset"], row["layer"]), {})[row["stage"]] = row["seconds"]
    return {
        (of := (row["dataset"], row["layer"])): Balance(
            row["batches"], row["seconds"], {kind: row[name] for kind, name in KINDS.items()}, stages.get(of, {}), row["succeeded_at"]
        )
        for row in ledger.query({"runs": runs}, _BALANCES)
    }


_BALANCES = f"""
SELECT dataset, layer, count(*) AS batches, sum(seconds) AS seconds, max(date_part('epoch', started_at) + seconds) AS succeeded_at,
  {", ".join(f"sum({name}) AS {name}" for name in KINDS.values())}
FROM runs WHERE stages IS NOT NULL GROUP BY dataset, layer
"""
# The JSON object is flat and holds nothing but names and numbers.
_STAGES = """
SELECT dataset, layer, btrim(split_part(item, ':', 1), '" ') AS stage, sum(CAST(btrim(split_part(item, ':', 2)) AS DOUBLE)) AS seconds
FROM (SELECT dataset, layer, unnest(string_to_array(btrim(stages, '{}'), ',')) AS item FROM runs WHERE stages LIKE '{"%') AS items
GROUP BY 1, 2, 3
"""


def added(figures: Figures, row: RunRow) -> Figures:
    """With one more micro-batch."""
    of, stages = (row.dataset, row.layer), json.loads(row.stages or "{}")
    held = figures.balances.get(of) or Balance(0, 0.0, dict.fromkeys(KINDS, 0), {}, 0.0)
    balance = Balance(
        held.batches + 1,
        held.seconds + row.seconds,
        {kind: held.rows[kind] + getattr(row, name) for kind, name in KINDS.items()},
        {stage: held.stages.get(stage, 0.0) + stages.get(stage, 0.0) for stage in dict.fromkeys([*held.stages, *stages])},
        max(held.succeeded_at, row.started_at.timestamp() + row.seconds),
    )
    return replace(figures, balances={**figures.balances, of: balance})


def turned(figures: Figures, turn: Turn, settings: Settings) -> Figures:
    """After a turn: what a look found, or what a layer that has ended left behind it."""
    if isinstance(turn, Looked):
        return replace(figures, pending={**figures.pending, (turn.found.dataset, turn.found.layer): turn.found})
    if not isinstance(turn, Ended):
        return figures
    contract, of = turn.contract, (turn.contract.dataset, turn.layer)
    found = replace(figures, tables={**figures.tables, **_tables(contract, turn.layer, settings)})
    if turn.layer == "bronze":
        found = replace(found, files={**found.files, **_files(contract, settings)})
    if turn.failure is None:
        return found
    # What it would find to do now is not known.
    found = replace(found, pending={at: work for at, work in found.pending.items() if at != of})
    return replace(found, failures=failed(found.failures, turn.failure, *of))


def failed(before: Failures, failure: Failure, dataset: str = "", layer: str = "") -> Failures:
    """With one more failure; a signal is none."""
    if isinstance(failure, Stopped):
        return before
    of = (dataset, layer, failure.exit_code)
    return {**before, of: before.get(of, 0) + 1}


def by_status(files: Known) -> Mapping[str, int]:
    """Paths by the status of their newest decision, zeros included."""
    # By the text of the status: it may be a million files, and an Enum hashes itself in Python.
    counts = Counter(map(attrgetter("last.status._value_"), files.states.values()))
    return {status.value: counts[status.value] for status in ledger.Status if status is not ledger.Status.READING}


def _files(contract: Contract, settings: Settings) -> dict[str, Known]:
    known = _readable(partial(ledger.known, settings, contract.dataset))
    return {} if known is None else {contract.dataset: known}


def _tables(contract: Contract, layer: str, settings: Settings) -> dict[Of, Table]:
    found = {name: _readable(partial(_table, settings, name)) for name in marks.tables(layer, contract)}
    return {(contract.dataset, name): table for name, table in found.items() if table}


def _table(settings: Settings, name: str) -> Table | None:
    held = snapshots.newest(settings.table(name))
    if held is None:
        return None
    amount = snapshots.amount(held)
    return Table(held.version(), amount.size, amount.rows)


def _readable(read: Callable[[], _T]) -> _T | None:
    """None for whatever is damaged or gone; the commands that need it say so."""
    try:
        return read()
    except Exception:
        return None
