"""`report`: one page that needs nothing else, in which every name is harmless. No Spark; the home is made by hand."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streaming_jobs.console import printable
from streaming_jobs.contract import Contract
from streaming_jobs.errors import UsageError
from streaming_jobs.facts.model import Damaged, Dataset, Facts, Hand, Quarantined
from streaming_jobs.ledger import Status
from streaming_jobs.operations import report
from streaming_jobs.operations.report import charts, history, markup, svg
from streaming_jobs.operations.report.history import Day, GoldChart, Line, Work
from streaming_jobs.operations.report.page import page
from tests.conftest import ORDERS, call
from tests.handmade import DAY, HOUR, NOW, Made, made

HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</title></style></svg>", "=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)",
    "\x1b[31mred\x07", "new\nline", "\u202erevo", "$x^2$ \\alpha", "&amp;&#0;", "a'b\"c", "{0} %s ${title}", "größer 中文 😀",
    "javascript:alert(1)", "url(//x) @import", "x" * 300,
)  # fmt: skip
VOID = {"meta", "img", "br", "hr", "input", "link", "base"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "div", "h1", "h2", "h3", "h4", "p", "nav", "ul", "li", "a", "main",
    "section", "strong", "b", "span", "code", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "desc", "g",
    "path", "defs", "clippath", "rect", "use", "text", "i", "details", "summary", "small", "footer",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser makes of it: every element closed in its turn, its attributes, and the text outside of the style sheet."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.faults: list[str] = []
        self.feed(document)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        names = [name for name, _ in attrs]
        self.faults += [f"{tag} has {name} twice" for name in set(names) if names.count(name) > 1]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} is closed out of turn")

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"a comment: {data}")

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


@pytest.fixture
def home(tmp_path: Path) -> Made:
    return made(tmp_path / "home")


def filled(home: Made) -> None:
    """Forty days of files, one day without, one of few rows, one file refused; work, refusals and Gold to draw."""
    home.contract(ORDERS + PER_DAY + "slaProperties: [{property: latency, value: 9, unit: d}]\n")
    for n in range(40, 0, -1):
        if n != 2:
            day = NOW.date() - n * DAY
            home.file(f"orders_{day}.csv", datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + DAY, 1 if n == 1 else 100)
    home.file("bad.csv", NOW - DAY, None, Status.REJECTED, "not utf-8")
    for n in range(5, 0, -1):
        for layer in ("bronze", "silver", "gold"):
            home.work(layer, NOW - n * DAY, seconds=n)
    days = [NOW.date() - n * DAY for n in range(30)]
    home.table("gold/per_day", {"day": pa.array(days), "orders": pa.array(range(30), pa.int64()), "revenue": pa.array([1.5] * 30)})
    home.settle(quarantined=[("cast", "amount", NOW - n * DAY) for n in range(9)])


PER_DAY = """
  - name: per_day
    physicalName: gold/per_day
    logicalType: object
    customProperties: [{property: where, value: "amount > 0"}]
    properties:
      - {name: day, logicalType: date, primaryKey: true, transformLogic: to_date(at)}
      - {name: orders, logicalType: integer, transformLogic: count(*)}
      - {name: revenue, logicalType: number, transformLogic: sum(amount)}
