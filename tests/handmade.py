"""A home as runs leave it, made by hand through delta-rs: no Spark, and a clock that a test sets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from streaming_jobs import apps, definition, ledger, meaning, settings, snapshots
from streaming_jobs import contract as contracts
from streaming_jobs.contract import Contract
from streaming_jobs.facts.gather import gather
from streaming_jobs.facts.model import Facts
from streaming_jobs.ledger import FileRow, RunRow, Status
from streaming_jobs.settings import Settings
from tests.conftest import ORDERS

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)  # a Thursday
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
RAW = ("id", "state", "at", "amount")

Refused = tuple[str, str | None, datetime]
"""Rule, column, and when the row came into quarantine."""


@dataclass
class Made:
    """One dataset, `orders`. Files and work are kept until `settle` writes the tables that belong to them."""

    path: Path
    settings: Settings
    files: list[FileRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)

    def contract(self, text: str | None = None) -> Contract:
        if text is not None:
            _write(self.path / "conf/orders.yaml", text)
        return contracts.load(self.path / "conf/orders.yaml")

    def file(
        self,
        path: str,
        at: datetime,
        rows: int | None = 10,
        status: Status = Status.INGESTED,
        reason: str | None = None,
        *,
        lies_there: bool = True,
        written: datetime | None = None,
    ) -> None:
        """A decision about a file, and the file itself as it was decided on. written: its modification time."""
        written, size = written or at, None
        if lies_there:
            file = self.path / "data/raw" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x")
            os.utime(file, (written.timestamp(), written.timestamp()))
            size = 1
        number = len(self.files) + 1
        sha256 = f"{number:064}"
        self.files.append(
            FileRow("orders", path, size, written, sha256, status, reason, rows, 0, "utf-8", ",", RAW, number, number, at)
        )  # fmt: skip

    def work(
        self, layer: str, at: datetime, rows: int = 10, *, accepted: int | None = None, outcome: str = "done", seconds: float = 1.0
    ) -> None:
        """One balance."""
        counts = (rows, rows if accepted is None else accepted, 0, 0, 0)
        stages = json.dumps({"plan": seconds / 4, "write": seconds * 3 / 4}) if outcome == "done" else None
        self.runs.append(RunRow("r", "orders", layer, len(self.runs), at, seconds, 1, *counts, 1, outcome, stages))

    def settle(
        self,
        bronze: int | None = None,
        silver: int | None = None,
        quarantined: Sequence[Refused] = (),
        groups: Mapping[str, int] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Write ledger, tables and checkpoints so that nothing is pending. Row numbers: None: as they have to be.

        groups: of gold/by_state, state -> orders. at: newest value of Silver's `at`.
        """
        contract, held = self.contract(), self.settings
        if self.files:
            ledger.append_files(held, self.files, None)
        if self.runs:
            ledger.append_runs(held, self.runs, None)
        newest = {row.path: row for row in self.files if row.status in (Status.INGESTED, Status.REPEAT)}
        bronze = sum(row.rows or 0 for row in newest.values()) if bronze is None else bronze
        silver = bronze - len(quarantined) if silver is None else silver
        last = max((row.ingest_id for row in newest.values()), default=-1)
        ids = [str(n) for n in range(bronze)]
        texts = {name: pa.array(ids if name == "id" else [None] * bronze, pa.string()) for name in RAW}
        txn = CommitProperties(app_transactions=[Transaction(apps.bronze("orders"), last)])
        self.table("bronze/orders", {**texts, "_file": pa.array(["a.csv"] * bronze, pa.string())}, commit_properties=txn)
        self.table("silver/orders", _silver(silver, at or NOW))
        meaning.keep(contract, held.table("silver/orders"))
        self.table("quarantine/orders", _quarantine(quarantined))
        groups = {"open": silver} if groups is None else groups
        gold = {
            "state": pa.array(list(groups), pa.string()),
            "orders": pa.array(list(groups.values()), pa.int64()),
            "revenue": pa.array([None] * len(groups), pa.decimal128(18, 2)),
        }
        self.table("gold/by_state", gold)
        for table in contract.gold:
            mark = {definition.KEY: definition.fingerprint(table, contract)}
            DeltaTable(str(held.table(table.path))).alter.set_column_metadata(table.grain[0].name, mark)
        self.checkpoint("silver", "bronze/orders")
        self.checkpoint("gold", "silver/orders")

    def table(self, name: str, columns: Mapping[str, Any], **options: Any) -> None:
        write_deltalake(str(self.settings.table(name)), pa.table(dict(columns)), **options)

    def checkpoint(self, layer: str, source: str, *, finished: bool = True) -> None:
        """A stream that has read everything of its source."""
        table = snapshots.existing(self.settings.table(source))
        offset = {"reservoirId": str(table.metadata().id), "reservoirVersion": table.version() + 1, "index": -1, "isStartingVersion": False}
        folder = self.settings.checkpoint(layer, "orders")
        for log in ("offsets", "commits"):
            (folder / log).mkdir(parents=True, exist_ok=True)
        (folder / "metadata").write_text(json.dumps({"id": f"{layer}-query"}))
        (folder / "offsets/0").write_text(f"v1\n{{}}\n{json.dumps(offset)}")
        if finished:
            (folder / "commits/0").write_text("v1\n{}")

    def facts(self, now: datetime = NOW) -> Facts:
        return gather((), self.settings, now)

    def hands(self, now: datetime = NOW) -> list[str]:
        """What needs a hand, as `status` says it."""
        return [str(hand) for hand in self.facts(now).hands]


def made(path: Path) -> Made:
    """A home with the contract of ORDERS and nothing in it. Files lie in data/raw."""
    for folder in ("conf", "data/raw", "checkpoints"):
        (path / folder).mkdir(parents=True)
    _write(path / "conf/orders.yaml", ORDERS)
    return Made(path, settings.load(path))


def _write(file: Path, text: str) -> None:
    """Long ago: a refusal that is older than its contract is tried again."""
    file.write_text(text)
    os.utime(file, (0, 0))


def _silver(rows: int, at: datetime) -> dict[str, Any]:
    return {
        "id": pa.array([str(n) for n in range(rows)], pa.string()),
        "state": pa.array(["open"] * rows, pa.string()),
        "at": pa.array([at] * rows, pa.timestamp("us", "UTC")),
        "amount": pa.array([None] * rows, pa.decimal128(10, 2)),
        "_file": pa.array(["a.csv"] * rows, pa.string()),
        "_row": pa.array(list(range(rows)), pa.int64()),
    }


def _quarantine(rows: Sequence[Refused]) -> dict[str, Any]:
    reason = pa.struct([(name, pa.string()) for name in ("rule", "column", "value", "message")])
    reasons = [[{"rule": rule, "column": column, "value": "secret", "message": "refused"}] for rule, column, _ in rows]
    return {
        "_file": pa.array(["a.csv"] * len(rows), pa.string()),
        "_row": pa.array(list(range(len(rows))), pa.int64()),
        "reasons": pa.array(reasons, pa.list_(reason)),
        "quarantined_at": pa.array([at for _, _, at in rows], pa.timestamp("us", "UTC")),
    }
