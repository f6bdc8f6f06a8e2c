"""Every table opens in readers that know nothing of Spark."""

from __future__ import annotations

import duckdb
import polars as pl
from deltalake import DeltaTable, QueryBuilder

from tests.conftest import Home

ROWS = {"bronze/orders": 4, "silver/orders": 2, "quarantine/orders": 2, "gold/by_state": 1, "ledger/files": 2, "ledger/runs": 3}


def test_deltalake_polars_and_duckdb_read_every_table(home: Home) -> None:
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-02,2.00", "bad,open,never,1.00", "short")
    home.ok()
    paths = {name: str(home.settings.table(name)) for name in ROWS}
    assert {n: pl.read_delta(p).height for n, p in paths.items()} == ROWS
    asked = {n: QueryBuilder().register("t", DeltaTable(p)).execute("SELECT count(*) FROM t").read_all() for n, p in paths.items()}
    assert {n: found.column(0).to_pylist()[0] for n, found in asked.items()} == ROWS
    for name, path in paths.items():
        protocol = DeltaTable(path).protocol()
        assert (protocol.min_reader_version, protocol.reader_features) == (1, None), name
        arrow = pl.read_delta(path).to_arrow()
        found = duckdb.sql("SELECT count(*) FROM arrow")
        assert found is not None
        assert found.fetchall() == [(ROWS[name],)], name
        assert arrow.num_rows == ROWS[name]
