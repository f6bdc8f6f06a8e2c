"""The four Delta jars and the Java they run on: fetched once at set-up, compared at every start.

    python -m streaming_jobs.jars            what `make setup` runs
    python -m streaming_jobs.jars --java     look at Java only

jars.lock says which jars, and their SHA-256; Spark's own resolver fetches them, as the user has
configured it. Nothing here starts a JVM except `resolve`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streaming_jobs.errors import SetupError, UsageError

LOCK = Path(__file__).with_name("jars.lock")
OLDEST_JAVA = 17
NEEDED_MODULE = "jdk.incubator.vector"  # Spark's launcher adds it; a Java without it dies at start
INSTALL_JAVA = (
    "install it: Debian and Ubuntu `apt-get install openjdk-17-jre-headless` (or openjdk-21-…); "
    'macOS `brew install openjdk@17`, then `export JAVA_HOME="$(brew --prefix openjdk@17)"`.'
)

_COORDINATE = re.compile(r"(?P<group>[\w.-]+):(?P<artifact>[\w.-]+):(?P<version>[\w.-]+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHY = re.compile(r"unresolved dependency|not found|UnknownHost|refused|timed out|Exception|No such", re.IGNORECASE)


@dataclass(frozen=True)
class Jar:
    """One line of the lock: `coordinate` is group:artifact:version."""

    coordinate: str
    sha256: str

    @property
    def name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def resolved_name(self) -> str:
        """The name Spark's resolver gives the file: two groups may have an artifact of one name."""
        return f"{self.coordinate.split(':')[0]}_{self.name}"


@dataclass(frozen=True)
class Lock:
    package: str
    exclude: tuple[str, ...]
    jars: tuple[Jar, ...]


Fetch = Callable[[Lock, Path], None]  # fetches into <folder>/jars, under the resolver's names; raises SetupError


def verify(folder: Path, lock: Path = LOCK) -> tuple[Path, ...]:
    """The jars of the lock in `folder`, each with the SHA-256 of the lock.

    Raises SetupError for the first one that is missing or altered; never changes anything.
    """
    return tuple(_verified(folder / jar.name, jar, hint="run `make setup`.") for jar in read_lock(lock).jars)


def resolve(folder: Path, lock: Path = LOCK, fetch: Fetch | None = None) -> bool:
    """Bring the jars of the lock into `folder`; False when all were there. Running it twice is the same as once.

    A jar appears under its name only after its SHA-256 was right, so a kill at any point leaves
    nothing that `verify` would take. Other files of the folder are left alone.
    """
    wanted = read_lock(lock)
    try:
        verify(folder, lock)
    except SetupError:
        pass
    else:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ivy-", dir=folder) as scratch:
        (fetch or spark_submit)(wanted, Path(scratch))
        fetched = [
            _verified(Path(scratch, "jars", jar.resolved_name), jar, hint="check the resolver's source, then run `make setup` again.")
            for jar in wanted.jars
        ]
        for path, jar in zip(fetched, wanted.jars, strict=True):
            path.replace(folder / jar.name)
    return True


