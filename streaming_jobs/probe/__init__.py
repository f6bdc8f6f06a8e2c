"""What a file's bytes say before Spark sees them: one pass, 1 MB at a time, constant memory, no JVM.

A probe ends in Facts, which tell Bronze how to read the file, or in a Refusal, which tells the
operator why it is not read. It never raises for a file's content, nor for trouble with one file.

Where several things are wrong with a file the first of these is told: format, encoding, header, records.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, AnyStr

from streaming_jobs.contract import Landing, RawColumn
from streaming_jobs.header import Mapping, match
from streaming_jobs.landing import modified_at
from streaming_jobs.ledger import VANISHED
from streaming_jobs.probe.content import CHUNK, MAX_EXPANSION, START, Content, Unreadable, is_packed
from streaming_jobs.probe.encoding import Encodings, codec, is_wide
from streaming_jobs.probe.lines import Lines
from streaming_jobs.probe.records import MAX_CELL_BYTES, MAX_CELL_LINES, Records, Swallowed

__all__ = [
    "CHUNK", "DELIMITERS", "MAX_CELL_BYTES", "MAX_CELL_LINES", "MAX_EXPANSION", "MAX_HEADER_COLUMNS",
    "Facts", "Refusal", "Unreadable", "count_records", "cut", "is_packed", "milliseconds", "probe", "probe_all", "stamp",
]  # fmt: skip

MAX_HEADER_COLUMNS = 10_000  # Spark's reader stops at 20 480
DELIMITERS = (",", ";", "\t", "|")
_HEAD = 1 << 20  # bytes that hold the header line
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Facts:
    """One readable file. modified_at: UTC, as it was before and after the pass. sha256: of the bytes as they lie there."""

    path: str
    size: int
    modified_at: datetime
    sha256: str
    encoding: str
    delimiter: str
    header: tuple[str, ...]  # as delivered, trimmed; empty when the file has no line at all
    mapping: Mapping
    final_newline: bool = True  # a fact, not a fault: a file cut off at a cell's end has none either
    lines: bool = False  # nothing is quoted, and all lines end alike: without a look at their cells, a line is a record


@dataclass(frozen=True)
class Refusal:
    """One file that cannot be read as its contract says.

    size and modified_at as probed; None for what may pass without a change of the file (gone, being
    written, no permission, a disk error): such a file is looked at again.
    """

    path: str
    reason: str
    size: int | None = None
    modified_at: datetime | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class _Header:
    delimiter: str
    names: tuple[str, ...]
    mapping: Mapping


def probe_all(folder: Path, paths: Sequence[str], landing: Landing, columns: Sequence[RawColumn], threads: int) -> list[Facts | Refusal]:
    """Probe files, several at a time; the answers come in the order of `paths`."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(lambda path: probe(folder, path, landing, columns), paths))


def probe(folder: Path, path: str, landing: Landing, columns: Sequence[RawColumn]) -> Facts | Refusal:
    """Probe one file; `path` is relative to `folder`."""
    try:
        return _probe(folder / path, path, landing, columns)
    except (FileNotFoundError, NotADirectoryError):
        return Refusal(path, VANISHED)
    except PermissionError:
        return Refusal(path, "permission denied; make the file readable for this user, the next run reads it")
    except IsADirectoryError:
        return Refusal(path, "a folder, not a file; remove it or rename it")
    except OSError as error:
        return Refusal(path, f"cannot be read from disk: {error.strerror or error}; check the disk or mount, the next run tries again")


def count_records(folder: Path, facts: Facts, landing: Landing) -> int:
    """Data records of a file that was probed, as many as Spark's reader yields. Reads the file once more.

    0 when it can no longer be read: it has changed since, and the next look at the folder sees that.
    """
    if not facts.header:
        return 0
    try:
        with Content(folder / facts.path) as content:
            pieces = content.pieces()
            first = next(pieces, b"")
            scan = _Scan(landing, facts.encoding, first, _Header(facts.delimiter, facts.header, facts.mapping), count=True)
            scan.feed(first)
            for piece in pieces:
                scan.feed(piece)
            return max(0, scan.finish() - landing.header)
    except (OSError, Unreadable):
        return 0


