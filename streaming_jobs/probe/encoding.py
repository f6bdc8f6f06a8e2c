"""Which of the contract's encodings the content is valid text in."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from streaming_jobs.probe.content import Unreadable

_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 27})
_INVALID = "invalid byte"
_MAX_CONTROL = 0.01  # share of the bytes
# A byte-order mark and the contract's names for what it announces. UTF-32 first: its mark begins like UTF-16's.
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le", ("utf-32",)),
    (codecs.BOM_UTF32_BE, "utf-32-be", ("utf-32",)),
    (codecs.BOM_UTF16_LE, "utf-16-le", ("utf-16le", "utf-16")),
    (codecs.BOM_UTF16_BE, "utf-16-be", ("utf-16be", "utf-16")),
    (codecs.BOM_UTF8, "utf-8", ("utf-8",)),
)


def is_wide(encoding: str) -> bool:
    """Characters of two or four bytes each: no byte means anything by itself."""
    return encoding.startswith(("utf-16", "utf-32"))


def codec(encoding: str, start: bytes) -> str:
    """Python's codec for what Java reads under this name: UTF-16 and UTF-32 without a mark are big-endian there."""
    if encoding in ("utf-16", "utf-32"):
        return next((name for mark, name, means in _BOMS if encoding in means and start.startswith(mark)), f"{encoding}-be")
    return encoding


def _order(start: bytes) -> str | None:
    """By the NULs beside ASCII characters; None when there are none, or three of four bytes are."""
    high, low = start[0::2].count(0), start[1::2].count(0)
    if high == low or high + low > len(start) // 2:
        return None
    return "utf-16be" if high > low else "utf-16le"


class Encodings:
    """The encodings still possible, in the contract's order, while pieces of the content go by.

    A byte-order mark leaves only those that it announces. Text of one byte per ASCII character has no
    NUL, and wide text has some in any delimiter and line end, so the two kinds exclude each other.
    """

    def __init__(self, tried: Sequence[str], start: bytes) -> None:
        self._tried = tried
        self._offset = self._control = 0
        self._nul = False
        self._problems: dict[str, str] = {}
        mark = next(((name, means) for mark, name, means in _BOMS if start.startswith(mark)), None)
        possible = [name for name in tried if mark is None or name in mark[1]]
        if mark and not possible:
            raise Unreadable(
                f"{mark[1][0].upper()} by its byte-order mark, the contract says {tried[0]}; "
                f"add {mark[1][0]} to fallbackEncodings if that is right"
            )
        self._decoders = {name: codecs.getincrementaldecoder(codec(name, start))("strict") for name in possible}
        for name in possible:
            if mark is None and is_wide(name) and (order := _order(start)) and codec(name, start).replace("utf-16-", "utf-16") != order:
                self._drop(name, f"the bytes look like {order}; add that to fallbackEncodings if it is right")

    def feed(self, piece: bytes) -> None:
        """Raises Unreadable when no encoding is left."""
        narrow = [name for name in self._decoders if not is_wide(name)]
        nul = piece.find(0) if narrow else -1
        self._nul = self._nul or nul >= 0
        if narrow:
            self._control += len(piece) - len(piece.translate(None, _CONTROL))
        for name in list(self._decoders):
            # What comes first in the file is named, however it was cut into pieces.
            problem = self._invalid(name, piece if is_wide(name) or nul < 0 else piece[:nul])
            if problem is None and nul >= 0 and not is_wide(name):
                at = self._offset + nul
                problem = (
                    f"NUL byte at offset {at}; binary, or UTF-16: then add {'utf-16le' if at % 2 else 'utf-16be'} to fallbackEncodings"
                )
            if problem:
                self._drop(name, problem)
        self._offset += len(piece)

    def settle(self) -> str:
        """The best guess once the head of the content is known: without a NUL in it the text is not wide."""
        if not self._nul and not all(map(is_wide, self._decoders)):
            self._decoders = {name: decoder for name, decoder in self._decoders.items() if not is_wide(name)}
        return next(iter(self._decoders))

    def finish(self) -> str:
        """The first encoding in which the whole content is text. Raises Unreadable when there is none."""
        for name, decoder in list(self._decoders.items()):
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                self._drop(name, "ends in the middle of a character; deliver it again if it was cut off")
                continue
            if not is_wide(name) and self._control > self._offset * _MAX_CONTROL:
                self._drop(name, f"{self._control} control characters in {self._offset} bytes; binary?")
        return next(iter(self._decoders))

    def _invalid(self, name: str, piece: bytes) -> str | None:
        decoder = self._decoders[name]
        pending = len(decoder.getstate()[0])
        if name == "iso-8859-1" or (not is_wide(name) and not pending and piece.isascii()):
            return None
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError as error:
            byte, at = error.object[error.start], self._offset - pending + error.start
            return f"{_INVALID} 0x{byte:02X} at offset {at}"
        if is_wide(name) and "\0" in text:
            return "NUL characters in the text; binary?"
        return None

    def _drop(self, name: str, problem: str) -> None:
        del self._decoders[name]
        self._problems[name] = problem
        if self._decoders:
            return
        told = "; ".join(f"not {name}: {self._problems[name]}" for name in self._tried if name in self._problems)
        latin = "iso-8859-1" not in self._tried and all(p.startswith(_INVALID) for p in self._problems.values())
        raise Unreadable(told + ("; if it is iso-8859-1 add that to fallbackEncodings" if latin else ""))
