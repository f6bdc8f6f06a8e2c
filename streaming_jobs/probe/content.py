"""The bytes of one file, read once from front to end: hashed as they lie there, unpacked on the way."""

from __future__ import annotations

import bz2
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

CHUNK = 1 << 20  # bytes
MAX_EXPANSION = 200  # times: unpacked bytes per packed byte; real CSV packs 5 to 30 times
_FREE_EXPANSION = 64 << 20  # bytes any archive may unpack to, however small it is
START = 16  # bytes that tell a format or a byte-order mark

# Enough of each format that no header line of a CSV begins like it.
_MAGIC = (
    (rb"\x1f\x8b", "gzip"),
    (rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", "bzip2"),
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "a zip archive or a spreadsheet"),
    (rb"\x28\xb5\x2f\xfd", "zstd"),
    (rb"\xfd7zXZ\x00", "xz"),
    (rb"\x04\x22\x4d\x18", "lz4"),
    (rb"PAR[1E][\x00-\x08\x0e-\x1f]", "Parquet"),
    (rb"ORC[\x00-\x08\x0e-\x1f]", "ORC"),
    (rb"Obj\x01", "Avro"),
    (rb"%PDF-", "a PDF"),
    (rb"\xd0\xcf\x11\xe0", "an old spreadsheet"),
)
_KINDS = tuple((re.compile(magic, re.DOTALL), kind) for magic, kind in _MAGIC)
# Hadoop unpacks by the name, whatever its case; of these plain text ends in an error, .lz4 even in a dead JVM.
_PACKED = {".gz": "gzip", ".bz2": "bzip2"}
_OTHER_PACKED = (".zst", ".lz4", ".snappy", ".deflate")


def is_packed(name: str) -> bool:
    """True for a file whose content is larger than the file."""
    return Path(name).suffix.lower() in _PACKED


class Unreadable(Exception):
    """Carries out of the pass why the file is not read; a whole line for the operator."""


class Content:
    """A file during its pass. digest and size: of the bytes as they lie there, complete after `finish`."""

    def __init__(self, file: Path) -> None:
        self._suffix = file.suffix.lower()
        self._stream = file.open("rb", buffering=0)
        self.digest = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def finish(self) -> None:
        """Hash what the pass did not get to, because the file was refused before its end."""
        for _ in self._read():
            pass

    def pieces(self) -> Iterator[bytes]:
        """The unpacked content; the first piece holds at least `START` bytes, or all there are.

        Raises Unreadable for a format that is no text, and for a damaged or oversized archive.
        """
        if self._suffix in _OTHER_PACKED:
            raise Unreadable(f"{self._suffix} files are not read; deliver plain CSV, .gz or .bz2")
        packed = _PACKED.get(self._suffix)
        start, raw = _with_start(self._read())
        kind = _kind(start)
        if packed and start and kind != packed:
            raise Unreadable(f"named {self._suffix} but not {packed}; deliver it under its right name")
        if kind and not packed:
            hint = {"gzip": "name it .csv.gz", "bzip2": "name it .csv.bz2"}.get(kind, "deliver it as CSV")
            raise Unreadable(f"not text: the content is {kind}; {hint}")
        if not packed:
            yield from raw
            return
        start, unpacked = _with_start(self._capped(_unpack(raw, self._suffix)))
        if kind := _kind(start):
            raise Unreadable(f"not text: the {self._suffix} holds {kind}; deliver it as CSV, packed once at most")
        yield from unpacked

    def _read(self) -> Iterator[bytes]:
        while chunk := self._stream.read(CHUNK):
            self.digest.update(chunk)
            self.size += len(chunk)
            yield chunk

    def _capped(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        out = 0
        for piece in pieces:
            out += len(piece)
            # Against what was read so far: a bomb is noticed before it is unpacked.
            if out > _FREE_EXPANSION and out > self.size * MAX_EXPANSION:
                raise Unreadable(f"unpacks to more than {MAX_EXPANSION} times its size; unpack it by hand if that is right")
            yield piece


def _with_start(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= START:
            break
    return start, _chain(start, pieces)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _kind(start: bytes) -> str | None:
    return next((kind for magic, kind in _KINDS if magic.match(start)), None)


def _unpack(raw: Iterator[bytes], suffix: str) -> Iterator[bytes]:
    """Several members one after the other are one file, as for Hadoop.

    Bytes behind the last member end a .gz badly and a .bz2 well, there as here.
    """
    new: Callable[[], zlib._Decompress | bz2.BZ2Decompressor] = (
        (lambda: zlib.decompressobj(wbits=31)) if suffix == ".gz" else bz2.BZ2Decompressor
    )
    unpacker, members, fresh = new(), 0, True
    for packed in raw:
        data, more = packed, True
        while more:
            if fresh and members and suffix == ".bz2" and not data.startswith(b"BZh"[: len(data)]):
                return
            try:
                piece = unpacker.decompress(data, CHUNK)
            except (zlib.error, OSError, ValueError) as error:
                where = "bytes behind the end of the" if fresh and members else "damaged"
                raise Unreadable(f"{where} {suffix} archive ({error}); deliver it again") from None
            fresh = False
            if piece:
                yield piece
            if unpacker.eof:
                data, unpacker, members, fresh = unpacker.unused_data, new(), members + 1, True
                more = bool(data)
            elif isinstance(unpacker, bz2.BZ2Decompressor):
                data, more = b"", not unpacker.needs_input
            else:
                data = unpacker.unconsumed_tail
                more = bool(data) or len(piece) == CHUNK
    if not fresh:
        raise Unreadable(f"truncated {suffix} archive; deliver it again")
