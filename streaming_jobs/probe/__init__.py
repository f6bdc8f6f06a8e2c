"""What a file's bytes say before Spark sees them: one pass, 1 MB at a time, constant memory, no JVM.

A probe ends in Facts, which tell Bronze how to read the file, or in a Refusal, which tells the
operator why it is not read. It never raises for a file's content.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streaming_jobs.contract import Landing, RawColumn
from streaming_jobs.header import Mapping, match

CHUNK = 1 << 20  # bytes
MAX_HEADER_COLUMNS = 10_000  # Spark's reader stops at 20 480
MAX_CELL_LINES = 1_000  # lines in one quoted cell; more looks like a quote nobody closed
MAX_EXPANSION = 200  # times: unpacked bytes per packed byte; real CSV packs 5 to 30 times
DELIMITERS = (",", ";", "\t", "|")

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"PAR1": "Parquet",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
}
_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 27})
_UNPACKED = (".gz", ".bz2")
_OTHER_PACKED = (".zst", ".lz4", ".snappy", ".deflate", ".xz", ".zip")


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


@dataclass(frozen=True)
class Refusal:
    """One file that cannot be read as its contract says; size and modified_at as probed, None when it is gone."""

    path: str
    reason: str
    size: int | None = None
    modified_at: datetime | None = None
    sha256: str | None = None


class _Unreadable(Exception):
    """Carries the reason out of the pass."""


def probe_all(folder: Path, paths: Sequence[str], landing: Landing, columns: Sequence[RawColumn], threads: int) -> list[Facts | Refusal]:
    """Probe files, several at a time; the answers come in the order of `paths`."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(lambda path: probe(folder, path, landing, columns), paths))


def probe(folder: Path, path: str, landing: Landing, columns: Sequence[RawColumn]) -> Facts | Refusal:
    """Probe one file; `path` is relative to `folder`."""
    file = folder / path
    try:
        before = stamp(file)
        _refuse_other_formats(file)
        digest = _digest(file)
        encoding = _encoding(file, landing)
        head = _head(file, encoding)
        delimiter, header, mapping = _header(head, landing, columns)
        if landing.quote:
            _refuse_open_quotes(file, encoding, landing, delimiter)
        after = stamp(file)
    except FileNotFoundError:
        return Refusal(path, "gone before it could be read")
    except PermissionError:
        return Refusal(path, "permission denied; make the file readable for this user", *_stamp_or_none(file))
    except _Unreadable as unreadable:
        return Refusal(path, str(unreadable), *before, _digest(file))
    if before != after:
        return Refusal(path, "still being written; the next run reads it", None, None)
    return Facts(path, *after, digest, encoding, delimiter, header, mapping)


def count_records(folder: Path, facts: Facts, landing: Landing) -> int:
    """Data records of a file, by Python's csv module; blank lines do not count."""
    with _text(folder / facts.path, facts.encoding) as lines:
        rows = csv.reader(lines, **_dialect(landing, facts.delimiter))
        _lift_field_limit()
        return max(0, sum(1 for row in rows if row) - (1 if landing.header else 0))


def stamp(file: Path) -> tuple[int, datetime]:
    """Size in bytes and modification time in UTC, microseconds."""
    info = file.stat()
    return info.st_size, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=info.st_mtime_ns // 1000)


def _stamp_or_none(file: Path) -> tuple[int | None, datetime | None]:
    try:
        return stamp(file)
    except OSError:
        return None, None


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_other_formats(file: Path) -> None:
    if file.suffix in _OTHER_PACKED:
        raise _Unreadable(f"{file.suffix} files are not read; deliver plain CSV, .gz or .bz2")
    with file.open("rb") as stream:
        start = stream.read(8)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    packed = {".gz": "gzip", ".bz2": "bzip2"}.get(file.suffix)
    if packed and kind != packed and start:
        raise _Unreadable(f"named {file.suffix} but not {packed}; deliver it under its right name")
    if kind and kind != packed:
        hint = {"gzip": "; name it .csv.gz", "bzip2": "; name it .csv.bz2"}.get(kind, "; deliver it as CSV")
        raise _Unreadable(f"not text: the content is {kind}{hint}")


