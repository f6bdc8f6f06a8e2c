"""Samples of one source: how its files are written, and a bounded number of their rows.

Each file is read once whole by `probe`, as Bronze reads it, so that a draft is only made of files that Bronze accepts, and once
more for its rows. Of these the first are kept and then every so many-th, the farther apart the more there are.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from streaming_jobs.contract import Landing, RawColumn
from streaming_jobs.errors import UsageError
from streaming_jobs.operations.draft import dialect
from streaming_jobs.operations.draft.dialect import Dialect, NoTable
from streaming_jobs.probe import MAX_CELL_BYTES, Facts, probe
from streaming_jobs.probe.content import START, Content, Unreadable
from streaming_jobs.probe.encoding import Encodings, codec

ENCODINGS = ("utf-8", "utf-16", "utf-16le", "utf-32", "iso-8859-1")
_HEAD = 1 << 18  # bytes that tell the dialect
_MOST_ROWS = 20_000
_MOST_CELLS = 2_000_000
_MOST_CHARACTERS = 32 << 20
_MOST_BYTES = 256 << 20  # unpacked, of all files together; rows behind them are not looked at

Row = tuple[str | None, ...]
"""Cells in the order of Source.columns; None: the file has no such column."""


@dataclass(frozen=True)
class Header:
    """One column of the source. name: as first delivered, trimmed; without headers `column_1`, ….

    files: numbers of those that have it. first: the first of them. position: from 0, in that one.
    repeated: a file names it more than once, or not at all.
    """

    name: str
    files: frozenset[int]
    first: int
    position: int
    repeated: bool = False


@dataclass(frozen=True)
class Source:
    """rows: (number of the file, cells) in the order of delivery, without the malformed ones."""

    files: tuple[Path, ...]
    encoding: str
    fallbacks: tuple[str, ...]
    delimiter: str
    strays: int  # files that are written with another delimiter
    quote: str
    has_header: bool
    header_told: bool  # values tell it; otherwise it is taken for granted
    headers: tuple[Header, ...]
    delivered: tuple[tuple[str, ...], ...]  # the header of each file
    rows: tuple[tuple[int, Row], ...]
    read: int  # well-formed rows, of which `rows` are kept
    whole: bool  # nothing lies behind the rows read
    malformed: int  # records read with more or fewer cells than their header


@dataclass(frozen=True)
class _Look:
    file: Path
    facts: Facts
    dialect: Dialect
    quote: str


class _Kept:
    """The first rows and a spread of the rest, within bounds."""

    def __init__(self, width: int) -> None:
        self.rows: list[tuple[int, int, Row]] = []  # number of the row, number of the file, cells
        self.read = self.malformed = self._characters = 0
        self._most = max(1, min(_MOST_ROWS, _MOST_CELLS // width))
        self._first, self._step = self._most // 2, 1

    def wants_next(self) -> bool:
        """Count a row; True when it is to be added."""
        self.read += 1
        return self.read <= self._first or self.read % self._step == 0

    def add(self, file: int, row: Row) -> None:
        self.rows.append((self.read, file, row))
        self._characters += _size(row)
        while len(self.rows) > 1 and (len(self.rows) > self._most or self._characters > _MOST_CHARACTERS):
            self._thin_out()

    def _thin_out(self) -> None:
        if self.rows[-1][0] > self._first:
            self._step *= 2
        else:
            self._first //= 2
        self.rows = [kept for kept in self.rows if kept[0] <= self._first or kept[0] % self._step == 0]
        self._characters = sum(_size(row) for _, _, row in self.rows)


def read(files: Sequence[Path]) -> Source:
    """Look at files of one source. Raises UsageError, naming the file, where no draft can be made of it."""
    wanted = sorted(dict.fromkeys(files))
    with _long_cells():
        looks = [_look(wanted[0])]
        looks += [_look(file, looks[0].dialect.header) for file in wanted[1:]]
        _require_alike(looks)
        headers, places = _headers([look.facts.header for look in looks])
        _require_shared(looks, headers, places)
        kept, whole = _Kept(len(headers)), True
        for number, look in enumerate(looks):
            whole = _keep(look, number, places[number], len(headers), kept, _MOST_BYTES // len(looks)) and whole
    _require_rows(looks, kept)
    delimiters = Counter(look.dialect.delimiter for look in looks)
    ((delimiter, times),) = delimiters.most_common(1)
    found = {look.facts.encoding for look in looks}
    # UTF-8 before Latin-1 always: text in Latin-1 is hardly ever valid UTF-8, and anything is valid Latin-1.
    encodings = [e for e in ENCODINGS if e in found or (e == "utf-8" and "iso-8859-1" in found)]
    return Source(
        files=tuple(wanted),
        encoding=encodings[0],
        fallbacks=tuple(encodings[1:]),
        delimiter=delimiter,
        strays=len(looks) - times,
        quote=looks[0].quote,
        has_header=looks[0].dialect.header,
        header_told=all(look.dialect.told for look in looks),
        headers=headers,
        delivered=tuple(look.facts.header for look in looks),
        rows=tuple((file, row) for _, file, row in kept.rows),
        read=kept.read,
        whole=whole,
        malformed=kept.malformed,
    )


def _look(file: Path, header: bool | None = None) -> _Look:
    """header: what the first file of the source says; None: this is the first."""
    _require_file(file)
    text, cut = _head(file)
    problem = ""
    for quote in ('"', ""):
        try:
            found = dialect.guess(text, cut=cut, quote=quote, header=header)
        except NoTable as wrong:
            raise _refusal(file, str(wrong)) from None
        if found is None:
            raise UsageError(f"{file}: empty, so there is nothing to guess from; name a file with a header and rows.")
        columns = () if found.header else tuple(RawColumn(f"column_{n}") for n in range(1, found.width + 1))
        landing = Landing("", "*", found.delimiter, ENCODINGS[0], found.header, quote, fallback_encodings=ENCODINGS[1:])
        facts = probe(file.parent, file.name, landing, columns)
        if isinstance(facts, Facts):
            return _Look(file, facts, found, quote)
        problem = problem or facts.reason
        if "quote" not in facts.reason:
            break
    raise _refusal(file, problem)


def _refusal(file: Path, problem: str) -> UsageError:
    # What a probe says of encodings is about those of a contract, and there is none yet.
    told = f"not text in any of {', '.join(ENCODINGS)}; binary" if problem.startswith(f"not {ENCODINGS[0]}:") else problem
    return UsageError(f"{file}: {told.rstrip('?')}. Nothing was drafted.")


def _require_file(file: Path) -> None:
    if file.is_dir():
        raise _refusal(file, "a folder; name one or more CSV files in it")
    if file.is_file():
        return
    if file.exists():
        raise _refusal(file, "not a regular file; name a CSV file")
    if not file.parent.is_dir():
        raise _refusal(file, f"there is no folder {file.parent}; correct the path")
    near = difflib.get_close_matches(file.name, [other.name for other in file.parent.iterdir()], 1, 0.6)
    raise _refusal(file, f"there is no such file; {f'did you mean {near[0]}' if near else 'correct the path'}")


def _head(file: Path) -> tuple[str, bool]:
    """The first characters, and whether there are more. What is no text at all is left to the probe to tell."""
    try:
        with Content(file) as content:
            pieces = content.pieces()
            head = b""
            while len(head) <= _HEAD and (piece := next(pieces, b"")):
                head += piece
            encodings = Encodings(ENCODINGS, head[:START])
            encodings.feed(head)
            text = head[:_HEAD].decode(codec(encodings.settle(), head[:START]), "replace")
    except Unreadable as unreadable:
        raise _refusal(file, str(unreadable)) from None
    except OSError as error:
        raise _refusal(file, f"cannot be read: {error.strerror or error}") from None
    return text.removeprefix("\ufeff"), len(head) > _HEAD


def _require_alike(looks: Sequence[_Look]) -> None:
    """What a contract says once for all files."""
    first = looks[0]
    for look in looks[1:]:
        if look.quote != first.quote:
            raise UsageError(
                f"{look.file}: reads only with {'quotes' if look.quote else 'quoting off'}, {first.file} only the other way; "
                "one contract cannot read both, draft one for each."
            )
        if first.dialect.header:
            continue
        # With a header another delimiter is found again by its names.
        found, wanted = ((d.width, d.delimiter) for d in (look.dialect, first.dialect))
        if found != wanted:
            raise UsageError(
                f"{look.file}: has no header and {found[0]} columns with {found[1]!r} between them, {first.file} has {wanted[0]} with "
                f"{wanted[1]!r}; one contract cannot read both, draft one for each."
            )


def _headers(delivered: Sequence[tuple[str, ...]]) -> tuple[tuple[Header, ...], list[list[int]]]:
    """The columns of all files in the order of their first appearance; for each file, which of them its cells are.

    Names that differ only in case are one name, as where headers are matched.
    """
    numbered = [_numbered(names) for names in delivered]
    known = [frozenset(keys) for keys in numbered]
    order = list(dict.fromkeys(key for keys in numbered for key in keys))
    repeated = {name for name, nth in order if nth or not name}
    found = []
    for key in order:
        files = frozenset(n for n, keys in enumerate(known) if key in keys)
        first = min(files)
        position = numbered[first].index(key)
        found.append(Header(delivered[first][position], files, first, position, key[0] in repeated))
    places = {key: n for n, key in enumerate(order)}
    return tuple(found), [[places[key] for key in keys] for keys in numbered]


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        folded = name.casefold()
        keys.append((folded, seen[folded]))
        seen[folded] += 1
    return keys


def _require_shared(looks: Sequence[_Look], headers: Sequence[Header], places: Sequence[Sequence[int]]) -> None:
    for look, place in zip(looks[1:], places[1:], strict=True):
        if not set(place) & set(places[0]) and all(len(headers[n].files) == 1 for n in place):
            raise UsageError(f"{look.file}: shares no column with the other files; they are of two sources, draft a contract for each.")
    if all(header.repeated for header in headers):
        raise UsageError(
            f"{looks[0].file}: no column has a name of its own in the header, and columns are found by name; correct it. "
            "Nothing was drafted."
        )


def _keep(look: _Look, number: int, places: Sequence[int], width: int, kept: _Kept, most_bytes: int) -> bool:
    """Add the rows of a file; False when it goes on behind them."""
    names = [name.casefold() for name in look.facts.header]
    with Content(look.file) as content:
        raw = _Unpacked(content.pieces(), most_bytes)
        records = _records(raw, look)
        if look.dialect.header:
            next(records, None)
        for record in records:
            if len(record) != len(names):
                kept.malformed += 1
            elif not kept.wants_next():
                continue
            elif look.dialect.header and _is_header(record, names):
                kept.read -= 1
            else:
                row: list[str | None] = [None] * width
                for place, cell in zip(places, record, strict=True):
                    row[place] = cell
                kept.add(number, tuple(row))
        return not raw.cut


def _records(raw: _Unpacked, look: _Look) -> Iterator[list[str]]:
    """Non-blank records. One that the end of the reading cuts through is left out."""
    encoding = codec(look.facts.encoding, raw.start)
    text = io.TextIOWrapper(io.BufferedReader(raw, 1 << 20), encoding, "replace", newline="")
    lines = iter(text)
    options: dict[str, Any] = {"quotechar": look.quote} if look.quote else {"quoting": csv.QUOTE_NONE}
    rows = csv.reader(chain([next(lines, "").removeprefix("\ufeff")], lines), delimiter=look.dialect.delimiter, **options)
    waiting: list[str] = []
    for record in rows:
        if waiting:
            yield waiting
        waiting = record
    if waiting and not raw.cut:
        yield waiting


class _Unpacked(io.RawIOBase):
    """Pieces of content as a stream of so many bytes at most. cut: there are more. start: its first bytes."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self._pieces, self._left = pieces, most
        self._piece = memoryview(next(pieces, b""))
        self.start, self.cut = bytes(self._piece[:START]), False

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        if self._piece and not self._left:
            self.cut = True
            return 0
        size = min(len(target), len(self._piece), self._left)
        target[:size] = self._piece[:size]
        self._piece, self._left = self._piece[size:], self._left - size
        return size


def _is_header(record: Sequence[str], names: Sequence[str]) -> bool:
    """The header again among the rows: files were joined."""
    present = [(cell.strip().casefold(), name) for cell, name in zip(record, names, strict=True) if cell]
    return bool(present) and all(cell == name for cell, name in present)


def _require_rows(looks: Sequence[_Look], kept: _Kept) -> None:
    if kept.rows:
        return
    where = str(looks[0].file) if len(looks) == 1 else f"{looks[0].file} and {len(looks) - 1} more"
    if kept.malformed:
        width = len(looks[0].facts.header)
        raise UsageError(f"{where}: the header has {width} columns and no row has as many cells. Nothing was drafted.")
    raise UsageError(f"{where}: only a header, so there is nothing to guess from; name a file with rows.")


def _size(row: Row) -> int:
    return sum(len(cell) for cell in row if cell)


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(MAX_CELL_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)
