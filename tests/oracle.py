"""What the tables must hold, said a second time: from the bytes that lie in a landing folder and a contract, without Spark.

contract = parse(ORDERS)
files = bronze(home / "data/raw", contract)              path -> rows, accepted files only
rows = silver(files, contract, ORDERS_LOGIC)             key -> the newest valid row
differences(home / "data", home / "data/raw", contract, ORDERS_LOGIC) == []

Shares no code with the product: the standard library reads the files, PyYAML the contract, deltalake
the tables. It knows nothing of what lay there before. A file that was held back, or became unreadable,
keeps rows in Bronze that only an earlier call can give; merge the dicts. SQL of a contract is not
interpreted: `Logic` gives it as functions. What is not decided, or not written here, raises
NotImplementedError, so that a guess never passes for an expectation.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import re
import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation, localcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from deltalake import DeltaTable, QueryBuilder

ROOT = Path(__file__).resolve().parent.parent
PROVINCES = ROOT.parent / "shared" / "data" / "provinces"
"""605 real deliveries, beside the repository where they are at all."""

SEVERAL_LINES = "(a record of several lines)"
"""Stands for the text of a malformed record that spans lines, here and in what `table_differences` compares with."""

Reason = tuple[str, str]
"""(rule, column); column is empty for a reason that is about the row."""


class Refused(ValueError):
    """The text is no value of the type, or the expression cannot be evaluated for this row."""


class _Rejected(Exception):
    """The file cannot be read as its contract says."""


# ---- The contract ----


@dataclass(frozen=True)
class RawColumn:
    name: str
    synonyms: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class Column:
    """A column of Silver. options: logicalTypeOptions as they stand in the document."""

    name: str
    kind: str
    computed: bool  # by transformLogic; otherwise a cast of the raw column of that name
    required: bool  # keys are, whether they say so or not
    default: Any
    options: Mapping[str, Any]
    enum: tuple[Any, ...]


@dataclass(frozen=True)
class Contract:
    dataset: str
    glob: str  # relative to the landing folder
    delimiter: str
    quote: str
    header: bool
    encodings: tuple[str, ...]
    null_values: tuple[str, ...]
    raw: tuple[RawColumn, ...]
    silver: tuple[Column, ...]
    keys: tuple[str, ...]
    sequence_by: tuple[str, ...]
    dated: bool  # the modification time belongs to a row's identity
    rules: Mapping[str, bool]  # name -> True: a broken one refuses the row, False: it warns
    gold: Mapping[str, tuple[tuple[str, str], ...]]  # table -> (column, type)


def parse(text: str) -> Contract:
    """The parts of a contract that say what the tables hold. It is taken for valid: lint is the product's."""
    document = yaml.safe_load(text)
    server = next(s for s in document["servers"] if s["server"] == "landing")
    of_server = {"delimiter": server.get("delimiter", ","), "quote": '"', "header": True} | _custom(server)
    if of_server.get("escape", of_server["quote"]) != of_server["quote"]:
        raise NotImplementedError("an escape character other than the quote")
    tables = {t["physicalName"]: t for t in document["schema"]}
    raw_table = next(t for name, t in tables.items() if name.startswith("bronze/"))
    silver_table = next(t for name, t in tables.items() if name.startswith("silver/"))
    of_raw, of_silver = _custom(raw_table), _custom(silver_table)
    parts = server["path"].split("/")
    first_wild = next((n for n, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts) - 1)
    keys = _keys(silver_table["properties"])
    sequence_by = tuple(_texts(of_silver.get("sequenceBy", ["_file"])))
    known = {name.lower(): name for name in (*(c["name"] for c in silver_table["properties"]), "_file", "_file_modified_at", "_row")}
    return Contract(
        dataset=raw_table["physicalName"].removeprefix("bronze/"),
        glob="/".join(parts[first_wild:]),
        delimiter="\t" if of_server["delimiter"] == r"\t" else of_server["delimiter"],
        quote=of_server["quote"],
        header=of_server["header"],
        encodings=tuple(str(e).lower() for e in (server.get("encoding", "utf-8"), *_texts(of_server.get("fallbackEncodings", [])))),
        null_values=tuple(_texts(of_server.get("nullValues", []))),
        raw=tuple(
            RawColumn(c["name"], tuple(s["synonym"].strip() for s in c.get("synonyms", [])), c.get("required", False))
            for c in raw_table["properties"]
        ),
        silver=tuple(_column(c, c["name"] in keys) for c in silver_table["properties"]),
        keys=keys,
        sequence_by=tuple(known[name.lower()] for name in sequence_by),
        dated=of_raw.get("onRedelivery") == "append" or "_file_modified_at" in sequence_by,
        rules={
            q["name"]: q.get("severity", "error") == "error"
            for q in silver_table.get("quality", [])
            if q.get("type") == "custom" and str(q.get("engine")).lower() == "spark"
        },
        gold={
            name.removeprefix("gold/"): tuple((c["name"], _kind(c)) for c in table["properties"])
            for name, table in tables.items()
            if name.startswith("gold/")
        },
    )


