"""The quarantine for the operator: what was refused, by which rule, in which file, since when. No JVM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deltalake import DeltaTable

from streaming_jobs import ledger
from streaming_jobs.contract import Contract
from streaming_jobs.grid import Rows
from streaming_jobs.settings import Settings

_COUNTS = """
SELECT rule, "column", file, count(*) AS rows, min(at) AS since FROM (
  SELECT r['rule'] AS rule, r['column'] AS "column", _file AS file, quarantined_at AS at
  FROM (SELECT _file, quarantined_at, unnest(reasons) AS r FROM quarantine))
GROUP BY rule, "column", file ORDER BY rows DESC, file, rule, "column"
"""
_ROWS = """
SELECT * FROM quarantine q WHERE {where} ORDER BY _file, _file_modified_at, _row LIMIT {limit}
"""
_TOTAL = "SELECT count(*) AS rows FROM quarantine q WHERE {where}"
_BROKE = """
EXISTS (SELECT 1 FROM (SELECT _file AS f, _file_modified_at AS m, _row AS n, unnest(reasons) AS r FROM quarantine) u
        WHERE u.f = q._file AND u.m = q._file_modified_at AND u.n = q._row AND u.r['rule'] = {rule})
"""


def counts(contracts: Sequence[Contract], settings: Settings) -> Rows:
    """Refused rows per dataset, rule, column and file, most first. A row that broke several rules counts under each."""
    found = [(c.dataset, *row.values()) for c in contracts for row in _ask(c, settings, _COUNTS)]
    return Rows(("dataset", "rule", "column", "file", "rows", "since"), tuple(found), len(found))


def rows(contract: Contract, settings: Settings, limit: int, rule: str | None = None, file: str | None = None) -> Rows:
    """Refused rows as delivered, in the order of their files, each with its reasons; only those of a rule or a file where named."""
    where = " AND ".join(
        [
            "true",
            *([f"_file = {ledger.text(file)}"] if file is not None else []),
            *([_BROKE.format(rule=ledger.text(rule))] if rule is not None else []),
        ]
    )
    held = _ask(contract, settings, _ROWS.format(where=where, limit=limit))
    (total,) = _ask(contract, settings, _TOTAL.format(where=where)) or [{"rows": 0}]
    raw = tuple(c.name for c in contract.bronze.columns)
    columns = ("_file", "_row", "reasons", *raw, "_malformed")
    values = tuple((r["_file"], r["_row"], "; ".join(map(_reason, r["reasons"])), *(r.get(c) for c in raw), r["_malformed"]) for r in held)
    return Rows(columns, values, total["rows"])


def _reason(reason: Mapping[str, Any]) -> str:
    """`rule column 'value': message`, without what the rule does not name."""
    value = None if reason["value"] is None else repr(reason["value"])
    return f"{' '.join(part for part in (reason['rule'], reason['column'], value) if part)}: {reason['message']}"


def _ask(contract: Contract, settings: Settings, sql: str) -> list[dict[str, Any]]:
    table = settings.table(contract.quarantine_table)
    return ledger.query({"quarantine": table}, sql) if DeltaTable.is_deltatable(str(table)) else []
