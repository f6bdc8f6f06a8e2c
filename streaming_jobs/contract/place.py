"""Where in a contract something stands, and what is wrong there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Place:
    """One place of one file. Every place of a file shares the two lists, so no finding hides another.

    findings: lines that make the contract unusable. unused: legal keys that mean nothing here.
    """

    file: str
    where: str = ""
    findings: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def at(self, part: str) -> Place:
        return Place(self.file, f"{self.where}{part}", self.findings, self.unused)

    def wrong(self, text: str) -> None:
        line = f"{self.file}: {self.where}: {text}." if self.where else f"{self.file}: {text}."
        # Names come from the document; what would break the line, or steer a terminal, is written out.
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        # The schema and our own rules may see the same fault; the reader needs it once.
        if line not in self.findings:
            self.findings.append(line)

    def without_effect(self, text: str) -> None:
        self.unused.append(f"{self.where}: {text}" if self.where else text)


def nearest(name: str, known: Iterable[str], most: int = 12) -> str:
    """How a message about an unknown name ends: the nearest known one, else those there are."""
    names = sorted(set(known))
    folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(name.casefold(), list(folded), 1, 0.6)
    if near:
        return f"; did you mean {folded[near[0]]}"
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"; known here: {shown}" if names else ""


def shown(value: object, most: int = 60) -> str:
    """A value of the document inside a message: on one line, cut when long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[:most]}…"


def items(owner: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The mappings of a list in the document; whatever else stands there was already refused by the schema."""
    value = owner.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(owner: Mapping[str, Any], key: str) -> str | None:
    value = owner.get(key)
    return value if isinstance(value, str) and value.strip() else None
