"""Figures in the words of Prometheus: a text file of a scheduled run, a page on loopback of `watch`.

The registry is our own and holds nothing but what METRICS lists. Counters go on from run to run, because
they are the run ledger added up; only failures, which no scheduled run writes to the ledger, go on from
the file as the run before left it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from streaming_jobs import figures as figures_of
from streaming_jobs import pending
from streaming_jobs.contract import Contract, examine_all
from streaming_jobs.errors import DamagedState, InputRefused, Locked, Unexpected, UsageError, as_failure, reason
from streaming_jobs.figures import Failures, Figures
from streaming_jobs.ledger import RunRow
from streaming_jobs.run import Ended, Note, Turn
from streaming_jobs.settings import Settings

Samples = Iterator[tuple[Sequence[str], float]]

_FAMILY = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
_LOOPBACK = "127.0.0.1"
_FAILURES = "streaming_jobs_failures_total"
_CODES_OF_LAYERS = (Unexpected.exit_code, UsageError.exit_code, InputRefused.exit_code, DamagedState.exit_code)
_CODES_OF_COMMANDS = (Unexpected.exit_code, UsageError.exit_code, DamagedState.exit_code, Locked.exit_code)


@dataclass(frozen=True)
class Metric:
    """kind: `counter` or `gauge`. samples: its values by label."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    samples: Callable[[Figures], Samples]


def _rows(found: Figures) -> Samples:
    return (((*of, kind), n) for of, balance in found.balances.items() for kind, n in balance.rows.items())


def _batches(found: Figures) -> Samples:
    return ((of, balance.batches) for of, balance in found.balances.items())


def _batch_seconds(found: Figures) -> Samples:
    return ((of, balance.seconds) for of, balance in found.balances.items())


def _stage_seconds(found: Figures) -> Samples:
    return (((*of, stage), seconds) for of, balance in found.balances.items() for stage, seconds in balance.stages.items())


def _succeeded_at(found: Figures) -> Samples:
    return ((of, balance.succeeded_at) for of, balance in found.balances.items())


def _files(found: Figures) -> Samples:
    return (((dataset, status), n) for dataset, files in found.files.items() for status, n in figures_of.by_status(files).items())


def _behind(found: Figures) -> Samples:
    return ((of, float(bool(work.reasons))) for of, work in found.pending.items())


def _pending_files(found: Figures) -> Samples:
    for (dataset, layer), work in found.pending.items():
        if layer == "bronze":
            for state in ("new", "changed", "refused", "missing"):
                yield (dataset, state), len(getattr(work.files, state))


def _pending_bytes(found: Figures) -> Samples:
    return ((of, work.size) for of, work in found.pending.items() if work.size is not None)


def _table_version(found: Figures) -> Samples:
    return ((_table(of), table.version) for of, table in found.tables.items())


def _table_rows(found: Figures) -> Samples:
    return ((_table(of), table.rows) for of, table in found.tables.items() if table.rows is not None)


def _table_bytes(found: Figures) -> Samples:
    return ((_table(of), table.size) for of, table in found.tables.items())


def _table(of: figures_of.Of) -> tuple[str, str, str]:
    dataset, path = of
    return dataset, path.partition("/")[0], path


def _failures(found: Figures) -> Samples:
    """Zeros included: what has not happened yet can then be seen to happen."""
    possible = {(dataset, layer, code): 0 for dataset in found.files for layer in pending.OF for code in _CODES_OF_LAYERS}
    counted = {**possible, **{("", "", code): 0 for code in _CODES_OF_COMMANDS}, **found.failures}
    return (((dataset, layer, str(code)), n) for (dataset, layer, code), n in sorted(counted.items()))


def _ended_at(found: Figures) -> Samples:
    return (((), at) for at, _ in filter(None, [found.ended]))


def _exit_code(found: Figures) -> Samples:
    return (((), code) for _, code in filter(None, [found.ended]))


def _build(_: Figures) -> Samples:
    yield (_version("streaming-jobs"), platform.python_version(), _version("pyspark"), _version("delta-spark"), _version("deltalake")), 1


_LAYER, _TABLE = ("dataset", "layer"), ("dataset", "layer", "table")

