"""Lineage events: of the shape that the specification of OpenLineage asks for, and true of what was read and written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streaming_jobs import contract as contracts
from streaming_jobs import ledger, lineage, settings
from streaming_jobs.contract import Contract
from streaming_jobs.errors import DamagedState, Stopped
from streaming_jobs.ledger import RunRow
from streaming_jobs.pending import Pending
from streaming_jobs.run import Began, Ended, Healed, Looked
from streaming_jobs.settings import Settings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = "0123456789abcdef0123456789abcdef"
SPEC = "https://openlineage.io/spec"
PRODUCER = "urn:streaming-jobs:lineage"

# What the specification lists, by where it lists it: every field we may write, and those that must be there.
FIELDS = {
    "RunEvent": {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"},
    "Run": {"runId", "facets"},
    "Job": {"namespace", "name", "facets"},
    "InputDataset": {"namespace", "name", "facets", "inputFacets"},
    "OutputDataset": {"namespace", "name", "facets", "outputFacets"},
    "SchemaDatasetFacet": {"fields"},
    "DatasetVersionDatasetFacet": {"datasetVersion"},
    "InputStatisticsInputDatasetFacet": {"rowCount", "size", "fileCount"},
    "OutputStatisticsOutputDatasetFacet": {"rowCount", "size", "fileCount"},
    "ErrorMessageRunFacet": {"message", "programmingLanguage", "stackTrace"},
    "ParentRunFacet": {"run", "job", "root"},
}
REQUIRED = {
    "RunEvent": {"eventTime", "producer", "schemaURL", "run", "job"},
    "Run": {"runId"},
    "Job": {"namespace", "name"},
    "InputDataset": {"namespace", "name"},
    "OutputDataset": {"namespace", "name"},
    "DatasetVersionDatasetFacet": {"datasetVersion"},
    "ErrorMessageRunFacet": {"message", "programmingLanguage"},
    "ParentRunFacet": {"run", "job"},
}
EDITIONS = {
    "schema": "facets/1-2-0/SchemaDatasetFacet",
    "version": "facets/1-0-1/DatasetVersionDatasetFacet",
    "inputStatistics": "facets/1-0-0/InputStatisticsInputDatasetFacet",
    "outputStatistics": "facets/1-0-2/OutputStatisticsOutputDatasetFacet",
    "errorMessage": "facets/1-0-1/ErrorMessageRunFacet",
    "parent": "facets/1-2-0/ParentRunFacet",
}


@pytest.fixture
def at(bare_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(ledger, "now", lambda: NOW)
    return settings.load(bare_home)


@pytest.fixture
def contract(at: Settings) -> Contract:
    return contracts.load(at.conf / "orders.yaml")


class Heard(lineage.Listener):
    """A listener, and what it has written."""

    def events(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.file.read_text("ascii").splitlines()]
        for event in found:
            require_shape(event)
        return found


@pytest.fixture
def heard(at: Settings) -> Heard:
    return Heard(at, at.home / "lineage.jsonl", pytest.fail)


def require_shape(event: dict[str, Any]) -> None:
    """Hold an event to the fields of the specification."""
    require("RunEvent", event)
    assert event["schemaURL"] == f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert event["producer"] == PRODUCER
    assert event["eventType"] in ("START", "COMPLETE", "FAIL", "ABORT")
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is UTC
    require("Run", event["run"])
    uuid.UUID(event["run"]["runId"])
    require("Job", event["job"])
    for dataset in event["inputs"]:
        require("InputDataset", dataset)
    for dataset in event["outputs"]:
        require("OutputDataset", dataset)
    for name, facet in facets(event):
        edition = EDITIONS[name]
        kind = edition.rpartition("/")[2]
        assert (facet["_producer"], facet["_schemaURL"]) == (PRODUCER, f"{SPEC}/{edition}.json#/$defs/{kind}")
        require(kind, {key: value for key, value in facet.items() if not key.startswith("_")})
        if name == "schema":
            assert all({"name", "type"} == set(column) for column in facet["fields"])
        if name == "parent":
            require("Run", facet["run"])
            require("Job", facet["job"])


def require(kind: str, found: dict[str, Any]) -> None:
    assert REQUIRED.get(kind, set()) <= set(found) <= FIELDS[kind], (kind, found)


def facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for holder in (event["run"], event["job"], *event["inputs"], *event["outputs"]):
        for place in ("facets", "inputFacets", "outputFacets"):
            yield from holder.get(place, {}).items()


def balance(layer: str, rows_in: int, accepted: int, quarantined: int = 0, files: int = 0) -> RunRow:
    return RunRow(
        RUN, "orders", layer, 0, NOW, 1.0, files, rows_in, accepted, rows_in - accepted - quarantined, quarantined, 0, 0, "done", "{}"
    )


def about(event: dict[str, Any]) -> dict[str, Any]:
    """Datasets of an event: last parts of their paths -> columns, version, counts."""
    found = {}
    for dataset in (*event["inputs"], *event["outputs"]):
        known = {**dataset["facets"], **dataset.get("inputFacets", {}), **dataset.get("outputFacets", {})}
        facts = {key: value for facet in known.values() for key, value in facet.items() if not key.startswith("_")}
        facts["fields"] = [(column["name"], column["type"]) for column in facts.get("fields", [])]
        found["/".join(Path(dataset["name"]).parts[-2:])] = facts
    return found


RAW = [(name, "string") for name in ("id", "state", "at", "amount")]


def test_bronze_reads_the_landing_folder_and_says_how_many_rows_and_files(at: Settings, contract: Contract, heard: Heard) -> None:
    heard.turn(Looked(Pending("bronze", "orders", ("2 new",))))
    heard.turn(Began(RUN, "bronze", contract))
    write_deltalake(str(at.table("bronze/orders")), pa.table({"id": ["1"]}))
    heard.note(balance("bronze", 7, 7, files=2))
    heard.note(Healed("bronze", "orders", "made again"))
    heard.note(balance("bronze", 1, 1, files=1))
    heard.turn(Ended(RUN, "bronze", contract))
    start, complete = heard.events()
    assert (start["eventType"], about(start)) == ("START", {"data/raw": {"fields": RAW}, "bronze/orders": {"fields": []}})
    assert (complete["eventType"], about(complete)) == (
        "COMPLETE",
        {
            "data/raw": {"fields": RAW, "rowCount": 8, "fileCount": 3},
            "bronze/orders": {"fields": [("id", "string")], "datasetVersion": "0", "rowCount": 8},
        },
    )
    assert {dataset["namespace"] for dataset in (*complete["inputs"], *complete["outputs"])} == {"file"}
    assert complete["inputs"][0]["name"] == str(at.home / "data/raw")
    assert complete["job"] == {"namespace": "streaming_jobs", "name": "orders.bronze"}


def test_silver_writes_two_tables_and_gold_says_what_its_commits_added(at: Settings, contract: Contract, heard: Heard) -> None:
    gold = str(at.table("gold/by_state"))
    write_deltalake(gold, pa.table({"state": ["open"]}))
    nested = pa.table({"reasons": [[{"rule": "cast"}]], "extra": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))})
    write_deltalake(str(at.table("quarantine/orders")), nested)
    heard.turn(Began(RUN, "silver", contract))
    heard.note(balance("silver", 10, 6, 1))
    heard.turn(Ended(RUN, "silver", contract))
    heard.turn(Began(RUN, "gold", contract))
    heard.note(balance("gold", 6, 6))
    write_deltalake(gold, pa.table({"state": ["open", "paid", "held"]}), mode="overwrite")
    heard.turn(Ended(RUN, "gold", contract))
    _, silver, _, built = heard.events()
    assert about(silver) == {
        "bronze/orders": {"fields": [], "rowCount": 10},
        "silver/orders": {"fields": [], "rowCount": 6},
        "quarantine/orders": {"fields": [("reasons", "array"), ("extra", "map")], "datasetVersion": "0", "rowCount": 1},
    }
    assert about(built) == {
        "silver/orders": {"fields": [], "rowCount": 6},
        "gold/by_state": {"fields": [("state", "string")], "datasetVersion": "1", "rowCount": 3},
    }


def test_a_layer_has_an_id_of_its_own_in_each_run_the_same_from_its_start_to_its_end(contract: Contract, heard: Heard) -> None:
    other = uuid.uuid4().hex
    for run in (RUN, other):
        for layer in ("bronze", "silver"):
            heard.turn(Began(run, layer, contract))
            heard.turn(Ended(run, layer, contract))
    ids = [event["run"]["runId"] for event in heard.events()]
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 4
    parents = [event["run"]["facets"]["parent"]["run"]["runId"] for event in heard.events()]
    assert parents == [str(uuid.UUID(run)) for run in (RUN, other) for _ in range(4)]


def test_a_failure_and_a_signal_end_a_layer_and_one_that_cannot_be_looked_at_begins_where_it_ends(contract: Contract, heard: Heard) -> None:
    heard.turn(Ended(RUN, "bronze", contract, DamagedState('gone\n{"eventType": "COMPLETE"}')))
    heard.turn(Began(RUN, "silver", contract))
    heard.turn(Ended(RUN, "silver", contract, Stopped(15)))
    found = [(event["eventType"], event["job"]["name"]) for event in heard.events()]
    assert found == [("START", "orders.bronze"), ("FAIL", "orders.bronze"), ("START", "orders.silver"), ("ABORT", "orders.silver")]
    errors = [event["run"]["facets"].get("errorMessage", {}) for event in heard.events()]
    assert [error.get("message", "").split(";")[0] for error in errors] == [
        "",
        'gone\n{"eventType": "COMPLETE"}',
        "",
        "stopped by SIGTERM after the batch in hand",
    ]
    assert errors[1]["programmingLanguage"] == "PYTHON"


def test_a_damaged_table_keeps_no_event_away(at: Settings, contract: Contract, heard: Heard) -> None:
    write_deltalake(str(at.table("gold/by_state")), pa.table({"state": ["open"]}))
    heard.turn(Began(RUN, "gold", contract))
    log = at.table("gold/by_state") / "_delta_log"
    (log / f"{1:020}.json").write_text("{")
    (at.table("silver/orders") / "_delta_log").mkdir(parents=True)
    (at.table("silver/orders") / "_delta_log" / f"{0:020}.json").write_text("")
    heard.turn(Ended(RUN, "gold", contract, DamagedState("gold cannot be opened")))
    assert [event["eventType"] for event in heard.events()] == ["START", "FAIL"]


def test_events_are_appended_and_a_file_that_cannot_be_written_is_said_once_until_it_can(at: Settings, contract: Contract) -> None:
    said: list[str] = []
    file = at.home / "later" / "lineage.jsonl"
    heard = Heard(at, file, said.append)
    for _ in range(2):
        heard.turn(Began(RUN, "gold", contract))
        heard.turn(Ended(RUN, "gold", contract))
    why = "No such file or directory; events are missing from it, what the command does is not affected."
    assert said == [f"openlineage_file {file}: {why}"]
    file.parent.mkdir()
    for _ in range(2):
        heard.turn(Began(RUN, "gold", contract))
        heard.turn(Ended(RUN, "gold", contract))
    assert [event["eventType"] for event in heard.events()] == ["START", "COMPLETE"] * 2
    file.rename(at.home / "kept.jsonl")
    file.mkdir()
    heard.turn(Began(RUN, "gold", contract))
    assert len(said) == 2
