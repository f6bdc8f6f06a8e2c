"""Every file of a home searched for what was erased: names, bytes as they lie there, and what is packed inside. Without Spark."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streaming_jobs import marks
from streaming_jobs.contract import Contract
from streaming_jobs.forget.needles import Needles
from streaming_jobs.probe import CHUNK, is_packed
from streaming_jobs.probe.content import Content, Unreadable
from streaming_jobs.settings import Settings

_PLACES = ("conf", "data", "checkpoints")
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class Left:
    """A file in which something was found. place: relative to the home where it is in it. what: of it, never a value."""

    place: str
    what: str


@dataclass(frozen=True)
class Searched:
    """files, bytes: as they lie there. texts: how many were searched for; the key itself is one of them, or was looked for by cells."""

    files: int
    bytes: int
    texts: int


def search(contract: Contract, settings: Settings, wanted: Needles, known: Sequence[Left]) -> tuple[Searched, tuple[Left, ...]]:
    """Search everything that the project writes or reads. known: files that are named already; they are not named again."""
    patterns = sorted({text.encode(encoding) for text in wanted.texts for encoding in _ENCODINGS})
    names = [name for layer in ("bronze", "silver") for name in marks.tables(layer, contract)]
    files, size, left, named = 0, 0, [*known], {found.place for found in known}
    for file in _files(settings, contract):
        files, size = files + 1, size + file.stat().st_size
        place = settings.shown(file)
        if place in named:
            continue
        key = wanted.key if any(_is_of(file, name, settings) for name in names) else {}
        left += [Left(place, what) for what in _found(file, place, wanted.texts, patterns, key)]
    return Searched(files, size, len(wanted.texts)), tuple(left)


def _files(settings: Settings, contract: Contract) -> Iterator[Path]:
    roots = [settings.home / place for place in _PLACES] + [settings.landing(contract.landing.folder)]
    extra = [file for file in (settings.metrics_file, settings.openlineage_file) if file and file.is_file()]
    found = [Path(folder, name) for root in roots for folder, _, names in os.walk(root) for name in names]
    yield from sorted({file for file in (*found, *extra) if file.is_file() and not file.is_symlink()})


def _is_of(file: Path, name: str, settings: Settings) -> bool:
    """True for a file of this table, or of what was put aside of it (`damage.move_aside`)."""
    aside = settings.table("set-aside")
    if file.is_relative_to(aside):
        return file.relative_to(aside).parts[0].startswith(f"{name.replace('/', '-')}-")
    return file.is_relative_to(settings.table(name))


def _found(file: Path, place: str, texts: Sequence[str], patterns: Sequence[bytes], key: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """What of it is in a file, once per way of looking."""
    if any(text in place for text in texts):
        yield "in its name"
    if _holds(_pieces(file), patterns):
        yield "in its bytes"
    elif file.suffix == ".parquet":
        yield from _in_parquet(file, texts, key)
    elif is_packed(file.name):
        try:
            with Content(file) as content:
                if _holds(content.pieces(), patterns):
                    yield "in what is packed in it"
        except (Unreadable, OSError):
            yield "packed, and cannot be unpacked to be searched"


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(CHUNK):
            yield piece


def _holds(pieces: Iterable[bytes], patterns: Sequence[bytes]) -> bool:
    overlap = max(map(len, patterns), default=1) - 1
    end = b""
    for piece in pieces:
        data = end + piece
        if any(pattern in data for pattern in patterns):
            return True
        end = data[-overlap:] if overlap else b""
    return False


def _in_parquet(file: Path, texts: Sequence[str], key: Mapping[str, frozenset[str]]) -> Iterator[str]:
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches():
                if found := _in_batch(pa.Table.from_batches([batch]), texts, key):
                    yield found
                    return
    except (pa.ArrowException, OSError):
        yield "Parquet, and cannot be opened to be searched"


def _in_batch(rows: pa.Table, texts: Sequence[str], key: Mapping[str, frozenset[str]]) -> str | None:
    if key and set(key) <= set(rows.column_names):
        same = pa.array([True] * rows.num_rows, pa.bool_())
        for name, values in key.items():
            same = pc.and_(same, pc.is_in(rows[name].cast(pa.string()), pa.array(sorted(values))))
        if pc.any(same).as_py():
            return "in a row of the key"
    for name in rows.column_names:
        for leaf in _leaves(rows[name].combine_chunks()):
            different = pc.unique(leaf)
            if any(pc.any(pc.match_substring(different, text)).as_py() for text in texts):
                return f"in column {name}"
    return None


def _leaves(values: pa.Array) -> Iterator[pa.Array]:
    """The texts of a column, however deep they lie."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        yield values
    elif pa.types.is_binary(values.type):
        yield values.cast(pa.string())
    elif pa.types.is_struct(values.type):
        for part in values.flatten():
            yield from _leaves(part)
    elif pa.types.is_map(values.type):
        yield from _leaves(values.keys)
        yield from _leaves(values.items)
    elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        yield from _leaves(values.flatten())