"""


def written(home: Made, out: Path | None = None) -> str:
    return report.write((), home.settings, out).path.read_text("utf-8")


def drawn(home: Made, contract: Contract, now: datetime = NOW) -> str:
    """The page as of `now`."""
    facts = home.facts(now)
    return page(facts, [history.history(contract, one, home.settings, now) for one in facts.datasets], "home")


def test_the_page_is_whole_and_refers_to_nothing_outside_of_itself(home: Made) -> None:
    filled(home)
    document = written(home)
    found = Page(document)
    assert found.faults == []
    assert found.tags <= TAGS
    assert found.values("src") == found.values("style") == found.values("xmlns") == []
    assert [name for _, name, _ in found.attributes if name.startswith("on")] == []
    ids = found.values("id")
    assert len(set(ids)) == len(ids)
    assert {value.removeprefix("#") for value in found.values("href")} <= set(ids)
    for reference in ("http:", "https:", "src=", "@import", "url(//", "<script"):
        assert reference not in document, reference


def test_the_policy_allows_the_one_style_sheet_and_nothing_else(home: Made) -> None:
    filled(home)
    document = written(home)
    (style,) = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policies = [value for value in Page(document).values("content") if "default-src" in value]
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]


def test_the_page_answers_five_questions_in_order_and_draws_every_figure(home: Made) -> None:
    filled(home)
    document = drawn(home, home.contract())
    assert re.findall(r"<h2>(.*?)</h2>", document) == [
        "Is it right?", "Is it fresh?", "What came?", "What was refused?", "Where does time go?",
    ]  # fmt: skip
    found = Page(document)
    text = found.text
    for said in (
        "no damage is seen, all work adds up, and tables and ledger agree.",
        "What needs a hand", "the file of 2026-11-24 did not come", "streaming-jobs plan orders",
        "something of orders is late", "data is at most 9 d old", "a file every day, by 05:00Z the day after",
        "Files per day", "1 day without the expected file", "Rows per day", "1 day far from the usual",
        "gold/per_day; the newest 30 groups.", "gold/by_state; every group.",
        "bad.csv", "not utf-8", "Refused rows per day", "Seconds per piece of work", "Seconds by stage",
    ):  # fmt: skip
        assert said in text, said
    assert document_count(found, "svg") == 8


def document_count(found: Page, tag: str) -> int:
    return sum(1 for of, name, _ in found.attributes if of == tag and name == "viewbox")


def test_every_chart_has_a_title_a_description_and_its_figures_as_a_table(home: Made) -> None:
    filled(home)
    document = drawn(home, home.contract())
    svgs = re.findall(r"<figure>.*?</figure>", document, re.DOTALL)
    assert svgs
    for figure in svgs:
        (labels,) = re.findall(r'<svg [^>]*aria-labelledby="([^"]+)"', figure)
        title, description = labels.split()
        assert re.search(rf'<title id="{title}">[^<]+</title>', figure)
        assert re.search(rf'<desc id="{description}">[^<]+</desc>', figure)
        assert figure.index("<details>") < figure.index("<table>")


def test_the_same_facts_give_the_same_bytes(home: Made) -> None:
    filled(home)
    contract = home.contract()
    assert drawn(home, contract) == drawn(home, contract)


def test_a_home_without_any_run_has_a_page(home: Made) -> None:
    found = Page(written(home))
    assert found.faults == []
    for said in ("Nothing.", "0 files", "Nobody can tell:", "Nothing to draw yet.", "Nowhere yet:"):
        assert said in found.text


def test_damage_is_said_first_and_nothing_is_drawn_of_it(home: Made) -> None:
    filled(home)
    next(home.settings.table("silver/orders").glob("*.parquet")).unlink()
    result = report.write((), home.settings)
    found = Page(result.path.read_text("utf-8"))
    assert result.facts.exit_code == 4
    assert "No: 1 thing damaged, or not adding up." in re.sub(r"\s+", " ", found.text)
    assert "streaming-jobs rebuild silver orders" in found.text
    assert document_count(found, "svg") == 0


def test_hostile_names_are_text_wherever_they_stand() -> None:
    at = NOW - DAY
    hands = tuple(Hand(f"k{n}", name, name, f"streaming-jobs {name}", 4 if n % 2 else 0) for n, name in enumerate(HOSTILE))
    one = Dataset("orders", damaged=(Damaged("x", "y", "", "z"),))
    lines = tuple(Line(name, ((at.date(), 1.0), (NOW.date(), 2.0))) for name in HOSTILE)
    told = history.History(
        "orders", "name", (), (), (Day(at.date(), 1, 1),), lines, (Work("silver", at, 2.0, tuple((name, 0.1) for name in HOSTILE)),),
        (
            GoldChart("gold/t", HOSTILE[0], lines=lines[:5]),
            *(GoldChart("gold/t", "n", bars=tuple((name, 1.0) for name in part)) for part in (HOSTILE[:9], HOSTILE[9:])),
        ),
        tuple((name, name) for name in HOSTILE),
    )  # fmt: skip
    quarantined = tuple(Quarantined(name, name, 1, 1, NOW, NOW, 1) for name in HOSTILE)
    facts = Facts(NOW, (replace(one, dataset=HOSTILE[0], quarantined=quarantined),), hands)
    document = page(facts, [told], HOSTILE[1])
    found = Page(document)
    assert found.faults == []
    assert found.tags <= TAGS
    assert [name for _, name, _ in found.attributes if name.startswith(("on", "src", "style"))] == []
    assert "<script" not in document
    assert all(c.isprintable() or c == "\n" for c in document)
    for name in HOSTILE:
        assert printable(name) in found.text, name


FORMULAS = ["=1+1", "+1", "@x", "-x", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_begins_as_a_formula(name: str) -> None:
    (cell,) = [text for text in Page(f"<table>{markup.table(('file',), [(name,)])}</table>").texts if text.strip() and text != "file"]
    assert cell == f"'{name}'"
    assert markup.text("-5") == "-5"


def test_hostile_file_names_and_reasons_of_a_real_ledger_are_harmless(home: Made) -> None:
    for n, name in enumerate(name for name in HOSTILE if "/" not in name and len(name) < 200):
        home.file(name, NOW - n * HOUR, None, Status.REJECTED, f"because {name}")
    home.settle(quarantined=[(name, name, NOW - DAY) for name in HOSTILE])
    found = Page(written(home))
    assert found.faults == []
    assert found.tags <= TAGS
    assert "secret" not in found.text  # the values of refused rows


CLOSED = """
  - name: people
    physicalName: gold/people
    logicalType: object
    properties:
      - {name: who, logicalType: string, primaryKey: true, transformLogic: id}
      - {name: times, logicalType: integer, transformLogic: count(*)}
