"""The contract reader: what loads, and the one line each fault is told in. No JVM."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from streaming_jobs.contract import Landing, RawColumn, Redelivery, RowRule, examine, load, load_all, memo, remember
from streaming_jobs.errors import ContractError, UsageError
from streaming_jobs.operations.lint import lint

ROOT = Path(__file__).parents[1]

# The smallest contract with something of everything. A test changes one thing in it.
VALID = """
apiVersion: v3.2.0
kind: DataContract
id: orders
version: 1.2.0
status: active
servers:
  - {server: landing, type: local, path: "data/raw/orders_*.csv", format: csv, customProperties: [{property: header, value: true}]}
schema:
  - name: raw_orders
    physicalName: bronze/orders
    logicalType: object
    customProperties: [{property: onRedelivery, value: replace}]
    properties:
      - {name: id, logicalType: string, required: true}
      - {name: amount, logicalType: string, synonyms: [{synonym: total}]}
      - {name: placed_at, logicalType: string}
      - {name: state, logicalType: string}
  - name: orders
    physicalName: silver/orders
    logicalType: object
    customProperties: [{property: sequenceBy, value: [placed_at]}]
    quality:
      - {name: paid, type: custom, engine: spark, implementation: "amount > 0 OR state = 'new'", severity: error}
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(12,2)", logicalTypeOptions: {minimum: 0}}
      - {name: placed_at, logicalType: timestamp, logicalTypeOptions: {format: "yyyy-MM-dd HH:mm:ss"}}
      - {name: state, logicalType: string, enum: [{value: new}, {value: done}], logicalTypeOptions: {maxLength: 9}}
      - {name: placed_on, logicalType: date, required: true, partitioned: true, partitionKeyPosition: 1, transformLogic: to_date(placed_at)}
  - name: per_day
    physicalName: gold/per_day
    logicalType: object
    properties:
      - {name: placed_on, logicalType: date, primaryKey: true, primaryKeyPosition: 1, transformLogic: placed_on}
      - {name: orders, logicalType: integer, transformLogic: count(*)}
  - name: ever
    physicalName: gold/ever
    logicalType: object
    customProperties: [{property: source, value: per_day}]
    properties:
      - {name: year, logicalType: integer, primaryKey: true, primaryKeyPosition: 1, transformLogic: year(placed_on)}
      - {name: orders, logicalType: integer, transformLogic: sum(orders)}
