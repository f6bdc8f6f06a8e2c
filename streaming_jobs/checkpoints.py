"""What Spark's checkpoints say, read without Spark: how far a stream has come.

Relied on, each with a test: a planned micro-batch N is `offsets/N`, a finished one `commits/N` too; the
last line of an offset of a Delta source is JSON with the id of the table, a version and the index of the
last file taken from it. Index -1 is the start of a version: all earlier ones are done. What does not
read like that is treated as work to do, and named by `flaw`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable

from streaming_jobs import snapshots

_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError)
_LONG_LOG = 128 << 10  # bytes: a thousand names
_FEW_COMMITS = 100  # of them Spark reads each by itself
_OF_APPENDS = ('{"add":', '{"commitInfo":', '{"txn":')


def is_new(checkpoint: Path) -> bool:
    """True when no micro-batch was ever planned under this checkpoint."""
    return _newest(checkpoint / "offsets") is None


def is_outdated(checkpoint: Path, table: Path) -> bool:
    """True when the stream surely cannot go on: the table was made anew under its name, or its columns since.

    A change of columns ends a stream over the change feed, and one that drops a column never lets it pass.
    """
    newest, source = _newest(checkpoint / "offsets"), snapshots.existing(table)
    if newest is None:
        return False
    try:
        offset = _offset(checkpoint, newest)
        if not _is_of(offset, source):
            return True
        first = offset["reservoirVersion"] + (offset["index"] >= 0)
        return any("metaData" in action for version in range(first, source.version() + 1) for action in actions(table, version))
    except _UNREADABLE:
        return False


def is_of_another(checkpoint: Path, table: Path) -> bool:
    """True when the stream surely read another table: this one was made anew under its name."""
    newest = _newest(checkpoint / "offsets")
    try:
        return newest is not None and not _is_of(_offset(checkpoint, newest), snapshots.existing(table))
    except _UNREADABLE:
        return False


def flaw(checkpoint: Path) -> str | None:
    """What keeps a stream from going on, in words and relative to the checkpoint; None: nothing that can be seen.

    Spark reads `metadata`, the newest two offsets, the newest commit and, for files, the log of the source. Without the newest
    commit it does the batch again, which is no flaw.
    """
    offsets, commits = _numbers(checkpoint / "offsets"), _numbers(checkpoint / "commits")
    if not offsets and not commits:
        return None
    if query_id(checkpoint) is None:
        return "metadata is missing or damaged"
    for log, numbers in (("offsets", offsets), ("commits", commits)):
        if gap := _gap(numbers):
            return f"{log}/{gap} is missing"
    if not offsets or (commits and commits[-1] > offsets[-1]):
        return f"offsets/{commits[-1]} is missing"
    for log, number in [*(("offsets", n) for n in offsets[-2:]), *(("commits", n) for n in commits[-1:])]:
        if not _is_whole(checkpoint / log / str(number)):
            return f"{log}/{number} is empty or cut off"
    return _flaw_of_source(checkpoint, offsets[-1])


def _flaw_of_source(checkpoint: Path, batch: int) -> str | None:
    """Of a stream of files: what its log of files read lacks."""
    try:
        reached = _offset(checkpoint, batch).get("logOffset")
    except _UNREADABLE:
        return f"offsets/{batch} is empty or cut off"
    if reached is None:
        return None
    log = checkpoint / "sources" / "0"
    compact = max((int(p.stem) for p in log.glob("*.compact") if p.stem.isdecimal()), default=-1)
    names = [f"{compact}.compact"] if compact >= 0 else []
    names += [str(n) for n in range(compact + 1, reached + 1)]
    return next((f"sources/0/{name} is missing or cut off" for name in names if not _is_whole(log / name)), None)


def unfinished(checkpoint: Path) -> int | None:
    """The micro-batch that was planned and has not ended: it is at work, was stopped, or is held back; None: there is none."""
    planned = _newest(checkpoint / "offsets")
    return planned if planned != _newest(checkpoint / "commits") else None


def query_id(checkpoint: Path) -> str | None:
    """The id of the stream's query; None: there is none, or it cannot be read."""
    try:
        return str(json.loads((checkpoint / "metadata").read_text("utf-8"))["id"])
    except _UNREADABLE:
        return None


