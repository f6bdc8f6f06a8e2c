"""Tables as delta-rs sees them, opened once per commit, some of them ahead of their time."""

from __future__ import annotations

from pathlib import Path

import arro3.core as arrow
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from streaming_jobs import snapshots


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_deltalake(str(tmp_path / "table"), arrow.Table.from_pydict({"id": arrow.Array([1, 2], type=arrow.DataType.int64())}))
    return tmp_path / "table"


def test_a_table_is_opened_once_for_a_commit_whoever_asks_for_it_meanwhile(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Counted(DeltaTable):
        def __init__(self, path: str) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(snapshots, "DeltaTable", Counted)
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
