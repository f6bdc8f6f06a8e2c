"""What a small batch means for Silver and its quarantine, without Spark: the answers of `versions`, from rows in memory.

In a new process each query of Spark costs half a second and more before it has read a row. A batch of some thousand rows needs one
to be judged; to be decided and written it would need five to ten more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streaming_jobs.contract import Contract
from streaming_jobs.rules.measure import refused, valid
from streaming_jobs.rules.versions import identity, order, stored

_Values = tuple[Any, ...]


@dataclass(frozen=True)
class Decided:
    """What becomes of Silver. Tables have its columns.

    put: rows that are inserted, or take the place of the row with their key. moved: Silver's rows whose place is taken. out: those
    that go. accepted, superseded: of the valid arrivals, those that Silver holds afterwards and the others. open: Silver's rows that
    went away from Bronze, where only all of it can tell which row follows; arrivals: the identity of the newest arrival of each, or None.
    """

    put: pa.Table
    moved: pa.Table
    out: pa.Table
    accepted: int
    superseded: int
    open: pa.Table
    arrivals: tuple[_Values | None, ...]


def net(changes: pa.Table) -> tuple[pa.Table, pa.Table]:
    """As `versions.net`."""
    names = _values(changes, ["_ingest_id", "_file", "_row"])
    seen = list(zip(names, changes["_change"].to_pylist(), changes["_commit_version"].to_pylist(), strict=True))
    came = {name: version for name, has_come, version in sorted(seen, key=lambda s: -s[2]) if has_come}  # the first time
    went = {name: version for name, has_come, version in sorted(seen, key=lambda s: s[2]) if not has_come}  # the last time
    arrived = [has_come and went.get(name, version) <= version for name, has_come, version in seen]
    gone = [not has_come and came.get(name, version) >= version for name, has_come, version in seen]
    return changes.filter(pa.array(arrived, pa.bool_())), changes.filter(pa.array(gone, pa.bool_()))


def decide(arrived: pa.Table, gone: pa.Table | None, current: pa.Table, contract: Contract) -> Decided | None:
    """Give a verdict on every key of a batch, as `versions.decide` and `versions.accept` do.

    arrived, gone: judged rows. current: Silver's rows, at least those with a key of the batch. None: rows are ordered by a type whose
    values are not simply ordered.
    """
    keys, by, columns = contract.silver.keys, order(contract), stored(contract)
    if any(pa.types.is_floating(current.schema.field(c).type) for c in by):
        return None
    rows, current = valid(arrived).select(columns), current.select(columns)
    ranks, was = _ranks(rows, by), _ranks(current, by)
    newest: dict[_Values, int] = {}
    for n, key in enumerate(_values(rows, keys)):
        if key not in newest or ranks[n] > ranks[newest[key]]:
            newest[key] = n
    held = {key: n for n, key in enumerate(_values(current, keys))}
    same = [*keys, *identity(contract)]
    lost = set() if gone is None else set(_values(valid(gone), same))
    is_lost = [name in lost for name in _values(current, same)]
    delivered = [n for n, c in enumerate(by) if c != "_row" or c in contract.silver.sequence_by]

    def follows(n: int, old: int) -> bool:
        return [ranks[n][i] for i in delivered] >= [was[old][i] for i in delivered]

    contested = [(n, held[key]) for key, n in newest.items() if key in held]
    mine = _values(_taken(rows, [n for n, _ in contested]), columns)
    theirs = _values(_taken(current, [old for _, old in contested]), columns)
    differ = [pair for pair, content, present in zip(contested, mine, theirs, strict=True) if content != present]
    updates = [(n, old) for n, old in differ if (follows(n, old) if is_lost[old] else ranks[n] >= was[old])]
    inserts = [n for key, n in newest.items() if key not in held]
    open_at = {old: n for n, old in differ if is_lost[old] and not follows(n, old)}
    left = [n for key, n in held.items() if is_lost[n] and key not in newest]
    arrivals = _values(_taken(rows, list(open_at.values())), identity(contract))
    accepted = len(inserts) + len(updates) + len(contested) - len(differ)
    return Decided(
        _taken(rows, [*inserts, *(n for n, _ in updates)]),
        _taken(current, [old for _, old in updates]),
        current.slice(0, 0),
        accepted,
        rows.num_rows - accepted,
        _taken(current, [*open_at, *left]),
        (*arrivals, *(None for _ in left)),
    )


def settle(decided: Decided, winners: pa.Table, contract: Contract) -> Decided:
    """Decide what is open, as `versions.settle` does. winners: the newest valid row of Bronze for those keys, Silver's columns."""
    keys, columns = contract.silver.keys, stored(contract)
    rows = winners.select(columns).cast(decided.put.schema)
    found = {key: n for n, key in enumerate(_values(rows, keys))}
    follows = [found.get(key) for key in _values(decided.open, keys)]
    content, present, names = _values(rows, columns), _values(decided.open, columns), _values(rows, identity(contract))
    updates = [(n, old) for old, n in enumerate(follows) if n is not None and content[n] != present[old]]
    won = sum(n is not None and names[n] == arrival for n, arrival in zip(follows, decided.arrivals, strict=True))
    return Decided(
        pa.concat_tables([decided.put, _taken(rows, [n for n, _ in updates])]),
        pa.concat_tables([decided.moved, _taken(decided.open, [old for _, old in updates])]),
        _taken(decided.open, [old for old, n in enumerate(follows) if n is None]),
        decided.accepted + won,
        decided.superseded - won,
        decided.open.slice(0, 0),
        (),
    )


def quarantined(judged: pa.Table, contract: Contract, at: datetime) -> pa.Table:
    """Refused rows as the quarantine holds them: as delivered, with their reasons. at: of their refusal."""
    rows = refused(judged)
    bronze = rows.schema.field("_bronze").type
    delivered = [*(c.name for c in contract.bronze.columns), "_extra", "_malformed"]
    columns = {name: pc.struct_field(rows["_bronze"], [bronze.get_field_index(name)]) for name in delivered}
    columns |= {name: rows[name] for name in ("_file", "_file_modified_at", "_row")}
    columns["reasons"] = rows["_reasons"]
    columns["contract_version"] = pa.repeat(pa.scalar(contract.version), rows.num_rows)
    columns["quarantined_at"] = pa.repeat(pa.scalar(at, pa.timestamp("us", "UTC")), rows.num_rows)
    return pa.table(columns)


def _taken(rows: pa.Table, numbers: Sequence[int]) -> pa.Table:
    return rows.take(pa.array(numbers, pa.int64()))


def _ranks(rows: pa.Table, columns: Sequence[str]) -> list[_Values]:
    """What orders rows: NULL before any value."""
    return [tuple((value is not None, value) for value in values) for values in _values(rows, columns)]


def _values(rows: pa.Table, columns: Sequence[str]) -> list[_Values]:
    """Of each row, equal where Spark finds them equal, and ordered as it orders them."""
    return list(zip(*(_plain(rows[c]) for c in columns), strict=True))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    # As numbers: Spark has years that Python has not.
    if pa.types.is_timestamp(kind):
        return list(column.cast(pa.int64()).to_pylist())
    if pa.types.is_date(kind):
        return list(column.cast(pa.int32()).to_pylist())
    if pa.types.is_floating(kind):
        return [_float(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def _float(value: float | None) -> float | str | None:
    """NaN equals itself, and there is one zero."""
    if value is None:
        return None
    return "NaN" if math.isnan(value) else value + 0.0