def is_ahead(checkpoint: Path, table: Path) -> int | None:
    """The version that a stream has read of a table which has not come so far, because it was set back; None: it was not."""
    try:
        offset = _offset_in(checkpoint, table)
        read = -1 if offset is None else int(offset["reservoirVersion"]) - (offset["index"] < 0)
        return read if read > snapshots.existing(table).version() else None
    except _UNREADABLE:
        return None


def is_set_back(checkpoint: Path, writes: Mapping[Path, str]) -> int | None:
    """The batch that tables have and the checkpoint does not know, because an older copy of it was restored; None: there is none.

    writes: table -> the application id by which this query writes to it. Its next batch would carry a number that the tables have
    already, and be skipped without a word.
    """
    newest = _newest(checkpoint / "offsets")
    if newest is None:
        return None
    known = [found.transaction_version(app) for table, app in writes.items() if (found := snapshots.newest(table))]
    highest = max((version for version in known if version is not None), default=-1)
    return highest if highest > newest else None


def feed_is_gone(checkpoint: Path, table: Path) -> str | None:
    """What a stream over the change feed needs to go on and cannot have, because it was cleaned away; None: it is all there."""
    try:
        reached = _offset_of(checkpoint, table, _newest(checkpoint / "commits"))
        first = first_commit(checkpoint, table)
        if reached is None or first is None or reached["isStartingVersion"]:
            return None
        for version in range(first, snapshots.existing(table).version() + 1):
            commit = _commit(table, version)
            if not commit.exists():
                return f"_delta_log/{commit.name}"
            if version < int(reached["reservoirVersion"]):
                continue
            for path in _still_read_of(version, reached, table):
                if not (table / path).exists():
                    return path
    except _UNREADABLE:
        return None
    return None


def still_read(checkpoint: Path, table: Path) -> set[str] | None:
    """Files, relative to the table, that a stream over its change feed has still to read though the table may have let go of them.

    None: that cannot be told, because a micro-batch is planned that has not ended, or the checkpoint cannot be read.
    """
    newest = _newest(checkpoint / "offsets")
    if newest is None:
        return set()  # it begins with the table as it is
    try:
        offset = _offset_in(checkpoint, table)
        if newest != _newest(checkpoint / "commits") or (offset and offset["isStartingVersion"]):
            return None
        if offset is None:
            return set()
        versions = range(int(offset["reservoirVersion"]), snapshots.existing(table).version() + 1)
        return {path for version in versions for path in _still_read_of(version, offset, table)}
    except _UNREADABLE:
        return None


def beginning(checkpoint: Path, table: Path) -> int | None:
    """The version whose changes a stream that is new can begin with instead of the table as it is; None: none, or it is not new.

    Of a table that has only ever gained rows both are the same rows. Its few commits are files to read; the table as it is, for Spark, is
    a query over them, with expressions to compile that nothing else of a first load needs: 3 of 55 s (docs/spark.md).
    """
    if not is_new(checkpoint):
        return None
    try:
        created, *commits = [_commit(table, version) for version in range(snapshots.existing(table).version() + 1)]
        if not 0 < len(commits) < _FEW_COMMITS:
            return None
        return 0 if created.exists() and all(map(_only_adds, commits)) else None
    except _UNREADABLE:
        return None


def _only_adds(commit: Path) -> bool:
    """By how its lines begin, for they may be many: a writer that puts them otherwise is thought to do more."""
    with commit.open(encoding="utf-8") as lines:
        return all(line.startswith(_OF_APPENDS) for line in lines)


def first_commit(checkpoint: Path, table: Path) -> int | None:
    """The oldest version whose commit a stream over this very table opens when it is started again; None: it begins with what there is.

    Not that of the offset it has reached: Spark asks a source for the newest batch once more before it plans the next one, so the
    commit at which that batch began has to be there, though all of it was read (run with Spark 4.2 and Delta 4.4).
    """
    newest = _newest(checkpoint / "offsets")
    reached = _offset_of(checkpoint, table, newest)
    began = _offset_of(checkpoint, table, newest - 1) if newest else None
    if reached is None:
        return None
    return min(int(offset["reservoirVersion"]) for offset in (reached, began) if offset)


def files_of(checkpoint: Path, batch: int) -> list[str] | None:
    """The files of a planned micro-batch of a file stream, as unescaped URIs; None: cannot be told.

    Spark writes them down before the batch begins, and asking it for them is a job that opens each file.
    """
    try:
        after = _offset(checkpoint, batch - 1)["logOffset"] if batch else -1
        return [path for number in range(after + 1, _offset(checkpoint, batch)["logOffset"] + 1) for path in _logged(checkpoint, number)]
    except _UNREADABLE:
        return None


