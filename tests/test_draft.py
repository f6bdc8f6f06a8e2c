"""`contract draft`: what it guesses of a sample, what it leaves alone, and that its drafts can be run as they are."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from streaming_jobs import contract as contracts
from streaming_jobs.errors import UsageError
from streaming_jobs.operations import sample
from streaming_jobs.operations.draft import Draft, draft, source, values
from streaming_jobs.operations.draft.page import in_sql
from tests import oracle
from tests.conftest import Home, call

needs_provinces = pytest.mark.skipif(not oracle.PROVINCES.is_dir(), reason="the deliveries of the provinces are not beside the repository")


@dataclass(frozen=True)
class Drafted:
    """A draft that loaded as a contract without a finding."""

    text: str
    document: dict[str, Any]

    @property
    def server(self) -> dict[str, Any]:
        return dict(self.document["servers"][0])

    @property
    def landing(self) -> dict[str, Any]:
        return {c["property"]: c["value"] for c in self.server.get("customProperties", [])}

    @property
    def bronze(self) -> dict[str, dict[str, Any]]:
        return {c["name"]: c for c in self.document["schema"][0]["properties"]}

    @property
    def silver(self) -> dict[str, dict[str, Any]]:
        return {c["name"]: c for c in self.document["schema"][1]["properties"]}

    @property
    def keys(self) -> list[str]:
        marked = [c for c in self.silver.values() if c.get("primaryKey")]
        return [c["name"] for c in sorted(marked, key=lambda c: int(c["primaryKeyPosition"]))]

    @property
    def sequence(self) -> list[str]:
        return list(self.document["schema"][1]["customProperties"][0]["value"])

    @property
    def gold(self) -> tuple[str, str, str]:
        """Table, grain, aggregate."""
        table = self.document["schema"][2]
        return table["name"], table["properties"][0]["transformLogic"], table["properties"][1]["transformLogic"]

    def kind(self, name: str) -> tuple[str, str | None]:
        """Type and datetime pattern of a column of Silver."""
        column = self.silver[name]
        return column.get("physicalType", column["logicalType"]), column.get("logicalTypeOptions", {}).get("format")

    def remark(self, name: str) -> str:
        """The comment above a column of Silver, on one line."""
        lines = self.text[self.text.index("silver/") :].splitlines()
        at = next(n for n, line in enumerate(lines) if line.lstrip().startswith((f"- {{name: {name},", f"- {{name: {name}}}")))
        above: list[str] = []
        while lines[at - 1].lstrip().startswith("#"):
            at -= 1
            above.insert(0, lines[at].lstrip(" #"))
        return " ".join(above)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home for drafts; one with a session is asked for as `running`."""
    for folder in ("conf", "data/raw"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def running(other_home: Home) -> Home:
    (other_home.settings.conf / "orders.yaml").unlink()
    return other_home


def land(home: Path, content: str | bytes, name: str = "sample.csv") -> Path:
    file = home / "data/raw" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def of(home: Path, *contents: str | bytes, name: str = "sample.csv") -> Drafted:
    """The draft of files of these contents, the second and later ones numbered."""
    files = [land(home, content, name if not n else name.replace(".", f"_{n}.")) for n, content in enumerate(contents)]
    return loaded(home, draft(files, home, "sample"))


def loaded(home: Path, made: Draft) -> Drafted:
    file = home / "conf" / f"{made.dataset}.yaml"
    file.write_text(made.text, "utf-8")
    assert contracts.load(file).without_effect == ()
    return Drafted(made.text, yaml.safe_load(made.text))


def column(home: Path, cells: Sequence[str], delimiter: str = ",") -> Drafted:
    """The draft of one column `value` beside a key."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([("id", "value"), *enumerate(cells, 100)])
    return of(home, out.getvalue())


ORDERS = "order_id,customer email,amount,placed_on,updated_at\nA-1,ann@example.org,12.50,31.01.2026,2026-02-01T10:00:00Z\n"
ORDERS += "A-2,bob@example.org,,01.02.2026,2026-02-01T11:00:00Z\n"
READINGS = "sensor_id;measured_at;temperature;humidity;battery;comment\nS-0017;31.01.2026 14:05;21,50;45;3,61;Fenster geöffnet\n"
READINGS += "S-0018;31.01.2026 14:05;n/a;44;3,59;\nS-0017;31.01.2026 14:06;-0,5;45;3,6;\n"


def test_a_draft_is_a_whole_contract(home: Path) -> None:
    file = land(home, ORDERS, "shop-orders_2026-02-01.csv")
    personal = {"classification": "personal"}
    assert loaded(home, draft([file], home)).document == {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "shop_orders",
        "name": "shop_orders",
        "version": "0.1.0",
        "status": "draft",
        "servers": [{"server": "landing", "type": "local", "path": "data/raw/shop-orders_*.csv", "format": "csv", "encoding": "utf-8"}],
        "schema": [
            {
                "name": "raw_shop_orders",
                "physicalName": "bronze/shop_orders",
                "logicalType": "object",
                "properties": [
                    {"name": "order_id", "logicalType": "string", "required": True},
                    {
                        "name": "customer_email", "logicalType": "string", "required": True,
                        "synonyms": [{"synonym": "customer email"}], **personal,
                    },
                    {"name": "amount", "logicalType": "string"},
                    {"name": "placed_on", "logicalType": "string", "required": True},
                    {"name": "updated_at", "logicalType": "string", "required": True},
                ],
            },
            {
                "name": "shop_orders",
                "physicalName": "silver/shop_orders",
                "logicalType": "object",
                "customProperties": [{"property": "sequenceBy", "value": ["updated_at"]}],
                "properties": [
                    {"name": "order_id", "logicalType": "string", "required": True, "primaryKey": True, "primaryKeyPosition": 1},
                    {"name": "customer_email", "logicalType": "string", "required": True, **personal},
                    {"name": "amount", "logicalType": "number", "physicalType": "DECIMAL(12,2)"},
                    {"name": "placed_on", "logicalType": "date", "required": True, "logicalTypeOptions": {"format": "dd.MM.yyyy"}},
                    {"name": "updated_at", "logicalType": "timestamp", "required": True},
                ],
            },
            {
                "name": "shop_orders_per_day",
                "physicalName": "gold/shop_orders_per_day",
                "logicalType": "object",
                "properties": [
                    {"name": "day", "logicalType": "date", "primaryKey": True, "primaryKeyPosition": 1, "transformLogic": "placed_on"},
                    {"name": "rows", "logicalType": "integer", "transformLogic": "count(*)"},
                ],
            },
        ],
    }  # fmt: skip


def test_a_draft_of_another_dialect_says_how_it_is_written(home: Path) -> None:
    made = of(home, READINGS.encode("iso-8859-1"), name="readings.csv")
    assert made.server == {
        "server": "landing",
        "type": "custom",
        "path": "data/raw/readings.csv",
        "format": "csv",
        "delimiter": ";",
        "encoding": "utf-8",
        "customProperties": [
            {"property": "fallbackEncodings", "value": ["iso-8859-1"]},
            {"property": "nullValues", "value": ["n/a"]},
        ],
    }
    logic = "replace(nullif(trim(raw.{}), ''), ',', '.')"
    assert list(made.silver.values()) == [
        {"name": "sensor_id", "logicalType": "string", "required": True, "primaryKey": True, "primaryKeyPosition": 1},
        {
            "name": "measured_at", "logicalType": "timestamp", "required": True, "primaryKey": True, "primaryKeyPosition": 2,
            "logicalTypeOptions": {"format": "dd.MM.yyyy HH:mm"},
        },
        {
            "name": "temperature", "logicalType": "number", "physicalType": "DECIMAL(12,2)",
            "transformLogic": logic.format("temperature"),
        },
        {"name": "humidity", "logicalType": "integer", "required": True},
        {
            "name": "battery", "logicalType": "number", "physicalType": "DECIMAL(12,2)", "required": True,
            "transformLogic": logic.format("battery"),
        },
        {"name": "comment", "logicalType": "string"},
    ]  # fmt: skip


# Cells, the type they get, and what the comment says beside how many there are.
TYPES: dict[str, tuple[list[str], tuple[str, str | None], str]] = {
    "whole numbers": (["1", "-20", " 3 "], ("integer", None), ""),
    "the ends of BIGINT": (["-9223372036854775808", "9223372036854775807"], ("integer", None), ""),
    "behind the end of BIGINT": (["9223372036854775808", "1"], ("DECIMAL(38,0)", None), "Too long for a BIGINT."),
    "39 digits": (["1" * 39, "1"], ("string", None), "More digits than any number type holds."),
    "leading zeros": (["00501", "10115"], ("string", None), "Leading zeros, which a number would lose."),
    "leading zeros before a point": (["01.10", "2.20"], ("string", None), "Leading zeros, which a number would lose."),
    "digits behind a +": (["+4917112345", "+4917112346"], ("string", None), "Digits behind a +, which a number would lose."),
    "0 and 1": (["0", "1", "1"], ("integer", None), "Only 0 and 1: BOOLEAN would take them too."),
    "yes and no": (["yes", "No", "no"], ("boolean", None), ""),
    "true alone": (["true", "TRUE"], ("boolean", None), ""),
    "N alone": (["N", "N"], ("string", None), ""),
    "NO among countries": (["NO", "SE"], ("string", None), ""),
    "y and maybe": (["y", "n", "maybe"], ("string", None), ""),
    "decimals": (["1.5", "20.25", "-3"], ("DECIMAL(12,2)", None), ""),
    "many digits before the point": (["12345678901.5", "1"], ("DECIMAL(16,1)", None), ""),
    "a point at either end": ([".5", "5."], ("DECIMAL(11,1)", None), ""),
    "38 digits": (["1" * 20 + "." + "2" * 18, "1"], ("DECIMAL(38,18)", None), ""),
    "more than 38 digits": (["1" * 21 + "." + "2" * 18, "1"], ("string", None), ""),
    "exponents": (["1.5e-3", "2"], ("number", None), "Written with exponents."),
    "codes with an e": (["12e5", "13e6"], ("string", None), "Digits around an e: numbers, or codes."),
    "an exponent beyond DOUBLE": (["1.0e400", "1.5"], ("string", None), ""),
    "NaN and Infinity": (["Infinity", "1.5"], ("string", None), ""),
    "thousands and a point": (["1,234.50", "2.00"], ("string", None), "Numbers with separators for thousands, which no cast reads."),
    "a comma before three digits": (
        ["1,234", "20"], ("string", None), "A comma before three digits: for thousands, or for the decimal point.",
    ),
    "ISO dates": (["2026-01-31", "2026-2-1"], ("date", None), ""),
    "a day that is none": (["2026-02-30", "2026-02-01"], ("string", None), ""),
    "ISO timestamps": (["2026-01-31T10:00:00Z", "2026-01-31 10:00+02:00"], ("string", None), ""),
    "timestamps with offsets": (["2026-01-31T10:00:00Z", "2026-01-31 10:00:01.5+02:00"], ("timestamp", None), ""),
    "timestamps without one": (["2026-01-31 10:00", "2026-01-31"], ("timestamp", None), "Without a zone, so it is read as UTC."),
    "nanoseconds": (["2026-01-31 10:00:00.123456789", "2026-01-31"], ("string", None), ""),
    "the year 0": (["0000-01-01", "2026-01-01"], ("string", None), ""),
    "a day first": (["13/02/2026", "01/02/2026"], ("date", "dd/MM/yyyy"), "A day above 12 comes first."),
    "a month first": (["2/13/2026", "1/2/2026"], ("date", "M/d/yyyy"), "A day above 12 comes second."),
    "day or month first": (
        ["01/02/2026", "03/04/2026"],
        ("string", None),
        "Dates, but no value tells whether the day or the month comes first: dd/MM/yyyy or MM/dd/yyyy.",
    ),
    "both orders in one column": (["13/02/2026", "02/13/2026"], ("string", None), ""),
    "points between": (["01.02.2026", "03.04.2026"], ("date", "dd.MM.yyyy"), ""),
    "no zeros to fill up": (["1.2.2026", "13.12.2026"], ("date", "d.M.yyyy"), ""),
    "a two-digit year": (
        ["31.01.26", "01.02.26"],
        ("string", None),
        "Dates with a year of two digits: which century, and which part is the year.",
    ),
    "a year first, with slashes": (["2026/01/31", "2026/02/01"], ("date", "yyyy/MM/dd"), ""),
    "dates run together": (["20260131", "20260201"], ("date", "yyyyMMdd"), "Digits that all are dates; BIGINT would take them too."),
    "eight digits, not all dates": (["20260131", "20261301"], ("integer", None), ""),
    "months by name": (["31-Jan-2026", "01-FEB-2026"], ("date", "dd-MMM-yyyy"), ""),
    "a time behind": (["31/01/2026 09:05:01", "01/02/2026 10:00:00"], ("timestamp", "dd/MM/yyyy HH:mm:ss"), ""),
    "hours without a zero": (["31/01/2026 9:05", "01/02/2026 10:00"], ("timestamp", "dd/MM/yyyy H:mm"), ""),
    "am and pm": (["1/31/2026 2:05 PM", "2/1/2026 11:05 am"], ("timestamp", "M/d/yyyy h:mm a"), ""),
    "some with a time": (["31/01/2026 09:05", "01/02/2026"], ("string", None), ""),
    "versions": (["1.2.3", "1.2.4"], ("string", None), ""),
    "a time alone": (["10:00", "11:00"], ("string", None), ""),
    "nothing": (["", ""], ("string", None), ""),
    "white space alone": (["  ", "1", "2"], ("integer", None), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", TYPES)
def test_a_type_is_one_that_takes_every_value_and_loses_nothing(home: Path, case: str) -> None:
    cells, kind, remark = TYPES[case]
    made = column(home, cells)
    assert made.kind("value") == kind
    assert made.remark("value").partition(" distinct.")[2].lstrip().startswith(remark)


def test_one_value_that_is_something_else_makes_a_column_text_and_the_comment_says_what_it_could_be(home: Path) -> None:
    made = column(home, [*(f"{n}.50" for n in range(9)), "abc"])
    assert made.kind("value") == ("string", None)
    assert "DECIMAL(12,2) would take 9 of 10 values; the rows of the others would be quarantined." in made.remark("value")
    assert "abc" not in made.text


def test_a_point_before_three_digits_is_in_doubt_where_commas_may_be_the_decimal_point(home: Path) -> None:
    assert column(home, ["1.234", "20.500"]).kind("value") == ("DECIMAL(13,3)", None)
    assert column(home, ["1.234", "20.500"], ";").kind("value") == ("string", None)
    assert column(home, ["1.234", "0.500"], ";").kind("value") == ("DECIMAL(13,3)", None)


def test_digits_that_are_no_quantity_stay_text(home: Path) -> None:
    made = of(home, "id,zip_code,telefono,pieces\n1,10115,3912345678,7\n2,20095,3912345679,8\n")
    assert [made.kind(name)[0] for name in ("zip_code", "telefono", "pieces")] == ["string", "string", "integer"]


# Cells of two columns, what is declared to be NULL, and the types that follow.
NULLS: dict[str, tuple[list[tuple[str, str]], list[str] | None, tuple[str, str]]] = {
    "among numbers": ([("1", "a"), ("NA", "b"), ("-", "c")], ["-", "NA"], ("integer", "string")),
    "as delivered, with blanks": ([("1", "a"), (" null ", "b")], [" null "], ("integer", "string")),
    "NA is Naples": ([("1", "NA"), ("NA", "MI")], None, ("string", "string")),
    "NULL among numbers and text": ([("1", "NULL"), ("NULL", "b")], ["NULL"], ("integer", "string")),
    "NULL among text alone": ([("1", "NULL"), ("2", "b")], None, ("integer", "string")),
    "an export's NULL among text alone": ([("1", "\\N"), ("2", "b")], ["\\N"], ("integer", "string")),
    "in two columns of numbers": ([("1", "n.d."), ("n.d.", "2.5")], ["n.d."], ("integer", "DECIMAL(11,1)")),
    "a column of nothing else": ([("1", "-"), ("-", "-")], ["-"], ("integer", "string")),
    "one spoils the other": ([("1", "b"), ("-", "c"), ("?", "-")], None, ("string", "string")),
}


@pytest.mark.parametrize("case", NULLS)
def test_a_spelling_is_null_where_it_alone_keeps_a_column_from_a_type_and_is_no_value_elsewhere(home: Path, case: str) -> None:
    rows, declared, kinds = NULLS[case]
    made = of(home, "id,first,second\n" + "".join(f"{n},{a},{b}\n" for n, (a, b) in enumerate(rows)))
    assert made.landing.get("nullValues") == declared
    assert (made.kind("first")[0], made.kind("second")[0]) == kinds


def test_what_could_mean_null_but_need_not_is_said(home: Path) -> None:
    made = of(home, "id,first,second\n1,1,NA\n2,NA,MI\n3,2,\n")
    assert "Without `NA` (1 cells) it would be BIGINT, but in another column that may be a value." in made.remark("first")
    assert "1 of the cells say `NA`: if that means missing, put it under nullValues." in made.remark("second")


def test_a_column_is_required_where_no_value_is_missing(home: Path) -> None:
    made = of(home, "id,full,gaps,blank,nulls\n1,a,,1, 5\n2,b,c, ,n/a\n")
    required = ["id", "full"]
    assert [name for name, c in made.silver.items() if c.get("required")] == required
    assert [name for name, c in made.bronze.items() if c.get("required")] == required
    assert made.remark("gaps") == "Filled in 1 of 2 rows, 1 distinct."


# Files, the key, and a part of what is said about it.
KEYS: dict[str, tuple[list[str], list[str], str]] = {
    "by name before place": (["size,id\n1,7\n2,8\n"], ["id"], "The key is a guess: id tells all 2 different rows looked at apart."),
    "the dataset's own id": (["customer_id,sample_id\n1,7\n2,8\n"], ["sample_id"], "Also possible: customer_id."),
    "an id before a unique number": (["price,order_nr\n1.50,a\n2.50,b\n"], ["order_nr"], ""),
    "two columns": (["shop,line_no\na,1\na,2\nb,1\n"], ["shop", "line_no"], "shop + line_no tell all 3"),
    "a sensor and a time, not a temperature": (
        ["temperature,sensor_id,at\n20.5,a,2026-01-01 10:00\n20.6,b,2026-01-01 10:00\n20.7,a,2026-01-01 10:01\n"], ["sensor_id", "at"], "",
    ),
    "a place and a time, not a count": (
        ["place,at,v\nMill Lane,2026-01-01 10:00,7\nMill Lane,2026-01-01 11:00,8\nPort,2026-01-01 10:00,9\nPort,2026-01-01 11:00,6\n"],
        ["place", "at"], "Also possible: v.",
    ),
    "a number with a bad value is a number still": (
        ["shop,at,v\n" + "".join(f"{'ab'[n % 2]},2026-01-0{n // 2 + 1},{n * 7}\n" for n in range(8)) + "a,2026-01-05,E-07\n"],
        ["shop", "at"], "Also possible: v.",
    ),
    "none with a gap": (["id,code\n1,a\n,b\n"], ["code"], ""),
    "equal rows count once": (["id,v\n1,a\n1,a\n2,b\n"], ["id"], "all 2 different rows"),
    "equal values, written otherwise": (["id,code\n1.0,a\n1.00,b\n"], ["code"], ""),
    "nothing tells rows apart": (["a,b\n1,x\n1,x\n1,\n"], ["source_file", "source_row"], "No key was found"),
    "a few corrections in a later file": (
        ["id,v\n" + "".join(f"{n},{n % 3}\n" for n in range(40)), "id,v\n7,9\n99,1\n"], ["id"], "but for 1 that came again in another file",
    ),
    "the same keys in every file": (
        ["day,code,v\n2026-01-01,a,1\n2026-01-01,b,2\n", "day,code,v\n2026-01-02,a,1\n2026-01-02,b,3\n"],
        ["day", "code"],
        "day has one value in each file; without that in the key a later file would replace the rows of an earlier one.",
    ),
    "one day in one file": (["day,code\n2026-01-01,a\n2026-01-01,b\n"], ["day", "code"], "day has one value in this file"),
    "versions of one thing": (
        ["id,updated_at\n1,2026-01-01\n1,2026-01-02\n2,2026-01-01\n"], ["id", "updated_at"], "take updated_at out of the key",
    ),
    "not a date of export": (["id,exported_at\n1,2026-01-01\n2,2026-01-01\n"], ["id"], ""),
    "one row": (["v,id\n1,2\n"], ["id"], "by the names alone, because one row tells nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_a_key_is_what_tells_all_rows_apart_likeliest_by_name_and_type(home: Path, case: str) -> None:
    contents, keys, said = KEYS[case]
    made = of(home, *contents)
    assert made.keys == keys
    assert said in " ".join(line.lstrip(" #") for line in made.text.splitlines())


def test_without_a_key_every_delivered_row_stays_one_of_its_own(home: Path) -> None:
    made = of(home, "source_file,b\n1,x\n1,\n1,x\n")
    assert [(name, made.silver[name]["transformLogic"]) for name in made.keys] == [("source_file_2", "_file"), ("source_row", "_row")]


@pytest.mark.parametrize(
    ("header", "cells", "order"),
    [
        ("last_updated", "2026-01-01", "last_updated"),
        ("modifiedAt", "2026-01-01T00:00:00Z", "modifiedAt"),
        ("version", "3", "version"),
        ("updated_at", "01/02/2026", "_file"),
        ("updated_by", "ann", "_file"),
        ("created_at", "2026-01-01", "_file"),
    ],
)
def test_what_tells_the_newer_row_is_a_time_of_change_by_its_name(home: Path, header: str, cells: str, order: str) -> None:
    assert of(home, f"id,{header}\n1,{cells}\n2,{cells}\n").sequence == [order]


# Header, cells, and the kind that the comment names; the last: whether it is sure enough for a classification.
PERSONAL: list[tuple[str, list[str], str | None, bool]] = [
    ("contact", ["ann@example.org", "bob@example.org"], "e-mail addresses", True),
    ("EMail", ["", ""], "e-mail addresses", True),
    ("email_sent", ["yes", "no"], None, False),
    ("x", ["+49 171 1234567", "(030) 123456-7"], "phone numbers", True),
    ("mobile", ["1711234567", "1711234568"], "phone numbers", True),
    ("when", ["01/02/2026", "13/02/2026"], None, False),
    ("account", ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32"], "bank accounts", True),
    ("reference", ["DE00370400440532013000", "GB00WEST12345698765432"], None, False),
    ("host", ["10.0.0.1", "192.168.1.20"], "IP addresses", True),
    ("first_name", ["Ann", "Bob"], "names of persons", True),
    ("Nachname", ["Lee", "Roy"], "names of persons", True),
    ("customer", ["Ann Lee", "Bob Q. Roy"], "names of persons", True),
    ("city", ["New York", "San José"], None, False),
    (
        "label",
        [f"Ann {name}" for name in ("Lee", "Roy", "Fox", "May", "Kay", "Day", "Ray", "Bay", "Jay", "Hay")],
        "names of persons",
        False,
    ),
    ("date_of_birth", ["1990-01-01", "1980-01-01"], "dates of birth", True),
    ("email_address", ["ann@example.org", ""], "e-mail addresses", True),
    ("street", ["Main St 1", "Side St 2"], "postal addresses", True),
    ("codice_fiscale", ["RSSMRA", "VRDLGI"], "identity numbers", True),
    ("product", ["Blue Shirt", "Red Shirt"], None, False),
]


@pytest.mark.parametrize(("header", "cells", "kind", "sure"), PERSONAL, ids=[case[0] for case in PERSONAL])
def test_personal_data_is_guessed_by_name_and_shape_and_never_quoted(
    home: Path, header: str, cells: list[str], kind: str | None, sure: bool
) -> None:
    made = of(home, f"id,{header}\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)))
    word = "Seems" if sure else "Perhaps seems"
    assert (f"{word} to hold {kind}:" in made.remark(header)) is bool(kind)
    assert ("to hold" in made.remark(header)) is bool(kind)
    for columns in (made.bronze, made.silver):
        assert columns[header].get("classification") == ("personal" if sure else None)
    assert [cell for cell in cells if len(cell) > 3 and cell in made.text] == []


# Header line, the columns of Bronze with their synonyms, and the expressions of columns that Bronze cannot have.
HEADERS: dict[str, tuple[list[str], dict[str, list[str]], dict[str, str]]] = {
    "plain": (["id", "userId"], {"id": [], "userId": []}, {}),
    "spaces and signs": (["id", "Sensor-Nr. (°C)"], {"id": [], "sensor_nr_c": ["Sensor-Nr. (°C)"]}, {}),
    "accents": (["Größe", "œuvre"], {"grosse": ["Größe"], "oeuvre": ["œuvre"]}, {}),
    "a letter that is two in upper case": (["id", "ß"], {"id": [], "ss_2": ["ß"]}, {}),
    "another alphabet": (["id", "名前"], {"id": [], "column_2": ["名前"]}, {}),
    "emoji": (["id", "😀"], {"id": [], "column_2": ["😀"]}, {}),
    "a digit first": (["id", "2nd"], {"id": [], "c_2nd": ["2nd"]}, {}),
    "a name that another header has": (["a b", "a_b"], {"a_b_2": ["a b"], "a_b": []}, {}),
    "two that become one": (["a b", "a-b"], {"a_b": ["a b"], "a_b_2": ["a-b"]}, {}),
    "names we use ourselves": (
        ["raw", "_file", "_change_type"],
        {"raw_2": ["raw"], "file": ["_file"], "change_type": ["_change_type"]},
        {},
    ),
    "white space at the ends": ([" id ", "v"], {"id": [], "v": []}, {}),
    "a line end, a quote, a colon": (["a\nb", 'c"d', "e: #f"], {"a_b": ["a\nb"], "c_d": ['c"d'], "e_f": ["e: #f"]}, {}),
    "twice": (["id", "v", "v"], {"id": []}, {"v": "_extra['v']", "v_2": "_extra['v#3']"}),
    "only case differs": (["id", "V", "v"], {"id": []}, {"V": "_extra['V']", "v_2": "_extra['v']"}),
    "twice, with a quote": (["id", "it's \\", "it's \\"], {"id": []}, {"it_s": r"_extra['it\'s \\']", "it_s_2": r"_extra['it\'s \\#3']"}),
    "no name": (["id", ""], {"id": []}, {"column_2": "_extra['']"}),
    "very long": (["id", "x" * 500], {"id": [], "x" * 64: ["x" * 500]}, {}),
    "escapes for a terminal": (["id", "a\x1b[31mb"], {"id": [], "a_31mb": ["a\x1b[31mb"]}, {}),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_cannot_be_a_column_gets_a_name_and_stays_known(home: Path, case: str) -> None:
    header, raw, extra = HEADERS[case]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, [f"w{n}" for n in range(len(header))], [f"z{n}" for n in range(len(header))]])
    made = of(home, out.getvalue())
    assert {name: [s["synonym"] for s in c.get("synonyms", [])] for name, c in made.bronze.items()} == raw
    assert {name: c["transformLogic"] for name, c in made.silver.items() if "transformLogic" in c and not c.get("primaryKey")} == extra
    assert all(character.isprintable() for line in made.text.splitlines() for character in line)
    landed = oracle.bronze(home / "data/raw", oracle.parse(made.text))["sample.csv"]
    assert [list(row.cells.values()) for row in landed] == [
        [f"{letter}{n}" for n, name in enumerate(header) if any(name.strip() in (c, *s) for c, s in raw.items())] for letter in "wz"
    ]


@pytest.mark.parametrize(
    ("content", "delimiter", "header"),
    [
        ("id;v;w\n1;2,5;a\n2;3,5;b\n", ";", True),
        ("id\tv, w\n1\t2, 5\n2\t3, 5\n", "\t", True),
        ("id|v\n1|2\n", "|", True),
        ("v\n1,5\n2,5\n", ";", True),
        ("v\na\nb\n", ",", True),
        ("1,2026-01-01\n2,2026-01-02\n", ",", False),
        ("1,ann@example.org\n2,bob@example.org\n", ",", False),
        ("Rome,open\nOslo,open\nBern,open\n", ",", False),
        ("name,2024,2025,2026\nRome,1,2,3\n", ",", True),
        ("1,2\n", ",", False),
        ('id,text\n1,"a, b"\n2,"c\nd"\n', ",", True),
    ],
)
def test_delimiter_and_header_are_told_by_the_first_lines(home: Path, content: str, delimiter: str, header: bool) -> None:
    made = of(home, content)
    assert made.server.get("delimiter", ",") == delimiter
    assert made.landing.get("header", True) is header
    rows = oracle.bronze(home / "data/raw", oracle.parse(made.text))["sample.csv"]
    assert [row.malformed for row in rows] == [None] * len(rows)
    assert len(made.bronze) == len(next(csv.reader(io.StringIO(content), delimiter=delimiter)))


def test_a_header_that_nothing_tells_is_said_to_be_taken_for_granted(home: Path) -> None:
    said = "Taken for granted: the first line could be one of the others."
    assert said in of(home, "name,city\nAnn,Rome\nBob,Oslo\n").text
    assert said not in of(home, "name,size\nAnn,1\nBob,2\n").text


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        ("id,v\n1,é\n".encode(), ["utf-8"]),
        ("\ufeffid,v\n1,é\n".encode(), ["utf-8"]),
        ("id,v\n1,é\n".encode("iso-8859-1"), ["utf-8", "iso-8859-1"]),
        (("id,v\n" + "1,e\n" * 100_000 + "1,é\n").encode("iso-8859-1"), ["utf-8", "iso-8859-1"]),
        ("id,v\n1,é\n".encode("utf-16"), ["utf-16"]),
        ("id,v\n1,é\n".encode("utf-16-le"), ["utf-16le"]),
        ("id,v\n1,é\n".encode("utf-32"), ["utf-32"]),
    ],
)
def test_the_encoding_is_one_in_which_the_whole_file_is_text(home: Path, content: bytes, encodings: list[str]) -> None:
    made = of(home, content)
    assert [made.server["encoding"], *made.landing.get("fallbackEncodings", [])] == encodings
    assert list(made.bronze) == ["id", "v"]


def test_bytes_of_windows_1252_are_told(home: Path) -> None:
    assert "Windows-1252" in of(home, "id,v\n1,“a” 5 €\n".encode("cp1252")).text
    assert "Windows-1252" not in of(home, "id,v\n1,é\n".encode("iso-8859-1")).text


def test_a_quote_that_is_never_closed_is_text(home: Path) -> None:
    made = of(home, 'id,size\n1,5" pipe\n2,"6 in\n3,7\n')
    assert made.landing == {"quote": ""}
    assert [row.cells["size"] for row in oracle.bronze(home / "data/raw", oracle.parse(made.text))["sample.csv"]] == [
        '5" pipe',
        '"6 in',
        "7",
    ]


@pytest.mark.parametrize(("name", "pack"), [("x.csv.gz", gzip.compress), ("x.csv.bz2", bz2.compress)])
def test_a_packed_file_is_read_like_a_plain_one(home: Path, name: str, pack: Any) -> None:
    made = of(home, pack(ORDERS.encode()), name=name)
    assert (list(made.silver), made.server["path"]) == (list(of(home, ORDERS).silver), f"data/raw/{name}")


def test_files_of_one_source_give_one_contract_of_all_their_columns(home: Path) -> None:
    made = of(home, "id,lat\n1,1.5\n2,2.5\n", "ID;latitude;note\n3;3.25;é\n".encode("iso-8859-1"))
    assert list(made.bronze) == ["id", "lat", "latitude", "note"]
    assert [name for name, c in made.silver.items() if c.get("required")] == ["id"]
    assert made.server["path"] == "data/raw/sample*.csv"
    assert made.landing == {"fallbackEncodings": ["iso-8859-1"]}
    assert "1 file with another delimiter" in made.text
    assert made.remark("lat").endswith("In the header of 1 of 2 files.")
    assert oracle.rejected(home / "data/raw", oracle.parse(made.text)) == set()


def test_a_column_that_files_have_under_two_names_is_hinted_at(home: Path) -> None:
    made = of(home, "id,lat\n1,1.5\n", "id,latitude\n2,2.5\n")
    assert made.remark("latitude").endswith("the others have another one instead: if it is the same, make that a synonym of this.")


def test_malformed_records_and_headers_among_the_rows_do_not_count(home: Path) -> None:
    made = of(home, "id,v\n1,2\n3\n4,5,6\nid,v\n7,8\n")
    assert (made.kind("id"), made.kind("v")) == (("integer", None), ("integer", None))
    assert "2 rows, all of them looked at; 2 records with more or fewer cells than the header" in made.text.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("content", "gold"),
    [
        ("id,at,kind\n1,2026-01-01 10:00,a\n2,2026-01-01 11:00,a\n", ("sample_per_day", "to_date(at)", "count(*)")),
        ("id,updated_at,date\n1,2026-01-01,2026-01-02\n2,2026-01-01,2026-01-03\n", ("sample_per_day", "`date`", "count(*)")),
        ("id,group\n1,a\n2,a\n3,b\n4,b\n", ("sample_by_group", "group", "count(*)")),
        ("id,born\n1,1990-01-01\n2,1991-01-01\n", ("sample_per_file", "_file", "count(*)")),
        ("rows\na\na\nb\nb\n", ("sample_by_rows", "`rows`", "count(*)")),
    ],
)
def test_gold_counts_rows_per_day_else_per_value_else_per_file(home: Path, content: str, gold: tuple[str, str, str]) -> None:
    assert of(home, content).gold == gold


def test_of_a_large_file_the_first_rows_and_a_spread_are_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MOST_ROWS", 100)
    lines = [f"{n},{n}" for n in range(10_000)]
    # Somewhere behind the first rows the column is no longer whole numbers.
    lines[7000:] = [f"{n},{n}.5" for n in range(7000, 10_000)]
    file = land(home, "id,v\n" + "\n".join(lines) + "\n")
    made = draft([file], home)
    assert made.rows == 10_000
    assert 50 < made.seen <= 100
    assert loaded(home, made).kind("v") == ("DECIMAL(11,1)", None)
    assert f"{made.seen} of 10000 rows looked at, the first ones and a spread of the rest." in made.text
    kept = [int(row[0] or "") for _, row in source.read([file]).rows]
    assert kept[:50] == list(range(50))
    assert kept[-1] > 9000


def test_memory_is_bounded_by_rows_cells_and_characters(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = land(home, "id,v\n" + "".join(f"{n},{'x' * 1000}\n" for n in range(1000)))
    for limit, value, most in (("_MOST_ROWS", 10, 10), ("_MOST_CELLS", 40, 20), ("_MOST_CHARACTERS", 5_000, 4)):
        with monkeypatch.context() as patch:
            patch.setattr(source, limit, value)
            assert 0 < len(source.read([file]).rows) <= most


def test_what_lies_behind_the_most_that_is_read_is_said_not_to_be_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MOST_BYTES", 1000)
    made = draft([land(home, "id,v\n" + '"1","2"\n' * 1000)], home)
    assert made.rows == 124  # of eight bytes each; the one that the end cuts through is left out
    assert "what lies behind them was not read" in made.text.replace("\n# ", " ")


# What is wrong with the sample, and what the one line says.
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "empty, so there is nothing to guess from; name a file with a header and rows."),
    "blank lines": ("\n\n", "empty, so there is nothing to guess from; name a file with a header and rows."),
    "only a header": ("id,name\n", "only a header, so there is nothing to guess from; name a file with rows."),
    "binary": (bytes(range(256)) * 40, "not text in any of utf-8, utf-16, utf-16le, utf-32, iso-8859-1; binary. Nothing was drafted."),
    "a spreadsheet": (b"PK\x03\x04" + b"a" * 40, "not text: the content is a zip archive or a spreadsheet; deliver it as CSV."),
    "a title above the header": (
        "Report\nid;v;w\n1;2;3\n2;3;4\n",
        "line 1 has 1 cell and the lines below it have 3, with ';' between them;",
    ),
    "a header of another width": ("a,b,c\n1,2\n3,4\n", "line 1 has 3 cells and the lines below it have 2, with ',' between them;"),
    "every name twice": ("a,a\n1,2\n", "no column has a name of its own in the header, and columns are found by name; correct it."),
    "a cell without an end": ('"id,v\n1,2\n', "Nothing was drafted."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_sample_that_tells_nothing_is_refused_in_one_line(home: Path, case: str) -> None:
    content, said = REFUSED[case]
    file = land(home, content)
    if case == "a cell without an end":
        file.write_bytes(b"\x1f\x8b" + file.read_bytes())
    done = call(home, "contract", "draft", str(file))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
    assert str(file) in done.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("data/raw/smaple.csv", "there is no such file; did you mean sample.csv."),
        ("nowhere/sample.csv", "there is no folder"),
        ("data/raw", "a folder; name one or more CSV files in it."),
    ],
)
def test_a_path_that_is_no_file_is_refused_with_what_to_do(home: Path, named: str, said: str) -> None:
    land(home, ORDERS)
    with pytest.raises(UsageError) as refused:
        draft([home / named], home)
    assert said in str(refused.value)


def test_files_of_two_sources_are_not_one(home: Path) -> None:
    with pytest.raises(UsageError, match="shares no column with the other files"):
        draft([land(home, "id,v\n1,2\n", "a.csv"), land(home, "name,size\nx,2\n", "b.csv")], home)
    with pytest.raises(UsageError, match=r"has no header and 2 columns with ',' between them, .* has 2 with ';'"):
        draft([land(home, "1;2\n2;3\n", "a.csv"), land(home, "1,2\n2,3\n", "b.csv")], home)
    with pytest.raises(UsageError, match="has no header and 2 columns"):
        draft([land(home, "1,2,3\n2,3,4\n", "a.csv"), land(home, "1,2\n2,3\n", "b.csv")], home)


@pytest.mark.parametrize(
    ("names", "dataset", "path"),
    [
        (["events_2026-01-01.csv"], "events", "data/raw/events_*.csv"),
        (["events_2026-01-01.csv", "events_2026-01-02.csv.gz"], "events", "data/raw/events_*.csv*"),
        (["dpc-covid19-ita-province-20200224.csv"], "dpc_covid19_ita_province", "data/raw/dpc-covid19-ita-province-*.csv"),
        (["customers.csv"], "customers", "data/raw/customers.csv"),
        (["part-1.csv"], "part", "data/raw/part-*.csv"),
        (["s3.csv"], "s3", "data/raw/s3.csv"),
        (["readings/2026/2026-01-31.csv"], "readings", "data/raw/readings/2026/*.csv"),
        (["readings/a/x.csv", "readings/b/x.csv"], "x", "data/raw/readings/**/x.csv"),
        (["a [b] {c}.csv"], "a_b_c", "data/raw/a_b_c/*.csv"),
        (["_hidden_1.csv"], "hidden", "data/raw/hidden/*.csv"),
        (["settings.csv"], "dataset", "data/raw/settings.csv"),
        (["export"], "export", "data/raw/export*"),
    ],
)
def test_dataset_and_path_are_made_of_the_names_of_the_files(home: Path, names: list[str], dataset: str, path: str) -> None:
    packed = {True: gzip.compress(ORDERS.encode()), False: ORDERS.encode()}
    made = draft([land(home, packed[name.endswith(".gz")], name) for name in names], home)
    assert (made.dataset, loaded(home, made).server["path"]) == (dataset, path)


def test_samples_from_elsewhere_are_expected_in_the_landing_folder(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "orders_20260101.csv"
    file.write_text(ORDERS)
    made = loaded(home, draft([file], home))
    assert made.server["path"] == "data/raw/orders_*.csv"
    assert "deliver files here, or name another." in made.text
    assert str(file.parent) not in made.text


HOSTILE = [
    "",
    " ",
    '"',
    "'",
    "a: b",
    "# c",
    "- x",
    "{y}",
    "*z",
    "&a",
    "!b",
    "%c",
    "|",
    ">",
    "@",
    "`",
    "😀",
    "\u202e",
    "é" * 3000,
    "null",
    "~",
    "a\n\nb",
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_hostile_headers_and_values_give_a_contract_of_one_line_each(home: Path, delimiter: str) -> None:
    out = io.StringIO()
    headers = [f"{text}{n}" for n, text in enumerate(HOSTILE)]
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([headers, HOSTILE, HOSTILE[::-1]])
    made = of(home, out.getvalue())
    assert {s["synonym"] for c in made.bronze.values() for s in c.get("synonyms", [])} >= {h.strip() for h in headers[4:18]}
    assert all(character.isprintable() for line in made.text.split("\n") for character in line)


SCALARS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.integers(-(10**6), 10**6).map(lambda n: f"{n // 100},{n % 100:02d}"),
    st.dates().map(str),
    st.dates().map(lambda d: f"{d.day:02d}.{d.month:02d}.{d.year:04d}"),
    st.dates().map(lambda d: f"{d.month}/{d.day}/{d.year:04d}"),
    st.datetimes(timezones=st.none()).map(lambda at: at.replace(microsecond=0).isoformat(" ")),
    st.datetimes().map(lambda at: f"{at:%d/%m/}{at.year:04d}{at: %H:%M}"),
    st.sampled_from(["", "  ", "0", "1", "yes", "no", "true", "NA", "n/a", "NULL", "-", "007", "1e5", "1.5E-7", "20260131", " 5 "]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """A header and rows, in which most columns are of one kind."""
    header = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda name: name.strip().casefold()))
    kinds = [
        draw(st.sampled_from([SCALARS, st.integers(0, 99).map(str), st.dates().map(str), st.sampled_from("ab"), NAMES])) for _ in header
    ]
    rows = draw(st.lists(st.tuples(*kinds).map(list), min_size=1, max_size=8))
    return header, rows


@settings(max_examples=150, deadline=None)
@given(table=tables(), delimiter=st.sampled_from(",;\t|"))
def test_the_draft_of_any_table_loads_takes_every_value_and_its_key_loses_no_row(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[list[str], list[list[str]]], delimiter: str
) -> None:
    home = tmp_path_factory.mktemp("any")
    for folder in ("conf", "data/raw"):
        (home / folder).mkdir(parents=True)
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([table[0], *table[1]])
    try:
        raw = draft([land(home, out.getvalue())], home)
    except UsageError:
        # Rows of nothing, a header that reads as a title of another table; which ones is said elsewhere.
        return
    made = loaded(home, raw)
    contract = oracle.parse(made.text)
    (rows,) = oracle.bronze(home / "data/raw", contract).values()
    judged = [typed(row, contract) for row in rows if row.malformed is None and not is_header(row, contract)]
    assert [reasons for _, reasons in judged if reasons] == []
    if "_row" not in made.text.split("properties:")[2]:
        keys = {tuple(cells[name] for name in contract.keys) for cells, _ in judged}
        delivered = {(tuple(row.cells.items()), str(row.extra)) for row in rows if row.malformed is None and not is_header(row, contract)}
        assert len(keys) == len(delivered)


def typed(row: oracle.BronzeRow, contract: oracle.Contract) -> tuple[dict[str, Any], list[str]]:
    """The row's values by the plain casts, and what would refuse it."""
    found: dict[str, Any] = {}
    reasons = []
    for wanted in contract.silver:
        cell = row.cells.get(wanted.name)
        cell = None if cell in contract.null_values else cell
        if wanted.computed and wanted.name in row.cells and cell is not None:
            cell = cell.strip().replace(",", ".")
        try:
            found[wanted.name] = oracle.cast(cell, wanted.kind, wanted.options.get("format"))
        except oracle.Refused:
            reasons.append(f"{wanted.name}: {cell!r} is no {wanted.kind}")
        if wanted.required and wanted.name in row.cells and found.get(wanted.name) is None:
            reasons.append(f"{wanted.name}: {cell!r} is missing")
    return found, reasons


def is_header(row: oracle.BronzeRow, contract: oracle.Contract) -> bool:
    names = {c.name: {n.casefold() for n in (c.name, *c.synonyms)} for c in contract.raw}
    present = {name: cell for name, cell in row.cells.items() if cell is not None}
    return bool(present) and all(cell.strip().casefold() in names[name] for name, cell in present.items())


def test_a_draft_is_printed_or_written_once(home: Path) -> None:
    file = land(home, ORDERS, "orders_1.csv")
    printed = call(home, "contract", "draft", str(file))
    assert (printed.returncode, printed.stderr) == (0, "")
    assert yaml.safe_load(printed.stdout)["id"] == "orders"
    out = home / "conf/shop.yaml"
    written = call(home, "contract", "draft", str(file), "--out", str(out))
    assert (written.returncode, written.stdout) == (
        0, f"wrote {out}: 2 of 2 rows looked at; next, `streaming-jobs contract lint shop`\n",
    )  # fmt: skip
    assert out.read_text("utf-8").replace("shop", "orders") == printed.stdout
    assert call(home, "contract", "lint").returncode == 0
    before = out.read_bytes()
    again = call(home, "contract", "draft", str(file), "--out", str(out))
    assert (again.returncode, again.stderr) == (
        2, f"{out} is there already and was left as it is; name another file with --out, or remove it first.\n",
    )  # fmt: skip
    assert out.read_bytes() == before
    document = json.loads(call(home, "contract", "draft", str(file), "--json").stdout)
    assert document == {"exit_code": 0, "path": None, "dataset": "orders", "text": printed.stdout, "rows": 2, "seen": 2}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "My Orders"], "a dataset's name is lower-case letters, digits and _"),
        (["--name", "settings"], "a dataset's name is lower-case letters, digits and _"),
        (["--name", "a", "--out", "b.yaml"], "the file is named after the dataset"),
        (["--out", "orders.yml"], "a contract's file ends with .yaml"),
        (["--out", "nowhere/orders.yaml"], "there is no folder nowhere"),
    ],
)
def test_a_name_or_a_place_that_no_contract_can_have_is_refused(home: Path, options: list[str], said: str) -> None:
    done = call(home, "contract", "draft", str(land(home, ORDERS)), *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr


# ---- With Spark ----


def run_draft(home: Home, *files: Path) -> Draft:
    made = draft(files, home.path)
    home.contract(made.text, made.dataset)
    home.ok()
    return made


def refusals(home: Home, dataset: str) -> set[str]:
    if not (home.settings.table(f"quarantine/{dataset}") / "_delta_log").is_dir():
        return set()
    return {row.rule for row in home.table(f"quarantine/{dataset}").selectExpr("explode(reasons.rule) AS rule").collect()}


def rows(home: Home, table: str) -> int:
    return home.table(table).count()


@pytest.mark.slow
def test_a_draft_of_the_demo_data_runs_as_it_is(running: Home) -> None:
    files = [sample.write_next_day(running.raw).path for _ in range(4)]
    run_draft(running, *files)
    # 200 records a day, of which two are malformed and three exact duplicates; from the second day on, one corrects another day's.
    assert refusals(running, "events") == {"malformed"}
    assert (rows(running, "bronze/events"), rows(running, "quarantine/events")) == (800, 8)
    assert rows(running, "silver/events") == 4 * (198 - 3) - 3
    assert running.table("gold/events_per_day").selectExpr("sum(rows)").collect()[0][0] == rows(running, "silver/events")


@pytest.mark.slow
def test_a_draft_of_sensor_readings_runs_as_it_is(running: Home) -> None:
    file = running.land_bytes("readings/2026-01-31.csv", READINGS.encode("iso-8859-1"))
    made = run_draft(running, file)
    assert (made.dataset, refusals(running, "readings")) == ("readings", set())
    found = running.table("silver/readings").selectExpr("sensor_id", "string(measured_at)", "string(temperature)", "humidity", "comment")
    assert sorted(map(tuple, found.collect())) == [
        ("S-0017", "2026-01-31 14:05:00", "21.50", 45, "Fenster geöffnet"),
        ("S-0017", "2026-01-31 14:06:00", "-0.50", 45, None),
        ("S-0018", "2026-01-31 14:05:00", None, 44, None),
    ]
    assert [tuple(map(str, row)) for row in running.table("gold/readings_per_day").collect()] == [("2026-01-31", "3")]


@pytest.mark.slow
@needs_provinces
def test_a_draft_of_the_provinces_runs_as_it_is(running: Home) -> None:
    landed = oracle.land(running.raw, 0, 60)
    files = [running.raw / name for name in landed]
    made = run_draft(running, *files)
    assert refusals(running, made.dataset) == set()
    assert rows(running, f"silver/{made.dataset}") == rows(running, f"bronze/{made.dataset}") == made.rows
    per_day = running.table(f"gold/{made.dataset}_per_day")
    assert per_day.count() == len(landed)


@pytest.mark.slow
def test_hostile_headers_run_too(running: Home) -> None:
    header = ["id", "it's \\ `x`", "v", "v", "", "select", "date", "Größe", "a\nb", "rows"]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *([f"{n}{letter}" for n in range(len(header))] for letter in "wz")])
    run_draft(running, running.land_bytes("hostile.csv", out.getvalue().encode()))
    found = running.table("silver/hostile").selectExpr("id", "it_s_x", "v", "v_2", "column_5", "`select`", "`date`", "grosse", "a_b")
    assert sorted(map(tuple, found.collect())) == [tuple(f"{n}{letter}" for n in range(9)) for letter in "wz"]
    assert rows(running, "gold/hostile_per_file") == 1


