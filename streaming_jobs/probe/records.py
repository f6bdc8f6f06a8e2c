"""Where records end, exactly as Spark's CSV reader (univocity, multiLine) sees it, at the speed of whole lines.

What the reader does, found by reading it and by comparing with it on generated files:

- A quote opens a cell only as its first character. Anywhere else it is text: `5" pipe` is fine.
- A quoted cell ends at the first quote that is neither doubled nor escaped. What follows up to the next
  delimiter or line end belongs to the cell as plain text, quotes included.
- The first line end of the file is the line end of the file. Where that is CRLF or CR, a lone LF still ends
  a record behind a delimiter or a quoted cell, but inside a plain cell it is text: the next line is swallowed.
- With an escape other than the quote, a quoted cell that ends in front of an escape character goes on behind
  the next delimiter or line end.
- Blank lines are no records, a line of separators is one.

Nothing is decided by counting quotes. A whole line is passed over only when it provably starts and ends
outside quotes, by one of two proofs:

- It starts outside, and cell by cell every quoted cell in it is closed in it.
- One of its quotes stands behind a character that is no delimiter, quote or line end, and before a delimiter
  or the line end; behind it are only plain and empty quoted cells. Whether that quote closes a cell or is text
  in a plain one, the line ends outside.

Cells of up to `_FEW_LINES` lines pass in the same way when a delimiter or blank follows their closing quote.
Every other record is walked cell by cell, and each of its cells that spans lines is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, AnyStr, Generic

from streaming_jobs.contract import Landing

MAX_CELL_LINES = 1_000  # lines in one quoted cell; more looks like a quote nobody closed
MAX_CELL_BYTES = 16 << 20  # Spark takes longer cells, several times over in its heap
_SPARKS_BUFFER = 1 << 20  # characters in which Spark's reader looks for the first line end
_FEW_LINES = 50  # in a properly closed cell: not worth a closer look
_WINDOW = 8192  # characters matched at a time; with the next quote farther away, looking for it is faster

_UNQUOTED = "close or double it, or set quote to an empty text in the contract if this source does not quote"
_RECORD, _FIELD, _PLAIN, _OPEN, _CLOSED = range(5)  # at a record's start, a cell's start, in a cell, in quotes, behind them


class Swallowed(Exception):
    """Spark would read other records than the file holds; a whole line for the operator."""


class Records(Generic[AnyStr]):
    """Reads one file's text, or its bytes where ASCII characters are bytes of their own, piece by piece.

    width: cells of the header. count: also count records, blank lines excluded; `records` holds them after
    `finish`. Without it Swallowed is raised by `feed` and `finish`. A byte-order mark is not to be fed.
    """

    def __init__(self, landing: Landing, delimiter: str, kind: type[AnyStr], *, width: int = 1, count: bool = False) -> None:
        self._landing, self._delimiter, self._width, self._counting = landing, delimiter, width, count
        self._kind: type[AnyStr] = kind
        self.records = 0
        self._rest: AnyStr = kind()
        self._rules: _Rules[AnyStr] | None = None
        self._state, self._line = _RECORD, 1
        self._mixed = False  # a lone LF was met where the line end is another
        self._loose = 0  # the line of a lone LF in a plain cell, which is harmless only at the end of the file
        self._opened = self._lines = self._length = self._delimiters = 0  # of the cell that is open

    def feed(self, piece: AnyStr) -> None:
        self._walk(self._rest + piece if self._rest else piece, final=False)

    def finish(self) -> None:
        self._walk(self._rest, final=True)
        if self._state is _OPEN:
            self._refuse(f"a quote opened in line {self._opened} is never closed, everything behind it would be one cell; {_UNQUOTED}")
        if self._state is not _RECORD:
            self.records += 1

    def ends(self, data: AnyStr) -> Iterator[int]:
        """Where each record of a whole file ends, its line end included; blank lines belong to the record behind them."""
        rules = self._find_rules(data, final=True)
        assert rules is not None  # the data is all there is
        at = 0
        while at < len(data):
            before = self.records
            at = self._cell(rules, data, at, final=True)
            if self.records > before:
                yield at
        if self._state is not _RECORD:
            yield at

    def _walk(self, data: AnyStr, *, final: bool) -> None:
        rules = self._rules or self._find_rules(data, final=final)
        if rules is None:
            self._rest = data
            return
        stop = len(data)
        if not final and rules.two and data.endswith(rules.cr):
            stop -= 1  # half a line end
        held, data = data[stop:], data if stop == len(data) else data[:stop]
        if self._loose and rules.hard.search(data):
            self._refuse_loose()
        at = 0
        while at < stop:
            if self._state is _RECORD and (end := self._whole_lines(rules, data, at)) > at:
                at = end
                continue
            end = self._cell(rules, data, at, final=final)
            if self._state is _OPEN:
                held, at = data[end:] + held, stop
            else:
                at = end
        self._rest = held

    def _cell(self, rules: _Rules[AnyStr], data: AnyStr, at: int, *, final: bool) -> int:
        """Over a cell, or what is left of it, and what ends it; `_OPEN` afterwards where a quoted one has not ended."""
        if self._state in (_RECORD, _FIELD) and rules.quote and data.startswith(rules.quote, at):
            self._state, self._opened = _OPEN, self._line
            self._lines = self._length = self._delimiters = 0
            at += 1
        return self._quoted(rules, data, at, final=final) if self._state is _OPEN else self._unquoted(rules, data, at)

    def _find_rules(self, data: AnyStr, *, final: bool) -> _Rules[AnyStr] | None:
        """Known as soon as the first line end is complete."""
        found = _line_end(self._kind).search(data)
        if not final and (found is None or found.end() == len(data)) and len(data) < _SPARKS_BUFFER:
            return None
        separator = _text(found.group()) if found else "\n"
        self._rules = _rules(
            self._delimiter, self._landing.quote, self._landing.escape, separator, min(_FEW_LINES, MAX_CELL_LINES), self._kind
        )
        return self._rules

    def _whole_lines(self, rules: _Rules[AnyStr], data: AnyStr, at: int) -> int:
        """From the start of a record to that of another, over lines that need no look at each cell."""
        if not self._mixed:
            quote = data.find(rules.quote, at) if rules.quote else -1
            if quote < 0 or quote - at > _WINDOW:
                last = data.rfind(rules.separator, at, quote if quote >= 0 else len(data))
                end = last + len(rules.separator) if last >= 0 else at
                self._mixed = not rules.uniform(data, at, end)
                if not self._mixed and end > at:
                    return self._pass(rules, data, at, end)
        if not self._counting:
            return self._pass(rules, data, at, _end(rules.records, data, at))
        end = _end(rules.lines, data, at)
        if end > at:
            return self._pass(rules, data, at, end)
        end = _end(rules.record, data, at)
        self._line += data.count(rules.line, at, end)
        self.records += end > at
        return end

    def _pass(self, rules: _Rules[AnyStr], data: AnyStr, at: int, end: int) -> int:
        """Count what lies between; when records are counted, every line is one."""
        lines = data.count(rules.line, at, end)
        self._line += lines
        if self._counting:
            self.records += lines
            if data.startswith(rules.separator, at) or data.find(rules.separator * 2, at, end) >= 0:
                self.records -= sum(1 for _ in rules.blank.finditer(data, at, end))
        return end

    def _unquoted(self, rules: _Rules[AnyStr], data: AnyStr, at: int) -> int:
        """Over the rest of an unquoted cell and what ends it; or to the end of the data."""
        found = rules.stop.search(data, at)
        cell = (found.start() if found else len(data)) - at
        if cell and self._state in (_RECORD, _FIELD):
            self._state, self._length = _PLAIN, 0
        self._length += cell
        if self._length > MAX_CELL_BYTES:
            self._refuse(f"a cell in line {self._line} is longer than {MAX_CELL_BYTES >> 20} MB; is that the right delimiter?")
        if found is None:
            return len(data)
        if found.group() == rules.delimiter:
            self._state, self._length = _FIELD, 0
            return found.end()
        if found.group() != rules.separator:
            self._mixed = True
            if self._state is _PLAIN and not self._loose:
                self._loose = self._line
                if rules.hard.search(data, found.end()):
                    self._refuse_loose()
        self.records += self._state is not _RECORD
        self._state, self._length = _RECORD, 0
        self._line += 1
        return found.end()

    def _quoted(self, rules: _Rules[AnyStr], data: AnyStr, at: int, *, final: bool) -> int:
        """Over the rest of a quoted cell and its closing quote; or to what only the next piece decides."""
        found = rules.body.match(data, at)
        end = found.end() if found else at
        closing = rules.closing.match(data, end)
        closes = closing is not None and (final or closing.end() < len(data))  # else the next piece may double it
        end += closes
        self._lines += data.count(rules.line, at, end)
        self._line += data.count(rules.line, at, end)
        self._length += end - at
        self._delimiters += data.count(rules.delimiter, at, end)
        if self._lines > MAX_CELL_LINES or self._length > MAX_CELL_BYTES:
            self._refuse(
                f"the cell that a quote opens in line {self._opened} is longer than {MAX_CELL_LINES} lines or "
                f"{MAX_CELL_BYTES >> 20} MB; {_UNQUOTED}"
            )
        if closes:
            ragged = end < len(data) and not rules.after.match(data, end)
            if ragged and self._lines and self._delimiters >= self._lines * (self._width - 1):
                self._refuse(
                    f"the quote opened in line {self._opened} ends at a quote inside a cell of line {self._line}, all between them "
                    f"would be one cell; {_UNQUOTED}"
                )
            self._state, self._length = _CLOSED, 0
        return end

    def _refuse_loose(self) -> None:
        first = "CRLF" if self._rules and self._rules.two else "CR"
        self._refuse(
            f"line {self._loose} ends in LF, the first line in {first}; Spark would read on into the next line: "
            "deliver the file with one kind of line end"
        )

    def _refuse(self, reason: str) -> None:
        if not self._counting:
            raise Swallowed(reason)


@dataclass(frozen=True)
class _Rules(Generic[AnyStr]):
    delimiter: AnyStr
    quote: AnyStr
    separator: AnyStr
    line: AnyStr  # counts lines: the last character of the separator
    cr: AnyStr
    lf: AnyStr
    records: re.Pattern[AnyStr]  # whole records from the start of one; none with a cell of many lines
    lines: re.Pattern[AnyStr]  # the same, of one line each
    record: re.Pattern[AnyStr]  # one whole record
    blank: re.Pattern[AnyStr]  # a line end that ends no record
    stop: re.Pattern[AnyStr]  # what may end a cell outside quotes
    hard: re.Pattern[AnyStr]  # what ends it in any case
    body: re.Pattern[AnyStr]  # the inside of a quoted cell
    closing: re.Pattern[AnyStr]  # the quote behind it and what belongs to the decision that it closes
    after: re.Pattern[AnyStr]  # what may follow a quoted cell in a file that means it

    @property
    def two(self) -> bool:
        return len(self.separator) == 2

    def uniform(self, data: AnyStr, at: int, end: int) -> bool:
        """No lone LF where lines end otherwise."""
        if self.separator == self.lf:
            return True
        return data.count(self.lf, at, end) == (data.count(self.separator, at, end) if self.two else 0)


@lru_cache(maxsize=64)
def _rules(delimiter: str, quote: str, escape: str, separator: str, most_lines: int, kind: type[Any]) -> _Rules[Any]:
    d, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape) if quote and escape != quote else ""
    n, end = r"\r\n" if separator == "\r" else r"\n", separator if len(separator) == 1 else r"\n(?<=\r\n)"
    line = several = rf"[^{n}]*+{end}"
    proofs: list[str] = []
    inside = closing = ""
    if quote:
        # Doubled quotes, or escaped ones; in the latter case a closing quote in front of an escape does not close.
        inside = rf"(?:[^{q}{e}]++|{e}.|{q}++{e}[^{d}{n}]*+[{d}{n}])*+" if e else rf"[^{q}]*+(?:{q}{q}[^{q}]*+)*+"
        closing = f"{q}++(?!{e})" if e else q
        part = rf"(?:[^{q}{e}{n}]++|{e}[^{n}])*+" if e else rf"[^{q}{n}]*+(?:{q}{q}[^{q}{n}]*+)*+"
        shut, text = q + (f"(?!{e})" if e else ""), rf"(?<=[^{d}{n}]{q})" + (f"(?!{e})" if e else "")
        opened = rf"(?<![^{d}{n}]{q}){part}"
        over = rf"(?:[{n}]{part}){{1,{most_lines}}}+{q}(?![^{d}\x00-\x20])"
        plain = rf"[^{q}{n}]*+"
        line = rf"{plain}(?:{q}(?:{text}|{opened}{shut}){plain})*+{end}"
        several = rf"{plain}(?:{q}(?:{text}|{opened}(?:{shut}|{over})){plain})*+{end}"
        if not e:
            edge, empty = f"(?={d}|{separator})", f"(?<={d}){q}{q}"
            proofs = [rf"[^{n}]*{q}(?<=[^{d}{q}{n}]{q}){edge}{plain}(?:{empty}{edge}{plain})*+{end}"]

    def of(text: str) -> Any:
        return text.encode("ascii") if kind is bytes else text

    def pattern(text: str) -> re.Pattern[Any]:
        return re.compile(of(text), re.DOTALL)

    return _Rules(
        delimiter=of(delimiter),
        quote=of(quote),
        separator=of(separator),
        line=of(separator[-1]),
        cr=of("\r"),
        lf=of("\n"),
        records=pattern(f"(?:{'|'.join([*proofs, several])})*+"),
        lines=pattern(f"(?:{'|'.join([*proofs, line])})*+"),
        record=pattern(several),
        blank=pattern(rf"(?<![^{n}]){separator}"),
        stop=pattern(rf"\r\n|[{d}\n]" if separator == "\r\n" else f"[{d}{n}]"),
        hard=pattern(f"{d}|{separator}"),
        body=pattern(inside),
        closing=pattern(closing),
        after=pattern(rf"{d}|[\x00-\x20]"),
    )


def _end(pattern: re.Pattern[AnyStr], data: AnyStr, at: int) -> int:
    """How far whole records go, up to about a window; `at` if the first is none of them."""
    found = pattern.match(data, at, at + _WINDOW)
    if found is None or found.end() == at:
        found = pattern.match(data, at)
    return found.end() if found else at


@lru_cache(maxsize=2)
def _line_end(kind: type[Any]) -> re.Pattern[Any]:
    return re.compile(rb"\r\n|\r|\n" if kind is bytes else r"\r\n|\r|\n")


def _text(found: AnyStr) -> str:
    return found.decode("ascii") if isinstance(found, bytes) else found
