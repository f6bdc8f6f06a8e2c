"""Which names an expression may use, and in what order expressions that use each other are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streaming_jobs.contract import sql
from streaming_jobs.contract.place import Place, nearest

_READABLE = ("_file", "_file_modified_at", "_row", "_extra", "_malformed")
_UNSTABLE = ("_ingest_id", "_ingested_at")


@dataclass(frozen=True)
class RowScope:
    """Names of a Silver expression: a bare one is a typed column, `raw.<name>` the delivered string."""

    columns: tuple[str, ...]
    raw: tuple[str, ...]

    def check(self, text: str, place: Place) -> tuple[str, ...]:
        """Report what is wrong with a row's expression; the typed columns it uses."""
        found = sql.parse(text, place)
        if found is None:
            return ()
        if found.aggregates:
            place.wrong(f"{', '.join(found.aggregates)} is an aggregate function; Silver judges one row at a time, aggregates are Gold's")
        used = [self._resolve(parts, place) for parts in found.columns]
        return tuple(dict.fromkeys(u for u in used if u))

    def _resolve(self, parts: tuple[str, ...], place: Place) -> str | None:
        first, *rest = parts
        typed, delivered = _folded(self.columns), _folded(self.raw)
        if first.casefold() == "raw":
            if len(rest) != 1 or rest[0].casefold() not in delivered:
                place.wrong(f"unknown column {'.'.join(parts)}{nearest('raw.' + '.'.join(rest), [f'raw.{r}' for r in self.raw])}")
        elif first.casefold() in _UNSTABLE:
            place.wrong(f"{first} tells when a file was read; Silver must not depend on that, use _file or _file_modified_at")
        elif first.casefold() in _READABLE:
            pass
        elif first.casefold() not in typed:
            hint = f"; did you mean raw.{delivered[first.casefold()]}" if first.casefold() in delivered else nearest(first, self.columns)
            place.wrong(_unknown(parts, hint))
        elif rest:
            place.wrong(f"{'.'.join(parts)}: {first} has no fields; the delivered string is raw.{first}")
        else:
            return typed[first.casefold()]
        return None


@dataclass(frozen=True)
class TableScope:
    """Names of a Gold expression: the columns of its source, nothing else."""

    source: str
    columns: tuple[str, ...]

    def check(self, text: str, place: Place) -> sql.Expression | None:
        found = sql.parse(text, place)
        known = _folded(self.columns)
        for parts in found.columns if found else ():
            if parts[0].casefold() == "raw":
                place.wrong(f"{'.'.join(parts)}: Gold reads {self.source}, not the delivered strings{nearest(parts[-1], self.columns)}")
            elif parts[0].casefold() not in known or len(parts) > 1:
                place.wrong(_unknown(parts, f"{nearest('.'.join(parts), self.columns)} (the source is {self.source})"))
        return found


def stages(expressions: Mapping[str, str], scope: RowScope, place: Place) -> tuple[tuple[str, ...], ...]:
    """Expression columns in levels: each level uses only plain casts and the levels before it. Reports cycles."""
    needs = {}
    for name, expression in expressions.items():
        here = place.at(f".{name}.transformLogic")
        used = scope.check(expression, here)
        if name in used:
            here.wrong(f"{name} uses itself; the delivered string is raw.{name}")
        needs[name] = {u for u in used if u in expressions and u != name}
    out: list[tuple[str, ...]] = []
    while needs:
        ready = tuple(n for n, used in needs.items() if not used & needs.keys())
        if not ready:
            place.wrong(f"transformLogic goes round in a circle: {' -> '.join(cycle(needs))}")
            break
        out.append(ready)
        for name in ready:
            del needs[name]
    return tuple(out)


def cycle(needs: Mapping[str, set[str]]) -> list[str]:
    """One circle among names of which none can go first, closed by its first name."""
    path = [next(iter(needs))]
    while path[-1] not in path[:-1]:
        path.append(sorted(needs[path[-1]] & needs.keys())[0])
    return path[path.index(path[-1]) :]


def _folded(names: tuple[str, ...]) -> dict[str, str]:
    return {n.casefold(): n for n in names}


def _unknown(parts: tuple[str, ...], hint: str) -> str:
    if len(parts) == 1 and sql.volatile(parts[0]):
        return f"{parts[0]} gives another answer each time; a rebuild must give the same rows, so use columns of the row"
    return f"unknown column {'.'.join(parts)}{hint}"
