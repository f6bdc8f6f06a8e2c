"""Settings of one installation: conf/settings.yaml and the environment, frozen, units in the names.

Precedence: command line, environment (STREAMING_JOBS_<NAME>), conf/settings.yaml, the default here.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from streaming_jobs import jars as jar_files
from streaming_jobs import machine
from streaming_jobs.errors import SettingsError

PREFIX = "STREAMING_JOBS_"
_WRITTEN = {"driver_memory": "a number and m or g, such as 2g", "umask": 'three octal digits in quotes, such as "077"'}


class Settings(BaseModel):
    """One installation. Paths below `home` are the interface of the project (docs/layout.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Path()  # folder; always absolute after `load`
    jars: Path = Field(default_factory=jar_files.default_folder)  # folder with the four Delta jars
    cores: int = Field(2, ge=1)  # threads of the local Spark master
    driver_memory: str = Field(default_factory=lambda: machine.heap(machine.memory()), pattern=r"^\d+[mg]$")  # JVM heap, such as 2g
    shuffle_partitions: int = Field(2, ge=1)  # Spark's; MERGE and Gold do not coalesce by themselves
    small_work_mb: int = Field(64, ge=0)  # MiB of files and tables; below it a run starts fast instead of running fast
    max_files_per_batch: int = Field(1000, ge=1)  # files; bounds a micro-batch, not the work of a run
    min_free_mb: int = Field(256, ge=0)  # MiB that have to be free, besides what is read, before work begins
    archive_ingested: bool = False  # move ingested files to data/archive, so that the landing folder stays short
    umask: str = Field("077", pattern=r"^[0-7]{3}$")  # octal; what others may not do with files that are made
    stop_seconds: int = Field(60, ge=1)  # seconds; after a signal the batch in hand may take so long
    probe_threads: int = Field(4, ge=1)  # files probed at the same time
    change_feed_retention_days: int = Field(30, ge=1)  # days; must outlast the longest pause of Silver or Gold
    log_format: Literal["auto", "text", "json"] = "auto"  # lines for people, or JSON; auto: JSON only beside a document, off a terminal
    metrics_file: Path | None = None  # text file of figures, written at the end of each run
    metrics_port: int = Field(0, ge=0, le=65535)  # TCP, on loopback; where `watch` lets its figures be scraped; 0: nowhere
    openlineage_file: Path | None = None  # lineage events are appended to it

    @property
    def conf(self) -> Path:
        return self.home / "conf"

    def table(self, name: str) -> Path:
        """Folder of a Delta table; `name` is its path under data/, such as silver/events."""
        return self.home / "data" / name

    def checkpoint(self, layer: str, dataset: str) -> Path:
        return self.home / "checkpoints" / layer / dataset

    def landing(self, folder: str) -> Path:
        return self.home / folder

    def shown(self, file: Path) -> str:
        """A path as people are told it: relative to the home where it is in it."""
        return str(file.relative_to(self.home)) if file.is_relative_to(self.home) else str(file)


def load(home: Path | None = None) -> Settings:
    """Read the settings of `home` (default: STREAMING_JOBS_HOME, else the current directory).

    Raises SettingsError, one line per surprise.
    """
    root = (home or Path(os.environ.get(f"{PREFIX}HOME") or ".")).resolve()
    if not root.is_dir():
        raise SettingsError(f"home {root} is not a folder; nothing was read. Create it, or name another with --home.")
    file = root / "conf" / "settings.yaml"
    _refuse_unknown_environment()
    values = _read(file)
    said = {name: os.environ[_variable(name)] for name in Settings.model_fields if _variable(name) in os.environ}
    if "home" in values:
        raise SettingsError(f"{file}: home: a home cannot name another one; remove the line, or use --home.")
    try:
        settings = Settings(**(values | said))
    except ValidationError as error:
        raise SettingsError(*(_finding(file, e) for e in error.errors())) from None
    files = {name: root / path for name in ("metrics_file", "openlineage_file") if (path := getattr(settings, name))}
    return settings.model_copy(update={"home": root, "jars": (root / settings.jars).resolve(), **files})


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    # Only here: without a file of settings a run without work does without YAML, too.
    import yaml

    from streaming_jobs import yamltext

    try:
        values = yaml.safe_load(file.read_text("utf-8")) or {}
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 from byte {error.start} on; save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not readable as YAML: {yamltext.fault(error)}.") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{file}: must be a mapping of setting to value, such as `max_files_per_batch: 500`.")
    return values


def _variable(name: str) -> str:
    """Of the environment, for a setting."""
    return f"{PREFIX}{name.upper()}"


def _refuse_unknown_environment() -> None:
    known = {_variable(name) for name in Settings.model_fields}
    passed_by = {f"{PREFIX}SPARK_SUBMIT_OPTS", f"{PREFIX}FAILPOINTS"}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known | passed_by:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise SettingsError(f"environment: {name}: no such setting{f'; did you mean {near[0]}' if near else ''}.")


def _finding(file: Path, error: ErrorDetails) -> str:
    """What is wrong with one setting, where it was set, and what to write."""
    name = ".".join(str(part) for part in error["loc"])
    where = f"environment: {_variable(name)}" if _variable(name) in os.environ else f"{file}: {name}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, 1, 0.5)
        return f"{where}: no such setting; {f'did you mean {near[0]}' if near else 'docs/layout.md lists them'}."
    return f"{where}: {str(error['input'])[:60]!r} must be {_expected(name, error)}."


def _expected(name: str, error: ErrorDetails) -> str:
    kind, annotation = error["type"], Settings.model_fields[name].annotation
    if name in _WRITTEN:
        return _WRITTEN[name]
    if kind == "greater_than_equal":
        return f"{error['ctx']['ge']} or more"
    return {int: "a whole number", bool: "true or false", Path: "a folder"}.get(annotation, "text")  # type: ignore[arg-type]