def discard(checkpoint: Path) -> None:
    """Let the stream begin again with its source as it is."""
    shutil.rmtree(checkpoint, ignore_errors=True)


def begin_anew(checkpoint: Path) -> None:
    """Let a stream of files forget what it has read, once that is much; not while a micro-batch has not ended.

    Spark keeps the name of every file for ever and reads all at each start: 0.2 s for 3 000. For a stream that is not going to be
    shown those files again, or whose reader knows them.
    """
    log = checkpoint / "sources" / "0"
    names = sum(entry.stat().st_size for entry in log.iterdir()) if log.is_dir() else 0
    if names < _LONG_LOG or unfinished(checkpoint) is not None:
        return
    # The folder stays: one that is missing was lost.
    away = checkpoint.with_name(f".{checkpoint.name}.away")
    discard(away)
    checkpoint.rename(away)
    checkpoint.mkdir()
    discard(away)


def is_behind(checkpoint: Path, table: Path) -> bool:
    """False only when a stream over the table's change feed has surely finished everything up to its newest version.

    Without a checkpoint a stream is behind when the table was ever written.
    """
    source = snapshots.existing(table)
    newest = _newest(checkpoint / "offsets")
    if newest is None:
        return bool(source.version() > 0)
    if newest != _newest(checkpoint / "commits"):
        return True
    try:
        offset = _offset(checkpoint, newest)
        if not _is_of(offset, source) or offset["isStartingVersion"]:
            return True
        reached, index = offset["reservoirVersion"], offset["index"]
        for version in range(reached, source.version() + 1):
            commit = actions(table, version)
            read = index + 1 if version == reached else 0
            if read != _changes(commit) or (read == 0 and not _only_joins_files(commit)):
                return True
        return False
    except _UNREADABLE:
        return True


def bytes_behind(checkpoint: Path, table: Path) -> int | None:
    """Bytes of the files that commits since the stream's offset added; None: cannot be told."""
    source = snapshots.existing(table)
    newest = _newest(checkpoint / "offsets")
    if newest is None:
        return table_bytes(table)
    try:
        return _bytes_changed(table, int(_offset(checkpoint, newest)["reservoirVersion"]), source.version())
    except _UNREADABLE:
        return None


def bytes_of(checkpoint: Path, table: Path, batch: int) -> int | None:
    """Bytes of the files that a planned micro-batch reads, or some more; None: cannot be told."""
    if batch == 0:
        return table_bytes(table)
    try:
        start, end = _offset_of(checkpoint, table, batch - 1), _offset_of(checkpoint, table, batch)
        return _bytes_changed(table, int(start["reservoirVersion"]), int(end["reservoirVersion"])) if start and end else None
    except _UNREADABLE:
        return None


def _bytes_changed(table: Path, first: int, last: int) -> int:
    """Bytes of the files that a change feed reads of these commits. Raises as `_offset`."""
    return sum(_bytes_of_changes(actions(table, version)) for version in range(first, min(last, snapshots.existing(table).version()) + 1))


def _bytes_of_changes(commit: Sequence[Mapping[str, Any]]) -> int:
    """Where a commit has files of changes they are all that is read of it, and not what it wrote again beside them."""
    whole = [a[kind] for a in commit for kind in ("add", "remove") if kind in a and changes_rows(a[kind])]
    return sum(int(file.get("size", 0)) for file in [a["cdc"] for a in commit if "cdc" in a] or whole)


def table_bytes(table: Path) -> int:
    """Bytes of the files a table consists of now; 0: no table."""
    found = snapshots.newest(table)
    if found is None:
        return 0
    return snapshots.amount(found).size


def _newest(log: Path) -> int | None:
    return max(_numbers(log), default=None)


def _numbers(log: Path) -> list[int]:
    """The batches of a log, lowest first."""
    return sorted(int(file.name) for file in log.iterdir() if file.name.isdecimal()) if log.is_dir() else []


def _gap(numbers: Sequence[int]) -> int | None:
    """The first number that is left out. Spark removes old batches from the beginning."""
    return next((n for n, m in zip(range(numbers[0], numbers[-1]), numbers, strict=False) if n != m), None) if numbers else None