def _bytes(file: Path) -> Iterator[bytes]:
    """The unpacked content in chunks. Raises _Unreadable for a damaged or oversized archive."""
    if file.suffix not in _UNPACKED:
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
        return
    limit = max(file.stat().st_size * MAX_EXPANSION, 64 * CHUNK)
    out = 0
    for chunk in _unpack(file):
        out += len(chunk)
        if out > limit:
            raise _Unreadable(f"unpacks to more than {MAX_EXPANSION} times its size; unpack it by hand if that is right")
        yield chunk


def _unpack(file: Path) -> Iterator[bytes]:
    new: Callable[[], zlib._Decompress | bz2.BZ2Decompressor] = (
        (lambda: zlib.decompressobj(wbits=31)) if file.suffix == ".gz" else bz2.BZ2Decompressor
    )
    with file.open("rb") as stream:
        data, unpacker = stream.read(CHUNK), new()
        if not data:
            return
        while True:
            try:
                chunk = unpacker.decompress(data, CHUNK)
            except (zlib.error, OSError, ValueError) as error:
                raise _Unreadable(f"damaged {file.suffix} archive: {error}") from None
            if chunk:
                yield chunk
            if unpacker.eof:
                data = unpacker.unused_data or stream.read(CHUNK)
                if not data:
                    return
                unpacker = new()  # several members one after the other are one file
                continue
            data = unpacker.unconsumed_tail if isinstance(unpacker, zlib._Decompress) else b""
            if not data and getattr(unpacker, "needs_input", True):
                data = stream.read(CHUNK)
                if not data and not chunk:
                    raise _Unreadable(f"truncated {file.suffix} archive; deliver it again")


def _encoding(file: Path, landing: Landing) -> str:
    """The first of the contract's encodings in which every byte is valid text."""
    with file.open("rb") as stream:
        start = stream.read(4)
    bom = next((name for mark, name in _BOMS.items() if start.startswith(mark)), None)
    tried = (landing.encoding, *landing.fallback_encodings)
    if bom and file.suffix not in _UNPACKED and bom != "utf-8" and not any(t.startswith(bom) for t in tried):
        raise _Unreadable(f"{bom.upper()} by its byte-order mark, the contract says {landing.encoding}; add it to fallbackEncodings")
    problems = []
    for encoding in tried:
        problem = _invalid(file, encoding)
        if problem is None:
            return encoding
        problems.append(f"not {encoding}: {problem}")
    raise _Unreadable("; ".join(problems))


def _codec(file: Path, encoding: str) -> str:
    """Python's name for an encoding as Java reads it: UTF-16 and UTF-32 without a byte-order mark are big-endian there."""
    if encoding in ("utf-16", "utf-32"):
        start = next(_bytes(file), b"")[:4]
        if not any(start.startswith(mark) for mark, name in _BOMS.items() if name == encoding):
            return f"{encoding}-be"
    return encoding


def _invalid(file: Path, encoding: str) -> str | None:
    """Why the content is not text in this encoding: the first offending offset, or control characters."""
    decoder = codecs.getincrementaldecoder(_codec(file, encoding))("strict")
    single = not encoding.startswith(("utf-16", "utf-32"))
    offset = control = total = 0
    pending = False
    for chunk in _bytes(file):
        if single:
            if (at := chunk.find(0)) >= 0:
                return f"NUL byte at offset {offset + at}, binary or UTF-16"
            control += len(chunk) - len(chunk.translate(None, _CONTROL))
        if not (single and chunk.isascii() and not pending):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return f"invalid byte at offset {offset + max(error.start, 0)}"
            if not single and "\0" in text:
                return f"NUL character near offset {offset}"
            pending = bool(decoder.getstate()[0])
        offset += len(chunk)
        total += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "ends in the middle of a character"
    return f"{control} control characters in {total} bytes, binary" if control > total * 0.01 else None


def _head(file: Path, encoding: str) -> str:
    """The first megabyte as text, without a byte-order mark."""
    decoder = codecs.getincrementaldecoder(_codec(file, encoding))("replace")
    chunks = _bytes(file)
    head = next(chunks, b"")
    chunks.close()  # type: ignore[attr-defined]  # a generator: closes its file
    return decoder.decode(head).removeprefix("\ufeff")


