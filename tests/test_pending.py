"""Nothing to do costs nothing, and work is never taken for nothing to do.

What the shortcut relies on: size and modification time of every file, the ledger, the contract's
modification time, the newest offset and commit of a checkpoint, the version, id and schema of a table,
the last transaction of Bronze, and what Silver and Gold say they were made by.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streaming_jobs import bronze, gold, ledger, pending, silver, small, snapshots
from streaming_jobs.operations import plan
from streaming_jobs.run import Run
from tests.conftest import BY_STATE, ORDERS, ROOT, Home, assert_rows, crash_at

DAY = ("1,open,2026-01-01,1.00", "2,paid,2026-01-01,2.00", "bad,open,never,1.00")

UNBUILT = "by_state is not built as its contract says"


def reasons(home: Home) -> dict[str, tuple[str, ...]]:
    """layer -> why it has something to do; quiet layers are left out."""
    (contract,) = home.contracts()
    found = {layer: of(contract, home.settings).reasons for layer, of in pending.OF.items()}
    return {layer: why for layer, why in found.items() if why}


def spark_does_nothing(home: Home) -> bool:
    """Run every layer without asking first: True when nothing is noted and no table gets a version."""
    (contract,) = home.contracts()
    notes: list[object] = []
    before = home.versions()
    for layer in (bronze, silver, gold):
        layer.start(home.spark, contract, Run(home.settings, notes.append))
    return not notes and home.versions() == before


@pytest.mark.slow
def test_joined_files_are_no_work_for_gold_and_leave_it_right(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "_JOIN_FILES", 2)
    home.land("a.csv", *DAY)
    home.ok()
    before = home.version("silver/orders")
    home.land("b.csv", "3,open,2026-01-02,1.00")
    home.ok("bronze", "silver")
    assert home.version("silver/orders") == before + 2
    assert list(reasons(home)) == ["gold"]
    home.ok("gold")
    assert (reasons(home), spark_does_nothing(home)) == ({}, True)
    assert_rows(home.table("gold/by_state"), [("open", 2, "2.00"), ("paid", 1, "2.00")], BY_STATE)
    # Joined after Gold has read what was joined: nothing new for it, and nothing new to read.
    home.land("c.csv", "4,open,2026-01-02,1.00")
    monkeypatch.setattr(small, "_JOIN_FILES", 100)
    home.ok()
    monkeypatch.setattr(small, "_JOIN_FILES", 2)
    small.join_files(home.settings.table("silver/orders"))
    assert home.version("silver/orders") == before + 4
    (contract,) = home.contracts()
    assert pending.of_gold(contract, home.settings).size == 0
    assert (reasons(home), spark_does_nothing(home)) == ({}, True)
    home.sql("ALTER TABLE {silver} SET TBLPROPERTIES ('note' = 'x')")
    assert list(reasons(home)) == ["gold"]  # whatever else was committed, Spark is to look at


@pytest.mark.slow
def test_after_every_kind_of_run_nothing_is_pending_and_spark_agrees(home: Home) -> None:
    home.land("a.csv", *DAY, at=1_767_600_000)
    home.land("b.csv", "3,open,2026-01-02,1.00")
    home.land_bytes("bad.csv", b"\x00" * 50)
    home.run()
    assert (reasons(home), spark_does_nothing(home)) == ({}, True)
    home.land("a.csv", *DAY[1:], at=1_767_700_000)  # a correction: Bronze's and Silver's commits carry change files
    home.ok()
    assert (reasons(home), spark_does_nothing(home)) == ({}, True)
    os.utime(home.raw / "a.csv", (1_767_800_000, 1_767_800_000))
    home.ok()
    (home.raw / "b.csv").unlink()
    home.ok()
    assert (reasons(home), spark_does_nothing(home)) == ({}, True)


def test_a_home_where_nothing_ever_landed_has_nothing_to_do_and_a_run_writes_nothing(home: Home) -> None:
    assert reasons(home) == {}
    assert home.run().notes == ()
    assert list((home.path / "data").iterdir()) == [home.raw]


def test_tables_that_never_held_a_row_leave_nothing_to_do(home: Home) -> None:
    home.land("empty.csv")
    home.ok()
    assert (reasons(home), spark_does_nothing(home)) == ({}, True)


Change = Callable[[Home], object]


def grow(home: Home) -> None:
    with (home.raw / "a.csv").open("a") as file:
        file.write("9,open,2026-01-01,1.00\n")
    os.utime(home.raw / "a.csv", (1_767_600_000, 1_767_600_000))


def new_silver_column(home: Home) -> None:
    home.contract(ORDERS.replace("      - {name: at, logicalType: timestamp}", "      - {name: at, logicalType: timestamp}\n      - {name: upper, logicalType: string, transformLogic: upper(state)}"))  # fmt: skip # noqa: E501


def open_hash(home: Home) -> None:
    known = ledger.known(home.settings, "orders").states["a.csv"].last
    ledger.append_files(home.settings, [replace(known, sha256=None, ingest_id=99)], ("files:orders:decision", 99))


CHANGES: dict[str, tuple[Change, str, str]] = {
    "a new file": (lambda h: h.land("z.csv", "7,open,2026-01-01,1.00"), "bronze", "1 new"),
    "a new file with an old modification time": (lambda h: h.land("z.csv", "7,open,2026-01-01,1.00", at=1_000), "bronze", "1 new"),
    "another size under the same modification time": (grow, "bronze", "1 changed"),
    "another modification time": (lambda h: os.utime(h.raw / "a.csv", (1, 1)), "bronze", "1 changed"),
    "a vanished file": (lambda h: (h.raw / "a.csv").unlink(), "bronze", "1 missing"),
    "a name that cannot be read": (lambda h: h.land("a:b.csv", "7,open,2026-01-01,1.00"), "bronze", "1 refused"),
    "a contract younger than a refusal": (lambda h: os.utime(h.contract(), (4e9, 4e9)), "bronze", "1 new"),
    "a raw column new in the contract": (
        lambda h: h.contract(ORDERS.replace("{name: amount, logicalType: string}", "{name: amount, logicalType: string}\n      - {name: note, logicalType: string}")),  # noqa: E501
        "bronze", "bronze/orders lacks the column note",
    ),
    "a typed column new in the contract": (new_silver_column, "silver", "silver/orders lacks columns of its contract"),
    "a planned batch without an end": (lambda h: newest(h, "silver", "commits").unlink(), "silver", "behind bronze/orders"),
    "a lost checkpoint": (lambda h: shutil.rmtree(h.path / "checkpoints/silver/orders"), "silver", "behind bronze/orders"),
    "an offset of another table": (lambda h: edit(h, "silver", reservoirId="other"), "silver", "behind bronze/orders"),
    "an offset of an older version": (lambda h: edit(h, "gold", reservoirVersion=1, index=-1), "gold", "behind silver/orders"),
    "a Gold definition changed": (
        lambda h: h.contract(ORDERS.replace("sum(amount)", "max(amount)")), "gold", UNBUILT,
    ),
    "a dropped Silver table": (lambda h: shutil.rmtree(h.settings.table("silver/orders")), "silver", "silver/orders is gone"),
    "a dropped quarantine": (lambda h: shutil.rmtree(h.settings.table("quarantine/orders")), "silver", "quarantine/orders is gone"),
    "a hash that was left open": (open_hash, "bronze", "1 changed"),
    "a ledger that knows less than the table": (
        lambda h: shutil.rmtree(h.settings.table("ledger/files")), "bronze", "the table is ahead of the ledger",
    ),
    "a dropped Bronze table": (lambda h: shutil.rmtree(h.settings.table("bronze/orders")), "bronze", "the ledger is ahead of the table"),
    "a dropped Gold table": (lambda h: shutil.rmtree(h.settings.table("gold/by_state")), "gold", UNBUILT),
}  # fmt: skip


def newest(home: Home, layer: str, log: str) -> Path:
    found = (p for p in (home.path / "checkpoints" / layer / "orders" / log).iterdir() if p.name.isdecimal())
    return max(found, key=lambda p: int(p.name))


def edit(home: Home, layer: str, **values: object) -> None:
    file = newest(home, layer, "offsets")
    *head, last = file.read_text().splitlines()
    file.write_text("\n".join([*head, json.dumps(json.loads(last) | values)]))


def test_each_thing_that_makes_work_is_seen(home: Home, tmp_path: Path) -> None:
    home.land("a.csv", *DAY, at=1_767_600_000)
    home.land_bytes("bad.csv", b"\x00" * 50)
    home.run()
    assert reasons(home) == {}
    saved = tmp_path / "saved"
    shutil.copytree(home.path, saved)
    for name, (change, layer, reason) in CHANGES.items():
        change(home)
        assert reason in reasons(home).get(layer, ()), name
        shutil.rmtree(home.path)
        shutil.copytree(saved, home.path)
        assert reasons(home) == {}, name


def test_what_a_corrected_file_leaves_to_read_is_its_changes_and_not_what_was_written_again_beside_them(home: Home) -> None:
    home.land("a.csv", *DAY)
    home.land("b.csv", *(f"{n},open,2026-01-02,{n}.00" for n in range(10, 2000)))
    home.ok("bronze", "silver", "gold")
    (contract,) = home.contracts()
    home.land("a.csv", *DAY[:2], "bad,open,never,2.00")
    home.ok("bronze")
    written = snapshots.amount(snapshots.existing(home.settings.table(contract.bronze_table))).size
    changes = sum(file.stat().st_size for file in home.settings.table(contract.bronze_table).glob("_change_data/*.parquet"))
    assert pending.of_silver(contract, home.settings).size == changes < written


def test_a_layer_that_was_not_run_is_seen_as_behind(home: Home) -> None:
    home.land("a.csv", *DAY)
    home.ok("bronze")
    assert reasons(home) == {"silver": ("behind bronze/orders",)}
    home.ok("silver")
    assert set(reasons(home)) == {"gold"}
    home.ok("gold")
    assert reasons(home) == {}


@pytest.mark.parametrize("name", ["bronze.intended", "bronze.committed"])
def test_a_crashed_ingest_is_seen(home: Home, name: str) -> None:
    home.land("a.csv", *DAY)
    with crash_at(name):
        home.run("bronze")
    assert "a crashed run to finish" in reasons(home)["bronze"]


def test_a_run_without_work_neither_starts_spark_nor_imports_what_takes_long(home: Home) -> None:
    home.land("a.csv", *DAY)
    home.ok()
    code = (
        "import sys; from streaming_jobs.commands import app\n"
        f"try: app(['--home', {str(home.path)!r}, 'run'])\n"
        "except SystemExit as end:\n"
        "    sys.exit(end.code or ' '.join({'pyspark', 'pyarrow', 'sqlglot', 'jsonschema', 'rich', 'yaml'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing to do")


def test_plan_names_every_file_and_layer_that_a_run_would_touch(home: Home) -> None:
    home.land("a.csv", *DAY)
    home.land("b.csv", *DAY)
    home.ok("bronze")
    home.land("a.csv", *DAY[1:])
    (home.raw / "b.csv").unlink()
    home.land("c.csv", *DAY)
    home.land("d:e.csv", *DAY)
    home.land("notes.txt", "x")
    before = home.versions()
    rows = [row[:4] for row in plan.plan(home.contracts(), home.settings).values]
    assert rows == [
        ("orders", "bronze", "new", "c.csv"),
        ("orders", "bronze", "changed", "a.csv"),
        ("orders", "bronze", "refused", "d:e.csv"),
        ("orders", "bronze", "missing", "b.csv"),
        ("orders", "bronze", "unclaimed", "notes.txt"),
        ("orders", "silver", "behind bronze/orders", None),
    ]
    assert home.versions() == before
