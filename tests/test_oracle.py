"""The oracle's own tests: what it expects is checked by hand, or by a route that does not lead through it."""

from __future__ import annotations

import ast
import gzip
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from deltalake import write_deltalake

from tests import oracle
from tests.conftest import HEADER, ORDERS
from tests.oracle import ORDERS_LOGIC, PROVINCES_LOGIC, BronzeRow, Contract, Logic, Refused

AT = datetime(2026, 1, 10)
CONTRACT = oracle.parse(ORDERS)
PROVINCES_CONTRACT = oracle.ROOT / "conf" / "examples" / "provinces.yaml"


def orders(**changes: Any) -> Contract:
    return replace(CONTRACT, **changes)


def amount(kind: str, *, required: bool = False, default: Any = None, enum: Sequence[Any] = (), **options: Any) -> Contract:
    """The orders with another column `amount`."""
    changed = oracle.Column("amount", kind, False, required, default, options, tuple(enum))
    return orders(silver=(*CONTRACT.silver[:3], changed))


def rows_of(content: str | bytes, contract: Contract = CONTRACT, path: str = "a.csv") -> list[BronzeRow]:
    rows = oracle.read(path, content.encode() if isinstance(content, str) else content, AT, contract)
    assert rows is not None, "rejected"
    return rows


def cells(content: str | bytes, contract: Contract = CONTRACT) -> list[tuple[str | None, ...]]:
    return [tuple(row.cells.values()) for row in rows_of(content, contract)]


def files(**lines: Sequence[str]) -> dict[str, list[BronzeRow]]:
    """Files of the orders by name; each line is a data record."""
    return {f"{name}.csv": rows_of("\n".join((HEADER, *records)), path=f"{name}.csv") for name, records in lines.items()}


