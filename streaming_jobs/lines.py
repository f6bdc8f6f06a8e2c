"""Files in which every line is a record, as Bronze's rows without Spark: in a fraction of the time of its reader, and without a job.

Only where nothing is left to a reader's judgement: the probe saw no quote and one kind of line end, the text is UTF-8, and every
line has the cells of the header. All other files go through `reading`, which gives the same rows for these
(`tests/test_lines.py`). Data files are written first and committed together; one that was not committed belongs to no table, and
`maintain` removes it.
"""

from __future__ import annotations

import codecs
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from streaming_jobs import commits, ledger, probe, reading, small, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.probe import Facts
from streaming_jobs.tables import Txn

_ROW_GROUP_BYTES = 32 << 20  # of rows in memory
_BLOCK_BYTES = 4 << 20
_PRUNED = ("_file", "_ingest_id")  # what readers of Bronze pass over files by


class _OtherwiseRead(Exception):
    """A line of another width or longer than a block, no line at all, or no file any more: the other reader has to say what it is."""


@dataclass(frozen=True)
class Written:
    """Data files that no commit names yet. files: whose rows they hold. ragged: those that are to be read otherwise."""

    files: tuple[Facts, ...]
    ragged: tuple[Facts, ...]
    data: tuple[AddAction, ...]


def may_be(found: Facts) -> bool:
    """Whether all that the probe saw speaks for a file of lines."""
    # Blank lines are no records; where there is one column it is no cell either, and its reader has to say what it is.
    return found.lines and len(found.header) > 1 and found.encoding == "utf-8" and not probe.is_packed(found.path)


def write(folder: Path, table: Path, contract: Contract, files: Sequence[Facts], ingest_id: int, threads: int) -> Written:
    """Write the records of these files to data files of Bronze, several at a time, and commit nothing."""
    schema = pa.schema(snapshots.existing(table).schema().to_arrow())
    source = _Source(folder, contract, schema, ingest_id, ledger.now())

    def one(group: Sequence[Facts]) -> Written:
        return (_of_large if group[0].size > reading.BYTES_PER_OUTPUT_FILE else _of_small)(group, source, table)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        parts = list(pool.map(one, _groups(files)))
    return Written(*(tuple(item for part in parts for item in getattr(part, f.name)) for f in fields(Written)))


def commit(table: Path, written: Written, txn: Txn) -> None:
    """Make the rows part of the table, in one commit; skipped when `txn` is already in it."""
    if not small.has(table, txn):
        with commits.to(table) as held:
            held.create_write_transaction(list(written.data), "append", held.schema(), commit_properties=small.named(txn))


def discard(table: Path, data: Iterable[AddAction]) -> None:
    """Remove data files that are not to be committed."""
    for action in data:
        (table / action.path).unlink()


def _groups(files: Sequence[Facts]) -> Iterator[Sequence[Facts]]:
    """What goes into one data file; a file that gives several is alone."""
    large = [f for f in files if f.size > reading.BYTES_PER_OUTPUT_FILE]
    yield from ([f] for f in large)
    small = [f for f in files if f.size <= reading.BYTES_PER_OUTPUT_FILE]
    share = sum(f.size for f in small) / reading.output_files(small)
    group: list[Facts] = []
    held = 0
    for found in small:
        group.append(found)
        held += found.size
        if held >= share:
            yield group
            group, held = [], 0
    if group:
        yield group


