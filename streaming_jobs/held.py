"""Rows that are computed once: few of them in the driver's memory, many in Spark's cache."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from streaming_jobs import small, streams


@dataclass(frozen=True)
class Held:
    """One of the two is there."""

    few: small.Local | None
    many: DataFrame | None

    @property
    def frame(self) -> DataFrame:
        if self.few is not None:
            return self.few.frame
        assert self.many is not None
        return self.many

    @property
    def rows(self) -> pa.Table | None:
        """None: they are many."""
        return None if self.few is None else self.few.rows

    @property
    def spark(self) -> SparkSession:
        return self.few.spark if self.few is not None else self.frame.sparkSession

    def release(self) -> None:
        if self.many is not None:
            self.many.unpersist()


def hold(rows: DataFrame, *, few: bool = True) -> Held:
    """Compute rows. few: they may be few; false where that is known to be otherwise. In memory they cut the plans over them as well."""
    found = small.local(rows) if few else None
    if found is not None:
        return Held(found, None)
    streams.compile_expressions(rows.sparkSession)
    return Held(None, rows.persist())