def test_the_oracle_shares_no_code_with_the_product():
    tree = ast.parse(Path(oracle.__file__).read_text("utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.split(".")[0] in ("streaming_jobs", "pyspark", "tests")]


def test_the_contract_is_read_for_what_the_tables_hold():
    assert (CONTRACT.dataset, CONTRACT.glob, CONTRACT.encodings, CONTRACT.keys, CONTRACT.sequence_by) == (
        *("orders", "*.csv", ("utf-8",), ("id",), ("at",)),
    )
    assert [(c.name, c.kind, c.required) for c in CONTRACT.silver] == [
        *(("id", "STRING", True), ("state", "STRING", False), ("at", "TIMESTAMP", False), ("amount", "DECIMAL(10,2)", False)),
    ]
    assert CONTRACT.gold == {"by_state": (("state", "STRING"), ("orders", "BIGINT"), ("revenue", "DECIMAL(18,2)"))}


def test_every_contract_of_the_repository_is_understood():
    found = [
        oracle.parse(f.read_text("utf-8")) for f in sorted((oracle.ROOT / "conf").rglob("*.yaml")) if "schema:" in f.read_text("utf-8")
    ]
    assert {"events", "provinces", "readings"} <= {c.dataset for c in found}
    assert next(c for c in found if c.dataset == "readings").glob == "**/*.csv"


# ---- Bronze ----

ONE: list[tuple[str | None, ...]] = [("1", "open", "2026-01-01", "1.00")]
READABLE: list[tuple[str, str | bytes, list[tuple[str | None, ...]]]] = [
    ("plain", f"{HEADER}\n1,open,2026-01-01,1.00\n", ONE),
    ("no final newline", f"{HEADER}\n1,open,2026-01-01,1.00", ONE),
    ("CRLF", f"{HEADER}\r\n1,open,2026-01-01,1.00\r\n", ONE),
    ("lone CR", f"{HEADER}\r1,open,2026-01-01,1.00\r", ONE),
    ("byte-order mark", f"\ufeff{HEADER}\n1,open,2026-01-01,1.00\n", ONE),
    ("blank lines before, between and behind", f"\n\n{HEADER}\n\n1,open,2026-01-01,1.00\n\n", ONE),
    ("reordered", "amount,at,state,id\n1.00,2026-01-01,open,1\n", ONE),
    ("synonym", "id,status,at,amount\n1,open,2026-01-01,1.00\n", ONE),
    ("another case, spaces around", " ID ,Status,AT, Amount\n1,open,2026-01-01,1.00\n", ONE),
    ("quoted header and cells", '"id","state","at","amount"\n"1","open","2026-01-01","1.00"\n', ONE),
    ("semicolon", "id;state;at;amount\n1;open;2026-01-01;1.00\n", ONE),
    ("tab", "id\tstate\tat\tamount\n1\topen\t2026-01-01\t1.00\n", ONE),
    ("optional columns missing", "id,at\n1,2026-01-01\n", [("1", None, "2026-01-01", None)]),
    ("quoted newline, doubled quotes, delimiter", f'{HEADER}\n1,"say ""hi"",\nthere",,2\n', [("1", 'say "hi",\nthere', None, "2")]),
    ("nothing and nothing quoted", f'{HEADER}\n1,,"",NULL\n', [("1", None, None, "NULL")]),
    ("spaces kept", f"{HEADER}\n 1 , ,x,y \n", [(" 1 ", " ", "x", "y ")]),
    ("a quote inside an unquoted cell", f'{HEADER}\n1,5" pipe,x,y\n', [("1", '5" pipe', "x", "y")]),
    ("separators only", f"{HEADER}\n,,,\n", [(None, None, None, None)]),
    ("nothing", b"", []),
    ("line ends only", "\n\n", []),
    ("header only", HEADER, []),
]


@pytest.mark.parametrize(("content", "expected"), [case[1:] for case in READABLE], ids=[case[0] for case in READABLE])
def test_a_readable_file_becomes_these_cells(content: str | bytes, expected: list[tuple[str | None, ...]]):
    assert cells(content) == expected
    assert all(row.malformed is None for row in rows_of(content))


LATIN = replace(CONTRACT, encodings=("utf-8", "iso-8859-1"))
REJECTED: list[tuple[str, str | bytes, Contract]] = [
    ("required column missing", "state,at\nopen,2026-01-01\n", CONTRACT),
    ("no column of the contract", "a,b\n1,2\n", orders(raw=tuple(replace(c, required=False) for c in CONTRACT.raw))),
    ("a column named twice", "id,state,status\n1,open,open\n", CONTRACT),
    ("a column named twice, in another case", "id,ID\n1,1\n", CONTRACT),
    ("Latin-1 without a fallback", f"{HEADER}\n1,caf\xe9,,\n".encode("latin-1"), CONTRACT),
    ("UTF-16 that the contract does not name", f"{HEADER}\n1,open,,\n".encode("utf-16"), LATIN),
    ("UTF-16 without a mark", f"{HEADER}\n1,open,,\n".encode("utf-16-le"), LATIN),
    ("one NUL among many records", f"{HEADER}\n1,a\0b,,\n" + "1,open,,\n" * 100, LATIN),
    ("control characters", f"{HEADER}\n1,\x01\x02\x03,,\n", LATIN),
    ("a quote never closed", f'{HEADER}\n1,"open,2026-01-01,1.00\n2,open,2026-01-01,1.00\n', CONTRACT),
    ("packed", gzip.compress(f"{HEADER}\n1,open,,\n".encode()), LATIN),
]


@pytest.mark.parametrize(("content", "contract"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED])
def test_a_file_that_cannot_be_read_as_the_contract_says_is_rejected(content: str | bytes, contract: Contract):
    assert oracle.read("a.csv", content.encode() if isinstance(content, str) else content, AT, contract) is None


UNDECIDED: list[tuple[str, str | bytes, Contract]] = [
    ("text behind a closing quote", f'{HEADER}\n1,"open"x,,\n', CONTRACT),
    ("mixed line ends", f"{HEADER}\r\n1,open,,\n", CONTRACT),
    ("CRLF inside a cell", f'{HEADER}\r\n1,"a\r\nb",,\r\n', CONTRACT),
    ("a UTF-8 mark before Latin-1", b"\xef\xbb\xbf" + f"{HEADER}\n1,caf\xe9,,\n".encode("latin-1"), LATIN),
]


@pytest.mark.parametrize(("content", "contract"), [case[1:] for case in UNDECIDED], ids=[case[0] for case in UNDECIDED])
def test_what_nobody_decided_is_no_expectation(content: str | bytes, contract: Contract):
    with pytest.raises(NotImplementedError):
        oracle.read("a.csv", content.encode() if isinstance(content, str) else content, AT, contract)


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (f"{HEADER}\n1,café,,\n".encode(), ("utf-8", "iso-8859-1")),
        (f"{HEADER}\n1,café,,\n".encode("latin-1"), ("utf-8", "iso-8859-1")),
        (f"{HEADER}\n1,café,,\n".encode("utf-16"), ("utf-8", "utf-16", "iso-8859-1")),
        (f"{HEADER}\n1,café,,\n".encode("utf-16-be"), ("utf-16",)),
        (f"\ufeff{HEADER}\n1,café,,\n".encode("utf-16-le"), ("utf-16le",)),
    ],
)
def test_the_first_encoding_in_which_every_byte_is_valid_is_taken(content: bytes, encodings: tuple[str, ...]):
    assert cells(content, orders(encodings=encodings)) == [("1", "café", None, None)]


