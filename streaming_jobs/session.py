"""The only place that starts Spark.

The JVM gets a session of its own, so that a signal to the process group does not kill it in the
middle of a batch, and inherits the descriptors of our locks, so that a lock outlives a killed
Python until the JVM is gone too.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from streaming_jobs import class_archive, jars, machine, scratch
from streaming_jobs.errors import SetupError
from streaming_jobs.scratch import Scratch
from streaming_jobs.settings import Settings

_SMALL = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
# Memory stays what the work needs: the parallel collector fills the heap before it looks at what is old, and by default a heap
# grows as soon as 40 % of it are in use after a look.
_LASTING = (
    "-XX:+UseSerialGC -XX:MinHeapFreeRatio=20 -XX:MaxHeapFreeRatio=40 -XX:+IgnoreUnrecognizedVMOptions -XX:TrimNativeHeapInterval=60000"
)
_BATCH = "-XX:+UseParallelGC -XX:+IgnoreUnrecognizedVMOptions -XX:TrimNativeHeapInterval=10000"
# A run of a minute is over before much of what the second compiler does has paid, and it does it on the cores of the work: later, and less
# of it at a time.
_MUCH_COMPILED = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000 "
    "-XX:Tier4BackEdgeThreshold=400000 -XX:FreqInlineSize=100 -XX:MaxInlineLevel=4 -XX:InlineSmallCode=800"
)
_MUCH = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}
_running: list[SparkSession] = []
"""The session that was started here. Not Spark's active one: after a stream that may be the session of its last micro-batch."""
_spill: list[Scratch] = []
_END_SECONDS = 30  # for shutdown hooks; about 0.5 is usual
_ARCHIVE_SECONDS = 180  # where the archive of classes is written too; about 15 is usual
_LOG4J = Path(__file__).with_name("log4j2.properties")

# Reasons and measurements stand in docs/spark.md, one line each.
_CONF: Mapping[str, str] = {
    "spark.app.name": "streaming_jobs",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.session.timeZone": "UTC",
    # Otherwise `${HOME}` in a value, as part of a predicate, is looked up and becomes something else.
    "spark.sql.variable.substitute": "false",
    "spark.sql.ansi.enabled": "true",
    # Its default, said because the default is looked up in the environment each time, and interpreted expressions ask per value.
    "spark.sql.types.framework.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.buffer.pageSize": "4m",
    # A sort that spilled opens all its files at once, each with buffers of 3 MB instead of 1: too many for a small heap.
    "spark.unsafe.sorter.spill.read.ahead.enabled": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.enabled": "false",
    # One file per partition: the record number of a row depends on it.
    "spark.sql.files.maxPartitionBytes": "134217728",
    "spark.sql.files.openCostInBytes": "134217728",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
    "spark.sql.streaming.stopActiveRunOnRestart": "false",
    "spark.ui.showConsoleProgress": "false",
    # For a UI that is not there; a thousand of each are kept otherwise.
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "100",
    "spark.sql.ui.retainedExecutions": "10",
    "spark.sql.streaming.ui.enabled": "false",
    "spark.sql.streaming.numRecentProgressUpdates": "1",
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}


@contextmanager
def opened(settings: Settings, lock_fds: Iterable[int] = (), *, small: bool = False, lasting: bool = False) -> Iterator[SparkSession]:
    """A session for one piece of work: the one that runs, or one that is started here and gone afterwards.

    small: little data is expected. Compiling expressions and machine code takes longer than such work does,
    so both are left out: half the time for a day of 200 rows, several times as long for millions.

    lasting: it will stay for long and see work of every size, which `suit` is told of. It does not write the archive of classes,
    which would be at its end.

    Gone means that the JVM has ended and let go of the locks, so that the next command can have them.
    """
    if _running:
        yield _running[0]
        return
    archive = class_archive.of(settings.jars)
    written = "" if lasting else class_archive.write(archive)
    compiled = "-XX:TieredStopAtLevel=1" if small else "" if lasting else _MUCH_COMPILED
    young = machine.young(settings.driver_memory, 256 if lasting else 384)
    # A run's is as large from the start: one that grows after each look has looked three times, and kept what it saw too early, by then.
    collected = _LASTING if lasting else f"{_BATCH} -XX:NewSize={young}"
    options = (written, collected, f"-XX:MaxNewSize={young}", compiled)
    try:
        yield start(settings, lock_fds, _SMALL if small else None, " ".join(options))
    finally:
        _end_jvm(_ARCHIVE_SECONDS if written else _END_SECONDS)
        class_archive.keep(archive)


def suit(spark: SparkSession, settings: Settings, *, small: bool) -> None:
    """Let the session do little work, or much, in the way that is faster for it, and have its folder for spill where it was wiped."""
    for spill in _spill:
        spill.restore()
    for name, value in _SMALL.items():
        spark.conf.set(name, value if small else _MUCH[name])
    spark.conf.set("spark.sql.shuffle.partitions", "1" if small else str(settings.shuffle_partitions))