def _custom(owner: Mapping[str, Any]) -> dict[str, Any]:
    return {item["property"]: item["value"] for item in owner.get("customProperties", [])}


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _keys(properties: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    keys = [c for c in properties if c.get("primaryKey")]
    return tuple(c["name"] for c in sorted(keys, key=lambda c: c.get("primaryKeyPosition", len(keys) + 1)))


def _column(declared: Mapping[str, Any], is_key: bool) -> Column:
    return Column(
        declared["name"],
        _kind(declared),
        "transformLogic" in declared,
        is_key or declared.get("required", False),
        _custom(declared).get("default"),
        declared.get("logicalTypeOptions", {}),
        tuple(e["value"] for e in declared.get("enum", [])),
    )


_LOGICAL = {
    "string": "STRING", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP",
}  # fmt: skip


def _kind(declared: Mapping[str, Any]) -> str:
    if "physicalType" in declared:
        return str(declared["physicalType"]).upper().replace(" ", "")
    return _LOGICAL[declared["logicalType"]]


# ---- Bronze ----


@dataclass(frozen=True)
class BronzeRow:
    """A data record as delivered. extra: what stands under unknown headers, None where there are none.

    malformed: the raw line of a record with more or fewer cells than the header, SEVERAL_LINES where it
    spans more, else None. modified_at: UTC, milliseconds. row: from 1, blank lines not counted.
    """

    cells: Mapping[str, str | None]
    extra: Mapping[str, str | None] | None
    malformed: str | None
    file: str
    modified_at: datetime
    row: int


def bronze(folder: Path, contract: Contract) -> dict[str, list[BronzeRow]]:
    """The rows of every file of the landing folder that can be accepted; an accepted one may have none."""
    return {path: rows for path, rows in _landed(folder, contract) if rows is not None}


def rejected(folder: Path, contract: Contract) -> set[str]:
    """The files the contract claims that must not be read. Nothing is said of the wording of the reason."""
    return {path for path, rows in _landed(folder, contract) if rows is None}


def read(path: str, content: bytes, modified_at: datetime, contract: Contract) -> list[BronzeRow] | None:
    """The rows of one file, named relative to the landing folder; None: it cannot be read as the contract says."""
    try:
        text = _decoded(_unpacked(path, content), contract)
        names, delimiter = _header(text, contract)
        return list(_records(path, text, names, delimiter, modified_at, contract)) if names else []
    except _Rejected:
        return None


def _landed(folder: Path, contract: Contract) -> Iterator[tuple[str, list[BronzeRow] | None]]:
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if not _claims(contract.glob, path):
            continue
        if file.is_symlink() or not file.is_file() or ":" in file.name:
            yield path, None
            continue
        modified_at = datetime(1970, 1, 1) + timedelta(milliseconds=file.stat().st_mtime_ns // 1_000_000)
        yield path, read(path, file.read_bytes(), modified_at, contract)


def _claims(glob: str, path: str) -> bool:
    if any(part.startswith((".", "_")) for part in path.split("/")) or path.endswith("._COPYING_"):
        return False
    pieces = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", glob, re.DOTALL)
    pattern = "".join(pieces.get(t) or (t.replace("[!", "[^/") if len(t) > 1 else re.escape(t)) for t in tokens)
    return re.fullmatch(pattern, path, re.DOTALL) is not None


def _unpacked(path: str, content: bytes) -> bytes:
    if path.endswith((".zst", ".lz4", ".snappy", ".deflate", ".xz", ".zip")):
        raise _Rejected
    if not content or not path.endswith((".gz", ".bz2")):
        return content
    try:
        return gzip.decompress(content) if path.endswith(".gz") else bz2.decompress(content)
    except (OSError, EOFError, ValueError) as error:
        raise _Rejected from error


def _decoded(content: bytes, contract: Contract) -> str:
    """The text in the first encoding of the contract in which every byte is valid, without its byte-order mark."""
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            if not any(e.startswith(encoding) for e in contract.encodings):
                raise _Rejected
            break
    for encoding in contract.encodings:
        wide = encoding.startswith(("utf-16", "utf-32"))
        codec = encoding
        if encoding in ("utf-16", "utf-32") and not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
            codec = f"{encoding}-be"
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        strange = sum(ch < " " and ch not in "\t\n\f\r\x1b" for ch in text)
        if "\0" in text or (not wide and strange > len(content) * 0.01):
            continue
        if content.startswith(b"\xef\xbb\xbf") and encoding != "utf-8":
            raise NotImplementedError(f"a UTF-8 byte-order mark in a file that is read as {encoding}")
        return text.removeprefix("\ufeff")
    raise _Rejected


def _header(text: str, contract: Contract) -> tuple[list[str], str]:
    """The file's header, trimmed, and its delimiter; no names: the file has no line at all."""
    if not contract.header:
        return [c.name for c in contract.raw], contract.delimiter
    if not text.strip("\r\n"):
        return [], contract.delimiter
    readings = {d: _first_record(text, d, contract) for d in (contract.delimiter, ",", ";", "\t", "|")}
    fitting = [d for d, names in readings.items() if _positions(names, contract) is not None]
    if contract.delimiter in fitting:
        return readings[contract.delimiter], contract.delimiter
    if len(fitting) != 1:
        raise _Rejected
    return readings[fitting[0]], fitting[0]


def _first_record(text: str, delimiter: str, contract: Contract) -> list[str]:
    found = next(record for record in _reader(text, delimiter, contract, strict=False) if record)
    return [name.strip() for name in found]


def _positions(names: Sequence[str], contract: Contract) -> dict[str, int] | None:
    """Contract's column -> where it stands under this header; None: the header cannot be used."""
    found: dict[str, int] = {}
    for position, name in enumerate(names):
        column = _column_of(name, contract)
        if column in found:
            return None
        if column:
            found[column] = position
    usable = found and all(c.name in found for c in contract.raw if c.required)
    return found if usable else None


def _column_of(name: str, contract: Contract) -> str | None:
    exact = [c.name for c in contract.raw if c.name == name]
    synonym = [c.name for c in contract.raw if name in c.synonyms]
    folded = [c.name for c in contract.raw if name.casefold() in (n.casefold() for n in (c.name, *c.synonyms))]
    return next(iter(exact + synonym + folded), None)


def _records(path: str, text: str, names: Sequence[str], delimiter: str, modified_at: datetime, contract: Contract) -> Iterator[BronzeRow]:
    at = _positions(names, contract) or {}
    unknown: dict[str, int] = {}
    for position, name in enumerate(names):
        if position not in at.values():
            unknown[f"{name}#{position + 1}" if name in unknown else name] = position
    header_seen, row = not contract.header, 0
    for line, record in _lines_of_records(path, text, delimiter, contract):
        if not record:
            continue
        if not header_seen:
            header_seen = True
            continue
        row += 1

        def cell(position: int | None, record: Sequence[str] = record) -> str | None:
            # Nothing between two delimiters and nothing between two quotes are both NULL.
            return record[position] or None if position is not None and position < len(record) else None

        yield BronzeRow(
            {c.name: cell(at.get(c.name)) for c in contract.raw},
            {name: cell(position) for name, position in unknown.items()} if unknown else None,
            None if len(record) == len(names) else line,
            path,
            modified_at,
            row,
        )


def _lines_of_records(path: str, text: str, delimiter: str, contract: Contract) -> Iterator[tuple[str, list[str]]]:
    """(raw line, cells) of every record, the header and blank lines included."""
    lines = list(io.StringIO(text, newline=""))
    reader, before, endings = _reader(text, delimiter, contract, strict=True), 0, set()
    while True:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if "unexpected end" in str(error):  # a quote that nobody closed
                raise _Rejected from error
            raise NotImplementedError(f"{path}, line {before + 1}: text behind a closing quote") from error
        last = lines[reader.line_num - 1]
        endings.add(last[len(last.rstrip("\r\n")) :])
        if len(endings - {""}) > 1 or any("\r" in cell for cell in record):
            raise NotImplementedError(f"{path}, line {before + 1}: different line ends in one file, or a carriage return inside a cell")
        if reader.line_num - before > 1000:
            raise NotImplementedError(f"{path}, line {before + 1}: a cell of more than 1000 lines")
        yield last.rstrip("\r\n") if reader.line_num - before == 1 else SEVERAL_LINES, record
        before = reader.line_num


def _reader(text: str, delimiter: str, contract: Contract, *, strict: bool) -> Any:
    csv.field_size_limit(1 << 31)
    lines = io.StringIO(text, newline="")
    if not contract.quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)
    return csv.reader(lines, delimiter=delimiter, quotechar=contract.quote, strict=strict)


# ---- Casts ----

_WHITE = " \t\r\n\f\v"
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "INTEGER": 32, "BIGINT": 64}
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_BOOLEAN = {**dict.fromkeys(("t", "true", "y", "yes", "1"), True), **dict.fromkeys(("f", "false", "n", "no", "0"), False)}
_DATE = r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
_TIMESTAMP = _DATE + r"(?:[ T]([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]*))?([^0-9].*)?)?)?)?"
_OFFSET = r"([+-])([0-9]{1,2})(?::?([0-9]{2}))?"