@dataclass(frozen=True)
class _Source:
    """The records of files of one landing folder as rows of Bronze."""

    folder: Path
    contract: Contract
    schema: pa.Schema
    ingest_id: int
    ingested_at: datetime

    def of(self, found: Facts) -> Iterator[pa.RecordBatch]:
        """Of one file, of any size. Raises _OtherwiseRead."""
        before = 0
        for cells in _cells(self.folder / found.path, found, self.contract):
            yield self._rows(cells, [(found, before, cells.num_rows)])
            before += cells.num_rows

    def of_all(self, files: Sequence[Facts]) -> tuple[Sequence[pa.RecordBatch], Sequence[Facts]]:
        """Of small files of one header, read as one, because to begin takes as long as a thousand rows; and the files that are left.

        All are, where one of them has a line of another width or is gone: each by itself tells which.
        """
        try:
            bodies = [(found, body) for found in files if (body := _body(self.folder / found.path, self.contract))]
            content = b"".join(body for _, body in bodies)
            cells = pa_csv.read_csv(pa.BufferReader(content), **_how(files[0], block=len(content), skip=0)).combine_chunks().to_batches()
        except (pa.ArrowInvalid, OSError):
            return (), files
        parts = [(found, 0, body.count(b"\n")) for found, body in bodies]
        if [batch.num_rows for batch in cells] != [sum(count for _, _, count in parts)]:
            return (), files  # it was another file when it was probed
        taken = {found.path for found, _ in bodies}
        return [self._rows(cells[0], parts)], [found for found in files if found.path not in taken]

    def _rows(self, cells: pa.RecordBatch, parts: Sequence[tuple[Facts, int, int]]) -> pa.RecordBatch:
        """parts: of which files the cells are, of one header: file, records of it before these, records."""
        first, _, _ = parts[0]
        at, count = dict(first.mapping.columns), cells.num_rows
        told = {
            "_extra": _extra(cells, first),
            "_file": pa.concat_arrays([pa.repeat(pa.scalar(f.path), n) for f, _, n in parts]),
            # As exactly as Spark knows it.
            "_file_modified_at": pa.concat_arrays([pa.repeat(pa.scalar(probe.milliseconds(f.modified_at) * 1000), n) for f, _, n in parts]),
            "_row": pa.concat_arrays([pa.arange(before + 1, before + n + 1) for _, before, n in parts]),
            "_ingest_id": pa.repeat(pa.scalar(self.ingest_id), count),
            "_ingested_at": pa.repeat(pa.scalar(self.ingested_at), count),
        }
        columns = [
            cells.column(at[f.name]) if f.name in at else told[f.name].cast(f.type) if f.name in told else pa.nulls(count, f.type)
            for f in self.schema
        ]
        return pa.record_batch(columns, schema=self.schema)


def _body(file: Path, contract: Contract) -> bytes:
    """The lines behind the header, each with its end; nothing where there are none, or a blank one, which is no record."""
    content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    body = content.partition(b"\n")[2] if contract.landing.header else content
    if b"\n\n" in content or b"\n\r\n" in content:
        return b""
    return body if body.endswith(b"\n") or not body else body + b"\n"


def _cells(file: Path, found: Facts, contract: Contract) -> Iterator[pa.RecordBatch]:
    """All cells as text, an empty one as NULL. Raises _OtherwiseRead."""
    how = _how(found, block=_BLOCK_BYTES, skip=int(contract.landing.header))
    try:
        if found.size <= _BLOCK_BYTES:  # a stream takes longer to be opened than such a file to be read
            yield from pa_csv.read_csv(file, **how).to_batches()
            return
        with pa_csv.open_csv(file, **how) as stream:
            yield from stream
    except (pa.ArrowInvalid, OSError) as error:
        raise _OtherwiseRead from error


def _how(found: Facts, *, block: int, skip: int) -> dict[str, Any]:
    """What the reader of Arrow is told. block: bytes. skip: lines."""
    names = [f"_c{n}" for n in range(len(found.header))]
    return {
        "read_options": pa_csv.ReadOptions(use_threads=False, block_size=block, column_names=names, skip_rows=skip),
        "parse_options": pa_csv.ParseOptions(delimiter=found.delimiter, quote_char=False, double_quote=False, escape_char=False),
        "convert_options": pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    }