"""


def test_classified_columns_are_not_drawn_and_that_is_said(home: Made) -> None:
    text = ORDERS.replace(
        "- {name: id, logicalType: string, required: true, primaryKey",
        "- {name: id, classification: personal, logicalType: string, required: true, primaryKey",
    )
    contract = home.contract((text + CLOSED).replace("- {name: revenue,", "- {name: revenue, classification: restricted,"))
    home.file("a.csv", NOW - DAY)
    home.table("gold/people", {"who": pa.array(["Ada Canary"], pa.string()), "times": pa.array([10], pa.int64())})
    home.settle()
    found = Page(drawn(home, contract))
    assert "Canary" not in found.text
    assert "gold/people (who of its grain is classified by the contract)" in found.text
    assert "gold/by_state.revenue (classified by the contract)" in found.text
    assert "gold/by_state; every group." in found.text


def test_gold_is_drawn_over_time_by_category_or_not_at_all(home: Made) -> None:
    gold = {
        "by_day": ("day", "date", "day"),
        "by_day_and_kind": ("day, kind", "date, string", ""),
        "by_three": ("a, b, c", "string, string, string", ""),
    }
    schema = ""
    for name, (columns, kinds, _) in gold.items():
        schema += f"\n  - name: {name}\n    physicalName: gold/{name}\n    logicalType: object\n    properties:\n"
        for n, (column, kind) in enumerate(zip(columns.split(", "), kinds.split(", "), strict=True), 1):
            logic = "to_date(at)" if kind == "date" else f"concat(state, '{column}')"
            schema += (
                f'      - {{name: {column}, logicalType: {kind}, primaryKey: true, primaryKeyPosition: {n}, transformLogic: "{logic}"}}\n'
            )
        schema += "      - {name: n, logicalType: integer, transformLogic: count(*)}\n"
    contract = home.contract(ORDERS + schema)
    days = [date(2026, 11, 1) + timedelta(days=n) for n in range(3)]
    write = home.table
    write("gold/by_day", {"day": pa.array([*days, None]), "n": pa.array([1, 2, None, 9], pa.int64())})
    named: list[str | None] = [*(f"k{n}" for n in range(7)), None]
    write(
        "gold/by_day_and_kind",
        {"day": pa.array([days[0]] * 8), "kind": pa.array(named, pa.string()), "n": pa.array([*range(7), 50], pa.int64())},
    )
    write("gold/by_three", {**{c: pa.array(["x"]) for c in "abc"}, "n": pa.array([1], pa.int64())})
    home.settle(groups={"open": 3, "paid": 1})
    found = history.history(contract, home.facts().datasets[0], home.settings, NOW)
    assert [(g.table, g.aggregate, g.bars, g.left_out) for g in found.gold if g.bars] == [
        ("gold/by_state", "orders", (("open", 3.0), ("paid", 1.0)), 0),
    ]  # fmt: skip
    assert {g.table: [(line.name, line.points) for line in g.lines] for g in found.gold if g.lines} == {
        "gold/by_day": [("n", ((days[0], 1.0), (days[1], 2.0)))],
        "gold/by_day_and_kind": [
            (name, ((days[0], value),)) for name, value in (("no value", 50.0), ("k6", 6.0), ("k5", 5.0), ("k4", 4.0), ("k3", 3.0))
        ],
    }
    assert [g.left_out for g in found.gold if g.table == "gold/by_day_and_kind"] == [3]
    assert found.not_drawn == (("gold/by_three", "a grain of a, b, c makes no simple chart"),)


DRAWINGS = {
    "lines": lambda: charts.lines([Line("a", ((NOW, 1.0), (NOW + HOUR, -2.0))), Line("$b$", ((NOW, 3.0),))]),
    "bars": lambda: charts.bars([("中文", 2.0), ("<b>", -1.0), ("x" * 99, 0.0)]),
    "per_day": lambda: charts.per_day([Day(NOW.date(), 1, 0), Day(NOW.date() + DAY, 0, 0)], 3.5, [NOW.date()]),
    "stacked": lambda: charts.stacked([Line("a", ((NOW.date(), 1.0),)), Line("b", ((NOW.date(), 2.0),))]),
    "dots": lambda: charts.dots([Line("a", ((NOW, 0.0),)), Line("b", ((NOW, 1.0), (NOW, 1e12)))]),
    "shares": lambda: charts.shares([("silver", [("plan", 0.0), ("write", 3.0)]), ("gold", [])]),
    "calendar": lambda: charts.calendar([Day(NOW.date() + n * DAY, n % 3, n, missing=n == 3) for n in range(180)]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_chart_is_the_same_each_time_and_embeds_without_styles_or_namespaces(name: str) -> None:
    first, second = DRAWINGS[name](), DRAWINGS[name]()
    assert first == second
    styles = svg.Styles()
    embedded = svg.embed(first.svg, "f1", "a <title>", "what & why", first.tips, styles)
    found = Page(embedded)
    assert found.faults == []
    assert found.tags <= TAGS
    assert found.values("style") == []
    assert not [attribute for _, attribute, _ in found.attributes if ":" in attribute]
    assert set(found.values("class")) - {"chart"} <= set(styles.names.values())
    # Every colour is one of the page's, so that night turns all of them.
    assert set(re.findall(r"#[0-9a-f]{6}", styles.css())) == set()
    assert "var(--" in styles.css()
    for tip in first.tips.values():
        assert escape(tip, quote=False) in embedded


def test_each_colour_of_the_charts_is_defined_for_day_and_night() -> None:
    css = Path(report.__file__).with_name("page.css").read_text("utf-8")
    for variable in svg.COLOURS:
        assert len(re.findall(rf"--{variable}: ", css)) == (1 if variable == "none" else 2), variable
    assert len(set(svg.COLOURS.values())) == len(svg.COLOURS)


def test_the_page_goes_to_data_and_is_taken_for_no_table(home: Made) -> None:
    filled(home)
    result = report.write((), home.settings)
    assert (result.shown, result.path) == ("data/report.html", home.path / "data/report.html")
    assert [file.name for file in (home.path / "data").iterdir() if file.is_file()] == ["report.html"]
    assert "report.html" not in call(home.path, "show", "gold/none").stderr


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("conf/orders.yaml", "a file whose name ends with .html is needed"),
        ("data", "a file whose name ends with .html is needed"),
        ("nowhere/page.html", "there is no folder"),
        ("data/gold/by_state/page.html", "is for tables, checkpoints or deliveries"),
        ("data/gold/by_state/_delta_log/page.html", "is for tables, checkpoints or deliveries"),
        ("checkpoints/page.html", "is for tables, checkpoints or deliveries"),
        ("data/raw/page.html", "is for tables, checkpoints or deliveries"),
    ],
)
def test_a_page_is_never_written_over_or_among_other_things(home: Made, place: str, why: str) -> None:
    filled(home)
    before = sorted(home.path.rglob("*"))
    with pytest.raises(UsageError, match=why) as error:
        report.write((), home.settings, home.path / place)
    assert "nothing was written" in str(error.value)
    assert sorted(home.path.rglob("*")) == before


def test_the_command_writes_where_it_is_told_and_ends_as_status_does(tmp_path: Path) -> None:
    home = made(tmp_path / "home")
    filled(home)
    out = tmp_path / "page.html"
    done = call(home.path, "report", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"wrote {re.escape(str(out))}: \d things need a hand\n", done.stdout)
    assert Page(out.read_text("utf-8")).faults == []
    write_deltalake(str(home.settings.table("bronze/orders")), pa.table({"id": ["1"]}), mode="append", schema_mode="merge")
    assert call(home.path, "report", "--out", str(out), "--json").returncode == 4


def test_status_and_report_import_neither_spark_nor_matplotlib() -> None:
    code = (
        "import sys, streaming_jobs.operations.status, streaming_jobs.operations.report; "
        "sys.exit('pyspark' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_matplotlib_keeps_stays_in_the_home(tmp_path: Path) -> None:
    home = made(tmp_path / "home")
    filled(home)
    assert call(home.path, "report").returncode == 0
    assert [*(home.path / "checkpoints/matplotlib").iterdir()]
