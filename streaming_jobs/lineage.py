"""Lineage as run events of OpenLineage, one JSON object a line: which layer of which dataset read what, wrote what, and how it ended.

Plain dicts, because it takes few of them; tests/test_lineage.py holds them to the fields of the specification. The addresses in
them are names of that specification and of this project; nothing is ever fetched or sent.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from streaming_jobs import checkpoints, ledger, marks, snapshots
from streaming_jobs.errors import Failure, Stopped, reason
from streaming_jobs.ledger import RunRow
from streaming_jobs.run import Began, Ended, Looked, Note, Turn
from streaming_jobs.settings import Settings

Json = dict[str, Any]

_SPEC = "https://openlineage.io/spec"
_PRODUCER = "urn:streaming-jobs:lineage"
_NAMESPACE = "streaming_jobs"  # of jobs; datasets are files of this machine
_FACETS = {
    "schema": "1-2-0/SchemaDatasetFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "parent": "1-2-0/ParentRunFacet",
}


@dataclass
class Done:
    """What a layer has done since it began. versions: of its tables then, -1: none."""

    versions: Mapping[str, int]
    balances: list[RunRow] = field(default_factory=list)


@dataclass
class Listener:
    """Appends an event when a layer of a dataset begins and when it ends.

    warn: told when that begins to fail; the work goes on, and the next event is tried again.
    """

    settings: Settings
    file: Path
    warn: Callable[[str], None]
    _going: dict[tuple[str, str], Done] = field(default_factory=dict)
    _fails: bool = False

    def note(self, what: Note) -> None:
        if isinstance(what, RunRow) and (going := self._going.get((what.layer, what.dataset))):
            going.balances.append(what)

    def turn(self, what: Turn) -> None:
        if isinstance(what, Looked):
            return
        try:
            for happened in self._events(what):
                _append(self.file, happened)
        except Exception as error:
            if not self._fails:
                self.warn(
                    f"openlineage_file {self.file}: {reason(error)}; events are missing from it, what the command does is not affected."
                )
            self._fails = True
        else:
            self._fails = False

    def _events(self, what: Began | Ended) -> Iterator[Json]:
        """A layer that could not even be looked at begins where it ends."""
        settings, of = self.settings, (what.layer, what.contract.dataset)
        if isinstance(what, Began) or of not in self._going:
            self._going[of] = Done({name: _version(settings.table(name)) for name in marks.tables(what.layer, what.contract)})
            yield event("START", Began(what.run_id, what.layer, what.contract), settings)
        if isinstance(what, Ended):
            yield event(_end(what.failure), what, settings, self._going.pop(of))


def event(kind: str, what: Began | Ended, settings: Settings, done: Done | None = None) -> Json:
    """One run event. done: what the layer did, in an event about its end."""
    return {
        "eventType": kind,
        "eventTime": ledger.now().isoformat(),
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": str(run_id(what)), "facets": _of_run(what)},
        "job": {"namespace": _NAMESPACE, "name": f"{what.contract.dataset}.{what.layer}"},
        "inputs": [_input(what, settings, done)],
        "outputs": [_output(what, name, settings, done) for name in marks.tables(what.layer, what.contract)],
    }


def run_id(what: Began | Ended) -> uuid.UUID:
    """Of one layer of one dataset in one run: another one each, and the same in both of its events."""
    return uuid.uuid5(uuid.UUID(what.run_id), f"{what.contract.dataset}.{what.layer}")


def _end(failure: Failure | None) -> str:
    return "COMPLETE" if failure is None else "ABORT" if isinstance(failure, Stopped) else "FAIL"


def _of_run(what: Began | Ended) -> Json:
    run = {"run": {"runId": str(uuid.UUID(what.run_id))}, "job": {"namespace": _NAMESPACE, "name": "run"}}
    failure = what.failure if isinstance(what, Ended) else None
    error = _facet("errorMessage", message=str(failure), programmingLanguage="PYTHON") if failure else {}
    return {**_facet("parent", **run), **error}


def _input(what: Began | Ended, settings: Settings, done: Done | None) -> Json:
    """The landing folder, or the table of the layer above."""
    contract = what.contract
    if what.layer == "bronze":
        columns = [{"name": column.name, "type": "string"} for column in contract.bronze.columns]
        found = _dataset(settings.landing(contract.landing.folder), _facet("schema", fields=columns))
    else:
        found = _table(settings.table(contract.bronze_table if what.layer == "silver" else contract.silver_table))
    if done is None:
        return found
    counts = {"rowCount": sum(b.rows_in for b in done.balances)}
    if what.layer == "bronze":
        counts["fileCount"] = sum(b.files for b in done.balances)
    return {**found, "inputFacets": _facet("inputStatistics", **counts)}


def _output(what: Began | Ended, name: str, settings: Settings, done: Done | None) -> Json:
    """One table that the layer writes."""
    found = _table(settings.table(name))
    if done is None:
        return found
    if what.layer == "gold":
        # The balance of Gold counts what was read.
        rows = _rows_since(settings.table(name), done.versions[name])
    else:
        rows = sum(b.quarantined if name == what.contract.quarantine_table else b.accepted for b in done.balances)
    return {**found, "outputFacets": {} if rows is None else _facet("outputStatistics", rowCount=rows)}


def _table(folder: Path) -> Json:
    """A Delta table as it is now; without facets where there is none, or none that can be read."""
    held = _newest(folder)
    if held is None:
        return _dataset(folder, {})
    columns = [{"name": c["name"], "type": _type(c["type"])} for c in json.loads(held.schema().to_json())["fields"]]
    return _dataset(folder, {**_facet("schema", fields=columns), **_facet("version", datasetVersion=str(held.version()))})


def _type(kind: str | Json) -> str:
    return kind if isinstance(kind, str) else str(kind["type"])


def _dataset(folder: Path, facets: Json) -> Json:
    return {"namespace": "file", "name": str(folder), "facets": facets}


def _facet(name: str, **fields: Any) -> Json:
    place, _, kind = _FACETS[name].partition("/")
    return {name: {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}/facets/{place}/{kind}.json#/$defs/{kind}", **fields}}


def _rows_since(table: Path, before: int) -> int | None:
    """Rows of the files that commits after this version added; None: one of them does not say."""
    try:
        commits = [checkpoints.actions(table, number) for number in range(before + 1, _version(table) + 1)]
    except (OSError, ValueError):
        return None
    files = [action["add"] for commit in commits for action in commit if "add" in action]
    rows = [json.loads(file.get("stats") or "{}").get("numRecords") for file in files if checkpoints.changes_rows(file)]
    return None if None in rows else sum(rows)


def _version(table: Path) -> int:
    """-1: there is no table."""
    held = _newest(table)
    return -1 if held is None else held.version()


def _newest(table: Path) -> DeltaTable | None:
    try:
        return snapshots.newest(table)
    except (DeltaError, OSError, ValueError):
        return None  # damaged: the layer fails with it, and that is an event to be written


def _append(file: Path, happened: Json) -> None:
    """In one write, so that events of commands side by side stay whole."""
    with file.open("ab", buffering=0) as out:
        out.write(f"{json.dumps(happened)}\n".encode())