def _extra(cells: pa.RecordBatch, found: Facts) -> pa.Array:
    """The cells of columns that the contract does not know, by their name; NULL where the header has none."""
    rows, extra = cells.num_rows, found.mapping.extra
    kind = pa.map_(pa.string(), pa.string())
    if not extra:
        return pa.nulls(rows, kind)
    number = pa.arange(0, rows * len(extra))
    row = pc.divide(number, len(extra))
    column = pc.subtract(number, pc.multiply(row, len(extra)))
    names = pa.array([name for name, _ in extra]).take(column)
    values = pa.concat_arrays([cells.column(position) for _, position in extra]).take(pc.add(pc.multiply(column, rows), row))
    return pa.MapArray.from_arrays(pa.arange(0, rows * len(extra) + 1, len(extra)).cast(pa.int32()), names, values)


def _of_small(group: Sequence[Facts], source: _Source, table: Path) -> Written:
    """One data file of several; the rows of each wait for its end, so that none of a ragged one is written."""
    ragged: list[Facts] = []
    with _Data(table, source) as data:
        for alike in _alike(group):
            rows, left = source.of_all(alike) if len(alike) > 1 else ((), alike)
            data.put(rows)
            for found in left:
                try:
                    data.put(list(source.of(found)))
                except _OtherwiseRead:
                    ragged.append(found)
        read = tuple(f for f in group if f not in ragged)
        return Written(read, tuple(ragged), data.finish())


def _alike(group: Sequence[Facts]) -> Iterator[Sequence[Facts]]:
    """Files that follow each other and have one header, up to a block of them at a time."""
    for _, alike in groupby(group, lambda found: (found.header, found.delimiter, found.mapping)):
        together: list[Facts] = []
        size = 0
        for found in alike:
            if together and size + found.size > _BLOCK_BYTES:
                yield together
                together, size = [], 0
            together.append(found)
            size += found.size
        yield together


def _of_large(group: Sequence[Facts], source: _Source, table: Path) -> Written:
    """Several data files of one."""
    (found,) = group
    done: list[AddAction] = []
    left = source.of(found)
    try:
        while (first := next(left, None)) is not None:
            with _Data(table, source) as data:
                data.put([first])
                while data.bytes < reading.BYTES_PER_OUTPUT_FILE and (more := next(left, None)) is not None:
                    data.put([more])
                done += data.finish()
    except _OtherwiseRead:
        discard(table, done)
        return Written((), (found,), ())
    return Written((found,), (), tuple(done))


class _Data:
    """A data file that is being written, one row group after the other. Left without `finish`, it is gone."""

    def __init__(self, table: Path, source: _Source) -> None:
        self.bytes = 0  # of the rows, in memory
        self._schema, self._ingest_id, self._path = source.schema, source.ingest_id, table / f"part-{uuid.uuid4()}.zstd.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0  # asking all that wait again at every file took nine tenths of the time of 500 small ones
        self._files: set[str] = set()
        self._rows = 0

    def __enter__(self) -> _Data:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()
            self._path.unlink()

    def put(self, rows: Sequence[pa.RecordBatch]) -> None:
        size = sum(batch.nbytes for batch in rows)
        self._waiting += rows
        self._waiting_bytes += size
        self.bytes += size
        self._rows += sum(batch.num_rows for batch in rows)
        for batch in rows:
            self._files.update(pc.unique(batch.column("_file")).to_pylist())
        if self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._write()

    def finish(self) -> tuple[AddAction, ...]:
        """The file as a commit names it; nothing where there is no row."""
        if not self._rows:
            return ()
        self._write()
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        told, names = self._path.stat(), sorted(self._files)
        bounds = ({"_file": name, "_ingest_id": self._ingest_id} for name in (names[0], names[-1]))
        stats = {
            "numRecords": self._rows,
            **dict(zip(("minValues", "maxValues"), bounds, strict=True)),
            "nullCount": dict.fromkeys(_PRUNED, 0),
        }
        return (AddAction(self._path.name, told.st_size, {}, told.st_mtime_ns // 1_000_000, True, json.dumps(stats)),)

    def _write(self) -> None:
        self._writer = self._writer or pq.ParquetWriter(self._path, self._schema, compression="zstd", write_statistics=list(_PRUNED))
        self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._waiting_bytes = [], 0