def cast(text: str | None, kind: str, pattern: str | None = None) -> Any:
    """The value of a delivered text: int, Decimal of the type's scale, float, bool, date, datetime (naive, UTC) or str.

    None: nothing was delivered. Raises Refused for a text that is no value of the type. pattern: of Java, for DATE and TIMESTAMP.
    """
    if text is None or kind == "STRING":
        return text
    text = text.strip(_WHITE)
    if not text:
        return None
    if kind in _BITS:
        return _whole(text, _BITS[kind])
    if kind == "DOUBLE":
        return _floating(text)
    if kind == "BOOLEAN":
        if text.lower() not in _BOOLEAN:
            raise Refused(text)
        return _BOOLEAN[text.lower()]
    if kind in ("DATE", "TIMESTAMP"):
        at = _by_pattern(text, pattern) if pattern else _date(text) if kind == "DATE" else _instant(text)
        return at.date() if kind == "DATE" else at
    if found := re.fullmatch(r"DECIMAL\(([0-9]+),([0-9]+)\)", kind):
        return _exact(text, int(found[1]), int(found[2]))
    raise NotImplementedError(f"a cast to {kind}")


def _whole(text: str, bits: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
        raise Refused(text)
    return int(text)


def _floating(text: str) -> float:
    if not re.fullmatch(_NUMBER, text) or abs(value := float(text)) == float("inf"):
        raise Refused(text)
    return value


def _exact(text: str, precision: int, scale: int) -> Decimal:
    """Only what fits without rounding."""
    if not re.fullmatch(_NUMBER, text):
        raise Refused(text)
    if precision == 38 and "e" in text.lower():
        raise NotImplementedError(f"{text}: an exponent where the type has all 38 digits")
    with localcontext() as context:
        context.prec = 1000
        try:
            given = Decimal(text)
            value = given.quantize(Decimal(1).scaleb(-scale))
        except InvalidOperation as error:
            raise Refused(text) from error
        if value != given or abs(value) >= Decimal(10) ** (precision - scale):
            raise Refused(text)
        return value + 0  # no negative zero


def _date(text: str) -> datetime:
    found = re.fullmatch(_DATE, text)
    if not found:
        raise Refused(text)
    return _moment(text, *(int(part) for part in found.groups()))


def _instant(text: str) -> datetime:
    found = re.fullmatch(_TIMESTAMP, text)
    if not found:
        raise Refused(text)
    *parts, fraction, zone = found.groups()
    if fraction and fraction[6:].strip("0"):
        raise NotImplementedError(f"{text}: digits behind the microseconds")
    micros = timedelta(microseconds=int((fraction or "")[:6].ljust(6, "0")))
    try:
        return _moment(text, *(int(part or 0) for part in parts)) + micros - _offset(zone)
    except OverflowError:
        raise NotImplementedError(f"{text}: a year that Python has not") from None


def _moment(text: str, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    if year == 0:
        raise NotImplementedError(f"{text}: the year 0, which Python has not")
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError as error:
        raise Refused(text) from error


def _offset(zone: str | None) -> timedelta:
    name = (zone or "").strip(_WHITE)
    if name in ("", "Z", "UTC", "GMT", "UT"):
        return timedelta()
    if found := re.fullmatch(_OFFSET, name):
        hours, minutes = int(found[2]), int(found[3] or 0)
        if minutes > 59 or hours * 60 + minutes > 18 * 60:
            raise Refused(name)
        return timedelta(hours=hours, minutes=minutes) * (-1 if found[1] == "-" else 1)
    if name in zoneinfo.available_timezones() or re.fullmatch(r"[A-Z]{3}|(UTC|GMT|UT)[+-].*|[+-][0-9:]+", name):
        raise NotImplementedError(f"the time zone {name}")
    raise Refused(name)


def _by_pattern(text: str, pattern: str) -> datetime:
    found = _regex(pattern).fullmatch(text)
    if not found:
        raise Refused(text)
    parts = {name: int(value) for name, value in found.groupdict().items() if value is not None}
    if parts["year"] == 0:
        raise Refused(text)  # a year of an era begins at 1
    defaults = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
    return _moment(text, parts["year"], *(parts.get(name, default) for name, default in defaults.items()))


_FIELDS = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}


@lru_cache
def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern of java.time as a regular expression: numbers of years to seconds, quoted text, optional sections."""
    out, seen, depth, open_ended = "", set(), 0, False
    for token in (m.group() for m in re.finditer(r"''|'(?:[^']|'')+'|([A-Za-z])\1*|.", pattern, re.DOTALL)):
        if token in ("[", "]"):
            # Possessive, because java.time does not come back to an optional section.
            out += "(?:" if token == "[" else ")?+"
            depth += 1 if token == "[" else -1
            continue
        if token.isalpha():
            name, width = _FIELDS.get(token[0]), len(token)
            wrong_width = width != 4 or depth if name == "year" else width > 2
            if name is None or wrong_width or name in seen or open_ended:
                raise NotImplementedError(f"{token} in the pattern {pattern}")
            seen.add(name)
            open_ended = width == 1
            out += f"(?P<{name}>[0-9]{{{'1,19' if open_ended else width}}})"
            continue
        if token in "{}#":
            raise NotImplementedError(f"{token} in the pattern {pattern}")
        quoted = token.startswith("'") and len(token) > 2
        out += re.escape(token[1:-1].replace("''", "'") if quoted else token[0])
        open_ended = False
    if "year" not in seen:
        raise NotImplementedError(f"{pattern}: no year")
    return re.compile(out, re.IGNORECASE | re.DOTALL)


# ---- Silver and quarantine ----

Values = Mapping[str, Any]
Expression = Callable[[Mapping[str, str | None], Values], Any]
"""(delivered texts; typed values, _file, _file_modified_at, _row, _extra) -> a value of the column's type. Refused: it has none."""
Aggregate = Callable[[Sequence[Values]], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Logic:
    """The SQL of one contract as functions. expressions: in an order in which each needs only earlier ones."""

    expressions: Mapping[str, Expression] = field(default_factory=dict)
    rules: Mapping[str, Expression] = field(default_factory=dict)  # True or None: passes
    gold: Mapping[str, Aggregate] = field(default_factory=dict)  # table -> Silver's rows -> rows


@dataclass(frozen=True)
class Judged:
    """A row of Bronze with what the contract makes of it; reasons empty: valid. warnings: none where the shape is wrong."""

    bronze: BronzeRow
    values: Values
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SilverRow:
    values: Values
    file: str
    modified_at: datetime
    row: int


Files = Mapping[str, Sequence[BronzeRow]]


def judge(row: BronzeRow, contract: Contract, logic: Logic) -> Judged:
    """Every reason why the contract refuses this row."""
    if {c.name for c in contract.silver if c.computed} != set(logic.expressions) or set(contract.rules) != set(logic.rules):
        raise ValueError(f"logic does not fit the contract {contract.dataset}: every transformLogic and rule needs its function")
    raw = {name: None if cell in contract.null_values else cell for name, cell in row.cells.items()}
    if row.malformed is not None:
        return Judged(row, {}, (("malformed", ""),), ())
    if _is_header(raw, contract):
        return Judged(row, {}, (("repeated_header", ""),), ())
    values, failed = _values(row, raw, contract, logic)
    reasons = [reason for column in contract.silver for reason in _breaches(column, values[column.name], failed.get(column.name))]
    warnings = []
    for name, blocking in contract.rules.items():
        if not _passes(logic.rules[name], raw, values):
            if blocking:
                reasons.append((name, ""))
            else:
                warnings.append(name)
    return Judged(row, values, tuple(sorted(reasons)), tuple(sorted(warnings)))


def silver(files: Files, contract: Contract, logic: Logic) -> dict[tuple[Any, ...], SilverRow]:
    """The newest valid row of each natural key."""
    newest: dict[tuple[Any, ...], SilverRow] = {}
    for judged in _judged(files, contract, logic):
        if judged.reasons:
            continue
        values = {c.name: judged.values[c.name] for c in contract.silver}
        row = SilverRow(values, judged.bronze.file, judged.bronze.modified_at, judged.bronze.row)
        key = tuple(values[k] for k in contract.keys)
        if key not in newest or _age(row, contract) > _age(newest[key], contract):
            newest[key] = row
    return newest


def quarantine(files: Files, contract: Contract, logic: Logic) -> list[tuple[str, int, list[Reason]]]:
    """(file, row, sorted reasons) of every refused row."""
    return [(j.bronze.file, j.bronze.row, list(j.reasons)) for j in _judged(files, contract, logic) if j.reasons]


def gold(rows: Iterable[SilverRow], logic: Logic) -> dict[str, list[tuple[Any, ...]]]:
    """Every Gold table, from the rows of Silver."""
    values = [row.values for row in rows]
    return {table: aggregate(values) for table, aggregate in logic.gold.items()}


def _judged(files: Files, contract: Contract, logic: Logic) -> Iterator[Judged]:
    return (judge(row, contract, logic) for path in sorted(files) for row in files[path])


def _age(row: SilverRow, contract: Contract) -> tuple[tuple[bool, Any], ...]:
    """Greater is newer. NULL is older than any value."""
    provenance = {"_file": row.file, "_file_modified_at": row.modified_at, "_row": row.row}
    known = {**row.values, **provenance}
    return tuple((known[name] is not None, known[name]) for name in (*contract.sequence_by, *provenance))


def _is_header(raw: Mapping[str, str | None], contract: Contract) -> bool:
    names = {c.name: {n.casefold() for n in (c.name, *c.synonyms)} for c in contract.raw}
    present = {name: cell for name, cell in raw.items() if cell is not None}
    return bool(present) and all(cell.strip(" ").casefold() in names[name] for name, cell in present.items())


def _values(row: BronzeRow, raw: Mapping[str, str | None], contract: Contract, logic: Logic) -> tuple[dict[str, Any], dict[str, str]]:
    """Silver's values, None where there is none, and the columns that failed with the rule that says so."""
    typed: dict[str, Any] = {"_file": row.file, "_file_modified_at": row.modified_at, "_row": row.row, "_extra": row.extra}
    failed: dict[str, str] = {}
    for column in contract.silver:
        if not column.computed:
            try:
                typed[column.name] = cast(raw[column.name], column.kind, column.options.get("format"))
            except Refused:
                typed[column.name], failed[column.name] = None, "cast"
            typed[column.name] = _defaulted(typed[column.name], column)
    by_name = {column.name: column for column in contract.silver}
    for name, expression in logic.expressions.items():
        try:
            typed[name] = expression(raw, typed)
        except Refused:
            typed[name], failed[name] = None, "expression"
        typed[name] = _defaulted(typed[name], by_name[name])
    return typed, failed


def _defaulted(value: Any, column: Column) -> Any:
    return cast(str(column.default), column.kind) if value is None and column.default is not None else value


def _breaches(column: Column, value: Any, failed: str | None) -> Iterator[Reason]:
    if failed:
        yield failed, column.name
    if value is None:
        if column.required and not failed:
            yield "required", column.name
        return
    options = column.options
    broken = {
        "minimum": lambda limit: value < _bound(limit, column.kind),
        "exclusiveMinimum": lambda limit: value <= _bound(limit, column.kind),
        "maximum": lambda limit: value > _bound(limit, column.kind),
        "exclusiveMaximum": lambda limit: value >= _bound(limit, column.kind),
        "minLength": lambda limit: len(value) < limit,
        "maxLength": lambda limit: len(value) > limit,
        "pattern": lambda pattern: not _expression(pattern).fullmatch(value),
    }
    for option, is_broken in broken.items():
        if option in options and is_broken(options[option]):
            yield {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}.get(option, option), column.name
    if column.enum and value not in [cast(str(e), column.kind) for e in column.enum]:
        yield "enum", column.name


def _bound(given: Any, kind: str) -> Any:
    # A bound may have more decimals than its column.
    return Decimal(str(given)) if kind in _BITS or kind.startswith("DECIMAL") else cast(str(given), kind)


@lru_cache
def _expression(pattern: str) -> re.Pattern[str]:
    """A regular expression of Java, as far as Python reads it alike: classes of letters and digits are ASCII there."""
    if re.search(r"\\[pPhHRXvVQEzZG]|&&|\[[^\]]*\[", pattern):
        raise NotImplementedError(f"the pattern {pattern}, which is Java's alone")
    return re.compile(f"(?:{pattern})", re.ASCII)


def _passes(rule: Expression, raw: Mapping[str, str | None], values: Values) -> bool:
    try:
        return rule(raw, values) is not False
    except Refused:
        return False


# ---- Comparing ----


def compare(expected: Iterable[tuple[Any, ...]] | Mapping[tuple[Any, ...], int], actual: Iterable[tuple[Any, ...]]) -> list[str]:
    """The rows that only one side has, one line each with how many; empty: equal as multisets, types included."""
    counted = expected if isinstance(expected, Mapping) else Counter(expected)
    want: Counter[Any] = Counter()
    for row, times in counted.items():
        want[_comparable(row)] += times
    have: Counter[Any] = Counter(_comparable(row) for row in actual)
    lines = [f"missing {times}x {_shown(row)}" for row, times in (want - have).items()]
    return sorted(lines) + sorted(f"unexpected {times}x {_shown(row)}" for row, times in (have - want).items())


def read_table(table: Path, query: str = "SELECT * FROM t") -> list[tuple[Any, ...]]:
    """Rows of a Delta table, called `t` in the query: timestamps as naive UTC, maps and structs as sorted tuples of pairs."""
    found = QueryBuilder().register("t", DeltaTable(table)).execute(query).read_all()
    columns = [found.column(name).to_pylist() for name in found.schema.names]
    return [tuple(_plain(value) for value in row) for row in zip(*columns, strict=True)]


def table_schema(table: Path) -> list[tuple[str, str]]:
    """(column, Spark's name of its type), for columns without parts."""
    names = {"long": "BIGINT", "integer": "INT", "short": "SMALLINT", "byte": "TINYINT"}
    kinds = [(f.name, str(getattr(f.type, "type", "")).upper()) for f in DeltaTable(table).schema().fields]
    return [(name, names.get(kind.lower(), kind)) for name, kind in kinds]


def differences(data: Path, landing: Path, contract: Contract, logic: Logic) -> list[str]:
    """What is wrong with the tables under `data/`, given the files in the landing folder now; each line names its table."""
    files = bronze(landing, contract)
    return table_differences(data, files, contract, logic)


def table_differences(data: Path, files: Files, contract: Contract, logic: Logic) -> list[str]:
    """As `differences`, for the rows that Bronze must hold."""
    winners = silver(files, contract, logic)
    refused = {(file, row): tuple(reasons) for file, row, reasons in quarantine(files, contract, logic)}
    delivered = {(row.file, row.row): bronze_tuple(row, contract) for rows in files.values() for row in rows}
    raw = [*(c.name for c in contract.raw), "_extra", "_malformed", "_file", "_row"]
    stored = [*((c.name, c.kind) for c in contract.silver), ("_file", "STRING")]
    stored += [("_file_modified_at", "TIMESTAMP")] if contract.dated else []
    stored += [("_row", "BIGINT")]
    lines = _of_table(data / "bronze" / contract.dataset, delivered.values(), raw, None)
    lines += _of_table(data / "silver" / contract.dataset, (silver_tuple(r, contract) for r in winners.values()), [], stored)
    lines += _of_table(
        data / "quarantine" / contract.dataset, ((*delivered[at], reasons) for at, reasons in refused.items()), [*raw, "reasons"], None
    )
    for table, rows in gold(winners.values(), logic).items():
        lines += _of_table(data / "gold" / table, rows, [], list(contract.gold[table]))
    return lines


def bronze_tuple(row: BronzeRow, contract: Contract) -> tuple[Any, ...]:
    """The raw columns, _extra, _malformed, _file, _row; not when the row was read, which repetition may change."""
    extra = None if row.extra is None else tuple(sorted(row.extra.items()))
    return (*(row.cells[c.name] for c in contract.raw), extra, row.malformed, row.file, row.row)


def silver_tuple(row: SilverRow, contract: Contract) -> tuple[Any, ...]:
    """The table's columns in its order."""
    return (*row.values.values(), row.file, *([row.modified_at] if contract.dated else []), row.row)


def _of_table(table: Path, expected: Iterable[tuple[Any, ...]], columns: Sequence[str], schema: list[tuple[str, str]] | None) -> list[str]:
    name, rows = f"{table.parent.name}/{table.name}", list(expected)
    if not (table / "_delta_log").is_dir():
        return [f"{name}: there is no such table, {len(rows)} rows are missing"] if rows else []
    if schema is not None and table_schema(table) != schema:
        return [f"{name}: columns {table_schema(table)}, not {schema}"]
    chosen = ", ".join('"' + c.replace('"', '""') + '"' for c in columns or [c for c, _ in schema or []])
    actual = [tuple(map(_as_expected, columns, row)) if columns else row for row in read_table(table, f"SELECT {chosen} FROM t")]
    return [f"{name}: {line}" for line in compare(rows, actual)]


def _as_expected(column: str, value: Any) -> Any:
    if column == "_malformed" and value is not None and re.search(r"[\r\n]", value):
        return SEVERAL_LINES
    if column == "reasons":
        return tuple(sorted((dict(reason)["rule"], dict(reason)["column"] or "") for reason in value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, dict):
        return tuple(sorted((name, _plain(part)) for name, part in value.items()))
    if isinstance(value, list):
        plain = [_plain(part) for part in value]
        return tuple(sorted(plain) if all(isinstance(part, tuple) and len(part) == 2 for part in plain) else plain)
    return value


def _comparable(value: Any) -> Any:
    """Equal only for equal values of one type: to Python 1, 1.0, True and Decimal(1) are the same."""
    if isinstance(value, (tuple, list)):
        return tuple(_comparable(part) for part in value)
    return type(value).__name__, "NaN" if value != value else value  # noqa: PLR0124


def _shown(row: tuple[tuple[str, Any], ...], most: int = 300) -> str:
    def bare(part: Any) -> Any:
        is_leaf = isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str) and not isinstance(part[1], tuple)
        return part[1] if is_leaf else tuple(bare(p) for p in part)

    shown = repr(tuple(bare(part) for part in row))
    return shown if len(shown) <= most else f"{shown[:most]}…"


# ---- The two contracts of the tests ----


def total(values: Iterable[Any]) -> Any:
    """SQL's sum: NULL does not count, and of nothing else the sum is NULL."""
    present = [value for value in values if value is not None]
    return sum(present[1:], present[0]) if present else None


def grouped(rows: Iterable[Values], *grain: str) -> dict[tuple[Any, ...], list[Values]]:
    """SQL's GROUP BY; NULL is a group."""
    groups: defaultdict[tuple[Any, ...], list[Values]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in grain)].append(row)
    return groups


def _by_state(rows: Sequence[Values]) -> list[tuple[Any, ...]]:
    return [(*key, len(group), total(r["amount"] for r in group)) for key, group in grouped(rows, "state").items()]


def _cases_by(*grain: str) -> Aggregate:
    def aggregate(rows: Sequence[Values]) -> list[tuple[Any, ...]]:
        return [
            (
                *key,
                sum(r["assegnata"] is True for r in group),
                total(r["totale_casi"] for r in group),
                total(0 if r["assegnata"] else r["totale_casi"] for r in group),
            )
            for key, group in grouped(rows, *grain).items()
        ]

    return aggregate


def _region_code(raw: Mapping[str, str | None], _: Values) -> str | None:
    code = raw["codice_regione"]
    return None if code is None else code.strip(" ").rjust(2, "0")[:2]


def _region_name(raw: Mapping[str, str | None], _: Values) -> str | None:
    names = {"Bolzano": "P.A. Bolzano", "Trento": "P.A. Trento", "Emilia Romagna": "Emilia-Romagna"}
    name = raw["denominazione_regione"]
    return None if name is None else names.get(name.strip(" "), name.strip(" "))


def _day(_: Mapping[str, str | None], typed: Values) -> date | None:
    at = typed["data"]
    return None if at is None else at.date()


def _assigned(_: Mapping[str, str | None], typed: Values) -> bool | None:
    code = typed["codice_provincia"]
    return None if code is None else code < "800"


def _total_is_known(_: Mapping[str, str | None], typed: Values) -> bool:
    return typed["totale_casi"] is not None


ORDERS_LOGIC = Logic(gold={"by_state": _by_state})
PROVINCES_LOGIC = Logic(
    expressions={"giorno": _day, "assegnata": _assigned, "codice_regione": _region_code, "denominazione_regione": _region_name},
    rules={"total_is_known": _total_is_known},
    gold={"cases_per_day": _cases_by("giorno"), "cases_per_day_and_region": _cases_by("giorno", "denominazione_regione")},
)


def land(folder: Path, first: int = 0, last: int | None = None, deliveries: Path = PROVINCES) -> dict[str, int]:
    """Replay the deliveries `first` to `last` by ordinal (None: to the end) into a folder, as their publisher made them.

    A later one overwrites; the modification time is that of the delivery. Result: file -> the ordinal of what lies there now.
    """
    landed: dict[str, int] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with (deliveries / "index.csv").open(encoding="utf-8", newline="") as index:
        chosen = [row for row in csv.DictReader(index) if first <= int(row["ordinal"]) <= (last if last is not None else 10**9)]
    for row in chosen:
        ordinal, target = int(row["ordinal"]), folder / row["name"]
        if row["status"] == "D":
            target.unlink(missing_ok=True)
            landed.pop(row["name"], None)
            continue
        staged = target.with_name(f".{target.name}")
        staged.write_bytes((next(deliveries.glob(f"{ordinal:05d}-*")) / row["name"]).read_bytes())
        os.utime(staged, (int(row["committed_at"]),) * 2)
        staged.rename(target)
        landed[row["name"]] = ordinal
    return landed
