"""Version checksums: what they say is what the log says, and Spark takes schema and protocol from them."""

from __future__ import annotations

import json
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import SparkSession

from streaming_jobs import checksums, gold, silver, tables
from streaming_jobs.tables import Txn
from tests.conftest import Home, jobs

FOLLOWED = ("bronze/orders", "silver/orders")
OTHERS = ("quarantine/orders", "gold/by_state")


def checksum(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020}.crc"


def without(table: Path) -> Path:
    """The table, as if it had been written by a version of this project that made no checksums."""
    for file in (table / "_delta_log").glob("*.crc"):
        file.unlink()
    return table


def agrees(spark: SparkSession, table: Path) -> bool:
    """Whether Spark finds the checksum of the newest version, and in the log what it says."""
    jvm = spark._jvm
    assert jvm is not None
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    snapshot = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, str(table)).unsafeVolatileSnapshot()
    nothing = jvm.org.apache.spark.api.python.PythonUtils.toScalaMap({})
    return bool(snapshot.checksumOpt().isDefined() and snapshot.validateChecksum(nothing))


def three_days(home: Home) -> None:
    home.contract()
    home.land("a.csv", "1,open,2026-01-01,1.00", "2,open,2026-01-01,x")
    home.ok()
    home.land("b.csv", "3,paid,2026-01-02,2.00")
    home.ok()
    home.land("a.csv", "1,paid,2026-01-01,4.00")
    home.ok()


def test_every_version_of_every_table_has_a_checksum_that_spark_finds_right(home: Home, spark: SparkSession) -> None:
    three_days(home)
    for name in (*FOLLOWED, *OTHERS):
        table = home.settings.table(name)
        for version in range(home.version(name) + 1):
            assert checksum(table, version).exists(), (name, version)
            found = DeltaTable(str(table), version=version)
            sizes = found.get_add_actions().column("size_bytes").to_pylist()
            said = json.loads(checksum(table, version).read_text())
            assert (said["numFiles"], said["tableSizeBytes"], said["metadata"]["id"]) == (len(sizes), sum(sizes), found.metadata().id)
        assert agrees(spark, table), name


def test_a_stream_begins_without_a_query_over_the_log_of_its_table(home: Home, spark: SparkSession) -> None:
    three_days(home)

    def of_a_new_day(name: str, *, checked: bool) -> int:
        home.land(name, f"{name},paid,2026-01-02,2.00")
        home.ok("bronze")
        if not checked:
            for table in FOLLOWED:
                without(home.settings.table(table))
        before = jobs(spark)
        home.redo(silver.start, gold.start)
        return jobs(spark) - before

    checked, unchecked = of_a_new_day("c.csv", checked=True), of_a_new_day("d.csv", checked=False)
    assert unchecked - checked >= 5, (checked, unchecked)


def test_a_checksum_that_a_crash_left_out_is_made_up_for_and_says_the_same(home: Home, spark: SparkSession) -> None:
    three_days(home)
    for name in (*FOLLOWED, *OTHERS):
        table = home.settings.table(name)
        newest = checksum(table, home.version(name))
        said = newest.read_text()
        newest.unlink()
        checksums.write(table)
        assert newest.read_text() == said
        newest.write_text("")
        checksums.write(table)
        assert newest.read_text() == "", "what is there is not written again"


def test_one_that_cannot_be_read_is_passed_over_and_the_log_is_asked(home: Home, spark: SparkSession) -> None:
    three_days(home)
    table = home.settings.table("silver/orders")
    for content in ("", "{", "{}", "[]"):
        checksum(table, home.version("silver/orders")).write_text(content)
        tables.commit_nothing(table)
        assert agrees(spark, table), content


def test_a_table_that_never_had_one_gets_its_first_from_the_whole_log(home: Home, spark: SparkSession) -> None:
    three_days(home)
    for name in (*FOLLOWED, *OTHERS):
        checksums.write(without(home.settings.table(name)))
        assert agrees(spark, home.settings.table(name)), name


def test_a_log_that_no_longer_says_what_belongs_in_it_gives_none(home: Home) -> None:
    three_days(home)
    table = without(home.settings.table("bronze/orders"))
    DeltaTable(str(table)).create_checkpoint()
    for file in sorted((table / "_delta_log").glob("*.json"))[:-1]:
        file.unlink()
    checksums.write(table)
    assert not list((table / "_delta_log").glob("*.crc"))


def test_a_changed_schema_is_in_the_next_checksum(home: Home, spark: SparkSession) -> None:
    three_days(home)
    table = home.settings.table("quarantine/orders")
    tables.add_columns(spark, table, [("late", "STRING")])
    checksums.write(without(table))
    said = json.loads(checksum(table, home.version("quarantine/orders")).read_text())
    assert "late" in {field["name"] for field in json.loads(said["metadata"]["schemaString"])["fields"]}
    assert agrees(spark, table)


def test_what_spark_writes_next_builds_on_it(home: Home, spark: SparkSession) -> None:
    three_days(home)
    table = home.settings.table("silver/orders")
    rows = tables.read(spark, table)
    tables.append(rows.limit(0), table, Txn("test", 0))
    assert agrees(spark, table)


def test_a_log_keeps_the_checksums_of_its_last_versions_only(home: Home) -> None:
    three_days(home)
    table = home.settings.table("bronze/orders")
    for _ in range(25):
        tables.commit_nothing(table)
    kept = sorted(int(file.stem) for file in (table / "_delta_log").glob("0*.crc"))
    newest = home.version("bronze/orders")
    assert kept == list(range(newest - 19, newest + 1))
