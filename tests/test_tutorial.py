"""docs/tutorial.md, run from its first command to its last, as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "tutorial.md"

# What cannot be the same twice, and what stands in its place. Everything else the page says as it is printed.
VARIES = (
    (r"(?<![\w.])\d+\.\d(?![\w.])", "SECONDS"),  # nothing else here has one decimal
    (r"(?!2026-03-0)\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d(\.\d+)?)?Z", "NOW"),  # the files are of the first days of March 2026
    (r"\b\d+ (min|s) ago", "AGE"),
    (r"(?m)^((bronze|silver|quarantine|gold)/\w+ +\d+) +\d+( \d+)*(?=  )", r"\1  BYTES"),  # of a table, by what Parquet makes of the time
)
END = "---- the end of a block ----"


@dataclass(frozen=True)
class Block:
    """What the reader types, and what the page says that it prints. run: False where the page leaves it to the reader."""

    commands: str
    printed: str
    run: bool


def blocks() -> list[Block]:
    """In order. A fence of another kind than `sh` is what the commands before it print."""
    found: list[Block] = []
    for kind, text in re.findall(r"^```(.*)\n((?:.*\n)*?)```$", PAGE.read_text("utf-8"), re.MULTILINE):
        if kind in ("sh", "sh not-run"):
            found.append(Block(text, "", kind == "sh"))
        else:
            last = found.pop()
            assert (kind, last.run, last.printed) in (("", True, ""), ("yaml", True, "")), text
            found.append(Block(last.commands, text, run=True))
    return found


def comparable(text: str) -> list[str]:
    """Lines without what varies. A table that holds some of it is as wide as that makes it, so blanks count once there."""
    same = text
    for pattern, instead in VARIES:
        same = re.sub(pattern, instead, same)
    return [line.rstrip() if same == text else re.sub(r" {2,}", "  ", re.sub("─+", "─", line)).rstrip() for line in same.splitlines()]


def said_by(run: list[Block], folder: Path) -> list[str]:
    """What each block prints to a user who types them all into one shell, in a folder that holds a checkout after `make demo`.

    A command that fails, and is not followed by `||`, ends the shell. The command line is a script of one line, because that of
    .venv/bin holds the path of the checkout for which it was installed.
    """
    scripts = folder / "streaming_jobs/.venv/bin"
    scripts.mkdir(parents=True)
    (scripts / "streaming-jobs").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m streaming_jobs "$@"\n')
    (scripts / "streaming-jobs").chmod(0o755)
    typed = folder / "typed.sh"
    typed.write_text("".join(f"{block.commands}\nprintf '%s\\n' '{END}'\n" for block in run))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMING_JOBS_")} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-e", str(typed)],
        cwd=folder / "streaming_jobs",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1200,
    )
    *said, rest = done.stdout.split(f"{END}\n")
    assert (done.returncode, rest, len(said)) == (0, "", len(run)), done.stdout
    return said


@pytest.mark.slow
def test_every_command_of_the_walk_through_prints_what_the_page_says(tmp_path: Path) -> None:
    run = [block for block in blocks() if block.run]
    for block, said in zip(run, said_by(run, tmp_path), strict=True):
        assert comparable(said) == comparable(block.printed), block.commands


def test_the_only_commands_that_are_left_to_the_reader_are_those_that_the_readme_begins_with() -> None:
    (left,) = (block for block in blocks() if not block.run)
    quick_start = (ROOT / "README.md").read_text("utf-8").split("## Quick start")[1]
    first = re.findall(r"```sh\n(.*?)```", quick_start, re.DOTALL)[0]
    assert left == Block(f"git clone ADDRESS streaming_jobs\ncd streaming_jobs\n{first}", "", run=False)