def test_a_short_and_a_long_record_are_flagged_with_their_raw_line_and_counted_like_others():
    rows = rows_of(f'{HEADER}\n1,open\n\n2,open,,1.00\n3,"op,en",,1.00,and,more\n4,"two\nlines"\n')
    assert [(row.row, row.malformed) for row in rows] == [
        *((1, "1,open"), (2, None), (3, '3,"op,en",,1.00,and,more'), (4, oracle.SEVERAL_LINES)),
    ]
    assert [tuple(row.cells.values()) for row in rows] == [
        *(("1", "open", None, None), ("2", "open", None, "1.00"), ("3", "op,en", None, "1.00"), ("4", "two\nlines", None, None)),
    ]


def test_what_stands_under_unknown_headers_is_kept_by_header():
    rows = rows_of("id, Device ,x,x,\n1,phone,,2,3\n2\n")
    assert [row.extra for row in rows] == [
        {"Device": "phone", "x": None, "x#4": "2", "": "3"},
        {"Device": None, "x": None, "x#4": None, "": None},
    ]
    assert rows_of(f"{HEADER}\n1,,,\n")[0].extra is None


def test_without_a_header_columns_go_by_position():
    assert cells("1,open,2026-01-01,1.00\n", orders(header=False)) == ONE


def test_the_folder_is_listed_by_the_contracts_path(tmp_path: Path):
    content = f"{HEADER}\n1,open,,\n".encode()
    for name in ("b.csv", "a.csv", ".hidden.csv", "_staged.csv", "c.csv._COPYING_", "d.CSV", "sub/e.csv", "bad.csv", "f:g.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x,y\n" if name == "bad.csv" else content)
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    os.utime(tmp_path / "a.csv", ns=(0, 1_767_600_000_123_456_789))
    found = oracle.bronze(tmp_path, CONTRACT)
    assert {path: len(rows) for path, rows in found.items()} == {"a.csv": 1, "b.csv": 1}
    assert found["a.csv"][0].modified_at == datetime(2026, 1, 5, 8, 0, 0, 123_000)
    assert oracle.rejected(tmp_path, CONTRACT) == {"bad.csv", "f:g.csv", "link.csv"}
    assert set(oracle.bronze(tmp_path, orders(glob="**/*.csv"))) == {"a.csv", "b.csv", "sub/e.csv"}
    assert set(oracle.bronze(tmp_path, orders(glob="[!a].csv"))) == {"b.csv"}


def test_a_packed_file_under_its_right_name_is_read_and_a_damaged_one_rejected():
    contract, packed = orders(glob="*"), gzip.compress(f"{HEADER}\n1,open,,\n".encode())
    assert [row.file for row in rows_of(packed, contract, "a.csv.gz")] == ["a.csv.gz"]
    assert oracle.read("a.csv.gz", packed[:-9], AT, contract) is None
    assert oracle.read("a.csv.gz", HEADER.encode(), AT, contract) is None


# ---- Casts ----