# One line each in docs/operations.md.
METRICS = (
    Metric("streaming_jobs_rows_total", "counter", (*_LAYER, "kind"), "Rows by what became of them.", _rows),
    Metric("streaming_jobs_batches_total", "counter", _LAYER, "Micro-batches and sweeps with work.", _batches),
    Metric("streaming_jobs_batch_seconds_total", "counter", _LAYER, "Time of micro-batches.", _batch_seconds),
    Metric("streaming_jobs_stage_seconds_total", "counter", (*_LAYER, "stage"), "Time of micro-batches by stage.", _stage_seconds),
    Metric("streaming_jobs_last_success_timestamp_seconds", "gauge", _LAYER, "End of the newest micro-batch.", _succeeded_at),
    Metric("streaming_jobs_files", "gauge", ("dataset", "status"), "Files by their newest decision.", _files),
    Metric("streaming_jobs_behind", "gauge", _LAYER, "1: there is work before the layer; 0: none.", _behind),
    Metric("streaming_jobs_pending_files", "gauge", ("dataset", "state"), "Files that a run would look at.", _pending_files),
    Metric("streaming_jobs_pending_bytes", "gauge", _LAYER, "What a run would read.", _pending_bytes),
    Metric("streaming_jobs_table_version", "gauge", _TABLE, "Newest version of a Delta table.", _table_version),
    Metric("streaming_jobs_table_rows", "gauge", _TABLE, "Rows of a Delta table.", _table_rows),
    Metric("streaming_jobs_table_bytes", "gauge", _TABLE, "Data files of the newest version of a Delta table.", _table_bytes),
    Metric(_FAILURES, "counter", (*_LAYER, "exit_code"), "Failures by exit code.", _failures),
    Metric("streaming_jobs_last_run_timestamp_seconds", "gauge", (), "When the last command ended.", _ended_at),
    Metric("streaming_jobs_last_run_exit_code", "gauge", (), "What the last command ended in.", _exit_code),
    Metric("streaming_jobs_build_info", "gauge", ("version", "python", "pyspark", "delta", "deltalake"), "Versions in use.", _build),
)


@dataclass
class Scheduled:
    """What is known of one command beside the ledger. exit_code: what it ends in; 1 until that is known."""

    failures: Failures = field(default_factory=dict)
    exit_code: int = Unexpected.exit_code

    def note(self, _: Note) -> None:
        pass

    def turn(self, what: Turn) -> None:
        if isinstance(what, Ended) and what.failure:
            self.failures = figures_of.failed(self.failures, what.failure, what.contract.dataset, what.layer)


@contextmanager
def kept(file: Path, settings: Settings, warn: Callable[[str], None]) -> Iterator[Scheduled]:
    """Within this block a command works. At its end, also when it fails, the figures are written; warn: told when they cannot be."""
    known = Scheduled()
    try:
        yield known
    except Exception as error:
        failure = as_failure(error)
        known.exit_code, known.failures = failure.exit_code, figures_of.failed(known.failures, failure)
        raise
    finally:
        try:
            write(file, settings, known)
        except Exception as error:
            warn(f"metrics_file {file} was not written: {reason(error)}; what the command did is not affected.")


def write(file: Path, settings: Settings, known: Scheduled) -> None:
    """Put the figures of all datasets at the end of a command into a text file, whole or not at all."""
    counts = dict(_held(file))
    for of, n in known.failures.items():
        counts[of] = counts.get(of, 0) + n
    found = replace(figures_of.read(settings, _contracts(settings)), failures=counts, ended=(time.time(), known.exit_code))
    write_to_textfile(str(file), registry(lambda: found))


@dataclass
class Live:
    """Figures that follow what they are told of. Each update is a new object, so that a scrape never sees half of one."""

    settings: Settings
    figures: Figures = field(default_factory=Figures)

    def note(self, what: Note) -> None:
        if isinstance(what, RunRow):
            self.figures = figures_of.added(self.figures, what)

    def turn(self, what: Turn) -> None:
        self.figures = figures_of.turned(self.figures, what, self.settings)


@contextmanager
def served(port: int, live: Live, datasets: Sequence[str]) -> Iterator[None]:
    """Within this block figures can be scraped on loopback, beginning with what there is of these datasets, or of all.

    Entered when nobody else writes. Raises UsageError when the port cannot be had.
    """
    try:
        server, thread = start_http_server(port, _LOOPBACK, registry(lambda: live.figures))
    except OSError as error:
        raise UsageError(
            f"metrics_port {port} of {_LOOPBACK} cannot be listened on: {error.strerror}; nothing was started. Name another one in "
            "conf/settings.yaml, or 0 for none."
        ) from None
    try:
        live.figures = figures_of.read(live.settings, _contracts(live.settings, datasets))
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class _Collected(Collector):
    now: Callable[[], Figures]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        found = self.now()
        for metric in METRICS:
            family = _FAMILY[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.samples(found):
                family.add_metric(labels, value)
            yield family


def registry(now: Callable[[], Figures]) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(_Collected(now))
    return made


def _held(file: Path) -> Failures:
    """The failures that a file of before counts; none where there is no such file."""
    try:
        families = list(text_string_to_metric_families(file.read_text("utf-8")))
        samples = [s for family in families for s in family.samples if s.name == _FAILURES]
        return {(s.labels["dataset"], s.labels["layer"], int(s.labels["exit_code"])): int(s.value) for s in samples}
    except (OSError, ValueError, LookupError):
        return {}


def _contracts(settings: Settings, datasets: Sequence[str] = ()) -> tuple[Contract, ...]:
    """Of these datasets, or of all, those that are correct."""
    try:
        return tuple(e.contract for e in examine_all(settings.conf, datasets) if e.contract)
    except UsageError:
        return ()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
