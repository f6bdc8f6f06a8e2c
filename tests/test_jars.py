"""No test here uses the network or starts a JVM: jars are small files, Java is a script."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streaming_jobs import jars
from streaming_jobs.errors import SetupError

CONTENT = {"one": b"first jar", "two": b"second jar"}


@pytest.fixture
def lock(tmp_path):
    lines = [f'"org.example:{name}:1.0" = "{hashlib.sha256(content).hexdigest()}"' for name, content in CONTENT.items()]
    path = tmp_path / "jars.lock"
    path.write_text("\n".join(['package = "org.example:one:1.0"', "exclude = []", "[sha256]", *lines]))
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "jars"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / f"{name}-1.0.jar").write_bytes(content)
    return folder


def deliver(lock, scratch, content=CONTENT):
    """Stands in for Spark's resolver, which also brings jars that nobody needs."""
    (scratch / "jars").mkdir()
    (scratch / "jars" / "org.other_extra-2.0.jar").touch()
    for name, data in content.items():
        (scratch / "jars" / f"org.example_{name}-1.0.jar").write_bytes(data)


def do_not_fetch(lock, scratch):
    raise AssertionError("the resolver was asked although every jar was there")


def one_line(error):
    return "\n" not in str(error.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_jars_that_match_the_lock_come_back_in_the_order_of_the_lock(folder, lock):
    assert jars.verify(folder, lock) == (folder / "one-1.0.jar", folder / "two-1.0.jar")


def test_a_missing_jar_is_named_with_the_command_that_fetches_it(folder, lock):
    (folder / "two-1.0.jar").unlink()
    with pytest.raises(SetupError, match=r"two-1\.0\.jar is missing: .* nothing was started, run `make setup`") as error:
        jars.verify(folder, lock)
    assert one_line(error)


def test_one_flipped_bit_is_an_altered_jar(folder, lock):
    data = bytearray((folder / "one-1.0.jar").read_bytes())
    data[3] ^= 1
    (folder / "one-1.0.jar").write_bytes(data)
    with pytest.raises(SetupError, match=r"one-1\.0\.jar is altered: .* nothing was started, run `make setup`") as error:
        jars.verify(folder, lock)
    assert one_line(error)


def test_a_lock_that_asks_for_other_content_refuses_the_jar(folder, lock):
    lock.write_text(lock.read_text().replace(hashlib.sha256(CONTENT["two"]).hexdigest(), "0" * 64))
    with pytest.raises(SetupError, match=r"two-1\.0\.jar is altered"):
        jars.verify(folder, lock)


@pytest.mark.parametrize(
    "broken",
    ["", "no toml", 'package = "a"\nexclude = []\n[sha256]\n', 'package = "a"\nexclude = []\n[sha256]\n"g:a:1" = "abc"\n'],
    ids=["empty", "not TOML", "no jar", "short hash"],
)
def test_a_lock_that_was_damaged_never_passes_a_jar(folder, lock, broken):
    lock.write_text(broken)
    with pytest.raises(SetupError, match="not a lock of jars") as error:
        jars.verify(folder, lock)
    assert one_line(error)


def test_a_lock_that_is_gone_is_said_in_one_line(folder, tmp_path):
    with pytest.raises(SetupError, match="not a lock of jars"):
        jars.verify(folder, tmp_path / "nowhere.lock")


def test_the_lock_of_the_package_names_the_four_jars_spark_needs():
    artifacts = [jar.coordinate.split(":")[1] for jar in jars.read_lock().jars]
    assert artifacts == ["delta-spark_4.2_2.13", "delta-storage", "delta-kernel-api", "delta-kernel-defaults"]


def test_resolving_brings_the_jars_of_the_lock_and_leaves_nothing_else(tmp_path, lock):
    folder = tmp_path / "new"
    assert jars.resolve(folder, lock, deliver)
    assert names(folder) == ["one-1.0.jar", "two-1.0.jar"]
    assert jars.verify(folder, lock)


def test_resolving_again_asks_nobody(folder, lock):
    assert not jars.resolve(folder, lock, do_not_fetch)


def test_resolving_replaces_an_altered_jar(folder, lock):
    (folder / "one-1.0.jar").write_bytes(b"something else")
    assert jars.resolve(folder, lock, deliver)
    assert (folder / "one-1.0.jar").read_bytes() == CONTENT["one"]


def test_a_resolver_that_brings_other_content_changes_nothing(folder, lock):
    (folder / "one-1.0.jar").unlink()
    with pytest.raises(SetupError, match=r"two-1\.0\.jar is altered: .* check the resolver's source"):
        jars.resolve(folder, lock, lambda lock, scratch: deliver(lock, scratch, CONTENT | {"two": b"not it"}))
    assert names(folder) == ["two-1.0.jar"]
    assert (folder / "two-1.0.jar").read_bytes() == CONTENT["two"]


def test_a_resolver_that_brings_nothing_is_said_by_the_name_of_the_jar(tmp_path, lock):
    with pytest.raises(SetupError, match=r"one-1\.0\.jar is missing"):
        jars.resolve(tmp_path / "new", lock, lambda *_: None)
    assert names(tmp_path / "new") == []


@pytest.fixture
def java_home(tmp_path, monkeypatch):
    """A Java home whose `java` writes a mark when it is started; `release` is the text of its release file."""

    def make(release=None, script="exit 1"):
        java = tmp_path / "java" / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(f'#!/bin/sh\ntouch "{tmp_path}/started"\n{script}\n')
        java.chmod(0o755)
        if release is not None:
            (tmp_path / "java" / "release").write_text(release)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
        return java

    return make


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.2", "25-ea"])
def test_a_java_of_17_or_newer_is_taken_without_starting_it(java_home, tmp_path, version):
    java = java_home(f'JAVA_VERSION="{version}"\n')
    assert jars.require_java() == java
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "16.0.2"])
def test_an_older_java_is_refused_with_its_version_and_the_command_that_installs_one(java_home, version):
    java_home(f'JAVA_VERSION="{version}"\n')
    with pytest.raises(SetupError, match=r"apt-get install openjdk-17-jre-headless.*brew install openjdk@17") as error:
        jars.require_java()
    assert f"is Java {version}; 17 or newer is needed" in str(error.value)
    assert one_line(error)


