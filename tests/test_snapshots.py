"""Tables as delta-rs sees them, opened once per commit, some of them ahead of their time; and our commits through what is held."""

from __future__ import annotations

from pathlib import Path

import arro3.core as arrow
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from streaming_jobs import commits, snapshots


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_deltalake(str(tmp_path / "table"), arrow.Table.from_pydict({"id": arrow.Array([1, 2], type=arrow.DataType.int64())}))
    return tmp_path / "table"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that are opened from now on."""
    paths: list[str] = []

    class Counted(DeltaTable):
        def __init__(self, path: str) -> None:
            paths.append(path)
            super().__init__(path)

    monkeypatch.setattr(snapshots, "DeltaTable", Counted)
    return paths


def test_a_table_is_opened_once_for_a_commit_whoever_asks_for_it_meanwhile(table: Path, opened: list[str]) -> None:
    with snapshots.opened_ahead([table]):
        held = snapshots.newest(table)
    assert held is snapshots.newest(table)
    assert opened == [str(table)]
    write_deltalake(str(table), arrow.Table.from_pydict({"id": arrow.Array([3], type=arrow.DataType.int64())}), mode="append")
    with snapshots.opened_ahead([table]):
        pass
    assert opened == [str(table)] * 2
    assert snapshots.existing(table).version() == 1
    assert opened == [str(table)] * 2


def test_what_cannot_be_opened_ahead_is_told_of_when_it_is_asked_for_and_not_before(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = table.with_name("broken")
    (broken / "_delta_log").mkdir(parents=True)
    (broken / "_delta_log" / f"{0:020}.json").write_text("{")
    with snapshots.opened_ahead([broken, table.with_name("none"), table]):
        assert snapshots.newest(table) is not None
    assert snapshots.newest(table.with_name("none")) is None
    with pytest.raises(DeltaError):
        snapshots.newest(broken)
    assert capfd.readouterr().err == ""


def test_what_is_done_within_fails_as_it_would_alone(table: Path) -> None:
    with pytest.raises(LookupError, match="of its own"), snapshots.opened_ahead([table]):
        raise LookupError("of its own")
    assert snapshots.existing(table).version() == 0


def test_a_table_that_we_commit_to_is_held_at_its_newest_version_with_a_checksum_and_not_opened_for_it(
    table: Path, opened: list[str]
) -> None:
    rows = arrow.Table.from_pydict({"id": arrow.Array([3], type=arrow.DataType.int64())})
    file = next(table.glob("*.parquet"))
    again = AddAction(file.name, file.stat().st_size, {}, 0, True, '{"numRecords": 2}')
    with commits.to(table) as held:
        write_deltalake(held, rows, mode="append")
    with commits.to(table) as held:
        held.alter.set_table_properties({"ours": "1"}, raise_if_not_exists=False)
    with commits.to(table) as held:
        held.optimize.compact()
    with commits.to(table) as held:
        held.create_write_transaction([again], "append", held.schema())
    assert snapshots.existing(table).version() == DeltaTable(str(table)).version() == 4
    assert {file.name for file in (table / "_delta_log").glob("*.crc")} == {f"{version:020}.crc" for version in range(1, 5)}
    assert opened == [str(table)]


def test_after_a_commit_that_failed_the_table_is_opened_anew_as_it_is(table: Path, opened: list[str]) -> None:
    def fail_behind_the_commit() -> None:
        with commits.to(table) as held:
            held.alter.set_table_properties({"ours": "1"}, raise_if_not_exists=False)
            raise LookupError

    with pytest.raises(LookupError):
        fail_behind_the_commit()
    assert snapshots.existing(table).version() == 1
    assert opened == [str(table)] * 2
