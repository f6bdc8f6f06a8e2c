"""The rules of the repository that a test can hold."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "streaming_jobs"
LAYERS = {"bronze", "silver", "gold"}
ABOVE_THE_LAYERS = {"__main__", "commands", "operations"}  # these call layers; the rest is called by them
LOCKS = ("requirements-build.txt", "requirements.txt", "requirements-dev.txt", "requirements-bench.txt")
FOUNDATION = {"errors", "machine", "jars", "settings", "contract", "locks"}


def files() -> Iterator[Path]:
    """Every file of the repository, found without git so that an unpacked archive is held to the same rules."""
    for folder, children, names in os.walk(ROOT):
        made = {"data", "checkpoints", "build"} if Path(folder) == ROOT else {"__pycache__"}
        children[:] = [c for c in children if c == ".ci" or not (c in made or c.startswith(".") or c.endswith(".egg-info"))]
        yield from (Path(folder, name) for name in names)


def modules(*folders: str) -> list[str]:
    """Dotted names of the package's modules, of `folders` only if some are given."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in found if not folders or any(f"{name}.".startswith(f"streaming_jobs.{folder}.") for folder in folders)]


def imported(module: str) -> set[str]:
    """First name below the package of everything `module` imports from it, wherever in the file the import stands."""
    path = ROOT.joinpath(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "streaming_jobs":
            names |= {f"streaming_jobs.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name"
            names.add(node.module or "")
    return {name.split(".")[1] for name in names if name.startswith("streaming_jobs.")}


def area(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


NO_JVM = modules("operations", "facts", "ledger", "landing", "probe", "contract", "settings", "jars", "errors", "locks")


def test_commands_that_need_no_jvm_do_not_import_pyspark():
    """One process for all of them; it names the first that did."""
    code = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    if "pyspark" in sys.modules:
        sys.exit(module)
"""
    found = subprocess.run([sys.executable, "-c", code, *NO_JVM], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_command_line_is_there_before_pyspark_is_imported():
    code = "import sys, streaming_jobs.commands; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_modules_that_are_checked_exist():
    assert {f"streaming_jobs.{name}" for name in ("operations.show", "operations.sample", "ledger", "landing", "probe", "contract")} <= set(
        NO_JVM
    )


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_layers_never_import_each_other(layer):
    found = modules(layer)
    assert found
    for module in found:
        assert not imported(module) & (LAYERS - {layer})


@pytest.mark.parametrize("module", [name for name in modules() if area(name) not in ABOVE_THE_LAYERS])
def test_nothing_below_the_command_line_imports_it_or_an_operation(module):
    assert not imported(module) & ABOVE_THE_LAYERS


@pytest.mark.parametrize("module", modules(*FOUNDATION))
def test_what_everything_stands_on_stands_on_nothing_above(module):
    assert imported(module) <= FOUNDATION | {"sqltext", "yamltext"}


def test_no_file_holds_an_address():
    """But names that are never looked up: a lineage event carries that of its specification, a picture that of SVG."""
    address = re.compile("https?:" + '//(?!openlineage[.]io/spec\\b|www[.]w3[.]org/2000/svg")', re.IGNORECASE)
    assert [str(f.relative_to(ROOT)) for f in files() if address.search(f.read_text("utf-8", errors="replace"))] == []


def test_the_files_that_are_checked_include_the_hidden_ones_of_ours():
    names = {str(path.relative_to(ROOT)) for path in files()}
    assert {"Makefile", "pyproject.toml", "requirements.txt", ".ci/run", "streaming_jobs/jars.lock"} <= names


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_has_a_hash(name):
    logical = (ROOT / name).read_text("utf-8").replace("\\\n", " ").splitlines()
    assert logical
    for line in logical:
        assert re.fullmatch(r"[\w.-]+==\S+( ; [^-]*?)?\s+(--hash=sha256:[0-9a-f]{64}\s*)+", line), line


def test_the_tools_for_tests_change_no_version_of_what_runs():
    pins = [set(re.findall(r"^[\w.-]+==\S+", (ROOT / name).read_text("utf-8"), re.MULTILINE)) for name in LOCKS[1:]]
    assert pins[0] < pins[1]


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    # These tests run under make themselves; what the outer one says is not for the inner one.
    outside = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}}
    return subprocess.run(["make", *arguments], cwd=cwd, env=outside | environment, capture_output=True, text=True, check=False)


def phony() -> list[str]:
    lines = (ROOT / "Makefile").read_text("utf-8").splitlines()
    return next(line for line in lines if line.startswith(".PHONY:")).split()[1:]


def test_make_alone_lists_every_target_with_what_it_does():
    listed = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", make().stdout, re.MULTILINE))
    assert sorted(listed) == sorted(phony())
    assert make().stdout == make("help").stdout


def test_every_target_has_a_recipe():
    for target in phony():
        run = make("--dry-run", "--always-make", target)
        assert (run.returncode, bool(run.stdout.strip())) == (0, True), target


def test_ci_runs_what_make_calls_check_and_test():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make check test" in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1]


def stranger(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make setup` in a checkout without .venv, on a machine with the given environment."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-build.txt", "streaming_jobs"):
        (checkout / name).symlink_to(ROOT / name)
    return make("setup", cwd=checkout, **environment)


def test_set_up_without_java_ends_at_once_with_one_line_and_no_environment(tmp_path):
    run = stranger(tmp_path, JAVA_HOME=str(tmp_path), PYTHON=sys.executable)
    assert run.returncode == 2
    assert run.stderr.splitlines()[0].startswith(f"JAVA_HOME is {tmp_path}")
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_set_up_without_a_python_of_3_11_ends_at_once_with_one_line_and_no_environment(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    run = stranger(tmp_path, PYTHON=str(old))
    assert run.returncode == 2
    assert run.stderr.startswith("no Python 3.11 or newer with venv among:")
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_the_documented_safeguards_are_those_that_are_switched_off():
    from tests.mutations import MUTATIONS

    text = (ROOT / "docs/reliability.md").read_text("utf-8")
    documented = re.findall(r"^\| (.+) \| `tests/(\S+)` \|$", text[text.index("## Safeguards switched off") :], re.MULTILINE)
    assert documented == [(m.name, m.test) for m in MUTATIONS]


def test_what_is_switched_off_stands_in_the_code_once():
    from tests.mutations import MUTATIONS

    found = {m.name: (ROOT / "streaming_jobs" / m.file).read_text("utf-8").count(m.text) for m in MUTATIONS}
    assert {name: count for name, count in found.items() if count != 1} == {}