NO = "refused"
CASTS: list[tuple[str, str | None, list[tuple[str | None, Any]]]] = [
    ("STRING", None, [(" a ", " a "), ("NULL", "NULL"), ("  ", "  "), (None, None)]),
    (
        "INT",
        None,
        [("12", 12), (" 12\t", 12), ("-0", 0), ("+5", 5), ("007", 7), ("1.0", NO), ("1e3", NO), ("2147483647", 2147483647),
         ("2147483648", NO), ("-2147483648", -2147483648), ("1,000", NO), ("", None), ("  ", None), ("-", NO), ("\u00a01", NO),
         ("\u0661", NO), (None, None)],
    ),
    ("BIGINT", None, [("9223372036854775807", 9223372036854775807), ("9223372036854775808", NO)]),
    (
        "DECIMAL(10,2)",
        None,
        [("12.5", Decimal("12.50")), ("12.550", Decimal("12.55")), ("12.555", NO), ("1e3", Decimal("1000.00")), ("-0", Decimal("0.00")),
         ("-0.001", NO), ("123456789", NO), ("99999999.99", Decimal("99999999.99")), ("1.", Decimal(1)), (".5", Decimal("0.5")),
         ("1,5", NO), ("1_0", NO), ("NaN", NO), ("1e99999999", NO), ("\u0661", NO), (" ", None)],
    ),
    ("DECIMAL(38,2)", None, [("12.55", Decimal("12.55")), ("12.555", NO)]),
    ("DECIMAL(2,2)", None, [("0.99", Decimal("0.99")), ("1", NO)]),
    (
        "DOUBLE",
        None,
        [("1.5", 1.5), (" 1e3 ", 1000.0), (".5", 0.5), ("1.", 1.0), ("NaN", NO), ("Infinity", NO), ("-inf", NO), ("1e400", NO), ("12d", NO),
         ("1_000", NO), ("0x10", NO), ("", None)],
    ),
    (
        "BOOLEAN",
        None,
        [("true", True), ("T", True), ("yes", True), ("1", True), ("no", False), ("0", False), ("F", False), ("maybe", NO), ("2", NO)],
    ),
    (
        "DATE",
        None,
        [("2026-01-02", date(2026, 1, 2)), (" 2026-1-2 ", date(2026, 1, 2)), ("2026", NO), ("2026-01", NO), ("2026-02-30", NO),
         ("2026-01-02 x", NO), ("2026-01-02T10:00:00", NO), ("0001-01-01", date(1, 1, 1)), ("01/02/2026", NO)],
    ),
    ("DATE", "d/M/yyyy", [("2/1/2026", date(2026, 1, 2)), ("02/01/2026", date(2026, 1, 2)), ("30/2/2026", NO), ("2/1/26", NO)]),
    ("DATE", "yyyyMMdd", [("20260102", date(2026, 1, 2)), ("2026012", NO)]),
    (
        "TIMESTAMP",
        None,
        [("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5)), ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5)),
         ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5)),
         ("2026-01-02 03:04:05.5 -0130", datetime(2026, 1, 2, 4, 34, 5, 500_000)),
         ("2026-01-02", datetime(2026, 1, 2)), ("2026-01-02 3", datetime(2026, 1, 2, 3)), ("2026-01-02 03:04", datetime(2026, 1, 2, 3, 4)),
         ("2026-01-02 03:", NO), ("2026-01-02 03:04Z", NO), ("2026-01-02T", NO), ("2026", NO), ("T12:00", NO), ("2026-01-02 24:00:00", NO),
         ("2016-12-31 23:59:60", NO), ("2026-03-29 02:30:00", datetime(2026, 3, 29, 2, 30)), ("2026-01-02 03:04:05 soon", NO),
         ("2026-01-02 03:04:05.123456", datetime(2026, 1, 2, 3, 4, 5, 123_456)), ("2026-01-02 03:04:05+19:00", NO), ("soon", NO)],
    ),
    (
        "TIMESTAMP",
        "yyyy-MM-dd['T'][' ']HH:mm:ss",
        [("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5)), (" 2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5)),
         ("2026-01-02 3:04:05", NO), ("2026-01-02 03:04:05.0", NO), ("2026-02-30 03:04:05", NO), ("2026", NO), ("", None)],
    ),
    (
        "TIMESTAMP",
        "dd.MM.yyyy HH:mm",
        [("31.01.2026 14:05", datetime(2026, 1, 31, 14, 5)), ("31x01.2026 14:05", NO), ("31.1.2026 14:05", NO)],
    ),
    ("TIMESTAMP", "yyyy-MM-dd[ HH:mm]", [("2026-01-02", datetime(2026, 1, 2)), ("2026-01-02 03:04", datetime(2026, 1, 2, 3, 4))]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "pattern", "cases"), CASTS, ids=[f"{kind} {pattern or ''}".strip() for kind, pattern, _ in CASTS])
def test_a_delivered_text_becomes_its_value_or_is_refused(kind: str, pattern: str | None, cases: list[tuple[str | None, Any]]):
    def outcome(text: str | None) -> Any:
        try:
            return oracle.cast(text, kind, pattern)
        except Refused:
            return NO

    found = [(text, outcome(text)) for text, _ in cases]
    assert oracle.compare(cases, found) == []


@pytest.mark.parametrize(
    ("text", "kind", "pattern"),
    [
        ("1", "FLOAT", None),
        ("1e3", "DECIMAL(38,2)", None),
        ("2026-01-02 03:04:05.1234567", "TIMESTAMP", None),
        ("2026-01-02 03:04:05 Europe/Rome", "TIMESTAMP", None),
        ("0000-01-01", "DATE", None),
        ("9999-12-31 23:00:00-18:00", "TIMESTAMP", None),
        ("02 Jan 2026", "DATE", "dd MMM yyyy"),
        ("26-01-02", "DATE", "yy-MM-dd"),
        ("01-02", "DATE", "[yyyy-]MM-dd"),
    ],
)
def test_a_cast_that_is_not_written_here_is_no_expectation(text: str, kind: str, pattern: str | None):
    with pytest.raises(NotImplementedError):
        oracle.cast(text, kind, pattern)


# ---- Judgement ----

LIMITS: list[tuple[Contract, list[tuple[str, str]]]] = [
    (amount("INT", minimum=2, maximum=3), [("2", ""), ("3", ""), ("1", "minimum"), ("4", "maximum"), ("", ""), ("x", "cast")]),
    (
        amount("DECIMAL(4,1)", exclusiveMinimum=0.25, exclusiveMaximum=2),
        [("0.3", ""), ("0.2", "minimum"), ("2.0", "maximum"), ("1.9", "")],
    ),
    (amount("DOUBLE", minimum=-90, maximum=90), [("-90", ""), ("90.5", "maximum")]),
    (amount("DATE", minimum="2026-01-01"), [("2026-01-01", ""), ("2025-12-31", "minimum")]),
    (amount("STRING", minLength=2, maxLength=3), [("ab", ""), ("a", "minLength"), ("abcd", "maxLength"), ("\U0001f600a", "")]),
    (amount("STRING", pattern="[a-z]+|[0-9]"), [("abc", ""), ("7", ""), ("abc7", "pattern"), ('"a\n"', "pattern")]),
    (amount("STRING", enum=("a", "b")), [("a", ""), ("A", "enum")]),
    (amount("INT", enum=(1, 2)), [("1", ""), ("3", "enum")]),
    (amount("INT", required=True), [("1", ""), ("", "required"), ("x", "cast"), (" ", "required")]),
    (amount("INT", required=True, default=7, maximum=7), [("1", ""), ("", ""), ("x", "cast"), ("8", "maximum")]),
]


