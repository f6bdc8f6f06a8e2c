"""A draft as YAML text: guesses as keys, and what they rest on as comments. Nothing of a value is in it but spellings of NULL."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
import yaml
from sqlglot import TokenType

from streaming_jobs.console import printable
from streaming_jobs.contract import sql
from streaming_jobs.operations.draft.columns import Column
from streaming_jobs.operations.draft.keys import Candidate
from streaming_jobs.operations.draft.source import Source
from streaming_jobs.sqltext import quoted, text

_WIDTH = 130
_SHOWN = 3  # names of files, key candidates
_FEW_VALUES = 50  # distinct values that may still be groups
_LOGICAL = {
    "STRING": "string", "BIGINT": "integer", "DOUBLE": "number", "BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP": "timestamp",
}  # fmt: skip
_TAKEN = ("bronze_", "silver_", "quarantine_", "ledger_")


@dataclass(frozen=True)
class Guesses:
    """Everything a page says. path: of the landing. elsewhere: the samples lie in no folder that it could name."""

    dataset: str
    path: str
    elsewhere: bool
    source: Source
    columns: tuple[Column, ...]
    nulls: tuple[str, ...]
    keys: tuple[Candidate, ...]
    newest: Column | None


def page(guesses: Guesses) -> str:
    """The contract, complete and ready for `contract lint`."""
    parts = [*_head(guesses), "", *_server(guesses), "", "schema:", *_bronze(guesses), "", *_silver(guesses), "", *_gold(guesses)]
    return "".join(f"{line}\n" for line in parts)


def _head(guesses: Guesses) -> Iterator[str]:
    source, name = guesses.source, guesses.dataset
    yield from _comment(
        0,
        f"Drafted from {_files(source)}: {_rows(source)}. Comments say what a guess rests on. What to look at first is the key of Silver.",
        f"Save it as conf/{name}.yaml, then `streaming-jobs contract lint {name}` and `streaming-jobs run {name}`.",
    )
    for key, value in {
        "apiVersion": "v3.2.0", "kind": "DataContract", "id": name, "name": name, "version": "0.1.0", "status": "draft",
    }.items():  # fmt: skip
        yield f"{key}: {_flow(value)}"


def _files(source: Source) -> str:
    names = [_cut(file.name) for file in source.files[:_SHOWN]]
    more = len(source.files) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _rows(source: Source) -> str:
    seen, rows = len(source.rows), source.read
    some = f"{seen} of {rows} rows looked at, the first ones and a spread of the rest"
    told = f"{_many(rows, 'row')}, all of them looked at" if seen == rows else some
    behind = "" if source.whole else "; what lies behind them was not read"
    malformed = f"; {_many(source.malformed, 'record')} with more or fewer cells than the header would be quarantined as malformed"
    return told + behind + (malformed if source.malformed else "")


def _server(guesses: Guesses) -> Iterator[str]:
    source = guesses.source
    yield "servers:"
    yield "  - server: landing"
    yield f"    type: {'local' if source.delimiter == ',' else 'custom'}"
    if guesses.elsewhere:
        yield from _comment(4, "The samples lie in no folder of the home that may be a landing: deliver files here, or name another.")
    yield f"    path: {_flow(guesses.path)}"
    yield "    format: csv"
    if source.delimiter != ",":
        yield f"    delimiter: {_flow(source.delimiter)}"
    yield from _comment(4, *_encoding(source))
    yield f"    encoding: {source.encoding}"
    custom = list(_custom(guesses))
    if custom:
        yield "    customProperties:"
        for note, name, value in custom:
            yield from _comment(6, note)
            yield f"      - {_flow({'property': name, 'value': value})}"


def _encoding(source: Source) -> Iterator[str]:
    if source.strays:
        yield f"{_many(source.strays, 'file')} with another delimiter; it is found again where it alone yields all required columns."
    cells = [cell for _, row in source.rows for cell in row if cell and not cell.isascii()]
    if not cells and source.encoding == "utf-8" and not source.fallbacks:
        yield "Only ASCII was seen, so nothing tells utf-8 from its relatives."
    if any("\x80" <= sign <= "\x9f" for cell in cells for sign in cell):
        yield "Bytes 0x80 to 0x9F were seen, which Windows-1252 uses and Latin-1 does not. Spark cannot read Windows-1252: deliver UTF-8."


def _custom(guesses: Guesses) -> Iterator[tuple[str, str, Any]]:
    source = guesses.source
    if source.fallbacks:
        latin = "What is not valid UTF-8 is read as Latin-1, in which any bytes are valid." if "iso-8859-1" in source.fallbacks else ""
        yield latin or "Each of them was seen.", "fallbackEncodings", list(source.fallbacks)
    if not source.has_header:
        yield "The first line is of the kind of the lines below it. If it does name the columns, set this to true.", "header", False
    elif not source.header_told:
        yield "Taken for granted: the first line could be one of the others. If it is, set this to false.", "header", True
    if not source.quote:
        yield "Quotes are text here: as quotes, one is never closed.", "quote", ""
    if guesses.nulls:
        yield "Cells that mean NULL, in every column. A cell that is a value somewhere must not be here.", "nullValues", list(guesses.nulls)


def _bronze(guesses: Guesses) -> Iterator[str]:
    yield "  # Bronze: what is delivered, as strings. A header that is not listed here is kept in the column _extra."
    yield f"  - name: raw_{guesses.dataset}"
    yield f"    physicalName: bronze/{guesses.dataset}"
    yield "    logicalType: object"
    yield "    properties:"
    for column in guesses.columns:
        if column.extra is None:
            declared: dict[str, Any] = {"name": column.name, "logicalType": "string"}
            declared |= {"required": True} if column.required else {}
            declared |= {"synonyms": [{"synonym": column.header}]} if column.header is not None else {}
            yield f"      - {_flow(declared | _classified(column))}"


def _silver(guesses: Guesses) -> Iterator[str]:
    keys = guesses.keys[0].columns if guesses.keys else ()
    yield from _comment(2, "Silver: typed, valid, one row per key.", *_key_notes(guesses))
    yield f"  - name: {guesses.dataset}"
    yield f"    physicalName: silver/{guesses.dataset}"
    yield "    logicalType: object"
    yield "    customProperties:"
    yield from _comment(6, _order(guesses.newest))
    yield f"      - {_flow({'property': 'sequenceBy', 'value': [guesses.newest.name if guesses.newest else '_file']})}"
    yield "    properties:"
    if not keys:
        # Nothing is lost by it: no delivered row replaces another.
        for position, (name, kind, logic) in enumerate((("source_file", "string", "_file"), ("source_row", "integer", "_row")), 1):
            free = _free(name, [c.name for c in guesses.columns])
            key = {"required": True, "primaryKey": True, "primaryKeyPosition": position, "transformLogic": logic}
            yield f"      - {_flow({'name': free, 'logicalType': kind} | key)}"
    for column in guesses.columns:
        yield from _comment(6, " ".join(column.remarks))
        yield f"      - {_flow(_typed(column, keys) | _classified(column))}"


def _typed(column: Column, keys: Sequence[str]) -> dict[str, Any]:
    reading = column.reading
    declared: dict[str, Any] = {"name": column.name, "logicalType": _logical(reading.type)}
    declared |= {"physicalType": reading.type} if reading.type.startswith("DECIMAL") else {}
    declared |= {"required": True} if column.required else {}
    if column.name in keys:
        declared |= {"primaryKey": True, "primaryKeyPosition": keys.index(column.name) + 1}
    declared |= {"logicalTypeOptions": {"format": reading.format}} if reading.format else {}
    if column.extra is not None:
        declared |= {"transformLogic": f"_extra[{text(column.extra)}]"}
    elif reading.decimal_comma:
        # What a cast trims is trimmed here too, and white space alone is a missing number.
        declared |= {"transformLogic": f"replace(nullif(trim(raw.{in_sql(column.name)}), ''), ',', '.')"}
    return declared


def _order(newest: Column | None) -> str:
    if newest is None:
        return "No column tells when a row was changed: of two rows of a key the one from the later file wins, so names must sort by date."
    return f"Of two rows of a key the one with the greater {newest.name} wins, by its name. An empty one is the oldest."


def _key_notes(guesses: Guesses) -> Iterator[str]:
    rows = len(guesses.source.rows)
    if not guesses.keys:
        yield (
            f"No key was found: no column and no three columns, filled in all rows, tell the {rows} rows apart. So every delivered row is "
            "kept as one of its own. Mark the columns that name a row instead, and remove these two."
        )
        return
    chosen, *others = guesses.keys
    named = " + ".join(chosen.columns)
    again = f", but for {chosen.again} that came again in another file, where the later file wins" if chosen.again else ""
    tells = f"{_verb('tell', chosen.columns)} all {chosen.rows} different rows looked at apart{again}"
    yield f"The key is a guess: {named} {tells if chosen.rows > 1 else 'by the names alone, because one row tells nothing'}."
    if chosen.slices:
        has = f"{_verb('have', chosen.slices)} one value in {'each' if len(guesses.source.files) > 1 else 'this'} file"
        yield f"{', '.join(chosen.slices)} {has}; without that in the key a later file would replace the rows of an earlier one."
    if guesses.newest and guesses.newest.name in chosen.columns:
        yield f"If rows are versions of one thing, take {guesses.newest.name} out of the key: then the newest version stays."
    if others:
        yield f"Also possible: {'; '.join(' + '.join(other.columns) for other in others[:_SHOWN])}."


def _gold(guesses: Guesses) -> Iterator[str]:
    name, note, grain = _grain(guesses)
    rows = {"name": _free("rows", [grain["name"]]), "logicalType": "integer", "transformLogic": "count(*)"}
    yield from _comment(2, f"Gold: one row per group of Silver. {note}")
    yield f"  - name: {name}"
    yield f"    physicalName: gold/{name}"
    yield "    logicalType: object"
    yield "    properties:"
    yield f"      - {_flow(grain)}"
    yield f"      - {_flow(rows)}"


def _grain(guesses: Guesses) -> tuple[str, str, dict[str, Any]]:
    """The table's name, why it groups so, and the column of its grain."""
    free = [c for c in guesses.columns if not (c.personal and c.personal.sure) and c.distinct]
    dates = sorted((c for c in free if c.type in ("DATE", "TIMESTAMP")), key=lambda c: c is guesses.newest)
    groups = [c for c in free if c.type in ("STRING", "BOOLEAN") and 1 < c.distinct <= min(_FEW_VALUES, len(guesses.source.rows) / 2)]
    key = {"primaryKey": True, "primaryKeyPosition": 1}
    if dates:
        day = in_sql(dates[0].name)
        logic = day if dates[0].type == "DATE" else f"to_date({day})"
        note = f"An example: rows per day of {dates[0].name}."
        return _table(guesses.dataset, "per_day"), note, {"name": "day", "logicalType": "date", **key, "transformLogic": logic}
    if groups:
        column = groups[0]
        note = f"An example: rows per value of {column.name}, of which {column.distinct} were seen."
        grain = {"name": column.name, "logicalType": _logical(column.type), **key, "transformLogic": in_sql(column.name)}
        return _table(guesses.dataset, f"by_{column.name.lower()}"), note, grain
    note = "An example: rows per file, because no column is a date or has few values."
    return _table(guesses.dataset, "per_file"), note, {"name": "file", "logicalType": "string", **key, "transformLogic": "_file"}


