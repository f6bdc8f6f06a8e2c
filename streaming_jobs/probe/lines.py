"""Whether each line of a file is a record for certain: nothing is quoted, and all lines end alike."""

from __future__ import annotations

import codecs
from collections.abc import Iterator


class Lines:
    """Looks at the bytes of a file in an encoding whose ASCII characters are bytes of their own, while they go by."""

    def __init__(self, quote: str) -> None:
        self._quote = quote.encode()
        self._first, self._held = True, b""
        self._plain = True
        self._cr = self._crlf = self._lf = 0

    def seen(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._plain:
                self._look(piece)
            yield piece

    @property
    def uniform(self) -> bool:
        """Once all of it was seen; a blank first line, in front of the header, is not."""
        return self._plain and not self._held and self._cr == self._crlf and self._crlf in (0, self._lf)

    def _look(self, piece: bytes) -> None:
        if self._first and piece.removeprefix(codecs.BOM_UTF8).startswith((b"\r", b"\n")):
            self._plain = False
        self._first = False
        piece = self._held + piece
        self._held = b"\r" if piece.endswith(b"\r") else b""  # half a line end, or a whole one
        self._plain = self._plain and not (self._quote and self._quote in piece)
        self._lf += piece.count(b"\n")
        if b"\r" in piece:
            self._cr += piece.count(b"\r") - len(self._held)
            self._crlf += piece.count(b"\r\n")