def _is_whole(file: Path) -> bool:
    """True for a file of Spark's logs: a line with its version, then JSON on every line.

    Each is read once: they are never written again, and the log of a source may have a line for every file there ever was.
    """
    try:
        info = file.stat()
    except OSError:
        return False
    return _reads_whole(file, info.st_mtime_ns, info.st_size, info.st_ino)


@lru_cache(maxsize=256)
def _reads_whole(file: Path, *_stamp: int) -> bool:
    try:
        version, *lines = file.read_text("utf-8").splitlines()
        return version.startswith("v") and all(isinstance(json.loads(line), dict) for line in lines)
    except _UNREADABLE:
        return False


def _offset(checkpoint: Path, batch: int) -> dict[str, Any]:
    """The source's offset of a planned micro-batch. Raises one of _UNREADABLE when it is not as expected."""
    found: dict[str, Any] = json.loads((checkpoint / "offsets" / str(batch)).read_text("utf-8").splitlines()[-1])
    return found


def _logged(checkpoint: Path, number: int) -> list[str]:
    """What a source found at one look; every tenth file repeats all that came before. Raises one of _UNREADABLE."""
    log = checkpoint / "sources" / "0"
    file = compact if (compact := log / f"{number}.compact").exists() else log / f"{number}"
    _, *lines = file.read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [unquote(entry["path"]) for entry in entries if entry["batchId"] == number]


def _offset_in(checkpoint: Path, table: Path) -> dict[str, Any] | None:
    """The newest offset of a stream over this very table; None: there is none, or it is of another. Raises as `_offset`."""
    return _offset_of(checkpoint, table, _newest(checkpoint / "offsets"))


def _offset_of(checkpoint: Path, table: Path, batch: int | None) -> dict[str, Any] | None:
    """The offset of a batch, of a stream over this very table; None: there is no batch, or it is of another. Raises as `_offset`."""
    offset = None if batch is None else _offset(checkpoint, batch)
    return offset if offset and _is_of(offset, snapshots.existing(table)) else None


def _is_of(offset: dict[str, Any], source: DeltaTable) -> bool:
    return bool(offset["reservoirId"] == str(source.metadata().id))


def _only_joins_files(commit: Sequence[dict[str, Any]]) -> bool:
    """True for a commit that wrote the same rows in other files, and did nothing else."""
    files = [a[kind] for a in commit for kind in ("add", "remove") if kind in a]
    rest = {kind for a in commit for kind in a} - {"add", "remove", "commitInfo"}
    return bool(files) and not rest and not any(map(changes_rows, files))


def _changes(commit: Sequence[dict[str, Any]]) -> int:
    """How many files of a commit the change feed reads: its change files, else what it added and removed."""
    change_files = sum("cdc" in a for a in commit)
    return change_files or sum(changes_rows(a[kind]) for a in commit for kind in ("add", "remove") if kind in a)


def _files_of_feed(commit: Sequence[dict[str, Any]]) -> list[str]:
    """The files that the change feed reads of a commit, relative to the table."""
    kinds = ("cdc",) if any("cdc" in a for a in commit) else ("add", "remove")
    return [unquote(a[kind]["path"]) for a in commit for kind in kinds if kind in a and (kind == "cdc" or changes_rows(a[kind]))]


def _still_read_of(version: int, offset: dict[str, Any], table: Path) -> list[str]:
    """The files that a stream at this offset reads of a commit; of one that it has read to the end none."""
    commit = actions(table, version)
    done = version == int(offset["reservoirVersion"]) and offset["index"] + 1 == _changes(commit)
    return [] if done else _files_of_feed(commit)


def has_changed_rows(commit: Sequence[dict[str, Any]]) -> bool:
    """False for a commit that joined files, or changed properties."""
    return any(changes_rows(a[kind]) for a in commit for kind in ("add", "remove") if kind in a)


def changes_rows(file: dict[str, Any]) -> bool:
    """Of a file that a commit added or removed: false where it only moved rows from file to file."""
    return bool(file.get("dataChange", True))


def actions(table: Path, version: int) -> list[dict[str, Any]]:
    """What a commit of a table says. Raises OSError or ValueError when its file is missing or damaged."""
    return [json.loads(line) for line in _commit(table, version).read_text("utf-8").splitlines()]


def _commit(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020}.json"