def cut(folder: Path, facts: Facts, landing: Landing, rows: Collection[int]) -> bytes:
    """The unpacked content of a file without these of its data records, counted from 1 as Bronze does; all else is byte for byte.

    Raises OSError or Unreadable when it can no longer be read, and Unreadable for text that is not written the way it reads.
    """
    with Content(folder / facts.path) as packed:
        content = b"".join(packed.pieces())
    dialect = (facts.delimiter + landing.quote + landing.escape).isascii()
    if not is_wide(facts.encoding) and dialect:
        mark = codecs.BOM_UTF8 if facts.encoding == "utf-8" and content.startswith(codecs.BOM_UTF8) else b""
        text = content.removeprefix(mark)
        return mark + b"".join(_kept(text, Records(landing, facts.delimiter, bytes, count=True), landing, rows))
    written = codec(facts.encoding, content[:START])
    decoded = content.decode(written, "replace")
    if decoded.encode(written, "replace") != content:
        raise Unreadable(f"its text, read as {facts.encoding}, would not be written with the same bytes")
    first = "\ufeff" if decoded.startswith("\ufeff") else ""
    records = Records(landing, facts.delimiter, str, count=True)
    return (first + "".join(_kept(decoded.removeprefix(first), records, landing, rows))).encode(written)


def _kept(text: AnyStr, records: Records[AnyStr], landing: Landing, rows: Collection[int]) -> Iterator[AnyStr]:
    at = 0
    for number, end in enumerate(records.ends(text), 1 - landing.header):
        if number not in rows or number < 1:
            yield text[at:end]
        at = end
    yield text[at:]


def milliseconds(at: datetime) -> int:
    """Since 1970, cut off as the file system's clock is read by Java."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def stamp(file: Path) -> tuple[int, datetime]:
    """Size in bytes and modification time in UTC, microseconds."""
    info = file.stat()
    return info.st_size, modified_at(info)


def _probe(file: Path, path: str, landing: Landing, columns: Sequence[RawColumn]) -> Facts | Refusal:
    before = stamp(file)
    with Content(file) as content:
        found: tuple[str, _Header, bool, bool] | str
        try:
            found = _examine(file, content, landing, columns)
        except Unreadable as unreadable:
            found = str(unreadable)
        content.finish()
        sha256 = content.digest.hexdigest()
    if stamp(file) != before or content.size != before[0]:
        return Refusal(path, "still being written; the next run reads it")
    if isinstance(found, str):
        return Refusal(path, found, *before, sha256)
    encoding, header, final_newline, lines = found
    return Facts(path, *before, sha256, encoding, header.delimiter, header.names, header.mapping, final_newline, lines)


def _examine(file: Path, content: Content, landing: Landing, columns: Sequence[RawColumn]) -> tuple[str, _Header, bool, bool]:
    """The pass: encoding, header, whether the content ends in a line end, and whether it is of lines. Raises Unreadable.

    Header and records are read in the encoding that the head of the file suggests; should a later byte
    speak against it, they are read again in the right one.
    """
    lines = Lines(landing.quote)
    pieces = lines.seen(content.pieces())
    first = next(pieces, b"")
    start = first[:START]
    encodings = Encodings((landing.encoding, *landing.fallback_encodings), start)
    head, size, end = [first], len(first), first[-4:]
    encodings.feed(first)
    while size <= _HEAD and (piece := next(pieces, b"")):
        encodings.feed(piece)
        head.append(piece)
        size, end = size + len(piece), (end + piece)[-4:]
    guess = encodings.settle()
    header = _header(b"".join(head)[:_HEAD], size > _HEAD, guess, landing, columns)
    scan = None if isinstance(header, str) else _Scan(landing, guess, start, header)
    for piece in head:
        if scan:
            scan.feed(piece)
    for piece in pieces:
        encodings.feed(piece)
        if scan:
            scan.feed(piece)
        end = (end + piece)[-4:]
    encoding = encodings.finish()
    if encoding != guess:
        header = _header(b"".join(head)[:_HEAD], size > _HEAD, encoding, landing, columns)
    if isinstance(header, str):
        raise Unreadable(header)
    if scan is None or scan.key != _Scan(landing, encoding, start, header).key:
        scan = _Scan(landing, encoding, start, header)
        with Content(file) as again:
            for piece in again.pieces():
                scan.feed(piece)
    scan.finish()
    if scan.problem:
        raise Unreadable(scan.problem)
    return encoding, header, end.decode(codec(encoding, start), "replace").endswith(("\n", "\r")), lines.uniform


class _Scan:
    """Feeds Records: with the bytes themselves where that is possible, else with the text.

    problem: the reason that Records gave, kept so that a fault of the encoding found later is told first.
    """

    def __init__(self, landing: Landing, encoding: str, start: bytes, header: _Header, *, count: bool = False) -> None:
        options: dict[str, Any] = {"width": len(header.names), "count": count}
        self.problem: str | None = None
        self._start: str | bytes
        self._feed: Callable[[Any], None]
        self._records: Records[bytes] | Records[str]
        if not is_wide(encoding) and (header.delimiter + landing.quote + landing.escape).isascii():
            self.key: tuple[str | None, str, int] = (None, header.delimiter, len(header.names))
            in_bytes = Records(landing, header.delimiter, bytes, **options)
            self._records, self._start, self._feed = in_bytes, codecs.BOM_UTF8 if encoding == "utf-8" else b"", in_bytes.feed
        else:
            self.key = (encoding, header.delimiter, len(header.names))
            in_text = Records(landing, header.delimiter, str, **options)
            decoder = codecs.getincrementaldecoder(codec(encoding, start))("replace")
            self._records, self._start, self._feed = in_text, "\ufeff", in_text.feed
            self._decode = decoder.decode

    def feed(self, piece: bytes) -> None:
        if self.problem:
            return
        text: Any = piece if self.key[0] is None else self._decode(piece)
        if text:
            text, self._start = text.removeprefix(self._start), text[:0]
        try:
            self._feed(text)
        except Swallowed as swallowed:
            self.problem = str(swallowed)

    def finish(self) -> int:
        try:
            if not self.problem:
                self._records.finish()
        except Swallowed as swallowed:
            self.problem = str(swallowed)
        return self._records.records


def _header(head: bytes, cut: bool, encoding: str, landing: Landing, columns: Sequence[RawColumn]) -> _Header | str:
    """Delimiter, header and what its names mean, or why it cannot be used. The contract's delimiter is taken whenever it fits."""
    text = codecs.getincrementaldecoder(codec(encoding, head))("replace").decode(head).removeprefix("\ufeff")
    if not (text.strip("\r\n") if landing.header else text):
        return f"nothing but blank lines in the first {_HEAD >> 20} MB" if cut else _Header(landing.delimiter, (), match((), ()))
    if not landing.header:
        names = tuple(c.name for c in columns)
        return _Header(landing.delimiter, names, match(names, columns))
    names, problem = _names(text, cut, landing, landing.delimiter)
    if problem:
        return problem
    mapping = match(names, columns)
    if mapping.problem is None:
        return _Header(landing.delimiter, names, mapping)
    others = [(d, *_names(text, cut, landing, d)) for d in DELIMITERS if d != landing.delimiter]
    fitting = [(d, n) for d, n, wrong in others if wrong is None and match(n, columns).problem is None]
    if len(fitting) == 1:
        delimiter, names = fitting[0]
        return _Header(delimiter, names, match(names, columns))
    return mapping.problem + _hint(names, [(d, n) for d, n, wrong in others if wrong is None], columns)


