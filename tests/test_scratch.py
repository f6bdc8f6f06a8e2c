"""Where the JVM spills: one folder per process, gone with it, or with the next one after a kill."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streaming_jobs import scratch, settings
from streaming_jobs.settings import Settings
from tests.conftest import ROOT


@pytest.fixture
def at(tmp_path: Path) -> Settings:
    return settings.load(tmp_path)


def left(at: Settings) -> list[str]:
    return sorted(p.name for p in (at.home / "checkpoints/tmp").iterdir())


def test_a_folder_is_closed_to_others_and_goes_with_all_that_lies_in_it(at: Settings) -> None:
    made = scratch.make(at)
    (made.folder / "blocks").mkdir()
    (made.folder / "blocks/rows").write_text("of a person")
    assert made.folder.stat().st_mode & 0o077 == 0
    made.remove()
    assert left(at) == []


def test_what_another_process_uses_stays(at: Settings) -> None:
    others = scratch.make(at)
    (others.folder / "rows").write_text("")
    ours = scratch.make(at)
    assert (others.folder / "rows").exists()
    ours.remove()
    assert left(at) == [others.folder.name, f"{others.folder.name}.lock"]
    others.remove()


def test_what_a_killed_process_left_and_what_is_nobodys_goes_with_the_next_start(at: Settings) -> None:
    dies = """
import os, pathlib, sys
from streaming_jobs import scratch, settings
made = scratch.make(settings.load(pathlib.Path(sys.argv[1])))
(made.folder / "rows").write_text("of a person")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", dies, str(at.home)], cwd=ROOT, check=False).returncode == -9
    assert len(left(at)) == 2
    (at.home / "checkpoints/tmp/blockmgr-of-an-older-version").mkdir()
    (at.home / "checkpoints/tmp/library.so").write_text("")
    made = scratch.make(at)
    assert left(at) == [made.folder.name, f"{made.folder.name}.lock"]
    made.remove()


def test_what_a_cleaner_of_temporary_files_took_away_is_there_again(at: Settings) -> None:
    spill = scratch.make(at)
    for folder in ("blockmgr-1", "spark-1/pyspark-1"):
        (spill.folder / folder).mkdir(parents=True)
    spill.note()
    shutil.rmtree(spill.folder)
    spill.restore()
    there = {str(folder.relative_to(spill.folder)) for folder in spill.folder.rglob("*")}
    assert there == {"blockmgr-1", "spark-1", "spark-1/pyspark-1", *(f"blockmgr-1/{n:02x}" for n in range(64))}
    spill.remove()
