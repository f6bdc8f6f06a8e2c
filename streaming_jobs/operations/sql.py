"""`sql`: one query over the tables. DataFusion answers it through deltalake; no JVM is started and nothing is changed.

answer = ask("SELECT state, count(*) AS n FROM silver_orders GROUP BY state", data)
print(answer.columns, list(answer.rows))
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from streaming_jobs import ledger
from streaming_jobs.errors import DamagedState, UsageError
from streaming_jobs.grid import Rows
from streaming_jobs.operations import show

MOST_ON_SCREEN = 1000  # rows
_QUERIES = ("select", "with", "values", "explain", "describe", "show")
_BETWEEN = r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_BEGINS = re.compile(rf"{_BETWEEN}(?:explain\s+(?:analyze\s+|verbose\s+)*)?{_BETWEEN}([a-z]*)", re.IGNORECASE | re.DOTALL)
_NOT_FOUND = re.compile(r"table '(?:datafusion\.public\.)?(.+?)' not found")


@dataclass(frozen=True)
class Answer:
    """Rows of a query, read as they are asked for, so that UsageError may come late. Values as in `grid.Rows`."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


def names(data: Path) -> dict[str, Path]:
    """Every table by the name it has in a query: `<layer>_<dataset>`, `ledger_files`, `ledger_runs`, a Gold table by its own.

    A Gold table that is called like another one is `gold_<name>`.
    """
    found: dict[str, Path] = {}
    parts = [PurePosixPath(table).parts for table in show.tables(data)]
    for layer, *rest in sorted((p for p in parts if len(p) > 1 and p[0] != "set-aside"), key=lambda p: (p[0] == "gold", p)):
        name = "_".join(rest).lower()
        plain = name if layer == "gold" and name not in found else f"{layer}_{name}"
        found[plain] = data.joinpath(layer, *rest)
    return found


def ask(sql: str, data: Path) -> Answer:
    """Answer one query.

    Raises UsageError for what is no query, or names a table or a column that is not there; DamagedState when a table cannot be read.
    """
    word = (m[1].lower() if (m := _BEGINS.match(sql)) else "") or sql.strip()[:20]
    if word not in _QUERIES:
        raise UsageError(f"sql answers queries, such as SELECT, and `{word}` is none. Nothing was done.")
    known = names(data)
    builder = QueryBuilder()
    for name, folder in known.items():
        # Names are told apart by case here, so that each is known as the query spells it.
        for spelled in dict.fromkeys(re.findall(re.escape(name), sql, re.IGNORECASE)):
            builder.register(ledger.quoted(spelled), _opened(folder))
    try:
        reader = builder.execute(sql)
    except DeltaError as error:
        raise UsageError(_explained(str(error), known)) from error
    return Answer(tuple(reader.schema.names), _rows(reader))


def first(answer: Answer, limit: int | None) -> Rows:
    """The first rows of an answer, None: all; the others are only counted."""
    values = tuple(islice(answer.rows, limit))
    return Rows(answer.columns, values, len(values) + sum(1 for _ in answer.rows))


def _opened(folder: Path) -> DeltaTable:
    try:
        return DeltaTable(folder)
    except DeltaError as error:
        raise DamagedState(f"{folder} cannot be read ({' '.join(str(error).split())}); `streaming-jobs doctor` says more.") from error


def _rows(reader: Any) -> Iterator[tuple[Any, ...]]:
    try:
        for batch in reader:
            yield from zip(*(show.values(batch.column(name)) for name in batch.schema.names), strict=True)
    except Exception as error:  # a query that fails while it reads is a bare Exception of deltalake
        raise UsageError(f"the query failed: {' '.join(str(error).split())}") from error


def _explained(error: str, known: dict[str, Path]) -> str:
    said = " ".join(error.split())
    missing = _NOT_FOUND.search(said)
    if not missing:
        return f"the query cannot be answered: {said}"
    if not known:
        return f"no table `{missing[1]}`: there is none yet; run `streaming-jobs run`."
    near = difflib.get_close_matches(missing[1].lower(), known, 1, 0.5)
    return f"no table `{missing[1]}`{f'; did you mean {near[0]}' if near else ''}? There are: {', '.join(sorted(known))}."
