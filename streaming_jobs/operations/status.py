"""`status`: how the last work of every layer ended, and what lies before it. Reads files only, starts no JVM."""

from __future__ import annotations

from collections.abc import Sequence

from streaming_jobs import ledger, pending, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.errors import as_failure
from streaming_jobs.grid import Rows
from streaming_jobs.settings import Settings

COLUMNS = ("dataset", "layer", "last", "outcome", "rows", "seconds", "before it")

_LAST = """
SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY dataset, layer ORDER BY started_at DESC) AS n FROM runs) AS t WHERE n = 1
"""


def status(contracts: Sequence[Contract], settings: Settings) -> Rows:
    """One row per dataset and layer.

    last: when its newest work began, UTC; NULL: never. rows, seconds: of that work. outcome: `done`, or `failed: …` until it
    works again. before it: what a run would do, or why that cannot be told; NULL: nothing.
    """
    runs = settings.table(ledger.RUNS)
    found = ledger.query({"runs": runs}, _LAST) if snapshots.newest(runs) is not None else []
    last = {(row["dataset"], row["layer"]): row for row in found}
    rows = []
    for contract in contracts:
        for layer in pending.OF:
            run = last.get((contract.dataset, layer), {})
            done = (run.get(name) for name in ("started_at", "outcome", "rows_in", "seconds"))
            rows.append((contract.dataset, layer, *done, _before(layer, contract, settings)))
    return Rows(COLUMNS, tuple(rows), len(rows))


def _before(layer: str, contract: Contract, settings: Settings) -> str | None:
    try:
        return ", ".join(pending.OF[layer](contract, settings).reasons) or None
    except Exception as error:
        return str(as_failure(error))