@pytest.mark.slow
def test_other_dialects_run_too(running: Home) -> None:
    files = {
        "numbers_1.csv": b"1|2026-01-01\n2|2026-01-02\n",
        "pipes_1.csv": b'id,size\n1,5" pipe\n2,"6 in\n',
        "wide_1.csv": "id;näme\n1;é\n2;ö\n".encode("utf-16"),
        "packed_1.csv.gz": gzip.compress(b"id\tv\n1\t2\n2\t\n"),
    }
    landed = [running.land_bytes(name, content) for name, content in files.items()]
    for file in landed:
        made = draft([file], running.path)
        running.contract(made.text, made.dataset)
    running.ok()
    found = {name: sorted(tuple(map(str, row[:-2])) for row in running.table(f"silver/{name}").collect()) for name in DIALECTS}
    assert found == DIALECTS


DIALECTS = {
    "numbers": [("1", "2026-01-01"), ("2", "2026-01-02")],
    "pipes": [("1", '5" pipe'), ("2", '"6 in')],
    "wide": [("1", "é"), ("2", "ö")],
    "packed": [("1", "2"), ("2", "None")],
}


WORDS = re.findall(
    r"\w+",
    """
    all and any anti array as asc at between both by case cast check collate column constraint create cross cube current
    current_date
    current_time current_timestamp current_user date day delete desc describe distinct div drop else end escape except exclude exists
    extract
    false fetch filter first for foreign from full function global grant group grouping having hour id if in inner insert int intersect
    interval into is join key lag last lateral lead leading left level like limit local location map match merge minute month name natural
    no not now null of offset on only option or order out outer over overlaps partition pivot position primary public range rank references
    right rlike rollup row rows schema select semi session_user set show some start string struct system_user table then time timestamp to
    top trailing true truncate type union unique unknown update user using uuid value values view when where window with within year
    zone""",
)


