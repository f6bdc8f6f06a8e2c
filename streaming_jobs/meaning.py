"""What a Silver table means: the part of its contract that decides its rows, kept in the table.

A run whose contract means something else than the table stops before it writes, because rows judged
before and after would stand side by side. Kept as a table property in plain JSON, so that the difference
can be named. Not part of the meaning: warnings, limits, `mergeWindow`, and how files are read into
Bronze (headers, synonyms, encodings): Bronze holds what was delivered under the contract of that day.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from streaming_jobs import commits, snapshots
from streaming_jobs.contract import Contract, Redelivery, SilverColumn
from streaming_jobs.errors import UsageError

PROPERTY = "streaming_jobs.meaning"

_RULES = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "pattern", "min_length", "max_length", "enum")


class Effect(StrEnum):
    """What a difference asks for."""

    ADDS = "adds"  # a column that cannot refuse by a rule: the next run recomputes Silver by itself
    LOOSENS = "loosens"  # accepted rows stay as they are, refused ones may pass: `quarantine replay` is enough
    CHANGES = "changes"  # rows of Silver may be wrong: `rebuild silver`


@dataclass(frozen=True)
class Difference:
    """One thing that the contract says otherwise. was, now: as in the contract; None: nothing was said."""

    place: str  # such as amount.minimum
    was: Any
    now: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.place} {_shown(self.was)} -> {_shown(self.now)}"


def of(contract: Contract) -> dict[str, Any]:
    """The meaning of a contract's Silver as plain data; equal for contracts that make the same rows of the same Bronze."""
    silver = contract.silver
    return {
        "keys": sorted(silver.keys),
        "sequenceBy": list(silver.sequence_by),
        "partitioned": list(silver.partitioned_by),
        "appends": contract.bronze.on_redelivery is Redelivery.APPEND,  # decides what names a row
        "nullValues": sorted(contract.landing.null_values),
        "columns": {c.name: _said(c, key=c.name in silver.keys) for c in silver.columns},
        "rules": {rule.name: rule.expression for rule in silver.rules if rule.blocking},
    }


def _said(column: SilverColumn, *, key: bool) -> dict[str, Any]:
    """What the contract says of a column; a flag that is off, or a rule that is not there, is not said."""
    plain: dict[str, Any] = json.loads(json.dumps({**asdict(column), "required": column.required or key}))
    flags = ("required", "exclusive_minimum", "exclusive_maximum")
    return {k: v for k, v in plain.items() if k != "name" and v not in (None, []) and not (k in flags and v is False)}


def kept_in(table: Path) -> dict[str, Any] | None:
    """What the table was made by; None: no table, or it does not say."""
    found = snapshots.newest(table)
    if found is None:
        return None
    kept = found.metadata().configuration.get(PROPERTY)
    return json.loads(kept) if kept else None


def keep(contract: Contract, table: Path) -> None:
    """Write the contract's meaning into the table. After the rows: a crash in between has them made once more."""
    if kept_in(table) != of(contract):
        with commits.to(table) as held:
            held.alter.set_table_properties({PROPERTY: text(contract)}, raise_if_not_exists=False)


def text(contract: Contract) -> str:
    """The value of the table property."""
    return json.dumps(of(contract), sort_keys=True)


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What `now` says otherwise than `was`, both as `of` gives them."""
    found = [
        Difference(key, was.get(key), now[key], Effect.CHANGES)
        for key in ("keys", "sequenceBy", "partitioned", "appends", "nullValues")
        if was.get(key) != now[key]
    ]
    old, new = was["columns"], now["columns"]
    for name in {**old, **new}:
        if name not in new:
            found.append(Difference(name, "a column", None, Effect.CHANGES))
        elif name not in old:
            adds = not new[name].get("required") and not any(rule in new[name] for rule in _RULES)
            found.append(Difference(name, None, "a column", Effect.ADDS if adds else Effect.CHANGES))
        else:
            found += _of_column(name, old[name], new[name])
    for name in {**was["rules"], **now["rules"]}:
        before, after = was["rules"].get(name), now["rules"].get(name)
        if before != after:
            found.append(Difference(f"rule {name}", before, after, Effect.CHANGES if after else Effect.LOOSENS))
    return tuple(found)


def changed(contract: Contract, table: Path) -> tuple[Difference, ...]:
    """How the contract differs from what the table was made by; nothing where there is no table, or it does not say."""
    kept = kept_in(table)
    return () if kept is None else differences(kept, of(contract))


def require_same(contract: Contract, table: Path) -> bool:
    """True when Silver is to be recomputed: columns were added, or the table does not say what it was made by.

    Raises UsageError, with the ways out, when the contract means something else otherwise.
    """
    found = changed(contract, table)
    if all(d.effect is Effect.ADDS for d in found):
        return bool(found) or (snapshots.newest(table) is not None and kept_in(table) is None)
    dataset = contract.dataset
    replay = f"`streaming-jobs quarantine replay {dataset}` judges the refused rows again, or "
    raise UsageError(
        f"silver of {dataset}: its contract now means something else than the table holds: {'; '.join(map(str, found))}. "
        f"Nothing was applied to Silver. {replay if can_be_replayed(found) else ''}`streaming-jobs rebuild silver {dataset}` "
        "makes it again from Bronze; or take the change back."
    )


def can_be_replayed(found: tuple[Difference, ...]) -> bool:
    """True when rows that Silver holds stay right, so that only the refused ones are to be judged again."""
    return all(d.effect is Effect.LOOSENS for d in found)


def _of_column(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for key in sorted({**was, **now}):
        before, after = was.get(key), now.get(key)
        if before != after:
            effect = Effect.LOOSENS if _loosens(key, before, after, was) else Effect.CHANGES
            yield Difference(f"{name}.{key}", before, after, effect)


def _loosens(key: str, before: Any, after: Any, was: Mapping[str, Any]) -> bool:
    """True when every value that passed before passes now, and is the same value."""
    if key == "default":
        return before is None and bool(was.get("required"))  # Silver holds no NULL that it would have replaced
    if key not in (*_RULES, "required"):
        return False
    if after is None:
        return True
    if before is None:
        return False
    match key:
        case "minimum" | "min_length":
            return _at_most(after, before)
        case "maximum" | "max_length":
            return _at_most(before, after)
        case "enum":
            return set(before) <= set(after)
        case _:
            return False


def _at_most(low: Any, high: Any) -> bool:
    """Numbers by value; dates and times are compared only when written alike."""
    if isinstance(low, str) and isinstance(high, str):
        return len(low) == len(high) and low <= high
    return not isinstance(low, str) and not isinstance(high, str) and bool(low <= high)


def _shown(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
