"""`forget`: a person is gone from every byte under the home, the tables verify, and no delivery or rebuild brings the person back."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streaming_jobs import bronze, gold, ledger, locks, silver, verify
from streaming_jobs import settings as settings_of
from streaming_jobs.errors import Locked, UsageError
from streaming_jobs.forget import Erased, forget
from streaming_jobs.operations.maintain import maintain
from streaming_jobs.run import Run
from tests.conftest import ORDERS, Home, call, crash_at

pytestmark = pytest.mark.slow

CANARY = "canary-7f3a"
SECRET = "Zoë Nightingale, 12 Elm Street"
PER_KEY = """  - name: by_id
    physicalName: gold/by_id
    logicalType: object
    properties:
      - {name: id, logicalType: string, primaryKey: true, primaryKeyPosition: 1, transformLogic: id}
      - {name: last, logicalType: timestamp, transformLogic: max(at)}
"""
HEADER = "id,state,at,amount,note"


def gone(home: Home, *key: str, rewrite: bool = True) -> Erased:
    (contract,) = home.contracts()
    return forget(contract, Run(home.settings, lambda _: None), key or [CANARY], rewrite=rewrite)


def deliver(home: Home) -> None:
    """The canary is in a plain file, in a packed one, refused, malformed, corrected away, and in the partition of others."""
    home.contract(ORDERS.replace("*.csv", "*.csv*") + PER_KEY)
    home.land("a.csv", "1,open,2026-01-01,1.00,x", f'{CANARY},open,2026-01-01,1.00,"{SECRET}"', "2,paid,2026-01-02,2.00,x", header=HEADER)
    packed = gzip.compress(f"{HEADER}\n{CANARY},paid,2026-01-03,3.00,{CANARY}-note\n\n3,open,2026-01-03,1.00,x\n".encode())
    home.land_bytes("b.csv.gz", packed)
    home.land("c.csv", f"{CANARY},open,never,-1,refused-secret", f"{CANARY},sent,2026-01-04,1.00,one,too-many-{CANARY}", header=HEADER)
    home.land("d.csv", f"{CANARY},sent,2026-01-02,1.00,corrected-away", "4,open,2026-01-01,1.00,x", header=HEADER)
    home.ok()
    home.land("d.csv", "4,sent,2026-01-05,1.00,y", "5,sent,2026-01-05,1.00,y", header=HEADER)
    home.ok()


def assert_right(home: Home) -> None:
    (contract,) = home.contracts()
    proofs = [of(home.spark, contract, home.settings, 20) for of in (verify.of_bronze, verify.of_silver, verify.of_gold)]
    assert [proof.findings for proof in proofs] == [(), (), ()]


def texts(home: Home) -> Iterator[tuple[Path, bytes]]:
    """Every file under the home, what is packed in it included; written without the code that is tested."""
    for folder, _, names in os.walk(home.path):
        for name in names:
            file = Path(folder, name)
            yield file, file.name.encode() + b"\n" + file.read_bytes()
            if name.endswith(".parquet"):
                yield file, repr(pq.ParquetFile(file).read().to_pydict()).encode()
            elif name.endswith(".gz"):
                yield file, zlib.decompress(file.read_bytes(), wbits=31)


def holding(home: Home, *words: str) -> set[str]:
    return {str(f.relative_to(home.path)) for f, content in texts(home) for w in words if w.encode() in content}


WORDS = (CANARY, "Nightingale", "refused-secret", "corrected-away")


def test_after_it_no_byte_under_the_home_holds_the_key_or_what_its_rows_said(home: Home) -> None:
    deliver(home)
    kept = rows_of_silver(home)
    assert len(holding(home, *WORDS)) > 10
    erased = gone(home)
    assert (erased.rows, erased.files, erased.rewritten, erased.left) == (4, 3, 3, ())
    assert holding(home, *WORDS) == set()
    assert rows_of_silver(home) == {key: row for key, row in kept.items() if key != CANARY}
    assert_right(home)
    assert home.ok().notes == ()


def rows_of_silver(home: Home) -> dict[str, tuple[object, ...]]:
    return {row["id"]: (row["state"], row["at"], row["amount"]) for row in home.table("silver/orders").collect()}


def test_files_are_written_again_byte_for_byte_without_its_records_and_count_as_read(home: Home) -> None:
    deliver(home)
    before = {path: (home.raw / path).stat() for path in ("a.csv", "b.csv.gz", "c.csv")}
    gone(home)
    assert (home.raw / "a.csv").read_text() == f"{HEADER}\n1,open,2026-01-01,1.00,x\n2,paid,2026-01-02,2.00,x\n"
    assert gzip.decompress((home.raw / "b.csv.gz").read_bytes()).decode() == f"{HEADER}\n\n3,open,2026-01-03,1.00,x\n"
    assert (home.raw / "c.csv").read_text() == f"{HEADER}\n"
    after = {path: (home.raw / path).stat() for path in before}
    assert [(s.st_mtime_ns, s.st_mode) for s in after.values()] == [(s.st_mtime_ns, s.st_mode) for s in before.values()]
    assert home.states() == {"a.csv": ("repeat", 2), "b.csv.gz": ("repeat", 1), "c.csv": ("repeat", 0), "d.csv": ("ingested", 2)}


def test_without_leave_to_write_them_delivered_files_are_named_and_stay(home: Home) -> None:
    deliver(home)
    before = {file.name: file.read_bytes() for file in home.raw.iterdir()}
    erased = gone(home, rewrite=False)
    assert [left.place for left in erased.left] == ["data/raw/a.csv", "data/raw/b.csv.gz", "data/raw/c.csv"]
    assert {file.name: file.read_bytes() for file in home.raw.iterdir()} == before
    assert holding(home, *WORDS) == {left.place for left in erased.left}
    assert_right(home)
    assert home.ok().notes == ()
    assert gone(home).left == ()
    assert holding(home, *WORDS) == set()


def test_no_delivery_replay_or_rebuild_brings_it_back(home: Home) -> None:
    deliver(home)
    gone(home)
    home.land("a.csv", f"{CANARY},open,2027-01-01,9.00,back", "1,sent,2027-01-01,1.00,x", "2,paid,2026-01-02,2.00,x", header=HEADER)
    home.land("e.csv", f"{CANARY},sent,2027-01-01,1.00,again", f" {CANARY} ,bad,never,1,again", "6,open,2027-01-01,1.00,x", header=HEADER)
    home.ok()
    home.redo(bronze.rebuild, silver.rebuild, gold.rebuild, force=True)
    home.redo(silver.replay)
    assert_right(home)
    assert {"a.csv", "e.csv"} == set(map(os.path.basename, holding(home, CANARY)))
    assert sorted(rows_of_silver(home)) == ["1", "2", "3", "4", "5", "6"]


DEATHS = ("forget.listed", "forget.noted", "forget.erased", "silver.merged", "gold.discarded", "forget.purged", "forget.rewritten")


def test_it_may_die_anywhere_and_the_same_command_comes_to_the_same_end(home: Home) -> None:
    deliver(home)
    for place in DEATHS:
        with crash_at(place):
            gone(home)
    assert_gone(home)


@pytest.mark.deep
@pytest.mark.parametrize("place", DEATHS)
def test_runs_between_a_death_and_the_same_command_change_nothing_about_its_end(home: Home, place: str) -> None:
    deliver(home)
    with crash_at(place):
        gone(home)
    home.run()
    assert_gone(home)


def assert_gone(home: Home) -> None:
    assert ledger.unfinished_erasure(home.settings, "orders") is not None
    assert gone(home).left == ()
    assert ledger.unfinished_erasure(home.settings, "orders") is None
    assert holding(home, *WORDS) == set()
    assert sorted(rows_of_silver(home)) == ["1", "2", "3", "4", "5"]
    assert_right(home)
    assert home.ok().notes == ()


def test_a_short_key_is_looked_for_in_cells_and_other_keys_that_contain_it_stay(home: Home) -> None:
    home.land("a.csv", "7,open,2026-01-01,1.00", "77,open,2026-01-01,1.00", "1,paid,2026-01-01,7.00")
    home.ok()
    aside = home.settings.table("set-aside") / "silver-orders-old"
    home.table("silver/orders").write.parquet(str(aside))
    assert [(left.place.split("/part-")[0], left.what) for left in gone(home, "7").left] == [
        ("data/set-aside/silver-orders-old", "in a row of the key")
    ]
    shutil.rmtree(aside)
    assert gone(home, "7").left == ()
    assert sorted(rows_of_silver(home)) == ["1", "77"]
    assert (home.raw / "a.csv").read_text() == "id,state,at,amount\n77,open,2026-01-01,1.00\n1,paid,2026-01-01,7.00\n"
    assert_right(home)


def test_what_was_put_aside_or_written_by_others_is_named(home: Home) -> None:
    deliver(home)
    aside = home.settings.table("set-aside") / "silver-orders-old"
    home.table("silver/orders").write.parquet(str(aside))
    (home.path / "data" / "export.txt").write_text(SECRET, "utf-16")
    (home.raw / f".{CANARY}.tmp").write_text("half")
    left = gone(home).left
    assert {(one.place.split("/part-")[0], one.what) for one in left} == {
        ("data/set-aside/silver-orders-old", "in its bytes"),
        ("data/export.txt", "in its bytes"),
        (f"data/raw/.{CANARY}.tmp", "in its name"),
    }


def test_files_of_the_archive_lose_the_records_too(home: Home) -> None:
    (home.path / "conf" / "settings.yaml").write_text("archive_ingested: true\n")
    archiving = Home(home.path, settings_of.load(home.path), home.spark)
    deliver(archiving)
    assert gone(archiving).left == ()
    assert holding(archiving, *WORDS) == set()
    assert archiving.ok().notes == ()
    assert_right(archiving)


def test_tables_go_on_afterwards_and_can_be_maintained(home: Home) -> None:
    deliver(home)
    gone(home)
    home.land("f.csv", "1,sent,2027-02-01,1.00,x", "9,open,2027-02-01,1.00,x", header=HEADER)
    home.ok()
    maintain(home.contracts(), home.settings, 0)
    home.land("d.csv", "4,sent,2026-01-05,1.00,y", header=HEADER)
    home.land("g.csv", "9,sent,2027-02-02,1.00,x", header=HEADER)
    home.run()
    assert_right(home)


def test_a_key_that_is_none_is_refused_before_anything_is_written(home: Home) -> None:
    deliver(home)
    with pytest.raises(UsageError, match=r"the key of orders is id: --key <id>\. Nothing was read\."):
        gone(home, "1", "2")
    assert not home.settings.table(ledger.FORGOTTEN).exists()


def test_it_waits_for_nobody(home: Home) -> None:
    deliver(home)
    with locks.hold(home.settings, ["gold"], ["orders"]), pytest.raises(Locked, match="gold of orders is in use"):
        gone(home)


def test_on_the_command_line_it_ends_in_3_while_a_file_still_holds_the_key_and_the_key_stays_nowhere(bare_home: Path) -> None:
    (bare_home / "data/raw/a.csv").write_text(f"id,state,at,amount\n{CANARY},open,2026-01-01,1.00\n1,open,2026-01-01,1.00\n")
    assert call(bare_home, "run").returncode == 0
    named = call(bare_home, "forget", "orders", "--key", CANARY, "--json")
    assert (named.returncode, [row["place"] for row in json.loads(named.stdout)["rows"]]) == (3, ["data/raw/a.csv"])
    done = call(bare_home, "forget", "orders", "--key", CANARY, "--files", "rewrite")
    assert (done.returncode, done.stderr) == (0, "")
    assert [f for f in bare_home.rglob("*") if f.is_file() and CANARY.encode() in f.read_bytes()] == []
