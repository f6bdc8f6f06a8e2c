"""What lies in the landing folder, and what is to be done about it.

`compare` is the one pure function that decides: the Bronze run, the sweep behind it and every command
that only looks use the same answer. Nothing here reads the content of a file (see `probe`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from streaming_jobs.contract import Landing
from streaming_jobs.errors import UsageError
from streaming_jobs.ledger import ARCHIVED, LOADED, VANISHED, FileState, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDER = "a folder, not a file; what is in it is listed by itself"


@dataclass(frozen=True)
class Entry:
    """One name in the landing folder.

    path: relative to the landing folder, `/` between parts; bytes that are not UTF-8 as `\\xNN`.
    modified_at: UTC, microseconds. problem: why its content can never be read; None: it may be tried.
    """

    path: str
    size: int
    modified_at: datetime
    problem: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Each claimed name is in exactly one group; one that was refused or held back before is in none.

    new: no content of it is in Bronze. changed: some is, and it is to be looked at again (see `compare`).
    refused: its name or kind rules it out, and the ledger does not say so yet.
    missing: known to the ledger, not claimed in the folder now, and the ledger does not say so yet.
    unclaimed: in the folder, but hidden or not matched by the contract's path.
    ingested: in the folder and in Bronze, as it lies there.
    """

    new: tuple[Entry, ...] = ()
    changed: tuple[Entry, ...] = ()
    refused: tuple[Entry, ...] = ()
    missing: tuple[str, ...] = ()
    unclaimed: tuple[str, ...] = ()
    ingested: tuple[Entry, ...] = ()

    @property
    def candidates(self) -> tuple[Entry, ...]:
        return self.new + self.changed


def list_folder(folder: Path) -> tuple[Entry, ...]:
    """List the landing folder with its sub-folders, sorted by path; links are not followed.

    Raises UsageError when the folder is missing: an empty answer would look like "nothing to do".
    """
    require_folder(folder)
    return tuple(sorted(_walk(folder, ""), key=lambda e: e.path))


def named(folder: Path, paths: Iterable[str]) -> tuple[Entry, ...]:
    """What `list_folder` would have of these paths, without a look at any other."""
    inside = {"": True}

    def is_inside(parent: str) -> bool:
        if parent not in inside:
            above, _, _ = parent.rpartition("/")
            inside[parent] = is_inside(above) and stat.S_ISDIR(os.lstat(folder / parent).st_mode)
        return inside[parent]

    found = []
    for path in sorted(paths):
        parent, _, name = path.rpartition("/")
        # What cannot be looked at is not there; a whole listing, which comes after, says why.
        with suppress(OSError):
            if is_inside(parent):
                found.append(_entry(path, os.lstat(folder / path), name, name))
    return tuple(found)


def require_folder(folder: Path) -> None:
    """Raise UsageError when the landing folder is missing, or is something else."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"landing folder {folder} {what}; nothing was read. Create the folder, or correct `path` in the contract.")


def modified_at(info: os.stat_result) -> datetime:
    """The modification time in UTC, microseconds: as the listing, the probe and the ledger all have it, to be compared."""
    return _EPOCH + timedelta(microseconds=info.st_mtime_ns // 1000)


def compare(
    entries: tuple[Entry, ...], states: Mapping[str, FileState], landing: Landing, contract_changed_at: datetime | None = None
) -> Comparison:
    """Set the listing against the ledger. Pure.

    A file counts as unchanged only when size and modification time both equal what the ledger last
    decided on. A refusal is tried again when the file changes, when it was accepted by hand, or when
    the contract is younger than the refusal.
    """
    claimed = [e for e in entries if claims(landing, e.path) and e.problem != _FOLDER]
    new: list[Entry] = []
    changed: list[Entry] = []
    refused: list[Entry] = []
    ingested: list[Entry] = []
    for entry in claimed:
        state = states.get(entry.path)
        if entry.problem:
            if state is None or state.reason != entry.problem:
                refused.append(entry)
        elif state is None or _is_open(entry, state, contract_changed_at):
            (changed if state and state.loaded else new).append(entry)
        elif state.status in LOADED:
            ingested.append(entry)
    present = {e.path for e in claimed}
    gone = (p for p in states if p not in present)
    missing = [p for p in gone if states[p].status is not Status.MISSING and states[p].reason not in (ARCHIVED, VANISHED)]
    unclaimed = [e.path for e in entries if e.path not in present and e.problem != _FOLDER]
    return Comparison(tuple(new), tuple(changed), tuple(refused), tuple(sorted(missing)), tuple(unclaimed), tuple(ingested))


def claims(landing: Landing, path: str) -> bool:
    """True when the contract's path covers this file. Hidden names belong to their producer until renamed."""
    return not is_hidden(path) and _pattern(landing.glob).fullmatch(path) is not None


def is_hidden(path: str) -> bool:
    """Names that producers use while a file is being written. Spark's file source skips them too, but for `_a=b`."""
    return any(part.startswith((".", "_")) for part in path.split("/")) or path.endswith("._COPYING_")


def name_filter(landing: Landing) -> str:
    """A Hadoop glob for Spark's `pathGlobFilter` that lets at least every claimed file name through.

    It only keeps other datasets' files out of the stream's log; `claims` decides.
    """
    return re.sub(r"\[[^]]*\]", "?", landing.glob.rsplit("/", 1)[-1]).replace("**", "*")


def _is_open(entry: Entry, state: FileState, contract_changed_at: datetime | None) -> bool:
    if state.accepted or (entry.size, entry.modified_at) != (state.size, state.modified_at):
        return True
    if state.status in (Status.REJECTED, Status.HELD):
        return contract_changed_at is not None and contract_changed_at > state.decided_at
    return state.status not in LOADED or state.sha256 is None


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    with os.scandir(folder) as names:
        for name in names:
            info = name.stat(follow_symlinks=False)
            shown = os.fsencode(name.name).decode("utf-8", "backslashreplace")
            entry = _entry(prefix + shown, info, name.name, shown)
            yield entry
            if entry.problem == _FOLDER:
                yield from _walk(folder / name.name, f"{prefix}{shown}/")


def _entry(path: str, info: os.stat_result, name: str, shown: str) -> Entry:
    return Entry(path, info.st_size, modified_at(info), _problem(info.st_mode, name, shown))


def _problem(mode: int, name: str, shown: str) -> str | None:
    if stat.S_ISLNK(mode):
        return "a symbolic link; only regular files are read"
    if ":" in name:
        return "a colon in the name, which Hadoop paths cannot carry; rename it"
    if shown != name:
        return "the name is not valid UTF-8; rename it"
    if stat.S_ISDIR(mode):
        return _FOLDER
    return None if stat.S_ISREG(mode) else "not a regular file"


@lru_cache(maxsize=64)
def _pattern(glob: str) -> re.Pattern[str]:
    """`*` and `?` stop at `/`; `**` spans folders, none included; `[…]` is one character, `[!…]` its opposite."""
    out = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[[!^]?[^]]+\]|.", glob, re.DOTALL):
        if token == "**/":
            out += "(?:[^/]+/)*"
        elif token == "**":
            out += ".*"
        elif token == "*":
            out += "[^/]*"
        elif token == "?":
            out += "[^/]"
        elif len(token) > 1:
            negate = token[1] in "!^"
            out += f"[{'^/' if negate else ''}{token[2 if negate else 1 : -1]}]".replace("\\", "\\\\")
        else:
            out += re.escape(token)
    return re.compile(out, re.DOTALL)