def spark_submit(lock: Lock, scratch: Path) -> None:
    """Resolve with the `spark-submit` of the installed pyspark; every way it can fail is a SetupError."""
    require_java()
    home = spark_home()
    nothing = scratch / "nothing.py"
    nothing.touch()
    command = [str(home / "bin" / "spark-submit"), "--packages", lock.package, "--exclude-packages", ",".join(lock.exclude)]
    command += ["--conf", f"spark.jars.ivy={scratch}", *shlex.split(os.environ.get("STREAMING_JOBS_SPARK_SUBMIT_OPTS", "")), str(nothing)]
    environment = {"SPARK_LOCAL_IP": "127.0.0.1", **os.environ, "SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable}
    run = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log = scratch.parent / "resolve.log"
    if run.returncode == 0:
        log.unlink(missing_ok=True)
        return
    log.write_text(run.stdout, "utf-8")
    why = next((line.strip(" :\t") for line in run.stdout.splitlines() if _WHY.search(line)), f"exit code {run.returncode}")
    raise SetupError(
        f"Spark's resolver could not fetch {lock.package}: {why}. No jar was installed; its whole output is in {log}. "
        "Behind a mirror or offline see docs/setup.md, then run `make setup` again."
    )


def read_lock(lock: Path = LOCK) -> Lock:
    try:
        text = tomllib.loads(lock.read_text("utf-8"))
        package, exclude, sha256 = text["package"], text["exclude"], text["sha256"]
        if not (sha256 and all(_COORDINATE.fullmatch(c) and _SHA256.fullmatch(s) for c, s in sha256.items())):
            raise ValueError("a jar without group:artifact:version or without SHA-256")
        return Lock(package, tuple(exclude), tuple(Jar(c, s) for c, s in sha256.items()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SetupError(f"{lock}: not a lock of jars ({error}); nothing was started. Restore the file from version control.") from None


def default_folder() -> Path:
    """`.jars` in the checkout; for an installed package, a folder of its Python environment."""
    project = Path(__file__).parent.parent
    if (project / "pyproject.toml").exists():
        return project / ".jars"
    return Path(sys.prefix, "share", "streaming-jobs", "jars")


def require_java() -> Path:
    """The `java` that Spark will start (of JAVA_HOME, else the first on PATH), 17 or newer.

    Reads the `release` file beside it; only a Java without one is asked by starting it.
    """
    java = _java()
    release = _release(java)
    version = java_version(java)
    if not version:
        raise SetupError(f"{java} does not run; Java {OLDEST_JAVA} or newer is needed, nothing was started: {INSTALL_JAVA}")
    if _major(version) < OLDEST_JAVA:
        raise SetupError(f"{java} is Java {version}; {OLDEST_JAVA} or newer is needed, nothing was started: {INSTALL_JAVA}")
    modules = release.get("MODULES")
    if modules and NEEDED_MODULE not in modules.split():
        raise SetupError(f"{java} is a trimmed Java without {NEEDED_MODULE}, which Spark asks for; nothing was started: {INSTALL_JAVA}")
    return java


def java_version(java: Path) -> str:
    """As `17.0.15`; empty for a Java that does not run."""
    return _release(java).get("JAVA_VERSION") or _ask(java) or ""


def spark_home() -> Path:
    """The folder of the installed pyspark, links resolved. Raises SetupError when there is none."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SetupError("pyspark is not installed in this Python; no jar was fetched, run `make setup`.")
    return Path(spec.origin).resolve().parent


def _java() -> Path:
    # As Spark's launcher looks for it: a JAVA_HOME that is wrong is not made good by the PATH.
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home, "bin", "java")
        if not os.access(java, os.X_OK):
            raise SetupError(f"JAVA_HOME is {home}, which has no bin/java; nothing was started. Unset it or correct it; or {INSTALL_JAVA}")
        return java
    found = shutil.which("java")
    if found is None:
        raise SetupError(f"no Java found (JAVA_HOME is not set, no `java` on PATH); nothing was started: {INSTALL_JAVA}")
    return Path(found)


def _release(java: Path) -> dict[str, str]:
    file = java.resolve().parent.parent / "release"
    try:
        lines = file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _ask(java: Path) -> str | None:
    try:
        run = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "([^"]+)"', run.stderr + run.stdout)
    return match[1] if run.returncode == 0 and match else None


def _major(version: str) -> int:
    """17 of `17.0.15`, 8 of `1.8.0_392`, 25 of `25-ea`; 0 of anything else."""
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match[1]) if match else 0


def _verified(path: Path, jar: Jar, hint: str) -> Path:
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SetupError(f"{jar.name} is missing: {path} ({error.strerror}); nothing was started, {hint}") from None
    if actual != jar.sha256:
        raise SetupError(f"{jar.name} is altered: {path} has SHA-256 {actual}, jars.lock another; nothing was started, {hint}")
    return path


def main(arguments: Sequence[str] = ()) -> int:
    """Fetch what is missing; with --java only look at Java, which needs no installed package."""
    try:
        if "--java" in arguments:
            require_java()
        else:
            folder = _settings_folder()
            print(f"Delta jars {'fetched into' if resolve(folder) else 'already in'} {folder}")
    except UsageError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _settings_folder() -> Path:
    # Only here: settings.py takes its default from this module.
    from streaming_jobs import settings

    return settings.load().jars


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
