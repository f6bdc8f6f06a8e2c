"""The file probe: what it says of each fault of a file's bytes, and that it sees records as Spark's reader does. No JVM."""

import bz2
import gzip
import hashlib
import os
import re
import time
import tracemalloc
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_jobs.contract import Landing, RawColumn
from streaming_jobs.ledger import VANISHED
from streaming_jobs.probe import Facts, Refusal, Unreadable, content, count_records, cut, probe, probe_all, records, stamp

COLUMNS = (RawColumn("id", required=True), RawColumn("state", ("status",)), RawColumn("amount"))
LANDING = Landing("", "*")
HEADER = ("id", "state", "amount")
ROWS = b"id,state,amount\n1,open,2.50\n2,paid,1.00\n"
LATIN = "id,state,amount\n1,payé,2\n".encode("iso-8859-1")
SMALL = [1, 2, 7, 64]  # bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("landing")


def look(folder: Path, data: bytes, name: str = "x.csv", columns=COLUMNS, **landing) -> Facts | Refusal:
    (folder / name).write_bytes(data)
    return probe(folder, name, replace(LANDING, **landing), columns)


def read(folder: Path, data: bytes, name: str = "x.csv", **landing) -> tuple[str, str, tuple[str, ...], bool, int]:
    """Encoding, delimiter, header, final newline and data records of a file that must be accepted."""
    found = look(folder, data, name, **landing)
    assert isinstance(found, Facts), found
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.size, found.modified_at) == stamp(folder / name)
    records = count_records(folder, found, replace(LANDING, **landing))
    return found.encoding, found.delimiter, found.header, found.final_newline, records


def reason(folder: Path, data: bytes, name: str = "x.csv", **landing) -> str:
    """Why a file that must be refused is refused; the refusal knows size, time and hash of what it refused."""
    found = look(folder, data, name, **landing)
    assert isinstance(found, Refusal), found
    assert (found.size, found.modified_at, found.sha256) == (*stamp(folder / name), hashlib.sha256(data).hexdigest())
    assert "\n" not in found.reason
    return found.reason


Cases = dict[str, tuple[bytes, dict[str, Any], Any]]
LATIN_TOO: dict[str, Any] = {"fallback_encodings": ("iso-8859-1",)}
WIDE_TOO: dict[str, Any] = {"fallback_encodings": ("utf-16", "iso-8859-1")}
BACKSLASH = {"escape": "\\"}