@pytest.mark.parametrize(("contract", "cases"), LIMITS, ids=[f"{c.silver[3].kind} {n}" for n, (c, _) in enumerate(LIMITS)])
def test_a_value_breaks_exactly_the_rule_it_is_meant_to_break(contract: Contract, cases: list[tuple[str, str]]):
    rows = rows_of("\n".join([HEADER, *(f"k,open,,{text}" for text, _ in cases)]))
    found = [(row.row, rule) for row in rows for rule, _ in oracle.judge(row, contract, ORDERS_LOGIC).reasons]
    assert found == [(n, rule) for n, (_, rule) in enumerate(cases, 1) if rule]


def test_a_row_is_refused_with_every_reason_but_a_wrong_shape_or_a_second_header_stands_alone():
    found = files(a=[",open,soon,-1", "1,open", "ID, status ,at,amount", "id,,,", ",,,", "id,open,,"])
    assert oracle.quarantine(found, CONTRACT, ORDERS_LOGIC) == [
        ("a.csv", 1, [("cast", "at"), ("minimum", "amount"), ("required", "id")]),
        ("a.csv", 2, [("malformed", "")]),
        ("a.csv", 3, [("repeated_header", "")]),
        ("a.csv", 4, [("repeated_header", "")]),
        ("a.csv", 5, [("required", "id")]),
    ]


def test_null_values_are_missing_to_silver_and_stay_as_delivered_in_bronze():
    found, contract = files(a=["1,NA,,-", "NA,open,,1", "2,NA ,,1"]), orders(null_values=("NA", "-"))
    assert [row.values["state"] for row in oracle.silver(found, contract, ORDERS_LOGIC).values()] == [None, "NA "]
    assert oracle.quarantine(found, contract, ORDERS_LOGIC) == [("a.csv", 2, [("required", "id")])]
    assert found["a.csv"][0].cells["state"] == "NA"


def test_a_default_replaces_what_is_missing_and_not_what_is_wrong():
    found = files(a=["1,open,,", "2,open,,x"])
    contract = amount("INT", default=7)
    assert [row.values["amount"] for row in oracle.silver(found, contract, ORDERS_LOGIC).values()] == [7]
    assert oracle.quarantine(found, contract, ORDERS_LOGIC) == [("a.csv", 2, [("cast", "amount")])]


def test_expressions_see_typed_values_and_delivered_texts_and_rules_refuse_or_warn():
    def ratio(raw: Mapping[str, str | None], typed: Mapping[str, Any]) -> Any:
        if raw["state"] == "0":
            raise Refused("division by zero")
        return None if raw["state"] is None else Decimal(typed["amount"] / int(raw["state"]))

    column = oracle.Column("ratio", "DECIMAL(10,2)", True, True, None, {"maximum": 5}, ())
    contract = orders(silver=(*CONTRACT.silver, column), rules={"whole": True, "small": False})
    logic = Logic({"ratio": ratio}, {"whole": lambda _, t: t["amount"] % 1 == 0, "small": lambda _, t: t["amount"] < 3})
    found = files(a=["1,2,,4", "2,0,,4", "3,,,2", "4,2,,12", "5,2,,2.50"])
    judged = [oracle.judge(row, contract, logic) for row in found["a.csv"]]
    assert [(j.values["ratio"], j.reasons, j.warnings) for j in judged] == [
        (Decimal(2), (), ("small",)),
        (None, (("expression", "ratio"),), ("small",)),
        (None, (("required", "ratio"),), ()),
        (Decimal(6), (("maximum", "ratio"),), ("small",)),
        (Decimal("1.25"), (("whole", ""),), ()),
    ]
    with pytest.raises(ValueError, match="does not fit"):
        oracle.judge(found["a.csv"][0], contract, ORDERS_LOGIC)


# ---- Order, Gold ----


def winners(found: Mapping[str, Sequence[BronzeRow]], contract: Contract = CONTRACT) -> dict[Any, tuple[str, int]]:
    return {key: (row.file, row.row) for (key,), row in oracle.silver(found, contract, ORDERS_LOGIC).items()}


