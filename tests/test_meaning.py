"""A contract that means something else than its table: what is applied by itself, what is refused, and the ways out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streaming_jobs import contract as contracts
from streaming_jobs import gold, meaning, pending, silver
from streaming_jobs.errors import UsageError
from streaming_jobs.increment import Outcome
from streaming_jobs.meaning import Effect
from streaming_jobs.operations import diff, quarantine
from tests.conftest import ORDERS, Home, assert_rows, assert_same, crash_at

pytestmark = pytest.mark.slow

AMOUNT = '{name: amount, logicalType: number, physicalType: "DECIMAL(10,2)", logicalTypeOptions: {minimum: 0}}'
STATE = "{name: state, logicalType: string}"
AT = "{name: at, logicalType: timestamp}"
DEFAULT = ", customProperties: [{property: default, value: open}]}"
UPPER = "\n      - {name: upper, logicalType: string, transformLogic: upper(state)}"
RULE = "    quality: [{name: paid, type: custom, engine: spark, implementation: amount > 0}]\n    properties:\n"
ROWS = ("1,open,2026-01-01,1.00", "2,open,2026-01-01,-5.00", "3,,2026-01-01,3.00", "1,paid,2026-01-02,-2.00", "4,open,never,1.00")


def silver_with(old: str, new: str, text: str = ORDERS) -> str:
    """ORDERS with one column of Silver said otherwise; the raw column of the same text stays."""
    head, tail = text.split("  - name: orders\n", 1)
    assert old in tail
    return f"{head}  - name: orders\n{tail.replace(old, new, 1)}"


def refusal(outcome: Outcome) -> str:
    ((layer, _, error),) = outcome.failures
    assert (layer, type(error), outcome.exit_code) == ("silver", UsageError, 2)
    return str(error)


def made_at_once(other: Home, *rows: str) -> Home:
    """The same rows in a home that never knew another contract."""
    other.land("a.csv", *rows)
    other.ok("bronze", "silver")
    return other


def assert_equal_silver(home: Home, other: Home) -> None:
    assert_same(home.table("silver/orders"), other.table("silver/orders"))
    refused = ["id", "state", "at", "amount", "_malformed", "_file", "_row", "reasons"]
    assert_same(home.table("quarantine/orders").select(refused), other.table("quarantine/orders").select(refused))


CHANGES: dict[str, tuple[str, Effect, str]] = {
    "type": (silver_with("DECIMAL(10,2)", "DECIMAL(12,2)"), Effect.CHANGES, "amount.type DECIMAL(10,2) -> DECIMAL(12,2)"),
    "format": (silver_with(AT, AT[:-1] + ", logicalTypeOptions: {format: yyyy}}"), Effect.CHANGES, "at.format nothing -> yyyy"),
    "expression": (silver_with(STATE, STATE[:-1] + ", transformLogic: upper(raw.state)}"), Effect.CHANGES, "state.expression"),
    "a higher minimum": (silver_with("minimum: 0", "minimum: 1"), Effect.CHANGES, "amount.minimum 0 -> 1"),
    "a lower minimum": (silver_with("minimum: 0", "minimum: -9"), Effect.LOOSENS, "amount.minimum 0 -> -9"),
    "no minimum": (silver_with("minimum: 0", "maximum: 10000000"), Effect.CHANGES, "amount.maximum nothing -> 10000000"),
    "required": (silver_with(STATE, STATE[:-1] + ", required: true}"), Effect.CHANGES, "state.required nothing -> true"),
    "an enum": (silver_with(STATE, STATE[:-1] + ", enum: [{value: open}]}"), Effect.CHANGES, 'state.enum nothing -> ["open"]'),
    "a default": (silver_with(STATE, STATE[:-1] + DEFAULT), Effect.CHANGES, "state.default nothing -> open"),
    "key": (silver_with(STATE, STATE[:-1] + ", primaryKey: true, primaryKeyPosition: 2}"), Effect.CHANGES, 'keys ["id"] -> ["id", "st'),
    "order": (silver_with("value: [at]", "value: [_file]"), Effect.CHANGES, 'sequenceBy ["at"] -> ["_file"]'),
    "partitions": (silver_with(STATE, STATE[:-1] + ", partitioned: true, partitionKeyPosition: 1}"), Effect.CHANGES, 'd [] -> ["state"]'),
    "a dropped column": (
        silver_with(f"      - {AMOUNT}\n", "").replace("sum(amount)", "count(*)"), Effect.CHANGES, "amount a column -> nothing",
    ),
    "a new column": (silver_with(AT, AT + UPPER), Effect.ADDS, "upper nothing -> a column"),
    "a new rule": (silver_with("    properties:\n", RULE), Effect.CHANGES, "rule paid nothing -> amount > 0"),
    "redelivery": (
        ORDERS.replace("bronze/orders\n", "bronze/orders\n    customProperties: [{property: onRedelivery, value: append}]\n"),
        Effect.CHANGES, "appends false -> true",
    ),
    "null values": (
        ORDERS.replace("format: csv}", "format: csv, customProperties: [{property: nullValues, value: [NA]}]}"),
        Effect.CHANGES, 'nullValues [] -> ["NA"]',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_meaning_is_told_with_its_effect(tmp_path: Path, name: str) -> None:
    text, effect, shown = CHANGES[name]
    was, now = tmp_path / "orders.yaml", tmp_path / "new" / "orders.yaml"
    now.parent.mkdir()
    was.write_text(ORDERS)
    now.write_text(text)
    found = meaning.differences(*(json.loads(meaning.text(contracts.load(f))) for f in (was, now)))
    assert effect in {d.effect for d in found}
    assert shown in "; ".join(map(str, found))


LOOSER = ("enum", [["a", "b"], ["a", "b", "c"]]), ("maximum", [9, 10]), ("min_length", [3, 2]), ("pattern", ["a+", None])
TIGHTER = ("enum", [["a", "b"], ["a", "c"]]), ("maximum", [10, 9]), ("min_length", [2, 3]), ("pattern", ["a+", "a*"])


@pytest.mark.parametrize(("rule", "values"), [*LOOSER, *TIGHTER, ("minimum", ["2026-01-02", "2026-01-01"]), ("minimum", ["2026-1-2", "2026-01-01"])])  # fmt: skip # noqa: E501
def test_a_rule_is_looser_only_where_everything_that_passed_still_passes(rule: str, values: list[object]) -> None:
    def of(value: object) -> dict[str, object]:
        column = {"type": "STRING"} | ({} if value is None else {rule: value})
        return {**dict.fromkeys(["keys", "sequenceBy", "partitioned", "appends", "nullValues"]), "columns": {"c": column}, "rules": {}}

    (found,) = meaning.differences(of(values[0]), of(values[1]))
    looser = (rule, values) in [*LOOSER, ("minimum", ["2026-01-02", "2026-01-01"])]
    assert found.effect is (Effect.LOOSENS if looser else Effect.CHANGES)


def test_what_does_not_decide_the_rows_is_no_change_of_meaning(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok("bronze", "silver")
    warning = "    quality: [{name: w, type: custom, engine: spark, implementation: amount > 1, severity: warning}]\n    properties:\n"
    limit = "value: [at]}, {property: maxQuarantinedShare, value: 0.9}"
    home.contract(
        silver_with("    properties:\n", warning, silver_with("value: [at]}", limit)).replace("synonym: status", "synonym: zustand")
    )
    before = home.versions()
    assert home.ok("bronze", "silver").notes == ()
    assert home.versions() == before


def test_a_change_of_meaning_is_refused_without_a_write_while_bronze_goes_on_and_a_rebuild_applies_it(home: Home, other_home: Home) -> None:
    home.land("a.csv", *ROWS[:3])
    home.ok()
    text = silver_with("minimum: 0", "minimum: 2")
    home.contract(text)
    home.land("a.csv", *ROWS)
    before = home.versions()
    line = refusal(home.run())
    assert "amount.minimum 0 -> 2" in line
    assert "`streaming-jobs rebuild silver orders`" in line
    assert "replay" not in line
    after = home.versions()
    assert {t for t in after if after[t] != before[t]} == {"bronze/orders", "ledger/files", "ledger/runs"}
    with pytest.raises(UsageError, match=r"amount\.minimum"):
        home.redo(silver.replay)
    home.redo(silver.rebuild, force=True)
    home.redo(gold.start)
    other_home.contract(text)
    assert_equal_silver(home, made_at_once(other_home, *ROWS))
    assert home.ok().notes == ()


def test_a_looser_rule_is_applied_by_a_replay_that_may_die_and_be_repeated(home: Home, other_home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok("bronze", "silver")
    text = silver_with("minimum: 0", "minimum: -3")
    home.contract(text)
    line = refusal(home.run("silver"))
    assert "`streaming-jobs quarantine replay orders`" in line
    with crash_at("silver.merged"):
        home.redo(silver.replay)
    refusal(home.run("silver"))
    home.redo(silver.replay)
    home.ok("bronze", "silver")
    other_home.contract(text)
    assert_equal_silver(home, made_at_once(other_home, *ROWS))
    before = home.versions()
    home.redo(silver.replay)
    assert {t: v for t, v in home.versions().items() if v != before[t]} == {"ledger/runs": before["ledger/runs"] + 1}


def test_a_replay_that_makes_silver_again_is_followed_by_the_changes_after_it_alone(home: Home, other_home: Home) -> None:
    home.land("a.csv", *ROWS, at=1_767_600_000)
    home.ok()
    home.land("a.csv", "7,open,2026-01-05,1.00", "8,open,never,1.00", *ROWS[2:], at=1_767_700_000)
    home.ok("bronze")
    text = silver_with(AT, AT + UPPER)
    home.contract(text)
    home.redo(silver.replay)
    home.land("a.csv", *ROWS, at=1_767_800_000)
    home.ok()
    other_home.contract(text)
    assert_equal_silver(home, made_at_once(other_home, *ROWS))


def test_a_row_that_comes_back_from_quarantine_does_not_win_over_a_newer_one(home: Home) -> None:
    home.land("a.csv", "1,old,2026-01-01,-1.00")
    home.land("b.csv", "1,new,2026-01-02,1.00")
    home.ok("bronze", "silver")
    home.contract(silver_with("minimum: 0", "minimum: -3"))
    home.redo(silver.replay)
    assert_rows(home.table("silver/orders").select("id", "state"), [("1", "new")], "id string, state string")
    assert home.table("quarantine/orders").count() == 0


def test_a_default_for_a_required_column_lets_its_refused_rows_in(home: Home, other_home: Home) -> None:
    required = STATE[:-1] + ", required: true}"
    home.contract(silver_with(STATE, required))
    home.land("a.csv", *ROWS)
    home.ok("bronze", "silver")
    text = silver_with(STATE, required[:-1] + ", customProperties: [{property: default, value: unknown}]}")
    home.contract(text)
    assert "quarantine replay" in refusal(home.run("silver"))
    home.redo(silver.replay)
    home.ok("bronze", "silver")
    other_home.contract(text)
    assert_equal_silver(home, made_at_once(other_home, *ROWS))


def test_an_added_column_is_filled_for_the_rows_already_there(home: Home, other_home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    text = silver_with(AT, AT + UPPER)
    home.contract(text)
    assert pending.of_silver(home.contracts()[0], home.settings).reasons == ("silver/orders lacks columns of its contract",)
    home.ok()
    other_home.contract(text)
    assert_equal_silver(home, made_at_once(other_home, *ROWS))
    home.land("b.csv", "9,new,2026-01-05,1.00")
    home.ok()
    assert_rows(home.table("silver/orders").where("id in ('1', '9')").select("id", "upper"), [("1", "OPEN"), ("9", "NEW")], "id string, upper string")  # fmt: skip # noqa: E501


def test_a_rebuild_without_a_column_drops_it_and_gold_follows(home: Home, other_home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    text = silver_with(f"      - {AMOUNT}\n", "").replace("sum(amount)", "count(state)")
    home.contract(text)
    refusal(home.run())
    home.redo(silver.rebuild)
    home.ok()
    other_home.contract(text)
    assert_equal_silver(home, made_at_once(other_home, *ROWS))
    other_home.ok("gold")
    assert_same(home.table("gold/by_state"), other_home.table("gold/by_state"))


def test_a_recompute_over_the_quality_limit_writes_nothing_unless_it_is_let_in(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.ok("bronze", "silver")
    home.contract(silver_with("value: [at]}", "value: [at]}, {property: maxQuarantinedShare, value: 0.1}"))
    before = home.versions()
    with pytest.raises(Exception, match="3 of 5 rows"):
        home.redo(silver.rebuild)
    assert home.versions() == before
    home.redo(silver.rebuild, accept_quality=True)
    assert home.table("silver/orders").count() == 2


def test_the_quarantine_is_counted_and_shown_without_spark(home: Home) -> None:
    home.land("a.csv", *ROWS)
    home.land("b.csv", "7,open,never,-1.00", "8,open")
    home.ok("bronze", "silver")
    counts = quarantine.counts(home.contracts(), home.settings)
    assert [row[:5] for row in counts.values] == [
        ("orders", "minimum", "amount", "a.csv", 2),
        ("orders", "cast", "at", "a.csv", 1),
        ("orders", "cast", "at", "b.csv", 1),
        ("orders", "malformed", None, "b.csv", 1),
        ("orders", "minimum", "amount", "b.csv", 1),
    ]
    (contract,) = home.contracts()
    shown = quarantine.rows(contract, home.settings, 2, rule="minimum")
    assert (shown.total, [row[:3] for row in shown.values]) == (
        3,
        [("a.csv", 2, "minimum amount '-5.00': must be at least 0"), ("a.csv", 4, "minimum amount '-2.00': must be at least 0")],
    )
    (only,) = quarantine.rows(contract, home.settings, 20, file="b.csv", rule="malformed").values
    assert only[-1] == "8,open"


def test_the_difference_to_the_tables_and_between_two_files_is_listed_with_what_follows(home: Home, tmp_path: Path) -> None:
    home.land("a.csv", *ROWS)
    home.ok()
    old = tmp_path / "orders.yaml"
    old.write_text(ORDERS)
    new = home.contract(silver_with("minimum: 0", "minimum: -3").replace("count(*)", "count(id)"))
    replay = "runs refuse until `quarantine replay` or `rebuild silver`"
    assert diff.against_tables(home.contracts(), home.settings).values == (("orders", "silver.amount.minimum", "0", "-3", replay),)
    assert diff.between(old, new).values == (
        ("silver.amount.minimum", "0", "-3", replay),
        ("gold.by_state", "a definition", "another", "built anew by the next gold run"),
    )
