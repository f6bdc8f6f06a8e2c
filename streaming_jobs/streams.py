"""Structured Streaming plumbing: the two kinds of source, the trigger, the end of a query.

`foreachBatch` is at-least-once: a batch that failed, or whose end was not recorded, comes again with
the same id and the same offsets. Whoever writes in a batch function must survive that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path

from py4j.clientserver import ClientServerConnection
from py4j.java_gateway import quiet_shutdown
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs.run import Clock
from streaming_jobs.stop import Stop

BatchFunction = Callable[[DataFrame, int, Clock], None]
"""Rows, the batch's id, and a clock that began with its planning; that is its first stage, `plan`."""

_SPECIAL = "[]{}*?\\"
_NAMED_FILES = 32  # more roots than that are listed by a Spark job
_POLL_SECONDS = 0.2
_END_SECONDS = 5  # for a thread that has nothing left to do


def read_file_names(spark: SparkSession, listed: str, name_filter: str, max_files: int) -> DataFrame:
    """Stream of files as they appear: one row per file, column `path` as a raw, unescaped URI.

    listed: `everything` in a folder, or `exactly` these files of it.

    The source knows a file by its path only and reads each once; content is pruned, so a batch costs
    a listing. `maxFileAge` is as good as infinite: with Spark's default of seven days, files with old
    modification times are never read.
    """
    return (
        spark.readStream.format("binaryFile")
        .schema("path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY")
        # Recursive also keeps names with glob characters from listing other files again (SPARK-58518).
        .option("recursiveFileLookup", "true")
        .option("pathGlobFilter", name_filter)
        .option("maxFilesPerTrigger", max_files)
        .option("maxFileAge", "36500d")
        # Gone since it was listed, it is no name; for the rows of files that still stays a failure.
        .option("ignoreMissingFiles", "true")
        .load(listed)
        .select("path")
    )


def everything(folder: Path) -> str:
    """The folder with its sub-folders, to be listed. Spark does it twice, at 0.2 s for 3 000 files."""
    return escape(str(folder))


def exactly(folder: Path, paths: Collection[str]) -> str | None:
    """These files of the folder and no other; None: they are none or many, or Hadoop would take a character of one for more than itself.

    One that is gone by then is no failure, as it would be of a path that is no pattern. The folder stands inside the braces: such a
    pattern is taken apart into its paths, and any other would be compared with all that lies in the folder.
    """
    each = [f"{folder.name}/{path}" for path in paths]
    plain = folder.name and {*_SPECIAL, ","}.isdisjoint("".join(each))
    return f"{escape(str(folder.parent))}/{{{','.join(each)}}}" if plain and 0 < len(each) <= _NAMED_FILES else None


def read_changes(spark: SparkSession, table: Path, since: int | None = None) -> DataFrame:
    """Stream of a table's change feed.

    since: the version whose changes come first under a new checkpoint; None: the table as it is, as inserts.
    """
    reader = spark.readStream.format("delta").option("readChangeFeed", "true")
    return (reader if since is None else reader.option("startingVersion", since)).load(str(table))


def run_available(rows: DataFrame, batch: BatchFunction, checkpoint: Path, stop: Stop) -> None:
    """Process everything that is available now, in micro-batches, and return when it is done.

    Whatever the batch function raises is raised here as it was. A signal ends the run before the next
    micro-batch.
    """
    raised: list[BaseException] = []
    callbacks: dict[threading.Thread, ClientServerConnection] = {}
    clock = Clock()

    def guarded(frame: DataFrame, batch_id: int) -> None:
        nonlocal clock
        callbacks[threading.current_thread()] = _of_this_thread(frame.sparkSession)
        try:
            stop.check()
            clock.lap("plan")
            batch(frame, batch_id, clock)
            clock = Clock()
        except BaseException as error:
            # Spark passes on the text only; the object stays here.
            raised.append(error)
            raise RuntimeError(str(error)) from error

    query = rows.writeStream.trigger(availableNow=True).option("checkpointLocation", str(checkpoint)).foreachBatch(guarded).start()
    try:
        while not query.awaitTermination(_POLL_SECONDS):  # type: ignore[arg-type]  # takes fractions
            pass
    except PySparkException as error:
        raise (raised[0] if raised else error) from None
    finally:
        if query.isActive:
            query.stop()
        # The JVM calls from a thread that has ended with the query. Its connection, and the thread that waits at our end of it, would
        # stay for ever: 3 threads and 8 MB in every round of `watch`.
        for thread, connection in callbacks.items():
            quiet_shutdown(connection.socket)
            thread.join(_END_SECONDS)
    if raised:
        raise raised[0]


def _of_this_thread(spark: SparkSession) -> ClientServerConnection:
    """The connection by which the JVM called the batch function."""
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    return gateway._gateway_client.get_thread_connection()


def pack_files(spark: SparkSession) -> None:
    """Let one task read many small files, in the session of a micro-batch, which is its own.

    Elsewhere each file is a task, which reading CSV depends on (`reading`): for tables of many small files that is most of the time.
    """
    spark.conf.set("spark.sql.files.openCostInBytes", str(4 << 20))


def compile_expressions(spark: SparkSession) -> None:
    """Let many rows be read with compiled expressions, in the session of a micro-batch that was thought to have few."""
    spark.conf.set("spark.sql.codegen.wholeStage", "true")
    spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK")


def query_id(spark: SparkSession) -> str:
    """The id of the query whose batch function is running; it is born and dies with the checkpoint."""
    found = spark.sparkContext.getLocalProperty("sql.streaming.queryId")
    assert found is not None, "only inside a micro-batch"
    return found


def escape(path: str) -> str:
    """A path as Spark takes it in a path list: its own name, not a pattern."""
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in path)