def test_the_newest_by_sequence_then_file_then_record_wins_and_null_is_the_oldest():
    found = files(
        a=["1,x,2026-01-03,", "2,x,,", "3,x,2026-01-01,", "3,y,2026-01-01,", "4,x,,", "5,x,2026-01-02,-1"],
        b=["1,x,2026-01-02,", "2,x,,", "3,x,2026-01-01,", "4,x,2026-01-01,", "5,x,2026-01-01,"],
        c=["4,x,,"],
    )
    assert winners(found) == {"1": ("a.csv", 1), "2": ("b.csv", 2), "3": ("b.csv", 3), "4": ("b.csv", 4), "5": ("b.csv", 5)}
    assert winners(dict(reversed(found.items()))) == winners(found)
    assert winners(found, orders(sequence_by=("_row", "_file")))["3"] == ("a.csv", 4)


def test_file_names_are_ordered_as_utf_8_and_not_by_any_language():
    found = {name: rows_of(f"{HEADER}\n1,,,\n", path=name) for name in ("Z.csv", "a.csv", "ä.csv", "\U0001f600.csv", "\uffee.csv")}
    assert winners(found) == {"1": ("\U0001f600.csv", 1)}


def test_of_two_deliveries_that_were_both_kept_the_later_wins():
    older, newer = (
        rows_of(f"{HEADER}\n1,a,,\n1,b,,\n"),
        oracle.read("a.csv", f"{HEADER}\n1,c,,\n".encode(), datetime(2026, 1, 11), CONTRACT),
    )
    (row,) = oracle.silver({"a.csv": [*older, *(newer or [])]}, CONTRACT, ORDERS_LOGIC).values()
    assert row.values["state"] == "c"


def test_gold_counts_null_as_a_group_and_not_in_a_sum():
    found = files(a=["1,open,,1.50", "2,open,,", "3,,,2.00", "4,paid,,"])
    rows = oracle.silver(found, CONTRACT, ORDERS_LOGIC).values()
    expected = [("open", 2, Decimal("1.50")), (None, 1, Decimal("2.00")), ("paid", 1, None)]
    assert oracle.compare(expected, oracle.gold(rows, ORDERS_LOGIC)["by_state"]) == []


# ---- Comparing ----


def test_a_comparison_counts_and_tells_types_apart():
    assert oracle.compare([(1, "a"), (1, "a")], [(1, "a")]) == ["missing 1x (1, 'a')"]
    assert oracle.compare(Counter({("a",): 2}), [("a",), ("a",), ("b",)]) == ["unexpected 1x ('b',)"]
    assert oracle.compare([(Decimal("1.0"), float("nan"), None)], [(Decimal("1.00"), float("nan"), None)]) == []
    for one, other in ((1, True), (1, 1.0), (1, Decimal(1)), (date(2026, 1, 1), datetime(2026, 1, 1)), (None, "")):
        assert len(oracle.compare([(one,)], [(other,)])) == 2


def home(data: Path, *, winner: str = "open", missing: bool = False) -> None:
    """The tables of the orders a.csv and b.csv, written by hand."""
    text, whole = pa.string(), pa.int64()
    extra, reason = pa.map_(text, text), pa.list_(pa.struct([("rule", text), ("column", text), ("value", text)]))
    raw = [(name, text) for name in ("id", "state", "at", "amount")]
    delivered = [
        ("1", winner, "2026-01-01", "1.50", [("z", "1"), ("b", None)], None, "a.csv", 1),
        (None, "open", "never", None, None, "x\ny", "a.csv", 2),
        (None, "open", "never", None, None, None, "b.csv", 1),
    ]
    tables: dict[str, tuple[list[tuple[str, pa.DataType]], list[tuple[Any, ...]]]] = {
        "bronze/orders": ([*raw, ("_extra", extra), ("_malformed", text), ("_file", text), ("_row", whole)], delivered[missing:]),
        "silver/orders": (
            [*raw[:2], ("at", pa.timestamp("us", "UTC")), ("amount", pa.decimal128(10, 2)), ("_file", text), ("_row", whole)],
            [("1", winner, datetime(2026, 1, 1), Decimal("1.50"), "a.csv", 1)],
        ),
        "quarantine/orders": (
            [*raw, ("_extra", extra), ("_malformed", text), ("_file", text), ("_row", whole), ("reasons", reason)],
            [
                (*delivered[1], [{"rule": "malformed", "column": None, "value": "x"}]),
                (*delivered[2], [{"rule": r, "column": c, "value": None} for r, c in (("required", "id"), ("cast", "at"))]),
            ],
        ),
        "gold/by_state": ([raw[1], ("orders", whole), ("revenue", pa.decimal128(18, 2))], [(winner, 1, Decimal("1.50"))]),
    }
    for name, (schema, rows) in tables.items():
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, kind) for column, (_, kind) in zip(columns, schema, strict=True)]
        write_deltalake(data / name, pa.table(arrays, names=[c for c, _ in schema]))