ACCEPTED: Cases = {
    "D1 no byte at all": (b"", {}, ("utf-8", ",", (), False, 0)),
    "D1 blank lines only": (b"\n\r\n\n", {}, ("utf-8", ",", (), True, 0)),
    "D1 header only": (b"id,state,amount\n", {}, ("utf-8", ",", HEADER, True, 0)),
    "D1 header without newline": (b"id,state,amount", {}, ("utf-8", ",", HEADER, False, 0)),
    "D2 UTF-8 with a byte-order mark": (b"\xef\xbb\xbf" + ROWS, {}, ("utf-8", ",", HEADER, True, 2)),
    "D2 a mark before a quoted header": (b'\xef\xbb\xbf"id","state"\n1,x\n', {}, ("utf-8", ",", HEADER[:2], True, 1)),
    "D2 a mark and nothing else": (b"\xef\xbb\xbf", {}, ("utf-8", ",", (), False, 0)),
    "D3 UTF-16 as a fallback": (ROWS.decode().encode("utf-16"), WIDE_TOO, ("utf-16", ",", HEADER, True, 2)),
    "D3 UTF-16 without a mark is big-endian": (ROWS.decode().encode("utf-16-be"), WIDE_TOO, ("utf-16", ",", HEADER, True, 2)),
    "D3 the fallback whose byte order fits": (
        ROWS.decode().encode("utf-16-be"), {"fallback_encodings": ("utf-16le", "utf-16be")}, ("utf-16be", ",", HEADER, True, 2),
    ),
    "D3 UTF-32": (ROWS.decode().encode("utf-32"), {"encoding": "utf-32"}, ("utf-32", ",", HEADER, True, 2)),
    "D3 a UTF-8 file under a contract that tries UTF-16 first": (
        ROWS, {"encoding": "utf-16", "fallback_encodings": ("utf-8",)}, ("utf-8", ",", HEADER, True, 2),
    ),
    "D3 text in quotes over two lines of UTF-16": (
        'id,state,amount\n1,"a\nb",2\n'.encode("utf-16-le"), {"encoding": "utf-16le"}, ("utf-16le", ",", HEADER, True, 1),
    ),
    "D4 Latin-1 as a fallback": (LATIN, LATIN_TOO, ("iso-8859-1", ",", HEADER, True, 1)),
    "D4 UTF-8 wins where both fit": ("id,state,amount\n1,payé,2\n".encode(), LATIN_TOO, ("utf-8", ",", HEADER, True, 1)),
    "D5 a semicolon that gives every column": (ROWS.replace(b",", b";"), {}, ("utf-8", ";", HEADER, True, 2)),
    "D5 a tab that gives every required column": (b"id\tstate\n1\tx\n", {}, ("utf-8", "\t", HEADER[:2], True, 1)),
    "D9 CRLF": (ROWS.replace(b"\n", b"\r\n"), {}, ("utf-8", ",", HEADER, True, 2)),
    "D9 lone CR": (ROWS.replace(b"\n", b"\r"), {}, ("utf-8", ",", HEADER, True, 2)),
    "D9 no final newline": (ROWS[:-1], {}, ("utf-8", ",", HEADER, False, 2)),
    "D9 lone LF at the end of a CRLF file": (b"id,state,amount\r\n1,a,2\n", {}, ("utf-8", ",", HEADER, True, 1)),
    "D9 lone LF in quotes of a CRLF file": (b'id,state,amount\r\n1,"a\nb",2\r\n', {}, ("utf-8", ",", HEADER, True, 1)),
    "D9 lone LF behind quotes and empty cells of a CRLF file": (
        b'id,state,amount\r\n1,a,"2"\n2,b,\n3,c,""\n', {}, ("utf-8", ",", HEADER, True, 3),
    ),
    "D9 CRLF in an LF file belongs to the last cell": (b"id,state,amount\n1,a,2\r\n", {}, ("utf-8", ",", HEADER, True, 1)),
    "blank lines are no records, separators are": (b"\n\nid,state,amount\n\n,,\n\n1,a,2\n  \n", {}, ("utf-8", ",", HEADER, True, 3)),
    "a header name in quotes over two lines": (b'id,state,amount,"a\nb"\n1,2,3,4\n', {}, ("utf-8", ",", (*HEADER, "a\nb"), True, 1)),
    "C6 spaces, case and a synonym in the header": (
        b" ID , Status,amount\n1,2,3\n", {},
        ("utf-8", ",", ("ID", "Status", "amount"), True, 1),
    ),
    "C6 an empty name": (b"id,,amount\n1,2,3\n", {}, ("utf-8", ",", ("id", "", "amount"), True, 1)),
    "no header, and the contract says so": (b"1,a,2\n2,b,3\n", {"header": False}, ("utf-8", ",", HEADER, True, 2)),
    "no header, a mark and nothing else": (b"\xef\xbb\xbf", {"header": False}, ("utf-8", ",", (), False, 0)),
    "a name that begins like a format": (b"id,state,amount\n".replace(b"id", b"PAR1,id"), {}, ("utf-8", ",", ("PAR1", *HEADER), True, 0)),
    "a name of bzip2": (b"BZh91,id\n1,2\n", {}, ("utf-8", ",", ("BZh91", "id"), True, 1)),
    "an odd number of quotes inside plain cells": (
        b'id,state,amount\n1,5" pipe,2\n2,a "b,3\n3,c" ,"\n"\n', {},
        ("utf-8", ",", HEADER, True, 3),
    ),
    "a quoted cell and text behind it": (b'id,state,amount\n1,"a"b,2\n2,"a" "b,3\n', {}, ("utf-8", ",", HEADER, True, 2)),
    "doubled quotes": (b'id,state,amount\n1,"a ""b""",2\n2,"""",3\n3,"""\n""",4\n', {}, ("utf-8", ",", HEADER, True, 3)),
    "a quote inside a cell of several lines": (b'id,state,amount\n1,"a\nb "c" d",2\n', {}, ("utf-8", ",", HEADER, True, 1)),
    "blanks behind a cell of several lines": (b'id,state,amount\n1,"a\nb" ,2\n', {}, ("utf-8", ",", HEADER, True, 1)),
    "cells of several lines in a CRLF file": (
        b'id,state,amount\r\n1,"a\r\nb",2\r\n2,"a\nb\n",3\r\n3,c,"4\n"\r\n', {}, ("utf-8", ",", HEADER, True, 3),
    ),
    "escaped quotes": (b'id,state,amount\n1,"a\\"b",2\n2,"c\\\\",3\n', BACKSLASH, ("utf-8", ",", HEADER, True, 2)),
    "a backslash is text where it escapes nothing": (b'id,state,amount\n1,"a\\",2\n', {}, ("utf-8", ",", HEADER, True, 1)),
    "another quote": (b"id,state,amount\n1,'a\n\"b',2\n", {"quote": "'", "escape": "'"}, ("utf-8", ",", HEADER, True, 1)),
    "quoting turned off": (b'id,state,amount\n1,"a,2\n2,b,"\n', {"quote": ""}, ("utf-8", ",", HEADER, True, 2)),
    "a delimiter outside ASCII in UTF-8": ("id§state§amount\n1§a§2\n".encode(), {"delimiter": "§"}, ("utf-8", "§", HEADER, True, 1)),
    "a delimiter and a quote outside ASCII in Latin-1": (
        "id§state§amount\n1§«a\n§«§2\n".encode("iso-8859-1"), {"delimiter": "§", "quote": "«", "escape": "«", **LATIN_TOO},
        ("iso-8859-1", "§", HEADER, True, 1),
    ),
}  # fmt: skip

