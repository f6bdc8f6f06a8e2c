"""The archive of loaded classes (AppCDS of the JVM): with it Spark starts in half the time (docs/spark.md).

A JVM writes it when it ends, so any session can make one: that of the set-up, or the first run after
Java, Spark or a jar has changed. A JVM that is given an archive of other classes ignores it without a
word; so what an archive depends on is in its name, and one that does not fit is not found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from streaming_jobs import jars

_NAME = "classes-{}.jsa"


def fitting(folder: Path, java: Path, spark_home: Path, delta: Sequence[Path]) -> Path:
    """Where in `folder` the archive of this Java, this Spark and these jars is, or would be. Nothing is written."""
    used = [spark_home / "jars", *delta]
    # The JVM compares paths, sizes and times of what is on the class path.
    stamps = [f"{path} {info.st_size} {info.st_mtime_ns}" for path in used for info in [path.stat()]]
    identity = [str(java.resolve()), jars.java_version(java), *stamps]
    return folder / _NAME.format(hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16])


def of(folder: Path) -> Path:
    """As `fitting`, for the Java and the Spark that are installed here. Raises SetupError when one, or a jar in `folder`, is missing."""
    return fitting(folder, jars.require_java(), jars.spark_home(), jars.verify(folder))


def use(archive: Path) -> str:
    """The JVM's options that read it; none when there is no such archive."""
    return f'-XX:+IgnoreUnrecognizedVMOptions -Xshare:auto "-XX:SharedArchiveFile={archive}"' if archive.exists() else ""


def write(archive: Path) -> str:
    """The JVM's options that write it at the end, for `keep` to put in place; none when it is there or the folder is read-only."""
    if archive.exists() or not os.access(archive.parent, os.W_OK):
        return ""
    return f'-XX:+IgnoreUnrecognizedVMOptions -Xshare:auto "-XX:ArchiveClassesAtExit={_scratch(archive)}"'


def keep(archive: Path) -> None:
    """Put what this process's JVM wrote in place, whole, and remove the archives of what was there before."""
    written = _scratch(archive)
    if not written.exists():
        return
    written.replace(archive)
    for older in archive.parent.glob(_NAME.format("*")):
        if older != archive:
            older.unlink(missing_ok=True)


def _scratch(archive: Path) -> Path:
    return archive.with_name(f".{archive.name}.{os.getpid()}")