def test_all_tables_of_a_home_are_compared_with_what_they_must_hold(tmp_path: Path):
    def row(number: int, file: str, cells: tuple[str | None, ...], extra: Any, malformed: str | None) -> BronzeRow:
        return BronzeRow(dict(zip(("id", "state", "at", "amount"), cells, strict=True)), extra, malformed, file, AT, number)

    expected = {
        "a.csv": [
            row(1, "a.csv", ("1", "open", "2026-01-01", "1.50"), {"b": None, "z": "1"}, None),
            row(2, "a.csv", (None, "open", "never", None), None, oracle.SEVERAL_LINES),
        ],
        "b.csv": [row(1, "b.csv", (None, "open", "never", None), None, None)],
    }
    home(tmp_path / "right")
    assert oracle.table_differences(tmp_path / "right", expected, CONTRACT, ORDERS_LOGIC) == []
    home(tmp_path / "wrong", winner="paid", missing=True)
    found = oracle.table_differences(tmp_path / "wrong", expected, CONTRACT, ORDERS_LOGIC)
    assert [line.split(" 1x ")[0] for line in found] == [
        *("bronze/orders: missing", "silver/orders: missing", "silver/orders: unexpected"),
        *("gold/by_state: missing", "gold/by_state: unexpected"),
    ]
    assert [line.split(":")[0] for line in oracle.table_differences(tmp_path / "none", expected, CONTRACT, ORDERS_LOGIC)] == [
        *("bronze/orders", "silver/orders", "quarantine/orders", "gold/by_state"),
    ]
    wide = replace(CONTRACT, silver=(*CONTRACT.silver[:3], replace(CONTRACT.silver[3], kind="DECIMAL(12,2)")))
    assert "columns" in oracle.table_differences(tmp_path / "right", expected, wide, ORDERS_LOGIC)[0]


# ---- 605 real deliveries ----

needs_provinces = pytest.mark.skipif(not oracle.PROVINCES.is_dir(), reason="the deliveries of the provinces are not beside the repository")


@pytest.fixture(scope="module")
def provinces() -> Contract:
    return oracle.parse(PROVINCES_CONTRACT.read_text("utf-8"))


def split(content: bytes) -> list[dict[str, str]]:
    """Another way to read a delivery: no quotes occur, so a comma is a comma."""
    lines = [line for line in content.decode("latin-1").removeprefix("ï»¿").split("\n") if line]
    return [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]


@needs_provinces
def test_the_newest_delivery_of_every_day_is_what_its_publisher_counted(tmp_path: Path, provinces: Contract):
    landed = oracle.land(tmp_path)
    found = oracle.bronze(tmp_path, provinces)
    assert len(landed) == len(found) == 130
    assert oracle.rejected(tmp_path, provinces) == set()
    assert {path: len(rows) for path, rows in found.items()} == {
        file.name: sum(1 for line in file.read_bytes().split(b"\n") if line) - 1 for file in tmp_path.iterdir()
    }
    assert [row.row for row in found["dpc-covid19-ita-province-20200225.csv"]] == list(range(1, 129))
    rows = oracle.silver(found, provinces, PROVINCES_LOGIC)
    assert len(rows) == sum(map(len, found.values())) == 16_808
    assert oracle.quarantine(found, provinces, PROVINCES_LOGIC) == []

    per_day = {day: counts for day, *counts in oracle.gold(rows.values(), PROVINCES_LOGIC)["cases_per_day"]}
    assert len(per_day) == 130
    # The national totals, as they were announced on those days.
    for day, announced in ((date(2020, 2, 25), 322), (date(2020, 2, 26), 400), (date(2020, 3, 31), 105_792), (date(2020, 7, 2), 240_961)):
        delivered = split((tmp_path / f"dpc-covid19-ita-province-{day:%Y%m%d}.csv").read_bytes())
        assert sum(int(row["totale_casi"]) for row in delivered) == announced
        unassigned = sum(int(row["totale_casi"]) for row in delivered if row["denominazione_provincia"][:2] in ("In", "Fu", "fu"))
        assert per_day[day] == [107, announced, unassigned]

    per_region = oracle.gold(rows.values(), PROVINCES_LOGIC)["cases_per_day_and_region"]
    assert len(per_region) == 130 * 21
    assert {row.values["codice_regione"] for row in rows.values()} == {f"{n:02d}" for n in range(1, 23)}
    lombardia = [row[3] for row in per_region if row[:2] == (date(2020, 3, 31), "Lombardia")]
    delivered = split((tmp_path / "dpc-covid19-ita-province-20200331.csv").read_bytes())
    assert lombardia == [sum(int(row["totale_casi"]) for row in delivered if row["denominazione_regione"] == "Lombardia")]


