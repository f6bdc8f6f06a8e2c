"""Probed CSV files as Bronze's rows, through Spark's own reader."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import ledger, streams, tables
from streaming_jobs.contract import Contract
from streaming_jobs.probe import Facts

_ROWS_PER_FILE = 1 << 33  # monotonically_increasing_id keeps the partition above this bit
BYTES_PER_OUTPUT_FILE = 64 << 20
_FILES_PER_OUTPUT_FILE = 500
_BUFFER_CHARACTERS = 1 << 17
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._=-]+")  # no sub-folder, nothing that is percent-encoded

PROVENANCE = [
    ("_extra", "MAP<STRING,STRING>"),
    ("_malformed", "STRING"),
    ("_file", "STRING"),
    ("_file_modified_at", "TIMESTAMP"),
    ("_row", "BIGINT"),
    ("_ingest_id", "BIGINT"),
    ("_ingested_at", "TIMESTAMP"),
]


def read(spark: SparkSession, contract: Contract, folder: Path, files: Sequence[Facts], ingest_id: int) -> DataFrame:
    """The records of files that were probed, as Bronze's rows: one per CSV data record, in file order by `_row`.

    Columns are found by header name, never by position. A record with more or fewer cells than the
    header keeps its raw text in `_malformed`. `_row` counts records of the file from 1.
    """
    groups = groupby(sorted((f for f in files if f.header), key=_shape), key=_shape)
    frames = [_read_alike(spark, contract, folder, list(alike)) for _, alike in groups]
    schema = tables.schema([(c.name, "STRING") for c in contract.bronze.columns] + PROVENANCE[:5])
    rows = frames[0] if frames else spark.createDataFrame([], schema)
    for frame in frames[1:]:
        rows = rows.unionByName(frame)
    return rows.coalesce(output_files(files)).select(
        "*", F.lit(ingest_id).cast("bigint").alias("_ingest_id"), F.lit(ledger.now()).cast("timestamp").alias("_ingested_at")
    )


def output_files(files: Sequence[Facts]) -> int:
    """How many data files the rows of these files are written to."""
    return max(1, math.ceil(sum(f.size for f in files) / BYTES_PER_OUTPUT_FILE), math.ceil(len(files) / _FILES_PER_OUTPUT_FILE))


def _read_alike(spark: SparkSession, contract: Contract, folder: Path, files: Sequence[Facts]) -> DataFrame:
    """Read files of one encoding, delimiter and header, of plain or of other names, in one scan, one file per partition."""
    first, csv = files[0], contract.landing
    positions = [f"_c{n}" for n in range(len(first.header))]
    # An explicit schema of strings is applied by position; names come from our own reading of the header.
    cells = (
        spark.read.schema(", ".join(f"{p} STRING" for p in [*positions, "_corrupt"]))
        .option("header", csv.header)
        .option("sep", first.delimiter)
        .option("encoding", first.encoding)
        .option("quote", csv.quote)
        .option("escape", csv.escape)
        .option("multiLine", True)
        .option("mode", "PERMISSIVE")
        .option("columnNameOfCorruptRecord", "_corrupt")
        # A task keeps the buffers of all the files it has read; the default of 2 MB each fills a heap with a thousand.
        .option("inputBufferSize", _BUFFER_CHARACTERS)
        .csv([streams.escape(str(folder / f.path)) for f in files])
    )
    at = dict(first.mapping.columns)
    columns = [_cell(at.get(c.name)).alias(c.name) for c in contract.bronze.columns]
    pairs = [value for name, position in first.mapping.extra for value in (F.lit(name), _cell(position))]
    extra = F.create_map(*pairs) if pairs else F.lit(None)
    return cells.select(
        *columns,
        extra.cast("map<string,string>").alias("_extra"),
        F.col("_corrupt").alias("_malformed"),
        (F.col("_metadata.file_name") if _is_plain(first) else _file_name(folder)).alias("_file"),
        F.col("_metadata.file_modification_time").alias("_file_modified_at"),
        (F.monotonically_increasing_id().bitwiseAND(F.lit(_ROWS_PER_FILE - 1)) + 1).alias("_row"),
    )


def _file_name(folder: Path) -> Column:
    """The path relative to the landing folder; `_metadata` percent-encodes it, a plus sign excepted."""
    decoded = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    absolute = F.regexp_replace(decoded, "^file:/+", "/")
    return F.substr(absolute, F.lit(len(f"{folder}/") + 1))


def _cell(position: int | None) -> Column:
    return F.lit(None).cast("string") if position is None else F.col(f"_c{position}")


def _shape(found: Facts) -> tuple[str, str, tuple[str, ...], bool]:
    return found.encoding, found.delimiter, found.header, _is_plain(found)


def _is_plain(found: Facts) -> bool:
    """True for a name that stands in the metadata as it is: decoding it for every row takes as long as reading the row."""
    return _PLAIN_NAME.fullmatch(found.path) is not None


def unreadable(spark: SparkSession, contract: Contract, folder: Path, files: Sequence[Facts]) -> Iterator[tuple[str, str]]:
    """Find the files that Spark cannot read, with its reason, by halving; each half is read to the end."""
    try:
        read(spark, contract, folder, files, 0).write.format("noop").mode("overwrite").save()
    except (PySparkException, Py4JJavaError) as error:
        if len(files) == 1:
            yield files[0].path, f"Spark cannot read it: {_cause(error)}"
            return
        half = len(files) // 2
        yield from unreadable(spark, contract, folder, files[:half])
        yield from unreadable(spark, contract, folder, files[half:])


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes[-1].removeprefix("Caused by:").strip() if causes else lines[0])[:300]
