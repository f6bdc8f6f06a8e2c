"""The archive of loaded classes: found only where it fits, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streaming_jobs import class_archive, settings
from streaming_jobs.errors import SetupError
from streaming_jobs.operations import archive_classes
from streaming_jobs.settings import Settings


@pytest.fixture
def install(tmp_path: Path) -> Path:
    """A Java, a Spark and one jar that consist of hardly anything."""
    (tmp_path / "java/bin").mkdir(parents=True)
    (tmp_path / "java/bin/java").write_text("")
    (tmp_path / "java/release").write_text('JAVA_VERSION="17.0.1"\n')
    (tmp_path / "spark/jars").mkdir(parents=True)
    (tmp_path / "delta").mkdir()
    (tmp_path / "delta/one.jar").write_text("one")
    return tmp_path


def fitting(install: Path) -> Path:
    return class_archive.fitting(install / "delta", install / "java/bin/java", install / "spark", [install / "delta/one.jar"])


def new_java(install: Path) -> None:
    (install / "java/release").write_text('JAVA_VERSION="17.0.2"\n')


def new_jar(install: Path) -> None:
    (install / "delta/one.jar").write_text("another")


def new_spark(install: Path) -> None:
    os.utime(install / "spark/jars", (1, 1))


@pytest.mark.parametrize("change", [new_java, new_jar, new_spark])
def test_an_archive_fits_until_java_spark_or_a_jar_changes(install: Path, change: Callable[[Path], None]) -> None:
    archive = fitting(install)
    archive.touch()
    assert fitting(install) == archive
    change(install)
    assert fitting(install) != archive
    assert not class_archive.use(fitting(install))
    assert class_archive.write(fitting(install))


def test_a_new_archive_takes_the_place_of_the_old_one_only_when_the_jvm_has_written_it(install: Path) -> None:
    old = fitting(install)
    old.touch()
    new_java(install)
    new = fitting(install)
    class_archive.keep(new)
    assert (old.exists(), new.exists()) == (True, False)
    written = Path(class_archive.write(new).split("-XX:ArchiveClassesAtExit=")[1].rstrip('"'))
    written.write_text("classes")
    class_archive.keep(new)
    assert sorted(p.name for p in (install / "delta").iterdir()) == sorted(["one.jar", new.name])
    assert not class_archive.write(new)


def test_the_session_of_the_suite_runs_on_an_archive(spark: SparkSession) -> None:
    assert spark._jvm is not None
    given = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()
    (archive,) = [a.split("=", 1)[1] for a in given if a.startswith("-XX:SharedArchiveFile=")]
    assert Path(archive).parent == settings.load(Path.cwd()).jars
    # What the JVM did with it, not what it was told: one that does not fit is ignored.
    assert archive in Path(f"/proc/{spark._jvm.java.lang.ProcessHandle.current().pid()}/maps").read_text()


def test_a_set_up_goes_on_without_an_archive(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: Settings) -> bool:
        raise SetupError("Spark did not start.")

    monkeypatch.setattr(archive_classes, "make", fail)
    assert archive_classes.main() == 0
    assert capsys.readouterr().err == "no class archive: Spark did not start. The set-up goes on; the first run makes one.\n"


def test_the_set_up_has_made_the_archive_of_this_java_and_these_jars() -> None:
    folder = settings.load(Path.cwd()).jars
    assert class_archive.of(folder).exists()