def _table(dataset: str, kind: str) -> str:
    name = f"{dataset}_{kind}"
    return f"of_{name}" if name.startswith(_TAKEN) else name


def _classified(column: Column) -> dict[str, str]:
    return {"classification": "personal"} if column.personal and column.personal.sure else {}


def _logical(kind: str) -> str:
    return _LOGICAL.get(kind, "number")


def _free(name: str, taken: Sequence[str]) -> str:
    folded = {other.casefold() for other in taken}
    number, free = 1, name
    while free.casefold() in folded:
        number += 1
        free = f"{name}_{number}"
    return free


def in_sql(name: str) -> str:
    """The column in an expression; quoted where SQL might read a word of its own."""
    tokens = sqlglot.tokenize(name, dialect=sql.DIALECT)
    return name if [token.token_type for token in tokens] == [TokenType.VAR] and not sql.volatile(name) else quoted(name)


def _comment(indent: int, *paragraphs: str) -> Iterator[str]:
    for paragraph in paragraphs:
        start = " " * indent + "# "
        yield from textwrap.wrap(printable(paragraph), _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


class _Dumper(yaml.SafeDumper):
    """Writes out what is not printable, which stays on its line by it."""

    def represent_text(self, value: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _flow(value: Any) -> str:
    """YAML in one line."""
    plain = all(text.isprintable() for text in _texts(value))
    written = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=plain)
    return written.removesuffix("...\n").strip("\n")


def _texts(value: Any) -> Iterator[str]:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    yield from ([value] if isinstance(value, str) else (text for part in parts for text in _texts(part)))


def _cut(name: str, most: int = 60) -> str:
    return name if len(name) <= most else f"{name[:most]}…"


def _verb(plural: str, subjects: Sequence[str]) -> str:
    if len(subjects) > 1:
        return plural
    return "has" if plural == "have" else f"{plural}s"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
