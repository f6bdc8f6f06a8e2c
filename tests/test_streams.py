"""Which files the stream of names lists, and which it remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs import bronze, checkpoints, streams
from streaming_jobs.run import Clock
from streaming_jobs.stop import Stop
from tests.conftest import Home, assert_rows, crash_at

PLAIN = [" s p.csv", "%20.csv", "a.csv", "a=b+c.csv", "new\nline.csv", "sub/x.csv", "ü€.csv"]
SPECIAL = ["?.csv", "[a].csv", "a*b.csv", "a,b.csv", "a{b,c}.csv", "b\\c.csv"]
OTHERS = ["axb.csv", "b.csv", "sub/b.csv"]


def filled(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("id\n1\n")
    return folder


def streamed(spark: SparkSession, folder: Path, awaited: list[str], checkpoint: Path) -> list[str]:
    """Names that come, sorted."""
    found: list[str] = []

    def batch(rows: DataFrame, _id: int, _clock: Clock) -> None:
        found.extend(bronze._relative(row.path, folder) for row in rows.collect())

    listed = streams.exactly(folder, awaited) or streams.everything(folder)
    streams.run_available(streams.read_file_names(spark, listed, "*.csv", 1000), batch, checkpoint, Stop())
    return sorted(found)


@pytest.fixture(params=["of {a,b} [c]/in", "a,in"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """With a file under each name, and under names of which these are patterns."""
    return filled(tmp_path / request.param, [*PLAIN, *SPECIAL, *OTHERS])


def test_few_awaited_files_come_whatever_their_names(spark: SparkSession, tmp_path: Path) -> None:
    folder = filled(tmp_path / "of {a,b}/in", [*PLAIN, *SPECIAL, *OTHERS])
    for number, name in enumerate(SPECIAL):
        assert name in streamed(spark, folder, [name], tmp_path / f"cp{number}")
    assert {*PLAIN, *SPECIAL} <= set(streamed(spark, folder, [*PLAIN, *SPECIAL], tmp_path / "cp"))


def test_of_few_awaited_files_with_plain_names_only_these_are_listed(spark: SparkSession, tmp_path: Path) -> None:
    folder = filled(tmp_path / "of {a,b} [c]/in", [*PLAIN, *OTHERS])
    assert streamed(spark, folder, PLAIN, tmp_path / "cp") == PLAIN


def test_an_awaited_file_that_is_gone_does_not_keep_the_others_back(spark: SparkSession, folder: Path, tmp_path: Path) -> None:
    assert "b.csv" in streamed(spark, folder, ["gone.csv", "b.csv", "gone/x.csv"], tmp_path / "cp")


def test_a_stream_in_which_every_awaited_file_is_gone_ends(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert streamed(spark, tmp_path / "in", ["gone.csv"], tmp_path / "cp") == []


def test_what_was_not_awaited_comes_once_when_all_is_listed(spark: SparkSession, folder: Path, tmp_path: Path) -> None:
    first = streamed(spark, folder, ["b.csv"], tmp_path / "cp")
    rest = streamed(spark, folder, [], tmp_path / "cp")
    assert sorted(first + rest) == sorted([*PLAIN, *SPECIAL, *OTHERS])
    assert streamed(spark, folder, ["b.csv"], tmp_path / "cp") == []


def test_a_stream_that_remembers_many_files_begins_anew_and_nothing_is_read_twice(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_LONG_LOG", 300)  # two names
    checkpoint = home.settings.checkpoint("bronze", "orders")
    remembered = []
    for number in range(5):
        home.land(f"{number}.csv", f"{number},open,2026-01-01,1.00")
        assert [type(note).__name__ for note in home.ok("bronze").notes] == ["RunRow"]
        log = checkpoint / "sources" / "0"
        remembered.append(sum(file.read_text().count('"path"') for file in log.iterdir() if file.name.isdecimal()))
    assert remembered == [1, 2, 1, 2, 1]
    assert_rows(home.table("bronze/orders").select("id"), [(str(number),) for number in range(5)], "id string")
    assert [file.name for file in checkpoint.parent.iterdir()] == ["orders"]


def test_a_stream_whose_batch_has_not_ended_goes_on_with_what_it_remembers(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land("0.csv", "0,open,2026-01-01,1.00")
    home.ok("bronze")
    monkeypatch.setattr(checkpoints, "_LONG_LOG", 0)
    home.land("1.csv", "1,open,2026-01-01,1.00")
    with crash_at("bronze.committed"):
        home.run("bronze")
    checkpoint = home.settings.checkpoint("bronze", "orders")
    query = checkpoints.query_id(checkpoint)
    checkpoints.begin_anew(checkpoint)
    assert checkpoints.query_id(checkpoint) == query
    home.land("2.csv", "2,open,2026-01-01,1.00")
    home.ok("bronze")
    assert_rows(home.table("bronze/orders").select("id"), [("0",), ("1",), ("2",)], "id string")
    checkpoints.begin_anew(checkpoint)
    assert checkpoints.query_id(checkpoint) is None


def test_a_run_that_awaits_no_file_starts_no_stream_of_files(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.land("0.csv", "0,open,2026-01-01,1.00").unlink()
    home.land("1.csv", "1,open,2026-01-01,1.00")
    home.ok("bronze")
    (home.raw / "1.csv").unlink()
    monkeypatch.setattr(streams, "run_available", lambda *_: pytest.fail("a stream was started"))
    home.ok("bronze")
    assert home.states() == {"1.csv": ("missing", None)}