"""


PARSED = yaml.safe_load(VALID)


class Draft(dict[str, Any]):
    """The document with short ways to its parts, so that an edit fits on a line."""

    @property
    def server(self):
        return self["servers"][0]

    @property
    def bronze(self):
        return self.table("raw_orders")

    @property
    def silver(self):
        return self.table("orders")

    @property
    def gold(self):
        return self.table("per_day")

    def table(self, name):
        return next(t for t in self["schema"] if t["name"] == name)

    def raw(self, name):
        return next(c for c in self.bronze["properties"] if c["name"] == name)

    def column(self, name):
        return next(c for c in self.silver["properties"] if c["name"] == name)


def unchanged(draft):
    pass


def option(element, name, value):
    others = [p for p in element.get("customProperties", []) if p["property"] != name]
    element["customProperties"] = [*others, {"property": name, "value": value}]


def pattern(value):
    return lambda d: d.column("placed_at").update(logicalTypeOptions={"format": value})


def rule(**keys):
    return lambda d: d.silver["quality"][0].update(keys)


def silver_column(draft, **keys):
    draft.silver["properties"].append({"logicalType": "string", **keys})


def measure(draft, logic, **keys):
    draft.gold["properties"].append({"name": "extra", "logicalType": "integer", "transformLogic": logic, **keys})


def table(draft, name):
    draft["schema"].append({**copy.deepcopy(draft.gold), "name": name, "physicalName": f"gold/{name}"})


def expression(logic):
    return lambda d: silver_column(d, name="extra", transformLogic=logic)


def write(folder, document, name="orders"):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    text = document if isinstance(document, str) else json.dumps(document).replace("Infinity", ".inf")  # JSON is YAML, and quick
    file.write_text(text, "utf-8")
    return file


@pytest.fixture
def findings(tmp_path):
    """The lines that a document is refused with; none when it loads."""

    def of(edit, name="orders"):
        draft = Draft(copy.deepcopy(PARSED))
        edit(draft)
        try:
            load(write(tmp_path / "conf", draft, name))
        except ContractError as error:
            return error.findings
        return ()

    return of


@pytest.fixture
def loaded(tmp_path):
    """The contract of a document, which a second look gives again without judging it."""

    def of(edit=unchanged):
        draft = Draft(copy.deepcopy(PARSED))
        edit(draft)
        judged = load(write(tmp_path / "conf", draft))
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        remember(judged, tmp_path)
        held = memo.find(judged.file)
        # Not only equal, which 1 and 1.0 and True are too.
        assert held == judged
        assert repr(replace(held, closed=frozenset())) == repr(replace(judged, closed=frozenset()))
        return judged

    return of


REFUSED = [
    # The standard's schema, in our words.
    (lambda d: d.column("id").update(primarykey=True), "silver orders.id: unknown key primarykey; did you mean primaryKey."),
    (lambda d: d.update(servres=[]), "unknown key servres; did you mean servers."),
    (lambda d: d.column("amount")["logicalTypeOptions"].update(minium=3), "logicalTypeOptions: unknown key minium; did you mean minimum."),
    (lambda d: d.raw("id").pop("logicalType"), "bronze raw_orders.id: logicalType is missing"),
    (lambda d: d.raw("id").update(logicalType="sting"), "bronze raw_orders.id.logicalType: 'sting' is not known; did you mean string."),
    (lambda d: d.update(version=1.0), "version: 1.0 must be text; quote it."),
    (lambda d: d.pop("id"), "id is missing."),
    (lambda d: d.column("id").update(required="yes"), "silver orders.id.required: 'yes' must be true or false."),
    (lambda d: d.silver["properties"].append({"logicalType": "string"}), "silver orders.properties[5]: name is missing."),
    (lambda d: d.update(apiVersion="v9"), "apiVersion: 'v9' is not known"),
    (lambda d: d.update(apiVersion="v2.2.2"), "apiVersion: v2.2.2 is too old; write v3.2.0."),
    (lambda d: d.raw("amount").update(synonyms=["total"]), "synonyms[0]: 'total' must be a mapping."),
    (lambda d: d.server.update(delimiter=";"), "the standard has no delimiter under `type: local`; write it as {property: delimiter"),
    (lambda d: d.server.update(type="lokal"), "server landing.type: 'lokal' is not known; did you mean local."),
    # Secrets.
    (lambda d: option(d, "password", "x"), "customProperties[0] password looks like a secret"),
    (lambda d: d.server.update(access_key="x"), "servers[0].access_key looks like a secret"),
    # The server.
    (lambda d: d.update(servers=[]), "servers: 0 servers are named landing, one is needed."),
    (lambda d: d.server.update(server="landnig"), "one is needed; did you mean landnig"),
    (lambda d: d["servers"].append(dict(d.server)), "servers: 2 servers are named landing"),
    (lambda d: d.server.update(format="parquet"), "server landing: format: 'parquet' must be csv."),
    (lambda d: d.server.update(path="data/raw/../x/*.csv"), "server landing.path: data/raw/../x/*.csv: must not climb with ..;"),
    (lambda d: d.server.update(path="data/raw"), "data/raw: names a folder; end it with a file pattern such as *.csv."),
    (lambda d: d.server.update(path="data/raw/"), "data/raw/: names a folder"),
    (lambda d: d.server.update(path="s3://bucket/*.csv"), "no URL, braces, ~ or variables."),
    (lambda d: d.server.update(path="data/raw/{a,b}.csv"), "no URL, braces, ~ or variables."),
    (lambda d: d.server.update(path="data/raw/[ab.csv"), "an opened [ is never closed"),
    (lambda d: d.server.update(path="data/raw/_tmp*.csv"), "_tmp*.csv matches only hidden names"),
    (lambda d: d.server.update(path="data/silver/*.csv"), "data/silver/*.csv: lies inside data/silver"),
    (lambda d: d.server.update(path="checkpoints/in/*.csv"), "lies inside checkpoints"),
    (lambda d: d.server.update(path="data/ledger/x/*.csv"), "lies inside data/ledger"),
    (lambda d: d.server.update(path="*.csv"), "the landing folder . would contain data/bronze"),
    (lambda d: d.server.update(path="data/*.csv"), "the landing folder data would contain data/bronze"),
    (lambda d: option(d.server, "headers", True), "unknown custom property headers; did you mean header."),
    (lambda d: option(d.server, "header", "yes"), "header: 'yes' must be true or false."),
    (lambda d: option(d.server, "delimiter", "||"), "delimiter: '||' must be one character"),
    (lambda d: option(d.server, "quote", "''"), "must be one character"),
    (lambda d: option(d.server, "escape", ""), "escape: '' must be one character."),
    (lambda d: option(d.server, "quote", ","), "quote and delimiter are both ,."),
    (lambda d: d.server.update(encoding="windows-1252"), "encoding: Spark cannot read 'windows-1252'; convert the files to one of utf-8"),
    (lambda d: option(d.server, "fallbackEncodings", ["cp850"]), "fallbackEncodings: Spark cannot read 'cp850'"),
    (lambda d: option(d.server, "fallbackEncodings", ["latin-1", "utf-16"]), "utf-16 is never reached"),
    (lambda d: option(d.server, "fallbackEncodings", ["UTF8"]), "fallbackEncodings: utf-8 was already tried before"),
    (lambda d: option(d.server, "nullValues", [-999]), "nullValues: [-999] must be a list of texts; quote"),
    (lambda d: option(d.server, "maxShrink", 0.5), "custom property maxShrink belongs to the bronze object; move it there."),
    (lambda d: d.server["customProperties"].append({"property": "header", "value": False}), "custom property header is given twice"),
    # Layers and tables.
    (lambda d: d["schema"].pop(0), "schema: 0 objects have physicalName bronze/…, exactly one is needed: bronze/orders."),
    (lambda d: d["schema"].pop(1), "schema: 0 objects have physicalName silver/…"),
    (lambda d: d["schema"].append(copy.deepcopy(d.silver)), "schema: 2 objects have physicalName silver/…"),
    (lambda d: d.silver.pop("physicalName"), "schema orders: physicalName is missing; it is the table's path under data/"),
    (lambda d: d.silver.update(physicalName="silver/order"), "silver/order must be silver/orders, after the file's name."),
    (lambda d: d.silver.update(physicalName="sliver/orders"), "the first part names the layer; did you mean silver."),
    (lambda d: d.gold.update(physicalName="gold/../silver/orders"), "neither absolute nor with .."),
    (lambda d: d.gold.update(physicalName="/data/gold/x"), "neither absolute nor with .."),
    (lambda d: d.gold.update(physicalName="gold/Per Day"), "gold/Per Day: a table's name is lower-case letters"),
    (lambda d: d.gold.update(physicalName="gold/silver_x"), "are kept for the other tables"),
    (lambda d: table(d, "per_day"), "gold/per_day is written by 2 objects; rename all but one."),
    # Bronze.
    (lambda d: d.bronze.update(properties=[]), "bronze raw_orders: has no properties"),
    (lambda d: option(d.bronze, "onRedelivery", "replce"), "onRedelivery: 'replce' is not known; did you mean replace."),
    (lambda d: option(d.bronze, "maxShrink", 1.5), "maxShrink: 1.5 must be a share, a number from 0 to 1"),
    (lambda d: option(d.bronze, "maxShrinks", 0.5), "unknown custom property maxShrinks; did you mean maxShrink."),
    (lambda d: d.raw("state").update(name=" state"), "' state' is not a column name"),
    (lambda d: d.raw("state").update(name="a\x07b"), "is not a column name; no control characters"),
    (lambda d: d.raw("state").update(name="Total (EUR)"), "Delta cannot store this name; choose a plain one and put the header under"),
    (lambda d: d.raw("state").update(name="_row"), "_row is a name we use ourselves"),
    (lambda d: d.raw("state").update(name="raw"), "raw is a name we use ourselves"),
    (lambda d: d.raw("state").update(name="_change_type"), "_change_type is a name we use ourselves"),
    (lambda d: d.raw("state").update(name="ID"), "id and ID differ only in case"),
    (lambda d: d.bronze["properties"].append(dict(d.raw("id"))), "bronze raw_orders: id is declared twice"),
    (lambda d: d.raw("state").update(synonyms=[{"synonym": "Total"}]), "synonym Total is already a synonym of amount"),
    (lambda d: d.raw("state").update(synonyms=[{"synonym": "ID"}]), "synonym ID is already id; a header must mean one column."),
    (lambda d: d.raw("state").update(synonyms=[{"synonym": "s"}, {"synonym": "s"}]), "synonym s is already a synonym of state"),
    # Silver's columns.
    (lambda d: silver_column(d, name="amont"), "Bronze has no column amont, and there is no transformLogic; did you mean amount."),
    (lambda d: silver_column(d, name="1st", transformLogic="id"), "'1st' is not a column name"),
    (lambda d: silver_column(d, name="_file", transformLogic="id"), "_file is a name we use ourselves"),
    (lambda d: silver_column(d, name="Amount", transformLogic="id"), "amount and Amount differ only in case"),
    (lambda d: silver_column(d, name="extra", transformLogic=" "), "transformLogic is empty"),
    (lambda d: d.column("id").update(logicalType="time"), "logicalType: time cannot be read from a CSV cell"),
    (lambda d: d.column("id").update(logicalType="array"), "logicalType: array cannot be read from a CSV cell"),
    (lambda d: d.column("placed_at").update(physicalType="TIMESTAMP_NTZ"), "TIMESTAMP_NTZ: timestamps here are instants in UTC"),
    (lambda d: d.column("id").update(physicalType="VARCHAR(10)"), "VARCHAR(10): use STRING, with maxLength"),
    (lambda d: d.column("id").update(physicalType="BINARY"), "BINARY: a CSV cell is text; use STRING."),
    (lambda d: d.column("id").update(physicalType="STRNG"), "STRNG is not a type a column can have here; did you mean STRING."),
    (lambda d: d.column("amount").update(physicalType="DECIMAL"), "DECIMAL: say precision and scale"),
    (lambda d: d.column("amount").update(physicalType="DECIMAL(5,9)"), "DECIMAL(5,9): say precision and scale"),
    (lambda d: option(d.column("state"), "defualt", "new"), "custom property defualt"),
    # Datetime patterns.
    (pattern("YYYY-MM-dd"), "Spark refuses Y; yyyy is the calendar year"),
    (pattern("ww yyyy"), "Spark refuses w; week-based"),
    (pattern("EEE yyyy"), "E can be printed but not parsed"),
    (pattern("yyyyTMM"), "T is not a letter of Spark's datetime patterns"),
    (pattern("yyyy'T"), "a quote ' is never closed"),
    (pattern("yyyy[-MM"), "the brackets of its optional sections"),
    (pattern("yyyy]-MM["), "the brackets of its optional sections"),
    (pattern("yyyy-MM-ddd"), "ddd has 3 letters; d takes at most 2"),
    (pattern("yyyy V"), "V takes exactly 2"),
    (pattern("yyyy {MM}"), "{ is reserved; put it in quotes"),
    (lambda d: d.column("placed_on").update(logicalTypeOptions={"format": "yyyy"}), "only the cast of a raw column reads by a pattern"),
    # Rules of one column.
    (lambda d: d.column("amount")["logicalTypeOptions"].update(maximum=-1), "no value lies between minimum 0 and maximum -1."),
    (lambda d: d.column("amount")["logicalTypeOptions"].update(exclusiveMaximum=0), "no value lies between minimum 0 and maximum 0."),
    (lambda d: d.column("amount")["logicalTypeOptions"].update(exclusiveMinimum=1), "minimum and exclusiveMinimum are both given"),
    (lambda d: d.column("placed_at")["logicalTypeOptions"].update(minimum="soon"), "minimum: 'soon' is not a timestamp such as"),
    (lambda d: d.column("amount")["logicalTypeOptions"].update(maximum=float("inf")), "maximum: inf is not a number that fits"),
    (lambda d: d.column("placed_on").update(logicalTypeOptions={"minimum": "2026-02-30"}), "'2026-02-30' is not a date such as"),
    (lambda d: d.column("amount").update(physicalType="STRING"), "minimum: only numbers, dates and timestamps have one; this is STRING."),
    (lambda d: d.column("state").update(physicalType="INT", enum=[{"value": 1}]), "maxLength: only a STRING has one; this is INT."),
    (lambda d: d.column("state")["logicalTypeOptions"].update(minLength=10), "no text is at least 10 and at most 9 characters long."),
    (lambda d: d.column("state")["logicalTypeOptions"].update(pattern="(new"), "'(new' is not a regular expression"),
    (lambda d: d.column("state")["logicalTypeOptions"].update(pattern="*new"), "is not a regular expression: nothing to repeat"),
    (lambda d: d.column("state")["enum"].append({"value": False}), "enum: False is not text; quote it."),
    (lambda d: d.column("amount").update(enum=[{"value": 1.234}]), "enum: 1.234 is not a number that fits DECIMAL(12,2)."),
    (lambda d: option(d.column("amount"), "default", "0"), "silver orders.amount.default: '0' is not a number that fits DECIMAL(12,2)."),
    (lambda d: option(d.column("state"), "default", "unknown"), "default: 'unknown' is not among the enum's values"),
    (lambda d: option(d.column("id"), "default", "x"), "default: a key column cannot have one"),
    # Keys, order, partitions.
    (lambda d: d.column("id").pop("primaryKey"), "silver orders: no column has primaryKey: true"),
    (lambda d: d.column("amount").update(primaryKey=True, physicalType="DOUBLE"), "silver orders.amount: primaryKey on DOUBLE"),
    (lambda d: d.column("amount").update(partitioned=True, physicalType="FLOAT"), "silver orders.amount: partitioned on FLOAT"),
    (lambda d: d.column("state").update(primaryKey=True, primaryKeyPosition=1), "primaryKeyPosition 1 is given twice"),
    (lambda d: option(d.silver, "sequenceBy", ["placed"]), "sequenceBy: there is no column placed; did you mean placed_"),
    (lambda d: option(d.silver, "sequenceBy", ["_ingest_id"]), "sequenceBy: there is no column _ingest_id"),
    (lambda d: option(d.silver, "sequenceBy", 7), "sequenceBy: 7 must be a list of texts"),
    (lambda d: option(d.silver, "mergeWindow", "a week"), "mergeWindow: 'a week' must be a number of days, such as 7 days."),
    (
        lambda d: (option(d.silver, "mergeWindow", "7 days"), d.column("placed_on").pop("required", None)),
        "mergeWindow needs placed_on to be required: a row without a date lies in no window.",
    ),
    (lambda d: (option(d.silver, "mergeWindow", "7 days"), d.column("placed_on").pop("partitioned")), "of type DATE; there is none."),
    (lambda d: (option(d.silver, "mergeWindow", "7 days"), d.column("state").update(partitioned=True)), "there is STRING and DATE."),
    (lambda d: option(d.silver, "maxQuarantinedShare", "5%"), "maxQuarantinedShare: '5%' must be a share"),
    (lambda d: option(d.silver, "sequencBy", ["id"]), "unknown custom property sequencBy; did you mean sequenceBy."),
    # Expressions.
    (expression("sum("), "silver orders.extra.transformLogic: not a Spark SQL expression: `sum(`"),
    (expression("id ="), "not a Spark SQL expression: `id =`"),
    (expression("id = 'open"), "a quote or comment is never closed?"),
    (expression("id, state"), "not a Spark SQL expression: `id, state`, at ','"),
    (expression("id AS other"), "not a Spark SQL expression"),
    (expression("SELECT id"), "is a query; an expression over the columns is needed"),
    (expression("id; state"), "several statements in 'id; state'"),
    (expression("(SELECT max(x) FROM t)"), "a subquery in"),
    (expression("id IN (SELECT x FROM t)"), "a subquery in"),
    (expression("lower(stat)"), "unknown column stat; did you mean state."),
    (expression("raw.amuont"), "unknown column raw.amuont; did you mean raw.amount."),
    (lambda d: d.column("state").update(name="extra", transformLogic="upper(state)"), "unknown column state; did you mean raw.state."),
    (expression("state.code"), "state.code: state has no fields"),
    (expression("date_trunc('day', _ingested_at)"), "_ingested_at tells when a file was read; Silver must not depend on that"),
    (expression("_ingest_id"), "_ingest_id tells when a file was read"),
    (expression("upper(extra)"), "extra uses itself; the delivered string is raw.extra."),
    (expression("struct(*)"), "only count(*) may have it"),
    (expression("{{ id }}"), "a parameter or template in"),
    (expression("id = :x"), "a parameter or template in"),
    (expression("rand()"), "rand gives another answer each time; a rebuild must give the same rows"),
    (expression("concat(id, uuid())"), "uuid gives another answer"),
    (expression("current_date"), "gives another answer each time"),
    (expression("current_timestamp()"), "current_timestamp gives another answer"),
    (expression("now()"), "now gives another answer"),
    (expression("localtimestamp"), "localtimestamp gives another answer"),
    (expression("user"), "user gives another answer"),
    (expression("unix_timestamp()"), "unix_timestamp without arguments gives another answer"),
    (expression("monotonically_increasing_id()"), "monotonically_increasing_id gives another answer"),
    (expression("spark_partition_id()"), "spark_partition_id gives another answer"),
    (expression("input_file_name()"), "input_file_name gives another answer"),
    (expression("shuffle(array(id))"), "shuffle gives another answer"),
    (expression("explode(split(id, ','))"), "explode makes several rows of one"),
    (expression("raise_error('no')"), "raise_error stops the whole run for one row"),
    (expression("max(id)"), "max is an aggregate function; Silver judges one row at a time"),
    (expression("kll_sketch_agg_double(amount)"), "kll_sketch_agg_double is an aggregate function"),
    (expression("any(amount > 1)"), "any is an aggregate function"),
    (expression("row_number() OVER (ORDER BY id)"), "a window function in"),
    (
        lambda d: [silver_column(d, name=a, transformLogic=b) for a, b in [("one", "two"), ("two", "three"), ("three", "one")]],
        "transformLogic goes round in a circle: one -> two -> three -> one.",
    ),
    # Row rules.
    (rule(implementation="amout > 0"), "silver orders.quality paid: unknown column amout; did you mean amount."),
    (rule(implementation="sum(amount) > 0"), "quality paid: sum is an aggregate function"),
    (rule(implementation={"sql": "x"}), "implementation must be a boolean Spark SQL expression, as text"),
    (rule(severity="warnign"), "severity: 'warnign' is not known; did you mean warning."),
    (lambda d: d.silver["quality"][0].pop("name"), "quality[0]: name is missing; refused rows carry it as their reason."),
    (lambda d: d.silver["quality"].append(dict(d.silver["quality"][0])), "the name is given twice"),
    (rule(name="minLength"), "the name is one of the built-in rules"),
    # Gold.
    (lambda d: d.gold["properties"].pop(0), "gold per_day: no column has primaryKey: true; mark the columns of the grain"),
    (lambda d: d.gold["properties"].pop(1), "gold per_day: has no aggregate column"),
    (lambda d: d.gold["properties"][1].pop("transformLogic"), "gold per_day.orders: transformLogic is missing"),
    (lambda d: d.gold["properties"][0].update(transformLogic="max(placed_on)"), "max is an aggregate function; a column of the grain"),
    (lambda d: d.gold["properties"][0].update(logicalType="number"), "gold per_day.placed_on: primaryKey on DOUBLE"),
    (lambda d: measure(d, "amount"), "`amount` has no aggregate function"),
    (lambda d: measure(d, "sum(max(amount))"), "has one aggregate function inside another"),
    (lambda d: measure(d, "sum(amount) + length(id)"), "id stands outside the aggregate function and is not part of the grain"),
    (lambda d: measure(d, "sum(amuont)"), "unknown column amuont; did you mean amount (the source is Silver)."),
    (lambda d: measure(d, "count(raw.amount)"), "raw.amount: Gold reads Silver, not the delivered strings"),
    (lambda d: measure(d, "first(id)"), "first depends on the order of rows"),
    (lambda d: measure(d, "array_join(collect_list(id), ',')"), "collect_list has no fixed order"),
    (lambda d: measure(d, "listagg(id, ',')"), "listagg has no fixed order; add WITHIN GROUP"),
    (lambda d: measure(d, "max(now())"), "now gives another answer"),
    (lambda d: measure(d, "sum(amount) OVER ()"), "a window function in"),
    (lambda d: measure(d, "count(*)", physicalType="MAP<STRING,INT>"), "is not a type a column can have here"),
    (lambda d: option(d.gold, "where", "sum(amount) > 0"), "gold per_day.where: sum is an aggregate function"),
    (lambda d: option(d.gold, "where", "stat = 'new'"), "gold per_day.where: unknown column stat; did you mean state"),
    (lambda d: option(d.gold, "where", True), "gold per_day.where: True must be a boolean Spark SQL expression"),
    (lambda d: option(d.gold, "filter", "1 = 1"), "unknown custom property filter"),
    (lambda d: option(d.table("ever"), "source", "per_days"), "there is no Gold table per_days in this contract; did you mean per_day."),
    (
        lambda d: d.table("ever")["properties"][1].update(transformLogic="sum(amount)"),
        "unknown column amount; known here: orders, placed_on",
    ),
    (lambda d: option(d.gold, "source", "ever"), "source goes round in a circle: per_day -> ever -> per_day."),
]


@pytest.mark.parametrize(("edit", "fragment"), REFUSED, ids=[fragment[:60] for _, fragment in REFUSED])
def test_one_wrong_thing_is_told_in_one_line_with_file_place_and_remedy(findings, edit, fragment):
    lines = findings(edit)
    assert [line for line in lines if fragment in line], lines or "it loaded"
    assert all("\n" not in line and "orders.yaml: " in line for line in lines)


def test_the_contract_that_the_cases_start_from_loads(findings):
    assert findings(unchanged) == ()


def test_all_findings_of_a_file_come_at_once(findings):
    def edit(draft):
        draft.column("id")["primarykey"] = True
        draft.server["encoding"] = "cp1252"
        draft.silver["quality"][0]["implementation"] = "amout > 0"
        measure(draft, "amount")

    assert len(findings(edit)) == 4


def test_one_typo_is_one_finding(findings):
    assert len(findings(lambda d: d.column("state").update(enumm=[]))) == 1
    assert len(findings(lambda d: d.raw("id").pop("logicalType"))) == 1
    assert len(findings(lambda d: d.raw("amount").update(synonyms=["total"]))) == 1
    assert len(findings(lambda d: d.server.update(type="lokal"))) == 1


def paths(value, path=()):
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*path, key))


def test_whatever_stands_anywhere_in_a_contract_ends_in_lines_never_in_a_crash(tmp_path):
    junk = [None, 1, -1.5, "x", "a\nb", [], {}, [1], {"a": 1}, True, [None]]
    for n, path in enumerate(p for p in paths(PARSED) if p):
        draft = part = copy.deepcopy(PARSED)
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = junk[n % len(junk)]
        (told,) = lint(write(tmp_path, draft).parent).files
        assert all("\n" not in line for line in told.findings), path


def test_a_secret_is_named_but_never_shown(findings):
    lines = findings(lambda d: option(d, "api_token", "hunter2"))
    assert lines
    assert not any("hunter2" in line for line in lines)


ACCEPTED = [
    "transform(split(id, ','), x -> upper(x))[0]",
    "aggregate(array(1, 2), 0, (acc, x) -> acc + x)",
    "exists(array(id), x -> x = state)",
    "named_struct('a', id).a",
    "_extra['device']",
    "_extra.device",
    "concat(_file, _row, _malformed)",
    "raw.AMOUNT",
    "extract(HOUR FROM placed_at)",
    "timestampdiff(HOUR, placed_at, TIMESTAMP '2026-01-01 00:00:00')",
    "date_add(placed_on, 1) > DATE '2026-01-01' - INTERVAL 1 DAY",
    "'rand() and current_date and a.b'",
    "unix_timestamp(raw.placed_at, 'yyyy')",
    "some_function_of_tomorrow(id, amount)",
    "state LIKE ANY ('a%', 'b%')",
    "CASE WHEN amount > 1 THEN 'much' ELSE 'little' END",
    "raw.placed_at RLIKE '^2026' AND NOT state <=> NULL",
    "trim(BOTH ' ' FROM state)",
    "state::string",
]


@pytest.mark.parametrize("logic", ACCEPTED)
def test_an_ordinary_row_expression_is_accepted(findings, logic):
    assert findings(expression(logic)) == ()


AGGREGATES = [
    "count(DISTINCT id, state)",
    "count(*) FILTER (WHERE amount > 1)",
    "sum(CASE WHEN state = 'new' THEN 1 ELSE 0 END) / count(*)",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY amount)",
    "std(amount)",
    "max_by(id, placed_at)",
    "size(collect_set(id))",
    "listagg(id, ',') WITHIN GROUP (ORDER BY id)",
    "datediff(max(placed_on), placed_on)",
    "count(DISTINCT _file) + max(_row)",
    "every(amount > 1)",
]


@pytest.mark.parametrize("logic", AGGREGATES)
def test_an_ordinary_aggregate_is_accepted(findings, logic):
    assert findings(lambda d: measure(d, logic)) == ()


def test_a_file_that_is_not_a_contract_is_told_so_in_one_line(tmp_path):
    cases = {
        "a: [1": "not readable as YAML: line 1, column",
        "{}": "not a contract, it has neither apiVersion nor kind",
        "host: a\nport: 1\npassword: b\n": "not a contract, it has neither apiVersion nor kind",
        "a:\n\tb: 1\n": "line 2, column 1: found character '\\t' that cannot start any token; YAML is indented with spaces",
        "a:\n  b: 1\n c: 2\n": "line 3, column 2: expected <block end>, but found '<block mapping start>'; indent the line like",
        "": "empty; a contract starts with",
        "- 1\n": "not a mapping; a contract starts with",
        "a: &a [*a]": "an alias (*) holds itself",
        VALID + "id: again\n": "id is given twice (first in line 4); keep one.",
        "a: {b: 1, b: 2}": "line 1: b is given twice (first in line 1); keep one.",
    }
    for text, fragment in cases.items():
        with pytest.raises(ContractError) as error:
            load(write(tmp_path, text))
        assert [line for line in error.value.findings if fragment in line]
        assert "\n" not in error.value.findings[0]


def test_a_file_that_is_not_utf8_or_not_there_is_named(tmp_path):
    file = tmp_path / "orders.yaml"
    with pytest.raises(ContractError, match=r"orders\.yaml: cannot be read: No such file"):
        load(file)
    file.write_bytes(b"name: Forl\xec\n")
    with pytest.raises(ContractError, match=r"orders\.yaml: not UTF-8 from byte 10 on; save it as UTF-8\."):
        load(file)


def test_a_date_in_yaml_stays_the_text_it_is(tmp_path):
    text = VALID.replace("transformLogic: to_date(placed_at)", "logicalTypeOptions: {minimum: 2026-01-01}, transformLogic: id")
    assert load(write(tmp_path, text)).silver.columns[4].minimum == "2026-01-01"


def test_a_file_name_that_cannot_be_a_dataset_is_refused(findings):
    assert [line for line in findings(unchanged, "Orders-2026") if "lower-case letters, digits and _" in line]


def test_an_absolute_landing_path_is_allowed_unless_it_lies_in_our_tables(findings, tmp_path):
    assert findings(lambda d: d.server.update(path="/srv/in/*.csv")) == ()
    lines = findings(lambda d: d.server.update(path=f"{tmp_path}/data/gold/*.csv"))
    assert [line for line in lines if "lies inside data/gold" in line]


LANDINGS = [
    ("data/raw/orders_*.csv", "data/raw", "orders_*.csv"),
    ("data/raw/**/*.csv", "data/raw", "**/*.csv"),
    ("data/raw/20[0-9][0-9]/x?.csv", "data/raw", "20[0-9][0-9]/x?.csv"),
    ("./data//raw/latest.csv", "data/raw", "latest.csv"),
    ("/srv/in/a*/b.csv", "/srv/in", "a*/b.csv"),
    ("inbox/*", "inbox", "*"),
]


@pytest.mark.parametrize(("path", "folder", "glob"), LANDINGS)
def test_the_landing_path_is_split_before_its_first_wildcard(loaded, path, folder, glob):
    landing = loaded(lambda d: d.server.update(path=path)).landing
    assert (landing.folder, landing.glob) == (folder, glob)


def test_encodings_are_read_under_their_common_names(loaded):
    def edit(draft):
        draft.server["encoding"] = "UTF8"
        option(draft.server, "fallbackEncodings", ["UTF-16LE", "Latin-1"])

    landing = loaded(edit).landing
    assert (landing.encoding, landing.fallback_encodings) == ("utf-8", ("utf-16le", "iso-8859-1"))


def test_a_delimiter_comes_from_the_server_or_from_its_custom_properties(loaded):
    assert loaded(lambda d: d.server.update(type="custom", delimiter=";")).landing.delimiter == ";"
    assert loaded(lambda d: option(d.server, "delimiter", r"\t")).landing.delimiter == "\t"
    with pytest.raises(ContractError, match="delimiter is given twice"):
        loaded(lambda d: (d.server.update(type="custom", delimiter=";"), option(d.server, "delimiter", ",")))


def test_quoting_can_be_switched_off(loaded):
    assert loaded(lambda d: option(d.server, "quote", "")).landing.quote == ""


def test_defaults_are_those_of_the_reference(loaded):
    def edit(draft):
        for element in (draft.server, draft.bronze, draft.silver):
            element.pop("customProperties")

    contract = loaded(edit)
    assert contract.landing == Landing("data/raw", "orders_*.csv")
    assert (contract.bronze.on_redelivery, contract.bronze.max_shrink) == (Redelivery.REPLACE, 0.9)
    assert contract.silver.sequence_by == ("_file",)
    assert (contract.silver.merge_window_days, contract.silver.max_quarantined_share) == (None, None)


def test_options_of_every_layer_arrive_in_the_model(loaded):
    def edit(draft):
        option(draft.bronze, "onRedelivery", "append")
        option(draft.bronze, "maxShrink", 0)
        option(draft.silver, "mergeWindow", "7 days")
        option(draft.silver, "maxQuarantinedShare", 0.05)
        option(draft.silver, "sequenceBy", "PLACED_AT")
        option(draft.column("state"), "default", "new")
        option(draft.gold, "where", "state = 'done'")
        draft.silver["quality"][0]["severity"] = "warning"

    contract = loaded(edit)
    assert (contract.bronze.on_redelivery, contract.bronze.max_shrink) == (Redelivery.APPEND, 0.0)
    assert (contract.silver.merge_window_days, contract.silver.max_quarantined_share) == (7, 0.05)
    assert contract.silver.sequence_by == ("placed_at",)
    assert contract.silver.columns[3].default == "new"
    assert contract.gold[0].where == "state = 'done'"
    assert contract.silver.rules == (RowRule("paid", "amount > 0 OR state = 'new'", blocking=False),)


TYPES = [
    ({"logicalType": "string"}, "STRING"),
    ({"logicalType": "integer"}, "BIGINT"),
    ({"logicalType": "number"}, "DOUBLE"),
    ({"logicalType": "boolean"}, "BOOLEAN"),
    ({"logicalType": "date"}, "DATE"),
    ({"logicalType": "timestamp"}, "TIMESTAMP"),
    ({"logicalType": "integer", "physicalType": "integer"}, "INT"),
    ({"logicalType": "number", "physicalType": "decimal( 12 , 2 )"}, "DECIMAL(12,2)"),
    ({"logicalType": "number", "physicalType": "numeric(5)"}, "DECIMAL(5,0)"),
    ({"logicalType": "string", "physicalType": "tinyint"}, "TINYINT"),
]


@pytest.mark.parametrize(("keys", "expected"), TYPES)
def test_a_type_is_the_physical_one_else_that_of_the_logical_one(loaded, keys, expected):
    contract = loaded(lambda d: silver_column(d, name="extra", transformLogic="raw.state", **keys))
    assert contract.silver.columns[-1].type == expected


FORMATS = ["yyyy-MM-dd['T'][' ']HH:mm:ss", "d/M/yy h:mm a", "yyyyMMdd'at'HHmm[ss][.SSSSSS]XXX", "D yyyy VV", "''yy''"]


@pytest.mark.parametrize("given", FORMATS)
def test_a_datetime_pattern_that_spark_parses_by_is_accepted(loaded, given):
    assert loaded(pattern(given)).silver.columns[2].format == given


@pytest.mark.parametrize("regex", [r"\p{Lu}[a-z]++", r"(?<year>\d{4})\k<year>", "[a-z&&[^b]]", r"(?<=x)y(?<!z)", r"\Qa.b\E", "^*x"])
def test_a_regular_expression_that_only_java_knows_is_accepted(findings, regex):
    assert findings(lambda d: d.column("state")["logicalTypeOptions"].update(pattern=regex)) == ()


def test_exclusive_bounds_are_values_in_the_standard_and_flags_in_the_model(loaded):
    column = loaded(lambda d: d.column("amount").update(logicalTypeOptions={"exclusiveMinimum": 0, "maximum": 5})).silver.columns[1]
    assert (column.minimum, column.exclusive_minimum, column.maximum, column.exclusive_maximum) == (0, True, 5, False)


def test_a_decimal_of_38_digits_is_compared_exactly(loaded):
    def edit(draft):
        draft.column("amount").update(physicalType="DECIMAL(38,2)", enum=[{"value": 123456789012345678901234567890123456}, {"value": 0.25}])

    assert loaded(edit).silver.columns[1].enum == (123456789012345678901234567890123456, 0.25)


def test_keys_and_partitions_go_by_position_not_by_document_order(loaded):
    def edit(draft):
        draft.column("id")["primaryKeyPosition"] = 2
        draft.column("placed_on").update(primaryKey=True, primaryKeyPosition=1, partitionKeyPosition=2)
        draft.column("state").update(partitioned=True, partitionKeyPosition=1)

    silver = loaded(edit).silver
    assert (silver.keys, silver.partitioned_by) == (("placed_on", "id"), ("state", "placed_on"))


def test_stages_put_an_expression_after_those_it_uses(loaded):
    def edit(draft):
        silver_column(draft, name="last", transformLogic="concat(MIDDLE, id)")
        silver_column(draft, name="middle", transformLogic="upper(first)")
        silver_column(draft, name="first", transformLogic="raw.state")

    assert loaded(edit).silver.stages == (("placed_on", "first"), ("middle",), ("last",))


def test_a_gold_table_comes_after_its_source_and_otherwise_as_written(loaded):
    def edit(draft):
        draft["schema"].insert(0, draft["schema"].pop())  # `ever`, which reads per_day, goes first
        table(draft, "another")

    assert [g.name for g in loaded(edit).gold] == ["per_day", "ever", "another"]


def test_legal_keys_that_mean_nothing_here_are_listed_and_documentation_is_not(loaded):
    def edit(draft):
        draft["slaProperties"] = [{"property": "retention", "value": 1, "unit": "y"}]
        draft["tags"] = ["x"]
        draft["servers"].append({"server": "prod", "type": "s3", "location": "x"})
        draft.raw("id").update(unique=True, description="the id", logicalType="integer")
        draft.column("amount")["logicalTypeOptions"]["multipleOf"] = 0.01
        draft.column("id").update(unique=True, synonyms=[{"synonym": "x"}], classification="public")
        draft.silver["quality"] += [{"name": "rows", "type": "library", "metric": "rowCount", "mustBeGreaterThan": 1}]
        draft.gold["properties"][1].update(required=True, quality=[{"type": "text", "description": "fine"}])
        option(draft.raw("id"), "owner", "x")

    listed = loaded(edit).without_effect
    expected = [
        "slaProperties", "server prod", "bronze raw_orders.id: custom property owner", "bronze raw_orders.id: unique",
        "bronze raw_orders.id: the type", "silver orders.id: unique", "silver orders.id: synonyms",
        "silver orders.amount: logicalTypeOptions.multipleOf", "silver orders.quality rows", "gold per_day.orders: required",
        "gold per_day.orders: quality",
    ]  # fmt: skip
    assert len(listed) == len(expected)
    for start in expected:
        assert [line for line in listed if line.startswith(start)], (start, listed)


def test_load_all_reads_every_contract_but_the_settings_sorted_by_name(tmp_path):
    for name in ("orders", "apples"):
        write(tmp_path, VALID.replace("/orders", f"/{name}").replace("gold/", f"gold/{name}_"), name)
    write(tmp_path, "cores: 2\n", "settings")
    write(tmp_path / "examples", "not: a contract\n", "other")
    (tmp_path / "notes.yml").write_text("not: read\n")
    assert [c.dataset for c in load_all(tmp_path)] == ["apples", "orders"]
    assert [c.dataset for c in load_all(tmp_path, ["orders"])] == ["orders"]


def test_a_broken_contract_stops_only_a_run_that_asks_for_it(tmp_path):
    write(tmp_path, VALID)
    write(tmp_path, "kind: DataContract\n", "broken")
    assert [c.dataset for c in load_all(tmp_path, ["orders"])] == ["orders"]
    for datasets in ([], ["broken"], ["orders", "broken"]):
        with pytest.raises(ContractError, match=r"broken\.yaml"):
            load_all(tmp_path, datasets)


def test_two_contracts_may_not_write_one_gold_table(tmp_path):
    write(tmp_path, VALID)
    write(tmp_path, VALID.replace("/orders", "/apples"), "apples")
    with pytest.raises(ContractError, match=r"orders\.yaml: gold/per_day is also written by .*apples\.yaml; rename"):
        load_all(tmp_path, ["orders"])


def test_an_unknown_dataset_is_answered_with_those_there_are(tmp_path):
    write(tmp_path, VALID)
    with pytest.raises(UsageError, match=r"no dataset order: .*did you mean orders\. Datasets: orders\."):
        load_all(tmp_path, ["order"])


def test_no_contract_at_all_is_answered_with_what_to_do(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"holds no contract, .* Write .*, or copy one of conf/examples"):
            load_all(folder)


def test_lint_reports_every_file_and_raises_for_none(tmp_path):
    write(tmp_path, VALID + "slaProperties: [{property: x, value: 1}]\n")
    write(tmp_path, "kind: DataContract\n", "broken")
    report = lint(tmp_path)
    broken, orders = report.files
    assert not report.clean
    assert (broken.dataset, bool(broken.findings)) == ("broken", True)
    assert (orders.findings, orders.without_effect) == ((), ("slaProperties x; nothing measures it",))
    assert lint(tmp_path, ["orders"]).clean


def test_the_default_contract_is_what_it_says():
    contract = load(ROOT / "conf" / "events.yaml")
    assert (contract.dataset, contract.version, contract.without_effect) == ("events", "1.0.0", ())
    assert contract.bronze_table == "bronze/events"
    assert contract.silver_table == "silver/events"
    assert contract.quarantine_table == "quarantine/events"
    assert contract.landing == Landing("data/raw", "events_*.csv")
    assert contract.bronze.columns[:2] == (RawColumn("event_id", required=True), RawColumn("user_id", ("uid",)))
    silver = contract.silver
    assert [(c.name, c.type) for c in silver.columns] == [
        ("event_id", "STRING"), ("event_date", "DATE"), ("event_timestamp", "TIMESTAMP"), ("user_id", "STRING"),
        ("event_type", "STRING"), ("country", "STRING"), ("amount", "DECIMAL(12,2)"),
    ]  # fmt: skip
    assert (silver.keys, silver.partitioned_by, silver.stages) == (("event_id",), ("event_date",), (("event_date", "event_type"),))
    assert [(r.name, r.blocking) for r in silver.rules] == [("purchases_have_an_amount", True), ("amounts_are_plausible", False)]
    assert [(g.name, g.source) for g in contract.gold] == [
        ("events_per_day", None), ("events_by_day_and_type", None), ("events_by_type", "events_by_day_and_type"),
    ]  # fmt: skip


def test_the_examples_load_and_nothing_in_them_is_without_effect():
    readings, provinces = (load(ROOT / "conf" / "examples" / f"{name}.yaml") for name in ("readings", "provinces"))
    assert (readings.without_effect, provinces.without_effect) == ((), ())
    assert (readings.landing.delimiter, readings.landing.fallback_encodings) == (";", ("iso-8859-1",))
    assert (readings.silver.keys, readings.silver.merge_window_days) == (("sensor_id", "measured_at"), 0)
    assert provinces.silver.keys == ("data", "codice_provincia", "denominazione_provincia")
    assert ("totale_casi", ("casi_totali",)) in [(c.name, c.synonyms) for c in provinces.bronze.columns]


def test_reading_contracts_needs_neither_spark_nor_a_jvm():
    code = "import sys, streaming_jobs.contract, streaming_jobs.operations.lint; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.fixture
def kept(loaded):
    """A contract that was judged and remembered."""
    return loaded()


def refuse_to_judge(file):
    raise AssertionError(f"{file} was judged again")


def test_a_contract_that_was_found_good_is_not_judged_again(kept, monkeypatch):
    monkeypatch.setattr(examine, "examine", refuse_to_judge)
    assert load_all(kept.file.parent) == (kept,)


def test_one_byte_more_and_a_contract_is_judged_again(kept, monkeypatch):
    monkeypatch.setattr(examine, "examine", refuse_to_judge)
    kept.file.write_bytes(kept.file.read_bytes() + b"\n")
    with pytest.raises(AssertionError, match="judged again"):
        load(kept.file)


def test_other_judges_judge_a_contract_again(kept, monkeypatch):
    monkeypatch.setattr(examine, "examine", refuse_to_judge)
    monkeypatch.setattr(memo, "_judges", lambda: "of the next release")
    with pytest.raises(AssertionError, match="judged again"):
        load(kept.file)


def test_every_module_and_library_that_judges_is_among_the_judges():
    sources = {file.name for file in memo._sources() if file.parent.name == "contract"}
    assert sources == {file.name for file in Path(memo.__file__).parent.glob("*.py")}
    assert {file.parent.name for file in memo._sources()} == {"contract", *memo._LIBRARIES}


def test_a_home_that_was_moved_judges_its_contracts_again(kept, tmp_path, monkeypatch):
    """What was found good names its file, and a landing path is read from there."""
    moved = tmp_path / "elsewhere"
    for name in ("conf", "checkpoints"):
        shutil.copytree(tmp_path / name, moved / name)
    there = moved / "conf" / kept.file.name
    assert load(there) == replace(kept, file=there)
    monkeypatch.setattr(examine, "examine", refuse_to_judge)
    with pytest.raises(AssertionError, match="judged again"):
        load(there)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"sha256": 1}'])
def test_a_memo_that_cannot_be_read_is_as_none(kept, tmp_path, damage):
    (tmp_path / "checkpoints" / "contracts" / f"{kept.dataset}.json").write_bytes(damage)
    assert memo.find(kept.file) is None
    assert load(kept.file) == kept
    remember(kept, tmp_path)
    assert memo.find(kept.file) == kept


def test_a_bound_that_json_has_no_number_for_is_judged_each_time(tmp_path, loaded):
    endless = replace(loaded(), silver=replace(loaded().silver, columns=(replace(loaded().silver.columns[0], maximum=float("inf")),)))
    before = memo.find(endless.file)
    remember(endless, tmp_path)
    assert memo.find(endless.file) == before != endless


def test_where_nothing_can_be_written_a_contract_is_judged_each_time(kept, tmp_path):
    shutil.rmtree(tmp_path / "checkpoints")
    remember(kept, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    assert load(kept.file) == kept