def prepare(spark: SparkSession, settings: Settings, work: Iterable[Callable[[SparkSession], None]]) -> None:
    """Let the JVM do, beside the work, what it will have to do next: most of a short run is the first time of everything.

    First the tables of `lower` and `upper`, which Silver's first row would wait for. Then each piece of `work`, once, with a row that
    nobody needs, in a session of its own. A core is free for it most of the time (docs/spark.md). What it raises, the work itself
    will tell; a JVM that has ended meanwhile needs none of it.
    """

    def practise() -> None:
        with suppress(Exception):
            other = spark.newSession()
            suit(other, settings, small=True)
            assert other._jvm is not None
            other._jvm.java.lang.Class.forName("org.apache.spark.sql.catalyst.util.CollationAwareUTF8String")
            for piece in work:
                piece(other)

    threading.Thread(target=practise, daemon=True).start()


def is_alive() -> bool:
    """False when the JVM that was started here has ended."""
    gateway = SparkContext._gateway
    return gateway is not None and gateway.proc.poll() is None


def start(
    settings: Settings, lock_fds: Iterable[int] = (), conf_over: Mapping[str, str] | None = None, java_options: str = ""
) -> SparkSession:
    """Start the JVM and a session with Delta; a second call returns the session that runs.

    lock_fds: descriptors the JVM inherits. conf_over: Spark settings that go before ours. java_options: more of them.
    Raises SetupError when Java is missing or too old, or a jar is missing or altered.
    """
    if _running:
        return _running[0]
    archive = class_archive.of(settings.jars)
    # Ours, whatever the environment names, and by one path: the class archive is good for that path only.
    os.environ["SPARK_HOME"] = str(jars.spark_home())
    conf = SparkConf(loadDefaults=False)
    conf.setMaster(f"local[{settings.cores}]")
    spill = scratch.make(settings)
    java = f"{class_archive.use(archive)} {java_options}"
    conf.setAll([*_conf(settings, spill.folder, java).items(), *(conf_over or {}).items()])
    # The UI and every other server of Spark resolve this name, not the bind address alone.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # Rows come back from the JVM as naive datetimes in this process's zone.
    os.environ["TZ"] = "UTC"
    # For the JVM: by default its compilers' memory ends up in pieces in many arenas and is not given back.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    time.tzset()
    noise = settings.home / "checkpoints" / "spark.log"
    noise.write_bytes(b"")
    _log_to(noise)
    with noise.open("ab") as log:
        try:
            gateway = launch_gateway(  # type: ignore[no-untyped-call]
                conf, popen_kwargs={"start_new_session": True, "pass_fds": (*lock_fds, spill.lock), "stdout": log, "stderr": log}
            )
        except PySparkRuntimeError:
            spill.remove()
            raise SetupError(f"Spark did not start; nothing was read or written. The reason is at the end of {noise}.") from None
    _spill.append(spill)
    SparkContext._ensure_initialized(gateway=gateway)
    spark = SparkSession.builder.config(conf=conf).getOrCreate()
    spill.note()
    # They write a failure to stderr that is reported by us.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True
    # Importing it registers the conversion of Delta's conflict errors; without it they are bare Py4JJavaErrors.
    import delta.exceptions  # noqa: F401

    _running.append(spark)
    return spark


def _log_to(noise: Path) -> None:
    """What Python's libraries log goes where the words of the JVM go.

    When the JVM is gone py4j reports it through the root logger, which without a handler would be set up to write to stderr.
    """
    if not logging.root.handlers:
        logging.root.addHandler(logging.FileHandler(noise, "a", "utf-8", delay=True))


def _end_jvm(seconds: int) -> None:
    """End the JVM by closing its standard input, as Python's own end would, and wait for it.

    No `stop()` first: no query is running any more, and the JVM's shutdown hooks clean up after it.
    """
    gateway = SparkContext._gateway
    if gateway is None:
        return
    _running.clear()
    # First, so that Python's garbage collector sends nothing more: it would meet a closed connection, now and then.
    gateway.shutdown()
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(seconds)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
    while _spill:
        _spill.pop().remove()


def _conf(settings: Settings, spill: Path, java_options: str) -> dict[str, str]:
    java = f'-Duser.timezone=UTC -Dlog4j2.configurationFile={_LOG4J.as_uri()} "-Djava.io.tmpdir={spill}" {java_options}'
    return {
        **_CONF,
        "spark.driver.extraClassPath": os.pathsep.join(str(jar) for jar in jars.verify(settings.jars)),
        "spark.driver.memory": settings.driver_memory,
        "spark.hadoop.fs.permissions.umask-mode": settings.umask,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.driver.extraJavaOptions": java,
        "spark.local.dir": str(spill),
        "spark.sql.warehouse.dir": tempfile.gettempdir(),  # never used: every table is addressed by its path
    }