REFUSED: Cases = {
    "D3 UTF-16 by its mark": (
        ROWS.decode().encode("utf-16"), {},
        "UTF-16LE by its byte-order mark, the contract says utf-8; add utf-16le to",
    ),
    "D3 UTF-32 by its mark": (ROWS.decode().encode("utf-32"), WIDE_TOO, "UTF-32 by its byte-order mark"),
    "D3 UTF-8 by its mark": (
        b"\xef\xbb\xbf" + ROWS, {"encoding": "iso-8859-1"},
        "UTF-8 by its byte-order mark, the contract says iso-8859-1",
    ),
    "D3 UTF-16 without a mark": (
        ROWS.decode().encode("utf-16-le"), LATIN_TOO,
        "NUL byte at offset 1; binary, or UTF-16: then add utf-16le to",
    ),
    "D3 UTF-16 in the other byte order": (ROWS.decode().encode("utf-16-le"), {"encoding": "utf-16"}, "look like utf-16le; add that to"),
    "D3 UTF-16 cut off": (ROWS.decode().encode("utf-16")[:-1], WIDE_TOO, "not utf-16: ends in the middle of a character"),
    "D4 Latin-1": (LATIN, {}, "not utf-8: invalid byte 0xE9 at offset 21; if it is iso-8859-1 add that to fallbackEncodings"),
    "D4 every encoding tried is told": (
        LATIN, {"fallback_encodings": ("us-ascii",)},
        r"not utf-8: .* offset 21; .*not us-ascii: .* offset 21",
    ),
    "D4 UTF-8 cut off": ("id,state,amount\n1,é".encode()[:-1], {}, "ends in the middle of a character; deliver it again"),
    "D5 a semicolon and a column renamed": (
        b"no;state;amount\n1;2;3\n", {},
        "looks like a semicolon, which gives 2 of the contract's 3 columns",
    ),
    "D5 a tab and a column renamed": (b"no\tstate\n1\t2\n", {}, "looks like a tab, which gives 1 of"),
    "D8 a quote never closed": (ROWS + b'3,"open,1.00\n4,paid,2.00\n', {}, "a quote opened in line 4 is never closed.*close or double it"),
    "D8 in the last column": (b'id,state,amount\n1,a,"2\n2,b,3\n', {}, "a quote opened in line 2 is never closed"),
    "D8 in CR lines": (ROWS.replace(b"\n", b"\r") + b'3,"open\r', {}, "a quote opened in line 4 is never closed"),
    "D8 as the last byte": (ROWS + b'3,"', {}, "a quote opened in line 4 is never closed"),
    "D8 under a backslash": (b'id,state,amount\n1,"a\\",2\n', BACKSLASH, "a quote opened in line 2 is never closed"),
    "D8 in UTF-16": ('id,state,amount\n1,"a\n'.encode("utf-16"), WIDE_TOO, "a quote opened in line 2 is never closed"),
    "D8 two that cancel out": (
        b'id,state,amount\n1,"The Inn",2\n2,"Bob,3\n3,x,4\n4,"Tom,5\n', {},
        "opened in line 3 ends at a quote .* of line 5",
    ),
    "D8 in one column": (b'id\n"a\nb\n"c\n', {}, "opened in line 2 ends at a quote inside a cell of line 4"),
    "D8 a cell of very many lines": (
        b'id,state,amount\n1,"' + b"a\n" * 1001 + b'",2\n', {},
        "quote opens in line 2 is longer than 1000 lines",
    ),
    "D9 CRLF, then LF": (b"id,state,amount\r\n1,a,2\n2,b,3\n", {}, "line 2 ends in LF, the first line in CRLF; Spark would read on"),
    "D9 CR, then LF": (b"id,state,amount\r1,a,2\r2,b,3\n3,c,4\n", {}, "line 3 ends in LF, the first line in CR; Spark would read on"),
    "D11 NUL": (b"id,state,amount\n1,\0,2\n", LATIN_TOO, "NUL byte at offset 18"),
    "D11 NUL in wide text": ("id,state,amount\n1,\0,2\n".encode("utf-16"), WIDE_TOO, "not utf-16: NUL characters"),
    "D11 control characters": (b"id,state,amount\n" + b"\x01\x02 " * 9, LATIN_TOO, "18 control characters in 43 bytes"),
    "D12 gzip named .csv": (gzip.compress(ROWS), {}, "the content is gzip; name it .csv.gz"),
    "D12 bzip2 named .csv": (bz2.compress(ROWS), {}, "the content is bzip2; name it .csv.bz2"),
    "D12 a spreadsheet": (b"PK\x03\x04" + ROWS, {}, "a zip archive or a spreadsheet; deliver it as CSV"),
    "D12 Parquet": (b"PAR1\x15\x04" + ROWS, {}, "the content is Parquet"),
    "D12 a PDF": (b"%PDF-1.7\n" + ROWS, {}, "the content is a PDF"),
    "D12 zstd": (b"\x28\xb5\x2f\xfd" + ROWS, {}, "the content is zstd"),
    "D12 xz": (b"\xfd7zXZ\x00" + ROWS, {}, "the content is xz"),
    "D12 an old spreadsheet": (b"\xd0\xcf\x11\xe0" + ROWS, {}, "the content is an old spreadsheet"),
    "D14 a quoted cell of 17 MB": (
        b'id,state,amount\n1,"' + b"a" * (17 << 20) + b'",2\n', {},
        "quote opens in line 2 is longer than .* 16 MB",
    ),
    "D14 a plain cell of 17 MB": (b"id,state,amount\n1," + b"a" * (17 << 20) + b",2\n", {}, "a cell in line 2 is longer than 16 MB"),
    "D15 a wide header": (b"id," + b"c," * 10_000 + b"\n", {}, "10002 columns in the header; at most 10000 are read"),
    "D15 a header without end": (b"id," + b"c" * 9 * (1 << 20), {}, "the header line"),
    "D15 a header line of 1.2 MB": (b"id," + b",".join([b"c" * 100_000] * 12) + b"\n1,2\n", {}, "header line does not end within 1 MB"),
    "C6 a megabyte of blank lines": (b"\n" * (1 << 20) + ROWS, {}, "nothing but blank lines in the first 1 MB"),
    "C2 a required column is missing": (b"state,amount\na,1\n", {}, "the header lacks required id; it has 'state', 'amount'$"),
    "C6 a column named twice": (b"id,ID,state\n1,2,3\n", {}, "names column id more than once: 'id', 'ID'$"),
    "C6 no header": (b"1,open,2.50\n", {}, "it has '1', 'open', '2.50'; the first line must name the columns, unless the contract says"),
    "C6 a first line of blanks": (b"  \nid,state,amount\n", {}, "the header lacks required id; it has ''"),
    "the encoding is told before the quote": (b'id,state,amount\n1,"a\n\xe9', {}, "not utf-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_file_that_spark_reads_right_is_accepted_with_its_facts(folder, case):
    data, landing, expected = ACCEPTED[case]
    assert read(folder, data, **landing) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_spark_would_misread_is_refused_with_place_and_advice(folder, case):
    data, landing, expected = REFUSED[case]
    assert re.search(expected, reason(folder, data, **landing))


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("case", [c for c in (ACCEPTED | REFUSED) if len((ACCEPTED | REFUSED)[c][0]) < 10_000])
def test_the_size_of_the_pieces_changes_nothing(folder, case, size):
    data, landing, _ = (ACCEPTED | REFUSED)[case]
    whole = look(folder, data, **landing)
    with mock.patch.object(content, "CHUNK", size):
        assert probe(folder, "x.csv", replace(LANDING, **landing), COLUMNS) == whole


PACKED = {
    "gz": (gzip.compress(ROWS), ".csv.gz", 2),
    "a name in capitals": (gzip.compress(ROWS), ".csv.GZ", 2),
    "bz2": (bz2.compress(ROWS), ".csv.bz2", 2),
    "two members in one gz": (gzip.compress(ROWS) + gzip.compress(b"3,open,1\n"), ".csv.gz", 3),
    "two members in one bz2": (bz2.compress(ROWS) + bz2.compress(b"3,open,1\n"), ".csv.bz2", 3),
    "bytes behind a bz2, which Hadoop passes over": (bz2.compress(ROWS) + b"tail", ".csv.bz2", 2),
    "nothing at all": (b"", ".csv.gz", 0),
    "nothing, packed": (gzip.compress(b""), ".csv.gz", 0),
}
BROKEN = {
    "D13 text named .gz": (ROWS, ".gz", "named .gz but not gzip"),
    "D13 text named .bz2": (ROWS, ".bz2", "named .bz2 but not bzip2"),
    "D13 a cut gz": (gzip.compress(ROWS)[:-9], ".gz", "truncated .gz archive; deliver it again"),
    "D13 a cut bz2": (bz2.compress(ROWS)[:-9], ".bz2", "truncated .bz2 archive; deliver it again"),
    "D13 a cut second member": (gzip.compress(ROWS) + gzip.compress(ROWS)[:20], ".gz", "truncated .gz archive"),
    "D13 a damaged gz": (gzip.compress(ROWS)[:-8] + b"\1\2\3\4\5\6\7\0", ".gz", "damaged .gz archive"),
    "D13 zeros behind a gz": (gzip.compress(ROWS) + b"\0" * 20, ".gz", "bytes behind the end of the .gz archive"),
    "D13 packed twice": (gzip.compress(gzip.compress(ROWS)), ".gz", "the .gz holds gzip; deliver it as CSV, packed once"),
    "D13 a fault inside": (gzip.compress(LATIN), ".gz", "not utf-8: invalid byte 0xE9 at offset 21"),
    "a format that Hadoop would unpack by its name": (ROWS, ".csv.zst", "^.zst files are not read; deliver plain CSV"),
}


@pytest.mark.parametrize("case", PACKED)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_packed_file_is_read_inside_and_hashed_outside(folder, case, size):
    data, suffix, records = PACKED[case]
    with mock.patch.object(content, "CHUNK", size):
        assert read(folder, data, f"x{suffix}")[4] == records


@pytest.mark.parametrize("case", BROKEN)
def test_a_packed_file_that_is_damaged_or_lies_about_itself_is_refused(folder, case):
    data, suffix, expected = BROKEN[case]
    assert re.search(expected, reason(folder, data, f"x{suffix}"))


def test_a_bomb_is_noticed_long_before_it_is_unpacked(folder):
    data = gzip.compress(ROWS + b"3,open,1.00\n" * (25 << 20), compresslevel=9)
    tracemalloc.start()
    try:
        assert "unpacks to more than 200 times its size" in reason(folder, data, "bomb.csv.gz")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
        (folder / "bomb.csv.gz").unlink()


def test_memory_does_not_grow_with_the_file(folder):
    with (folder / "long.csv").open("wb") as stream:
        stream.write(ROWS)
        for _ in range(32):
            stream.write(b'3,"open\nor paid",1.00\n' * (1 << 16))
    tracemalloc.start()
    try:
        found = probe(folder, "long.csv", LANDING, COLUMNS)
        assert isinstance(found, Facts)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20 < found.size // 2
    finally:
        tracemalloc.stop()
    assert count_records(folder, found, LANDING) == 2 + 32 * (1 << 16)
    (folder / "long.csv").unlink()


def test_a_byte_far_behind_the_head_decides_the_encoding(folder):
    data = ROWS + b"3,open,1.00\n" * 200_000 + b"4,pay\xe9,1.00\n"
    assert (
        reason(folder, data) == f"not utf-8: invalid byte 0xE9 at offset {len(data) - 7}; if it is iso-8859-1 add that to fallbackEncodings"
    )
    assert read(folder, data, **LATIN_TOO) == ("iso-8859-1", ",", HEADER, True, 200_003)


def test_a_file_that_is_gone_before_it_is_counted_has_no_records(folder):
    found = look(folder, ROWS, "counted.csv")
    assert isinstance(found, Facts)
    (folder / "counted.csv").unlink()
    assert count_records(folder, found, LANDING) == 0


def test_a_file_that_grows_during_the_pass_is_left_to_the_next_run(folder):
    file = folder / "growing.csv"
    file.write_bytes(ROWS)
    real = content.Content.finish

    def grow(self):
        real(self)
        with file.open("ab") as stream:
            stream.write(b"3,open,1.00\n")

    with mock.patch.object(content.Content, "finish", grow):
        assert probe(folder, file.name, LANDING, COLUMNS) == Refusal(file.name, "still being written; the next run reads it")


def test_a_file_that_is_replaced_by_one_of_the_same_size_is_left_to_the_next_run(folder):
    file = folder / "replaced.csv"
    file.write_bytes(ROWS)
    real = content.Content.finish

    def swap(self):
        real(self)
        os.utime(file, ns=(time.time_ns(), time.time_ns() + 5_000_000_000))

    with mock.patch.object(content.Content, "finish", swap):
        assert probe(folder, file.name, LANDING, COLUMNS) == Refusal(file.name, "still being written; the next run reads it")


TROUBLE = {
    "gone": (FileNotFoundError(2, "No such file"), VANISHED),
    "a folder on the way became a file": (NotADirectoryError(20, "Not a directory"), VANISHED),
    "no permission": (PermissionError(13, "Permission denied"), "permission denied; make the file readable for this user"),
    "a folder": (IsADirectoryError(21, "Is a directory"), "a folder, not a file; remove it or rename it"),
    "a broken disk": (OSError(5, "Input/output error"), "cannot be read from disk: Input/output error; check the disk or mount"),
    "a lost mount": (OSError(116, "Stale file handle"), "cannot be read from disk: Stale file handle"),
}


@pytest.mark.parametrize("case", TROUBLE)
@pytest.mark.parametrize("moment", ["_read", "finish"])
def test_trouble_with_one_file_is_a_refusal_that_the_next_run_looks_at_again(folder, case, moment):
    error, expected = TROUBLE[case]
    (folder / "x.csv").write_bytes(ROWS)
    with mock.patch.object(content.Content, moment, side_effect=error):
        found = probe(folder, "x.csv", LANDING, COLUMNS)
    assert isinstance(found, Refusal)
    assert found == Refusal("x.csv", found.reason)
    assert found.reason.startswith(expected)


def test_a_missing_file_and_a_folder_do_not_stop_the_others_and_answers_keep_their_order(folder):
    (folder / "a folder.csv").mkdir()
    (folder / "good.csv").write_bytes(ROWS)
    (folder / "bad.csv").write_bytes(LATIN)
    found = probe_all(folder, ["good.csv", "a folder.csv", "missing.csv", "bad.csv"] * 5, LANDING, COLUMNS, threads=4)
    assert [f.path for f in found] == ["good.csv", "a folder.csv", "missing.csv", "bad.csv"] * 5
    assert [isinstance(f, Facts) for f in found] == [True, False, False, False] * 5


# An independent reading of RFC 4180 as Spark's reader bends it: one character at a time, nothing skipped.


@dataclass
class Read:
    records: int = 0
    fault: bool = False
    ends: list[int] = field(default_factory=list)  # behind each record


def line_end(text: str) -> str:
    found = re.search("\r\n|\r|\n", text)
    return found.group() if found else "\n"


def by_character(text: str, delimiter: str, quote: str, width: int) -> Read:
    """Records of a text, and whether Spark would swallow some: a quote that stays open or swallows lines, a lone LF in a plain cell."""
    end, at, state, cell, seen = line_end(text), 0, "record", "", Read()
    while at < len(text):
        here = text[at]
        if state == "open":
            if here == quote and text[at + 1 : at + 2] == quote:
                cell, at = cell + quote, at + 2
                continue
            if here == quote:
                state, follows = "closed", text[at + 1 : at + 2]
                lines = cell.count(end[-1])
                ragged = bool(follows) and follows != delimiter and follows > " "
                seen.fault |= ragged and lines > 0 and cell.count(delimiter) >= lines * (width - 1)
            cell, at = cell + here, at + 1
            continue
        ends = text.startswith(end, at)
        if here == "\n" and not ends and state == "plain" and re.search(f"{re.escape(delimiter)}|{end}", text[at:]):
            seen.fault = True
        if ends or here == "\n":
            at += len(end) if ends else 1
            if state != "record":
                seen.records += 1
                seen.ends.append(at)
            state = "record"
            continue
        if here == delimiter:
            state = "cell"
        elif state in ("record", "cell"):
            state, cell = ("open", "") if here == quote else ("plain", "")
        at += 1
    if state != "record":
        seen.records += 1
        seen.ends.append(at)
    seen.fault |= state == "open"
    return seen


ENDS = ("\n", "\r\n", "\r")
TEXTS = st.one_of(
    *(
        st.lists(
            st.sampled_from(["a", "b c", "é", ",", ",", '"', '"', '""', '","', end, end, f'"{end}', f'{end}"', " ", "\t", ""]), max_size=40
        )
        for end in ENDS
    ),
    st.lists(st.sampled_from(["a", ",", ",", '"', '"', *ENDS]), max_size=30),
).map("".join)
TWO = (RawColumn("a"), RawColumn("b"))
BARE = Landing("", "*", header=False)


@settings(max_examples=1500, deadline=None)
@given(text=TEXTS, size=st.sampled_from([1, 2, 3, 7, 1 << 20]), window=st.sampled_from([1, 5, 8192]))
def test_records_are_those_of_a_reader_that_looks_at_every_character(folder, text, size, window):
    expected = by_character(text, ",", '"', width=2)
    with mock.patch.object(content, "CHUNK", size), mock.patch.object(records, "_WINDOW", window):
        found = look(folder, text.encode(), columns=TWO, header=False)
        assert isinstance(found, Refusal) == expected.fault, found
        if isinstance(found, Facts):
            assert count_records(folder, found, BARE) == expected.records


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, encoding=st.sampled_from(["utf-8", "utf-16le", "utf-16be", "utf-32"]), size=st.sampled_from([1, 3, 1 << 20]))
def test_records_do_not_depend_on_the_encoding(folder, text, encoding, size):
    expected = by_character(text, ",", '"', width=2)
    data = text.encode("utf-32-be" if encoding == "utf-32" else encoding)
    with mock.patch.object(content, "CHUNK", size):
        found = look(folder, data, columns=TWO, header=False, encoding=encoding)
        assert isinstance(found, Refusal) == expected.fault, found
        if isinstance(found, Facts):
            assert count_records(folder, found, replace(BARE, encoding=encoding)) == expected.records


@settings(max_examples=1000, deadline=None)
@given(
    text=TEXTS,
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    header=st.booleans(),
    gone=st.sets(st.integers(1, 12), max_size=6),
)
def test_records_are_cut_out_and_the_rest_stays_as_it_is(folder, text, encoding, header, gone):
    landing = replace(LANDING, header=header, encoding=encoding.removesuffix("-sig"))
    written = f"a,b\n{text}" if header else text
    expected = by_character(written, ",", '"', width=2)
    starts = [0, *expected.ends]
    kept = [written[a:b] for n, (a, b) in enumerate(pairwise(starts), 0 if header else 1) if n not in gone or n < 1]
    (folder / "x.csv").write_bytes(written.encode(encoding))
    found = probe(folder, "x.csv", landing, TWO)
    if isinstance(found, Facts):
        assert cut(folder, found, landing, gone).decode(encoding) == "".join([*kept, written[starts[-1] :]])


def test_text_that_is_not_written_the_way_it_reads_is_left_alone(folder):
    found = look(folder, "a,b\n1,2\n".encode("utf-16-le"), columns=TWO, encoding="utf-16le")
    assert isinstance(found, Facts)
    (folder / "x.csv").write_bytes("a,b\n1,\ud800\n".encode("utf-16-le", "surrogatepass"))  # since it was looked at
    with pytest.raises(Unreadable, match="its text, read as utf-16le, would not be written with the same bytes"):
        cut(folder, found, LANDING, {1})


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_without_a_quote_every_line_that_holds_something_is_a_record(folder, text):
    expected = by_character(text, ",", "\ue000", width=2)
    found = look(folder, text.encode(), columns=TWO, header=False, quote="")
    assert isinstance(found, Refusal) == expected.fault, found
    if isinstance(found, Facts):
        assert count_records(folder, found, replace(BARE, quote="")) == expected.records


TOKENS = [b'"', b'"', b",", b"\r", b"\n"]
CONTENTS = st.one_of(
    st.lists(
        st.sampled_from(
            [
                b"id,state,amount\n",
                b"id;state\r\n",
                b"1,a,2\n",
                b"2,b,3\r\n",
                b'"',
                b",",
                b"\r",
                b"\n",
                b"\xc3\xa9",
                b"\xe9",
                b"\0",
                b"\x01",
                b"x" * 20,
            ]
        ),
        max_size=12,
    ).map(b"".join),
    st.builds(
        lambda start, text, encoding: start + text.encode(encoding),
        st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]),
        TEXTS.map(lambda text: f"id,state\n{text}"),
        st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
    ),
)
TRIED: list[dict[str, Any]] = [
    {},
    LATIN_TOO,
    WIDE_TOO,
    {"encoding": "utf-16", "fallback_encodings": ("utf-8",)},
    {"escape": "\\"},
    {"quote": ""},
]


@settings(max_examples=600, deadline=None)
@given(data=CONTENTS, packed=st.sampled_from(["", ".gz", ".bz2"]), landing=st.sampled_from(TRIED), size=st.sampled_from(SMALL))
def test_facts_and_reasons_do_not_depend_on_the_size_of_the_pieces(folder, data, packed, landing, size):
    name = f"p.csv{packed}"
    data = gzip.compress(data) if packed == ".gz" else bz2.compress(data) if packed else data
    whole = look(folder, data, name, **landing)
    with mock.patch.object(content, "CHUNK", size):
        assert probe(folder, name, replace(LANDING, **landing), COLUMNS) == whole


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), name=st.sampled_from(["b.csv", "b.csv.gz", "b.csv.bz2"]), landing=st.sampled_from(TRIED))
def test_no_content_raises(folder, data, name, landing):
    assert isinstance(look(folder, data, name, **landing), (Facts, Refusal))
