"""What an operator does wrong most often. The page docs/user-errors.md is the table: each of its commands is given here as it stands
there, and must say what stands below it, nothing more. No JVM can start."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streaming_jobs import locks, settings, stop
from streaming_jobs.commands import main
from tests.conftest import ORDERS, ROOT, call

PAGE = ROOT / "docs" / "user-errors.md"


@dataclass(frozen=True)
class Given:
    """A home that would run, to be spoilt."""

    home: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack

    @property
    def contract(self) -> Path:
        return self.home / "conf/orders.yaml"

    def edit(self, old: str, new: str) -> None:
        """Change the first place where the contract says `old`."""
        assert old in ORDERS
        self.contract.write_text(ORDERS.replace(old, new, 1))

    def settings(self, text: str) -> None:
        (self.home / "conf/settings.yaml").write_text(text)

    def work(self) -> None:
        """A file that a run would read."""
        (self.home / "data/raw/a.csv").write_text("id,state,at,amount\n1,open,2026-01-01,1.00\n")

    def java(self, version: str) -> None:
        """A Java that says which it is, and does nothing."""
        folder = self.home / "java"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/java").write_text("#!/bin/sh\nexit 1\n")
        (folder / "bin/java").chmod(0o755)
        (folder / "release").write_text(f'JAVA_VERSION="{version}"\n')
        self.patch.setenv("JAVA_HOME", str(folder))


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Given]:
    home = tmp_path / "a höme with spaces"
    for folder in ("conf", "data/raw", "checkpoints"):
        (home / folder).mkdir(parents=True)
    (home / "conf/orders.yaml").write_text(ORDERS)
    monkeypatch.setenv("STREAMING_JOBS_HOME", str(home))
    monkeypatch.setenv("JAVA_HOME", str(home / "no-java"))
    if session := sys.modules.get("streaming_jobs.session"):
        # The session of the suite is not there for a command, which would take it, or end it.
        monkeypatch.setattr(session, "_running", [])
        monkeypatch.setattr(sys.modules["pyspark"].SparkContext, "_gateway", None)
    before = [(number, signal.getsignal(number)) for number in (*stop.SIGNALS, signal.SIGALRM)]
    umask = os.umask(0o022)
    with ExitStack() as stack:
        yield Given(home, monkeypatch, stack)
    os.umask(umask)
    for number, handler in before:
        signal.signal(number, handler)


def busy(given: Given) -> None:
    given.patch.setattr(sys, "argv", ["streaming-jobs", "watch"])
    given.stack.enter_context(locks.hold(settings.load(given.home), ["bronze", "silver", "gold"], ["orders"]))


def missing_jar(given: Given) -> None:
    given.work()
    given.java("17.0.15")
    given.patch.setenv("STREAMING_JOBS_JARS", "jars")


def old_java(given: Given) -> None:
    given.work()
    given.java("11.0.2")


def no_java(given: Given) -> None:
    given.work()
    given.patch.delenv("JAVA_HOME")
    given.patch.setenv("PATH", str(given.home))


def full_disk(given: Given) -> None:
    given.work()
    given.patch.setenv("STREAMING_JOBS_MIN_FREE_MB", "999999999")


def other_project(given: Given) -> None:
    given.contract.unlink()
    (given.home / "conf/database.yaml").write_text("host: db1\nport: 5432\npassword: canary\n")


def silver(new: str) -> Callable[[Given], None]:
    """The column `state` of Silver, said otherwise."""
    return lambda g: g.edit(
        "- {name: state, logicalType: string}\n      - {name: at, logicalType: timestamp}",
        f"- {{name: state, logicalType: string, {new}}}\n      - {{name: at, logicalType: timestamp}}",
    )


def rule(implementation: str) -> Callable[[Given], None]:
    """A rule of Silver."""
    added = f"quality: [{{name: paid, type: custom, engine: spark, implementation: {implementation!r}}}]\n    customProperties"
    return lambda g: g.edit("customProperties", added)


def where(condition: str) -> Callable[[Given], None]:
    """Gold of fewer rows."""
    added = f"physicalName: gold/by_state\n    customProperties: [{{property: where, value: {condition!r}}}]\n"
    return lambda g: g.edit("physicalName: gold/by_state\n", added)


def replaced(old: str, new: str) -> Callable[[Given], None]:
    return lambda g: g.edit(old, new)


def written(name: str, content: bytes) -> Callable[[Given], None]:
    return lambda g: ignore((g.home / name).write_bytes(content))


def a_file(name: str) -> Callable[[Given], None]:
    """A file where a folder should be."""

    def spoil(given: Given) -> None:
        (given.home / name).rmdir()
        (given.home / name).touch()

    return spoil


def renamed(name: str) -> Callable[[Given], None]:
    return lambda g: ignore(g.contract.rename(g.contract.with_name(name)))


def environment(name: str, value: str) -> Callable[[Given], None]:
    return lambda g: g.patch.setenv(name, value)


def gold_exists(given: Given) -> None:
    write_deltalake(str(given.home / "data/gold/by_state"), pa.table({"state": ["open"]}))


def ignore(_: object) -> None:
    pass


SPOILT: dict[str, Callable[[Given], None]] = {
    "a misspelt command": ignore,
    "an option that does not exist": ignore,
    "an argument is missing": ignore,
    "a time without its unit": ignore,
    "no time at all": ignore,
    "a layer that does not exist": ignore,
    "a status that does not exist": ignore,
    "a negative number of rows": ignore,
    "a dataset that does not exist": ignore,
    "a dataset that does not exist, to be made again": ignore,
    "a table before the first run": ignore,
    "a table that does not exist": gold_exists,
    "a table outside of data/": ignore,
    "a path from the home instead of from the landing folder": ignore,
    "one contract to compare": ignore,
    "a home that does not exist": ignore,
    "no contract": lambda g: g.contract.unlink(),
    "a folder of another project": other_project,
    "another process holds the layers; ends in 75": busy,
    "the landing folder is missing": lambda g: (g.home / "data/raw").rmdir(),
    "the landing folder is a file": a_file("data/raw"),
    "too little room on the disk": full_disk,
    "checkpoints/ cannot be written": a_file("checkpoints"),
    "JAVA_HOME is not that of a Java": lambda g: g.work(),
    "an old Java": old_java,
    "no Java": no_java,
    "a jar is missing": missing_jar,
    "a setting that does not exist": lambda g: g.settings("max_file_per_batch: 3\n"),
    "a variable that does not exist": environment("STREAMING_JOBS_CORE", "2"),
    "a value that is no number": lambda g: g.settings("cores: many\n"),
    "a number that is too small": environment("STREAMING_JOBS_CORES", "0"),
    "memory with a unit that Java does not know": environment("STREAMING_JOBS_DRIVER_MEMORY", "2GB"),
    "an octal number without quotes": lambda g: g.settings("umask: 077\n"),
    "a tab in the settings": lambda g: g.settings("cores:\t2\n"),
    "settings that are a list": lambda g: g.settings("- cores: 2\n"),
    "a tab": replaced("  - name: raw_orders", "\t- name: raw_orders"),
    "a line indented too little": replaced("    physicalName: bronze/orders", "   physicalName: bronze/orders"),
    "an empty file": written("conf/orders.yaml", b""),
    "a file saved in Latin-1": written("conf/orders.yaml", ORDERS.replace("kind:", "# für\nkind:").encode("latin-1")),
    "a file called .yml": renamed("orders.yml"),
    "a file with a capital letter": renamed("Orders.yaml"),
    "an unknown key": replaced("kind: DataContract", "kind: DataContract\nowner: sales"),
    "a misspelt key": replaced("logicalTypeOptions", "logicalTypeOption"),
    "a key given twice": replaced("kind: DataContract", "kind: DataContract\nkind: DataContract"),
    "a secret": replaced("kind: DataContract", "kind: DataContract\ncustomProperties: [{property: password, value: canary}]"),
    "an old edition of the standard": replaced("v3.2.0", "v2.2.2"),
    "no primary key": replaced(", primaryKey: true, primaryKeyPosition: 1}", "}"),
    "two bronze objects": replaced("silver/orders", "bronze/orders"),
    "no format": replaced(", format: csv", ""),
    "two formats": replaced("format: csv", "format: [csv, json]"),
    "another format": replaced("format: csv", "format: json"),
    "a delimiter in the wrong place": replaced("format: csv", 'format: csv, delimiter: ";"'),
    "an encoding that Spark does not read": replaced("format: csv", "format: csv, encoding: windows-1252"),
    "a path that leads out of the home": replaced("data/raw/*.csv", "../raw/*.csv"),
    "a path into our own tables": replaced("data/raw/*.csv", "data/silver/*.csv"),
    "a path that is a folder": replaced("data/raw/*.csv", "data/raw/"),
    "a decimal of too many digits": replaced("DECIMAL(10,2)", "DECIMAL(99,2)"),
    "an order by a column that does not exist": replaced("value: [at]", "value: [updated_at]"),
    "SQL that ends too early": silver("transformLogic: 'lower(raw.state'"),
    "SQL with a column that does not exist": silver("transformLogic: lower(raw.stat)"),
    "SQL that depends on the clock": silver("transformLogic: \"concat(raw.state, now())\""),
    "a rule that is no SQL": rule("amount >"),
    "a rule with a column that does not exist": rule("amounts > 0"),
    "a filter that is no SQL": where("amount >"),
    "a Gold column without an aggregate": replaced("sum(amount)", "amount"),
    "a Gold column of a column that does not exist": replaced("sum(amount)", "sum(price)"),
    "two contracts that write one table": written(
        "conf/returns.yaml", re.sub("(bronze|silver)/orders", r"\1/returns", ORDERS).encode()
    ),
}  # fmt: skip
"""What is done to the home before each command of the page, by what the page calls it."""


@dataclass(frozen=True)
class Mistake:
    """One of the page. said: the lines below the command, in which HOME stands for the home."""

    called: str
    command: str
    said: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        found = re.search(r"ends in (\d+)", self.called)
        return int(found[1]) if found else 2


def mistakes() -> list[Mistake]:
    found: list[Mistake] = []
    for block in re.findall(r"```\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        for part in re.split(r"^\$ streaming-jobs ", block, flags=re.MULTILINE)[1:]:
            first, *said = part.rstrip("\n").split("\n")
            command, _, called = first.partition(" # ")
            found.append(Mistake(called.strip(), command.strip(), tuple(said)))
    return found


def give(given: Given, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, list[str]]:
    """The exit code, stdout and the lines of stderr of a command, as the console script would have them."""
    given.patch.setattr(sys, "argv", ["streaming-jobs", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err.split("\n")[:-1]


def general(line: str, home: Path) -> str:
    """A line without what differs from machine to machine."""
    line = line.replace(str(home), "HOME").replace(f"process {os.getpid()} ", "process PID ")
    return re.sub(r"has \d+ MiB", "has N MiB", line)


def test_the_page_and_the_set_ups_name_the_same_mistakes_thirty_and_more() -> None:
    called = [mistake.called for mistake in mistakes()]
    assert called == list(SPOILT)
    assert len(called) >= 30


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda mistake: mistake.called)
def test_a_mistake_is_answered_with_its_lines_and_nothing_else(mistake: Mistake, given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    SPOILT[mistake.called](given)
    before = sorted(given.home.rglob("*"))
    arguments = shlex.split(mistake.command.replace("HOME", shlex.quote(str(given.home))))
    code, out, err = give(given, capsys, *arguments)
    assert (code, out, [general(line, given.home) for line in err]) == (mistake.exit_code, "", list(mistake.said))
    assert "canary" not in "\n".join(err)
    # At most the files of the locks, which are taken before the work is looked at.
    assert [str(p) for p in sorted(given.home.rglob("*")) if p not in before and "locks" not in p.parts] == []


HOSTILE = "x\n\x1b[31my\u202e\u2028z"


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("run", HOSTILE),
        ("run", f"--{HOSTILE}"),
        ("rebuild", HOSTILE),
        ("rebuild", "silver", HOSTILE),
        ("show", HOSTILE),
        ("show", f"/{HOSTILE}"),
        ("show", "gold/by_state", "--limit", HOSTILE),
        ("files", "--status", HOSTILE),
        ("files", "accept", HOSTILE),
        ("quarantine", "show", HOSTILE),
        ("watch", "--every", HOSTILE),
        ("contract", "diff", HOSTILE, HOSTILE),
        ("--home", f"/{HOSTILE}", "run"),
    ],
    ids=lambda arguments: " ".join("X" if HOSTILE in argument else argument for argument in arguments),
)
def test_a_value_of_the_command_line_stays_in_its_one_line_as_an_escape(
    arguments: tuple[str, ...], given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = give(given, capsys, *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert [c for c in err[0] if not c.isprintable()] == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.yaml", '"x\\ny\\e[31mz": 1\n'),
        ("settings.yaml", 'cores: "x\\ny\\e[31mz"\n'),
        ("orders.yaml", ORDERS.replace("kind: DataContract", 'kind: DataContract\n"x\\ny\\e[31mz": 1')),
        ("orders.yaml", ORDERS.replace("count(*)", '"count(x\\ny\\e[31m"')),
    ],
    ids=["the name of a setting", "the value of a setting", "a key of a contract", "an expression of a contract"],
)
def test_a_value_of_a_file_stays_in_its_one_line_as_an_escape(
    name: str, content: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    (given.home / "conf" / name).write_text(content)
    code, out, err = give(given, capsys, "plan")
    assert (code, out, len(err)) == (2, "", 1)
    assert [c for c in err[0] if not c.isprintable()] == []


def test_with_json_the_same_lines_are_the_errors_of_the_result(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    given.settings("cores: many\numask: 077\n")
    # Of a command line that means nothing the log's format is not known yet.
    for arguments, said in ((["run", "--json"], _messages), (["rnu", "--json"], list)):
        code, out, err = give(given, capsys, *arguments)
        assert json.loads(out) == {"exit_code": code, "errors": said(err)}
        assert err


def _messages(events: Sequence[str]) -> list[str]:
    return [json.loads(line)["message"] for line in events]


def test_the_command_alone_prints_the_help_and_ends_in_2(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = give(given, capsys)
    assert (code, out, err[0]) == (2, "", "Usage: streaming-jobs [OPTIONS] COMMAND [ARGS]...")
    assert give(given, capsys, "--help")[0] == 0


def test_a_home_that_cannot_be_written_is_one_line_and_reading_goes_on(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    given.work()
    if os.getuid() == 0:
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(given.home / "checkpoints")]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("root may write everywhere, and may not mount here")
        given.stack.callback(subprocess.run, ["umount", str(given.home / "checkpoints")], check=True)
        reason = "Read-only file system"
    else:
        (given.home / "checkpoints").chmod(0o500)
        reason = "Permission denied"
    code, out, err = give(given, capsys, "run")
    said = f"HOME/checkpoints/locks cannot be written: {reason}; nothing was read or written. Correct that, then run again."
    assert (code, out, [general(line, given.home) for line in err]) == (2, "", [said])
    assert give(given, capsys, "plan")[0] == 0


def test_a_process_says_the_same_as_a_call_within_this_one(given: Given) -> None:
    done = call(given.home, "rnu")
    (said,) = [mistake.said for mistake in mistakes() if mistake.called == "a misspelt command"]
    assert (done.returncode, done.stdout, tuple(done.stderr.splitlines())) == (2, "", said)
