"""Small tables and frames held in memory are the same rows, whatever they hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streaming_jobs import small
from tests.conftest import assert_same

EVERY = """
SELECT id, timestamp_micros(id) AS at, CAST(id AS DECIMAL(12,2)) AS amount, IF(id = 2, NULL, map('k', CAST(id AS STRING))) AS extra,
       IF(id = 1, NULL, named_struct('at', timestamp_micros(id), 'kept', 'x', 'reasons', array(named_struct('rule', 'cast')))) AS bronze,
       CAST(NULL AS DATE) AS day, double('NaN') AS ratio
FROM range({rows})
"""


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_small_frame_held_in_memory_is_the_same_frame(spark: SparkSession, rows: int) -> None:
    frame = spark.sql(EVERY.format(rows=rows))
    held = small.local(frame)
    assert held is not None
    assert_same(held.selectExpr("* EXCEPT (extra)", "to_json(extra)"), frame.selectExpr("* EXCEPT (extra)", "to_json(extra)"))


@pytest.mark.parametrize("rows", [0, 2])
def test_a_small_table_is_the_same_frame(spark: SparkSession, tmp_path: Path, rows: int) -> None:
    table = tmp_path / "table"
    spark.sql(EVERY.format(rows=rows)).drop("extra").write.format("delta").save(str(table))
    held = small.frame(spark, table)
    assert held is not None
    assert_same(held, spark.read.format("delta").load(str(table)))


def test_what_is_too_large_is_not_held(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "MAX_ROWS", 2)
    frame = spark.range(3)
    frame.write.format("delta").save(str(tmp_path / "table"))
    assert (small.local(frame), small.held(tmp_path / "table")) == (None, None)
