"""Files of lines, read without Spark: the same rows as Spark's reader gives, or none."""

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from streaming_jobs import bronze, lines, probe, reading
from streaming_jobs.probe.lines import Lines
from streaming_jobs.run import Run
from tests.conftest import Home

TEXT = st.text(st.sampled_from("ab 1.\\'#é\u20ac\U0001f600\u2028\x85\x0b\x0c\x1b\t;|"), max_size=6)
HEADERS = (["id", "state", "at", "amount"], ["amount", "note", "id", "status", "note"], ["id", "x"])


@st.composite
def csv_files(draw, delimiters: str = ",,,;\t|", headers=HEADERS) -> bytes:
    """A file without a quote: any cells, sometimes a line of another width, a blank one, a byte-order mark, no line end at the end."""
    delimiter, end = draw(st.sampled_from(delimiters)), draw(st.sampled_from(["\n", "\n", "\r\n"]))
    header = draw(st.sampled_from(headers))
    cell = TEXT.map(lambda text: text.replace(delimiter, "_"))
    row = st.lists(cell, min_size=len(header), max_size=len(header))
    other = st.lists(cell, max_size=6)
    rows = draw(st.lists(st.one_of(row, row, row, row, row, row, other) if draw(st.integers(0, 3)) == 0 else row, max_size=8))
    text = end.join(delimiter.join(cells) for cells in [header, *rows]) + draw(st.sampled_from(["", end, end + end]))
    return bytes(draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + text.encode())


@pytest.fixture
def table(home: Home):
    home.contract()
    (contract,) = home.contracts()
    bronze.create(home.spark, contract, Run(home.settings, lambda _: None))
    return contract, home.settings.table("bronze/orders")


def probed(home: Home, contract, files: dict[str, bytes]):
    for name, content in files.items():
        (home.raw / name).write_bytes(content)
    found = probe.probe_all(home.raw, sorted(files), contract.landing, contract.bronze.columns, 2)
    return [f for f in found if isinstance(f, probe.Facts)]


ALIKE = [b"id,state,at,amount\n" + rows for rows in (b"1,a,,\n2,b,,", b"", b"3,c,,\r\n", b"\n4,d,,\n\n", b"5\n", b"6,f,,\n", b"7,g,,\n\n")]


@example(contents=[b"id,state,at,amount"])
@example(contents=ALIKE)
@example(contents=[file for file in ALIKE if b"\n5\n" not in file])
@given(contents=st.lists(csv_files(), min_size=15, max_size=30) | st.lists(csv_files(",", HEADERS[1:2]), min_size=5, max_size=30))
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_rows_are_those_that_sparks_reader_gives(home: Home, table, contents):
    contract, path = table
    known = [f for f in probed(home, contract, {f"{n:02}.csv": c for n, c in enumerate(contents)}) if lines.may_be(f)]
    written = lines.write(home.raw, path, contract, known, 7, 2)
    try:
        assert {*written.files, *written.ragged} == {*known}
        read = reading.read(home.spark, contract, home.raw, known, 7).drop("_ingested_at")
        rows = read.toArrow()
        of_spark = rows.to_pylist()
        malformed = {row["_file"] for row in of_spark if row["_malformed"] is not None}
        empty = {f.path for f in known} - {row["_file"] for row in of_spark}
        assert malformed <= {f.path for f in written.ragged} <= malformed | empty
        taken = rows.filter(pc.is_in(rows["_file"], pa.array([f.path for f in written.files], pa.string())))
        expected = home.spark.createDataFrame(taken, read.schema) if taken.num_rows else home.spark.createDataFrame([], read.schema)
        paths = [str(path / action.path) for action in written.data]
        mine = home.spark.read.schema(read.schema).parquet(*paths) if paths else expected.limit(0)
        # A map cannot be sorted by; as JSON it can, and says the same.
        shown = [c if c != "_extra" else "to_json(_extra) AS _extra" for c in expected.columns]
        assert_df_equality(mine.selectExpr(*shown), expected.selectExpr(*shown), ignore_row_order=True, ignore_nullable=True)
    finally:
        lines.discard(path, written.data)


def test_a_file_that_is_gone_and_a_large_ragged_one_leave_nothing_and_the_others_are_read(home: Home, table, monkeypatch) -> None:
    contract, path = table
    monkeypatch.setattr(reading, "BYTES_PER_OUTPUT_FILE", 200)
    monkeypatch.setattr(lines, "_ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 64)
    header, row = b"id,state,at,amount\n", b"1,open,2026-01-05,1.00\n"
    contents = {
        "gone.csv": header + row,
        "large.csv": header + 20 * row,
        "ragged.csv": header + 20 * row + b"1,2\n",
        "small.csv": header + row,
    }
    known = probed(home, contract, contents)
    (home.raw / "gone.csv").unlink()
    written = lines.write(home.raw, path, contract, known, 7, 2)
    assert {f.path for f in written.files} == {"large.csv", "small.csv"}
    assert {f.path for f in written.ragged} == {"gone.csv", "ragged.csv"}
    assert sorted(file.name for file in path.glob("*.parquet")) == sorted(action.path for action in written.data)
    rows = home.spark.read.parquet(*(str(path / action.path) for action in written.data)).groupBy("_file").count()
    assert_df_equality(
        rows,
        home.spark.createDataFrame([("large.csv", 20), ("small.csv", 1)], "_file string, count long"),
        ignore_row_order=True,
        ignore_nullable=True,
    )
    assert len(written.data) > 2


PIECE = st.lists(st.sampled_from([b"a", b",", b"\r\n", b"\n", b"\r", b'"']), max_size=3).map(b"".join)


@given(
    st.sampled_from([b"a,b\n", b"a,b\r", b"\na,b", b"\r\na", b"\xef\xbb\xbf\n", b"\xef\xbb\xbfa\r\n", b"a,b,c"]),
    st.lists(PIECE, max_size=6),
)
def test_a_file_is_of_lines_when_nothing_is_quoted_and_all_lines_end_alike(start, more):
    pieces = [start, *more]
    seen = Lines('"')
    content = b"".join(pieces)
    assert b"".join(seen.seen(iter(pieces))) == content
    ends = set(re.findall(rb"\r\n|\r|\n", content))
    blank_first = re.match(rb"(?:\xef\xbb\xbf)?[\r\n]", content) is not None
    quoted = b'"' in content
    assert seen.uniform is (not quoted and not blank_first and (ends <= {b"\n"} or ends <= {b"\r\n"}))


def test_small_files_of_one_header_are_read_as_one_and_a_ragged_one_sends_each_back_to_itself(home: Home, table, monkeypatch) -> None:
    contract, path = table
    calls, real = [], lines._cells

    def by_itself(file, *how):
        calls.append(file.name)
        return real(file, *how)

    monkeypatch.setattr(lines, "_cells", by_itself)
    content = b"id,state,at,amount\n1,open,2026-01-05,1.00\n"
    known = probed(home, contract, {f"{n}.csv": content for n in range(5)} | {"blank.csv": content + b"\n"})
    lines.discard(path, lines.write(home.raw, path, contract, known, 7, 1).data)
    assert calls == ["blank.csv"]
    known = probed(home, contract, {"3.csv": content + b"2,open\n"})
    lines.discard(path, lines.write(home.raw, path, contract, [*known, *probed(home, contract, {"4.csv": content})], 8, 1).data)
    assert calls == ["blank.csv", "3.csv", "4.csv"]
