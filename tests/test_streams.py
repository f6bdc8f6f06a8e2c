"""Which files the stream of names lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs import bronze, streams
from streaming_jobs.run import Clock
from streaming_jobs.stop import Stop

PLAIN = [" s p.csv", "%20.csv", "a.csv", "a=b+c.csv", "sub/x.csv", "ü€.csv"]
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

    streams.run_available(streams.read_file_names(spark, folder, "*.csv", 1000, awaited), batch, checkpoint, Stop())
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
