"""Names for what a source calls otherwise: columns, the dataset, the file pattern; and the words a name is made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile

from streaming_jobs.contract import SETTINGS, names
from streaming_jobs.contract.place import Place

_LONGEST = 64  # characters of a name made here
_PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "þ": "th"})
_PACKED = (".gz", ".bz2")


def words(name: str) -> frozenset[str]:
    """`customerEmail_2` is customer, email."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return frozenset(part for part in re.split(r"[^a-z]+", _ascii(parted)) if part)


def columns(headers: Sequence[str]) -> tuple[str, ...]:
    """A column name for each header: the header itself where a contract can take it. Unique regardless of case.

    A made name is never what another header says, because a header must mean one column.
    """
    delivered = {header.casefold() for header in headers}
    given: dict[str, str] = {}
    for position, header in enumerate(headers, 1):
        name, number = header, 1
        if not is_column(header) or len(header) > _LONGEST or header.casefold() in given:
            base = name = _identifier(header) or f"column_{position}"
            # Not its own header either, in another case: a name and its synonym must differ.
            while name.casefold() in delivered or name.casefold() in given or not is_column(name):
                number += 1
                name = f"{base}_{number}"
        given[name.casefold()] = name
    return tuple(given.values())


def is_column(name: str) -> bool:
    place = Place("")
    names.check_column(name, place)
    return not place.findings


def dataset(text: str) -> str | None:
    """A dataset's name made of a text; None when it holds no letter to begin with."""
    name = _word(text)
    return name if is_dataset(name) else None


def is_dataset(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None and f"{name}.yaml" != SETTINGS


def pattern(files: Sequence[str]) -> str:
    """One pattern for the names of a source's files: what looks like a date or a number is `*`, and so is what differs."""
    made = list(dict.fromkeys(_one_pattern(file) for file in files))
    if len(made) == 1:
        return made[0]
    start = _common(made)
    end = _common([name[len(start) :][::-1] for name in made])[::-1]
    return re.sub(r"\*{2,}", "*", f"{start}*{end}")


def _common(texts: Sequence[str]) -> str:
    """How all of them start."""
    signs = takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    return "".join(column[0] for column in signs)


def _one_pattern(file: str) -> str:
    stem, packed = next(((file[: -len(end)], file[-len(end) :]) for end in _PACKED if file.lower().endswith(end)), (file, ""))
    stem, dot, kind = stem.rpartition(".") if "." in stem[1:] else (stem, "", "")
    # Signs that a pattern gives a meaning.
    stem, kind = (re.sub(r"[\[\]*?]", "?", part) for part in (stem, kind))

    def numbered(found: re.Match[str]) -> str:
        many = sum(sign.isdigit() for sign in found[0]) >= 4
        last = found.end() == len(stem) and not stem[: found.start()][-1:].isalpha()
        return "*" if many or last else found[0]

    general = re.sub(r"[0-9](?:[0-9_.T-]*[0-9])?", numbered, stem)
    return f"{general}{dot}{kind}{packed}" if dot or packed else f"{general.rstrip('*')}*"


def _identifier(text: str) -> str:
    name = _word(text)
    return f"c_{name}" if name[:1].isdigit() else name


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _ascii(text)).strip("_")[:_LONGEST].rstrip("_")


def _ascii(text: str) -> str:
    """Lower case, without accents; what has no Latin letter for it stays and is left out by the callers."""
    apart = unicodedata.normalize("NFKD", text.lower().translate(_PLAIN))
    return "".join(sign for sign in apart if not unicodedata.combining(sign))
