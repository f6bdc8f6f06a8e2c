"""The README's quick start, run as it is written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from deltalake import DeltaTable, QueryBuilder

from tests.conftest import ROOT


def commands() -> str:
    """The shell blocks of the quick start, in order."""
    quick_start = (ROOT / "README.md").read_text("utf-8").split("## Quick start")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", quick_start, re.DOTALL))


def printed() -> list[str]:
    """The output blocks of the quick start without figures, which differ from machine to machine only in seconds."""
    quick_start = (ROOT / "README.md").read_text("utf-8").split("## Quick start")[1].split("\n## ")[0]
    return without_seconds("\n".join(re.findall(r"```\n(.*?)```", re.sub(r"```sh.*?```", "", quick_start, flags=re.DOTALL), re.DOTALL)))


def without_seconds(text: str) -> list[str]:
    return [re.sub(r"seconds=\S+|in \S+ s$", "", line).rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_quick_start_prints_what_the_readme_says(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    kept = ("Makefile", "pyproject.toml", "requirements.txt", "requirements-build.txt", "streaming_jobs", "conf", "data/raw/.gitkeep")
    for name in kept:
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    # The set-up itself is tested elsewhere; here it is the one of this checkout.
    for made in (".venv", ".jars"):
        (checkout / made).symlink_to(ROOT / made)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "STREAMING_JOBS_"))}
    # An older one would be made anew, and then belong to a folder that is gone after the test.
    fresh = subprocess.run(["make", "--question", ".venv/ready"], cwd=checkout, env=environment, check=False).returncode == 0
    assert fresh, "the set-up is older than what it is made of: run `make setup` first"
    done = subprocess.run(
        ["bash", "-e", "-c", commands()], cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert without_seconds(done.stdout) == printed()
    gold = QueryBuilder().register("gold", DeltaTable(str(checkout / "data/gold/events_per_day")))
    events = gold.execute("SELECT sum(events) AS n FROM gold").read_all().column(0).to_pylist()
    silver = DeltaTable(str(checkout / "data/silver/events"))
    assert events == [QueryBuilder().register("silver", silver).execute("SELECT count(*) FROM silver").read_all().column(0).to_pylist()[0]]


def test_every_link_and_named_test_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [p for p in re.findall(r"\]\(([^)]+)\)", text) if not (ROOT / p).exists()] == []
    tests = "".join(p.read_text("utf-8") for p in (ROOT / "tests").glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_link_and_named_test_of_the_docs_exists() -> None:
    tests = "".join(p.read_text("utf-8") for p in (ROOT / "tests").glob("*.py"))
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text("utf-8")
        links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text)]
        assert [name for name, _, _ in links if name and not (page.parent / name).exists()] == [], page.name
        for name, _, anchor in links:
            if anchor:
                assert anchor in anchors(page.parent / name if name else page), (page.name, name, anchor)
        named = {name for quoted in re.findall(r"`([^`\n]*)`", text) for name in re.findall(r"::(test_\w+)", quoted)}
        assert sorted(name for name in named if f"def {name}(" not in tests) == [], page.name
        files = {name for quoted in re.findall(r"`([^`\n]*)`", text) for name in re.findall(r"\b(test_\w+\.py)", quoted)}
        assert sorted(name for name in files if not (ROOT / "tests" / name).exists()) == [], page.name


def anchors(page: Path) -> set[str]:
    """Of its headings, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
