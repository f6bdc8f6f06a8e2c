"""What each column of a source seems to be: name, type, missing values, personal data; each guess with what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streaming_jobs.contract import RawColumn
from streaming_jobs.header import match
from streaming_jobs.operations.draft import names, personal, values
from streaming_jobs.operations.draft.personal import Personal
from streaming_jobs.operations.draft.source import Source
from streaming_jobs.operations.draft.values import TEXT, Reading

_NO_VALUES = frozenset(("\\n", "(null)", "<null>", "#n/a", "n/a", "n.a."))
"""Spellings that are nothing else in any column, in lower case."""
_EXPORTED = _NO_VALUES | {"null"}
"""Spellings that are nothing else in a source that writes them among numbers or dates."""
_NUMBERED = frozenset(("zip", "plz", "postcode", "postal", "account", "iban", "card", "ean", "isbn", "barcode"))
"""Words for digits that are no quantity."""


@dataclass(frozen=True)
class Column:
    """at: where its cells stand in a row of the source. extra: its key in `_extra`, of a column that its header does not name alone.

    mostly: of a text, the reading that takes most of its values. distinct: values, as delivered. spaced, longest: of the values
    as text. remarks: what the reader should know, in sentences.
    """

    name: str
    at: int
    header: str | None  # as delivered, where `name` is another
    extra: str | None
    reading: Reading
    mostly: Reading | None
    required: bool
    everywhere: bool  # every file has it
    distinct: int
    spaced: bool
    longest: int
    personal: Personal | None
    remarks: tuple[str, ...]

    @property
    def type(self) -> str:
        return self.reading.type


def columns(source: Source) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """The columns in the order of the header, and the spellings of a missing value as delivered."""
    counts = [Counter(row[n] or "" for _, row in source.rows) for n in range(len(source.headers))]
    commas = source.delimiter == ";"
    nulls, spoiled = _nulls(counts, decimal_commas=commas)
    extras = _extras(source)
    found = []
    for at, (header, name) in enumerate(zip(source.headers, names.columns([h.name for h in source.headers]), strict=True)):
        cells = Counter({cell: times for cell, times in counts[at].items() if cell and cell not in nulls})
        texts = _trimmed(cells)
        person = personal.guess(header.name, texts)
        reading = TEXT if header.repeated else values.guess(texts, decimal_commas=commas)
        if (person and person.kind == "phone numbers") or names.words(header.name) & _NUMBERED:
            reading = Reading("STRING", note="digits that are no quantity") if values.is_number(reading) else reading
        mostly, taken = (values.nearly(texts) if reading == TEXT else None) or (None, 0)
        # White space alone is a text, but no number and no date.
        filled = (cells if reading.type == "STRING" else texts).total()
        everywhere = len(header.files) == len(source.files)
        remarks = [
            _filled(filled, len(source.rows), len(cells)),
            reading.note,
            spoiled.get(at, "") if reading.type == "STRING" else "",
            _nearly(mostly, taken, texts.total()) if mostly and at not in spoiled and not header.repeated else "",
            _perhaps_missing(texts) if reading.type == "STRING" and at not in spoiled else "",
            f"{'Seems' if person.sure else 'Perhaps seems'} to hold {person.kind}: {person.evidence}" if person else "",
            _named(header.name, name, repeated=header.repeated),
            "" if everywhere else _somewhere(at, source),
        ]
        found.append(
            Column(
                name=name, at=at, header=header.name if header.name != name and not header.repeated else None, extra=extras.get(at),
                reading=reading, mostly=mostly, required=filled == len(source.rows) and everywhere and not header.repeated,
                everywhere=everywhere, distinct=len(cells), spaced=any(" " in text for text in texts),
                longest=max(map(len, texts), default=0), personal=person, remarks=tuple(_sentence(remark) for remark in remarks if remark),
            )
        )  # fmt: skip
    return tuple(found), nulls


def _trimmed(cells: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for cell, times in cells.items():
        if text := cell.strip(values.WHITE):
            found[text] += times
    return found


def _nulls(counts: Sequence[Counter[str]], *, decimal_commas: bool) -> tuple[tuple[str, ...], Mapping[int, str]]:
    """Cells that mean NULL in every column, and by column why it stays text although it need not.

    A spelling is one when it is all that keeps a column from being numbers, dates or booleans, unless another column,
    which is text in any case, has it among other texts: there it may be a value.
    """
    wanted: dict[int, set[str]] = {}
    void: set[int] = set()
    readings: dict[int, Reading] = {}
    for at, cells in enumerate(counts):
        texts = _trimmed(cells)
        unlike = {text for text in texts if text.lower() in values.NULLS}
        rest = [text for text in texts if text not in unlike]
        if not rest:
            void.add(at)
        elif unlike and values.guess(texts, decimal_commas=decimal_commas).type == "STRING":
            readings[at] = values.guess(rest, decimal_commas=decimal_commas)
            if readings[at].type != "STRING":
                wanted[at] = {cell for cell in cells if cell.strip(values.WHITE) in unlike}
    spoiled: dict[int, str] = {}
    while True:
        text_columns = [cells for at, cells in enumerate(counts) if at not in wanted and at not in void]
        doubtful = {c for cells in text_columns for c in cells if c.strip(values.WHITE).lower() not in _EXPORTED}
        lost = [at for at, spellings in wanted.items() if spellings & doubtful]
        if not lost:
            break
        for at in lost:
            rows = sum(counts[at][cell] for cell in wanted[at])
            shared = ", ".join(sorted(cell.strip(values.WHITE) for cell in wanted[at] & doubtful))
            spoiled[at] = f"without `{shared}` ({rows} cells) it would be {readings[at]}, but in another column that may be a value"
            del wanted[at]
    declared = {cell for spellings in wanted.values() for cell in spellings}
    declared |= {cell for cells in counts for cell in cells if cell.strip(values.WHITE).lower() in _NO_VALUES}
    return tuple(sorted(declared)), spoiled


def _extras(source: Source) -> Mapping[int, str]:
    """The keys in `_extra` of the columns that no column of Bronze can stand for."""
    headers = source.headers
    raw = [RawColumn(h.name) for h in headers if not h.repeated]
    found = {}
    for at, header in enumerate(headers):
        if header.repeated:
            keys = {position: key for key, position in match(source.delivered[header.first], raw).extra}
            found[at] = keys[header.position]
    return found


def _filled(filled: int, rows: int, distinct: int) -> str:
    if not filled:
        return f"empty in {rows} of {rows} rows"
    return f"filled in {filled} of {rows} rows, {distinct} distinct"


def _nearly(mostly: Reading, taken: int, filled: int) -> str:
    return f"{mostly} would take {taken} of {filled} values; the rows of the others would be quarantined"


def _perhaps_missing(texts: Counter[str]) -> str:
    words = sorted(text for text in texts if text.lower() in values.NULLS)
    cells = sum(texts[word] for word in words)
    named = ", ".join(f"`{word}`" for word in words)
    return f"{cells} of the cells say {named}: if that means missing, put it under nullValues" if words else ""


def _somewhere(at: int, source: Source) -> str:
    """Where a column stands that not every file has, and which one may be the same under another name."""
    own, everywhere = source.headers[at].files, frozenset(range(len(source.files)))
    others = [h.name for n, h in enumerate(source.headers) if n != at and h.files == everywhere - own]
    renamed = "; the others have another one instead: if it is the same, make that a synonym of this" if len(others) == 1 else ""
    return f"in the header of {len(own)} of {len(source.files)} files{renamed}"


def _named(header: str, name: str, *, repeated: bool) -> str:
    if repeated:
        said = "stands in the header more than once, or only differs in case" if header else "has no name in the header"
        return f"{said}, so Bronze keeps it in _extra"
    return "" if header == name else "the header cannot be the name here and is a synonym"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