@needs_provinces
def test_landing_in_two_parts_ends_as_landing_at_once_with_the_times_of_the_deliveries(tmp_path: Path):
    once, parts = tmp_path / "once", tmp_path / "parts"
    landed = oracle.land(once)
    middle = 31
    assert oracle.land(parts, last=middle) | oracle.land(parts, first=middle + 1) == landed
    state = {file.name: (file.read_bytes(), file.stat().st_mtime) for file in once.iterdir()}
    assert state == {file.name: (file.read_bytes(), file.stat().st_mtime) for file in parts.iterdir()}
    assert state["dpc-covid19-ita-province-20200224.csv"][1] > 1_583_584_994  # the first delivery; it was corrected


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@needs_provinces
def test_the_605_deliveries_one_by_one_are_what_is_said_of_them(provinces: Contract):
    index = (oracle.PROVINCES / "index.csv").read_text("utf-8").splitlines()[1:]
    seen: Counter[str] = Counter()
    headers = set()
    for ordinal, _, _, name, _ in (line.split(",") for line in index):
        content = (next(oracle.PROVINCES.glob(f"{int(ordinal):05d}-*")) / name).read_bytes()
        rows, plain = rows_of(content, provinces, name), split(content)
        judged = [oracle.judge(row, provinces, PROVINCES_LOGIC) for row in rows]
        valid = [j.values for j in judged if not j.reasons]
        headers.add(tuple(plain[0]))
        seen["deliveries"] += 1
        assert {v["codice_regione"] for v in valid} == {row["codice_regione"].zfill(2) for row in plain}
        seen["with a byte-order mark"] += content.startswith(b"\xef\xbb\xbf")
        seen["not UTF-8"] += not is_utf8(content)
        seen["that spell Forlì right"] += any(row.cells["denominazione_provincia"] == "Forlì-Cesena" for row in rows)
        seen["with a blank line first"] += content.startswith((b"\n", b"\r"))
        seen["with a warning"] += any(j.warnings for j in judged)
        seen["with a code twice"] += len({(v["data"], v["codice_provincia"]) for v in valid}) < len(valid)
        seen["with a key twice"] += len({tuple(v[k] for k in provinces.keys) for v in valid}) < len(valid)
        seen["with a row refused"] += len(valid) < len(rows)
        # Another reading of the same bytes.
        totals = [row.get("totale_casi", row.get("casi_totali", "")) for row in plain]
        assert [row.cells["totale_casi"] or "" for row in rows] == totals
        assert sum(v["totale_casi"] or 0 for v in valid) == sum(int(text or 0) for text in totals)
        assert {v["giorno"] for v in valid} == {date.fromisoformat(name[-12:-4])}
    assert len(headers) == 5
    assert seen == {
        "deliveries": 605,
        "with a byte-order mark": 35,
        "not UTF-8": 27,
        # 522 in UTF-8, 19 with a mark, 26 in Latin-1. The others were damaged before they were delivered.
        "that spell Forlì right": 522 + 19 + 26,
        "with a blank line first": 1,
        "with a warning": 4,
        "with a code twice": 3,
        "with a key twice": 0,
        "with a row refused": 0,
    }


def test_the_ready_functions_stand_for_this_sql_and_change_with_it():
    def sql(table: Mapping[str, Any]) -> dict[str, str]:
        return {c["name"]: " ".join(c["transformLogic"].split()) for c in table["properties"] if "transformLogic" in c}

    _, silver, *gold = yaml.safe_load(PROVINCES_CONTRACT.read_text("utf-8"))["schema"]
    counts = {"provinces": "count_if(assegnata)", "cases": "sum(totale_casi)", "unassigned_cases": "sum(IF(assegnata, 0, totale_casi))"}
    assert sql(silver) == {
        "giorno": "to_date(data)",
        "assegnata": "codice_provincia < '800'",
        "codice_regione": "lpad(trim(raw.codice_regione), 2, '0')",
        "denominazione_regione": "CASE trim(raw.denominazione_regione) WHEN 'Bolzano' THEN 'P.A. Bolzano' WHEN 'Trento' THEN 'P.A. Trento' "
        "WHEN 'Emilia Romagna' THEN 'Emilia-Romagna' ELSE trim(raw.denominazione_regione) END",
    }
    assert [(rule["name"], rule["implementation"]) for rule in silver["quality"]] == [("total_is_known", "totale_casi IS NOT NULL")]
    assert [sql(table) for table in gold] == [
        {"giorno": "giorno"} | counts,
        {"giorno": "giorno", "region": "denominazione_regione"} | counts,
    ]
    assert [sql(table) for table in yaml.safe_load(ORDERS)["schema"][2:]] == [
        {"state": "state", "orders": "count(*)", "revenue": "sum(amount)"},
    ]