@pytest.mark.slow
def test_a_column_called_like_a_word_of_sql_is_still_the_column(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    frame = spark.createDataFrame([tuple(f"<{word}>" for word in WORDS)], WORDS)
    (row,) = frame.select(*(F.expr(in_sql(word)).cast("string").alias(f"c{n}") for n, word in enumerate(WORDS))).collect()
    assert list(row) == [f"<{word}>" for word in WORDS]


@pytest.mark.slow
def test_spark_takes_what_the_guesses_take(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    from streaming_jobs.contract import SilverColumn
    from streaming_jobs.rules import casts

    more = [
        ["2026-01-31 10:00:00+02", "2026-01-31T1:2:3.5-0330"],
        ["20260131100000", "20260201235959"],
        ["31 Jan 2026 10:00", "1 Feb 2026 9:30"],
    ]
    more += [["2026/01/31 10:00:00.123", "2026/02/01 10:00:00.000"], ["31/01/2026T10:00:00", "01/02/2026T10:00:00"]]
    more += [["2026-01-31 02:05:01 PM", "2026-02-01 12:00:00 am"], ["0001-01-01", "9999-12-31"], ["-0", "+5"], ["T", "f", "1"]]
    lost: list[tuple[str, ...]] = []
    for cells in [*(cells for cells, _, _ in TYPES.values()), *more]:
        texts = {cell.strip(values.WHITE) for cell in cells} - {""}
        reading = values.guess(texts)
        if reading.type == "STRING" or reading.decimal_comma:
            continue
        frame = spark.createDataFrame([(text,) for text in texts], "raw string")
        value = casts.typed(casts.text(F.col("raw"), reading.type), SilverColumn("v", reading.type, format=reading.format))
        told = frame.select("raw", value.cast("string").alias("value")).collect()
        lost += [(row.raw, str(reading)) for row in told if row.value is None]
        if reading.type in ("DATE", "TIMESTAMP"):
            ours = {text: str(values.value(text, reading)) for text in texts}
            lost += [(row.raw, row.value, ours[row.raw]) for row in told if row.value and not ours[row.raw].startswith(row.value)]
    assert lost == []