def _header(head: str, landing: Landing, columns: Sequence[RawColumn]) -> tuple[str, tuple[str, ...], Mapping]:
    """Delimiter, header and what its names mean. The contract's delimiter is taken whenever it fits."""
    if not landing.header:
        names = tuple(c.name for c in columns)
        return landing.delimiter, names, match(names, columns)
    if not head.strip("\r\n"):
        return landing.delimiter, (), match((), ())
    first = _split(head, landing, landing.delimiter)
    mapping = match(first, columns)
    if mapping.problem is None:
        return landing.delimiter, first, mapping
    others = [
        (d, names) for d in DELIMITERS if d != landing.delimiter and match(names := _split(head, landing, d), columns).problem is None
    ]
    if len(others) == 1:
        delimiter, names = others[0]
        return delimiter, names, match(names, columns)
    raise _Unreadable(mapping.problem)


def _split(head: str, landing: Landing, delimiter: str) -> tuple[str, ...]:
    _lift_field_limit()
    rows = csv.reader(io.StringIO(head, newline=""), **_dialect(landing, delimiter))
    names = next((row for row in rows if row), [])
    if len(names) > MAX_HEADER_COLUMNS:
        raise _Unreadable(f"{len(names)} columns in the header; at most {MAX_HEADER_COLUMNS} are read")
    return tuple(name.strip() for name in names)


def _refuse_open_quotes(file: Path, encoding: str, landing: Landing, delimiter: str) -> None:
    """Find a quote that swallows records. Parity first, on bytes; the exact parse only where that looks wrong."""
    if _quotes_look_right(_decoded(file, encoding), landing.quote):
        return
    lines_before = 0
    with _text(file, encoding) as lines:
        _lift_field_limit()
        rows = csv.reader(_then(lines, "\n" + _SENTINEL), **_dialect(landing, delimiter))
        last: list[str] = []
        for row in rows:
            if rows.line_num - lines_before > MAX_CELL_LINES:
                raise _Unreadable(f"a quote opened near line {lines_before + 1} is not closed within {MAX_CELL_LINES} lines")
            lines_before, last = rows.line_num, row
        if last != [_SENTINEL]:
            raise _Unreadable("a quote is opened and never closed; everything behind it would be one cell")


_SENTINEL = "\ue000end\ue000"


def _quotes_look_right(text: Iterable[bytes], quote: str) -> bool:
    """True when quotes pair up and no pair encloses many lines. Doubled quotes toggle twice and do not disturb."""
    mark = quote.encode()
    inside, longest, held = False, 0, 0
    for chunk in text:
        pieces = chunk.split(mark)
        if len(pieces) == 1:
            held += chunk.count(b"\n") if inside else 0
            longest = max(longest, held)
            continue
        if inside:
            longest = max(longest, held + pieces[0].count(b"\n"))
        within = pieces[1 + inside : -1 : 2]
        if b"\n" in b"".join(within):
            longest = max(longest, *(p.count(b"\n") for p in within))
        inside ^= (len(pieces) - 1) % 2 == 1
        held = pieces[-1].count(b"\n") if inside else 0
        longest = max(longest, held)
    return not inside and longest < 10


def _decoded(file: Path, encoding: str) -> Iterator[bytes]:
    """Content in an encoding where the quote is one byte of its own."""
    if not encoding.startswith(("utf-16", "utf-32")):
        yield from _bytes(file)
        return
    decoder = codecs.getincrementaldecoder(_codec(file, encoding))("replace")
    for chunk in _bytes(file):
        yield decoder.decode(chunk).encode("utf-8", "replace")


class _Chunks(io.RawIOBase):
    """The unpacked bytes as a stream that io.TextIOWrapper can read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._chunks, b"")
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


def _text(file: Path, encoding: str) -> io.TextIOWrapper:
    name = "utf-8-sig" if encoding == "utf-8" else _codec(file, encoding)
    return io.TextIOWrapper(io.BufferedReader(_Chunks(_bytes(file)), CHUNK), name, "replace", newline="")


def _then(lines: Iterable[str], last: str) -> Iterator[str]:
    yield from lines
    yield last


def _dialect(landing: Landing, delimiter: str) -> dict[str, Any]:
    doubled = landing.escape == landing.quote
    return {
        "delimiter": delimiter,
        "quotechar": landing.quote or None,
        "quoting": csv.QUOTE_MINIMAL if landing.quote else csv.QUOTE_NONE,
        "doublequote": doubled,
        "escapechar": None if doubled else landing.escape,
        "strict": False,
    }


def _lift_field_limit() -> None:
    csv.field_size_limit(1 << 31)