@pytest.mark.parametrize(("says", "taken"), [("17.0.1", True), ("1.8.0_392", False)])
def test_a_java_without_a_release_file_is_asked(java_home, says, taken):
    java_home(script=f"echo 'openjdk version \"{says}\" 2026-01-01' >&2")
    if taken:
        assert jars.require_java()
    else:
        with pytest.raises(SetupError, match="17 or newer"):
            jars.require_java()


def test_a_java_that_does_not_run_is_refused(java_home):
    java_home(script="echo 'Unable to locate a Java Runtime' >&2; exit 1")
    with pytest.raises(SetupError, match="does not run; Java 17 or newer is needed"):
        jars.require_java()


def test_a_java_without_the_module_that_spark_adds_is_refused(java_home):
    java_home('JAVA_VERSION="17.0.15"\nMODULES="java.base java.logging"\n')
    with pytest.raises(SetupError, match=r"trimmed Java without jdk\.incubator\.vector"):
        jars.require_java()


def test_a_java_home_without_java_is_not_made_good_by_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=r"JAVA_HOME is .* which has no bin/java"):
        jars.require_java()


def test_no_java_at_all_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="no Java found") as error:
        jars.require_java()
    assert one_line(error)


def test_set_up_ends_with_2_and_the_line_on_stderr(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert jars.main(["--java"]) == 2
    assert capsys.readouterr().err.startswith("JAVA_HOME is")


@pytest.fixture
def pyspark(tmp_path, monkeypatch):
    """A pyspark that is nothing but its `spark-submit`, the given script; and a Java that nobody starts."""

    def make(script):
        submit = tmp_path / "site" / "pyspark" / "bin" / "spark-submit"
        submit.parent.mkdir(parents=True)
        (tmp_path / "site" / "pyspark" / "__init__.py").touch()
        submit.write_text(f"#!/bin/sh\n{script}\n")
        submit.chmod(0o755)
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "pyspark", raising=False)

    return make


def test_the_resolver_gets_the_user_s_own_arguments_and_a_scratch_folder_below_the_jars(tmp_path, lock, java_home, pyspark, monkeypatch):
    java_home('JAVA_VERSION="17"\n')
    pyspark(f'printf "%s\\n" "$@" > {tmp_path}/arguments; exit 0')
    monkeypatch.setenv("STREAMING_JOBS_SPARK_SUBMIT_OPTS", "--conf 'spark.jars.ivySettings=/etc/my ivy.xml'")
    with pytest.raises(SetupError, match="is missing"):
        jars.resolve(tmp_path / "new", lock)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:2] == ["--packages", "org.example:one:1.0"]
    assert "spark.jars.ivySettings=/etc/my ivy.xml" in arguments
    assert any(argument.startswith(f"spark.jars.ivy={tmp_path}/new/") for argument in arguments)


def test_a_resolver_that_fails_is_one_line_with_its_reason_and_leaves_its_output(tmp_path, lock, java_home, pyspark):
    java_home('JAVA_VERSION="17"\n')
    pyspark('echo "loading"; echo "  unresolved dependency: org.example#one;1.0: not found"; exit 1')
    with pytest.raises(SetupError, match=r"unresolved dependency: org\.example#one;1\.0: not found\. No jar was installed") as error:
        jars.resolve(tmp_path / "new", lock)
    assert one_line(error)
    assert names(tmp_path / "new") == ["resolve.log"]
    assert "loading" in (tmp_path / "new" / "resolve.log").read_text()


def test_the_default_folder_lies_in_the_checkout_or_for_an_installed_package_in_its_environment(tmp_path):
    assert jars.default_folder() == Path(jars.__file__).parent.parent / ".jars"
    installed = tmp_path / "streaming_jobs"
    shutil.copytree(Path(jars.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; sys.path.insert(0, sys.argv[1]); from streaming_jobs import jars; print(jars.default_folder())"
    run = subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(Path(sys.prefix, "share", "streaming-jobs", "jars"))