def _names(text: str, cut: bool, landing: Landing, delimiter: str) -> tuple[tuple[str, ...], str | None]:
    lines = io.StringIO(text, newline="")
    try:
        names = next((row for row in csv.reader(lines, **_dialect(landing, delimiter)) if row), [])
    except csv.Error as error:
        return (), f"the header line cannot be read: {error}; is its quote closed?"
    if cut and lines.tell() == len(text):
        return (), f"the header line does not end within {_HEAD >> 20} MB; is its quote closed?"
    if len(names) > MAX_HEADER_COLUMNS:
        return (), f"{len(names)} columns in the header; at most {MAX_HEADER_COLUMNS} are read"
    return _shared(tuple(name.strip() for name in names)), None


@lru_cache(maxsize=64)
def _shared(header: tuple[str, ...]) -> tuple[str, ...]:
    """One for all equal ones: every file that is known keeps its header, and 20 000 of seven names are 9 MB."""
    return header


def _hint(names: tuple[str, ...], others: Sequence[tuple[str, tuple[str, ...]]], columns: Sequence[RawColumn]) -> str:
    """What the first line looks like instead."""
    optional = [replace(c, required=False) for c in columns]

    def known(header: tuple[str, ...]) -> int:
        return len({name for cell in set(header) for name, _ in match((cell,), optional).columns})

    delimiter, most = max(((d, known(n)) for d, n in others), key=lambda other: other[1], default=("", 0))
    if most > known(names):
        shown = {"\t": "a tab", ";": "a semicolon", ",": "a comma"}.get(delimiter, repr(delimiter))
        return f"; the delimiter looks like {shown}, which gives {most} of the contract's {len(columns)} columns"
    return "" if known(names) else "; the first line must name the columns, unless the contract says header: false"


def _dialect(landing: Landing, delimiter: str) -> dict[str, Any]:
    doubled = landing.escape == landing.quote
    return {
        "delimiter": delimiter,
        "quotechar": landing.quote or None,
        "quoting": csv.QUOTE_MINIMAL if landing.quote else csv.QUOTE_NONE,
        "doublequote": doubled,
        "escapechar": None if doubled or not landing.quote else landing.escape,
        "strict": False,
    }
