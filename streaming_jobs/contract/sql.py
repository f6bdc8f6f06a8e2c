"""The contract's SQL, read without a JVM: which columns it names and which functions it calls.

Only what surely fails or surely breaks a promise is refused here; Spark has the last word on the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from streaming_jobs.contract.place import Place


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DIALECT = "databricks"  # Spark's, with the units of date functions and a few newer names

AGGREGATES = _words(
    """any any_value approx_count_distinct approx_percentile approx_top_k approx_top_k_accumulate approx_top_k_combine array_agg avg
    bit_and bit_or bit_xor bitmap_and_agg bitmap_construct_agg bitmap_or_agg bool_and bool_or collect_list collect_set corr count
    count_if count_min_sketch covar_pop covar_samp every first first_value grouping grouping_id histogram_numeric hll_sketch_agg
    hll_union_agg kll_merge_agg_bigint kll_merge_agg_double kll_merge_agg_float kll_sketch_agg_bigint kll_sketch_agg_double
    kll_sketch_agg_float kurtosis last last_value listagg max max_by mean measure median min min_by mode percentile percentile_approx
    percentile_cont percentile_disc product regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    schema_of_variant_agg skewness some std stddev stddev_pop stddev_samp string_agg sum theta_intersection_agg theta_sketch_agg
    theta_union_agg try_avg try_sum tuple_intersection_agg_double tuple_intersection_agg_integer tuple_sketch_agg_double
    tuple_sketch_agg_integer tuple_union_agg_double tuple_union_agg_integer var_pop var_samp variance"""
)

_VOLATILE = _words(
    """rand randn random randstr uniform uuid shuffle monotonically_increasing_id spark_partition_id input_file_name
    input_file_block_start input_file_block_length current_date curdate current_time current_timestamp now localtimestamp getdate
    sysdate current_user user session_user current_catalog current_database current_schema reflect java_method try_reflect
    version"""
)
"""Functions whose answer depends on when, where or by whom they are asked."""

_CLOCKS = (exp.CurrentDate, exp.CurrentTimestamp, exp.CurrentTime, exp.CurrentDatetime, exp.CurrentUser)
_COUNTS = (exp.Count, exp.CountIf, exp.ApproxDistinct)
_ORDER_BOUND = _words("any_value first first_value last last_value mode")
_COLLECTED = _words("array_agg collect_list collect_set")
_SETTLED = _words("sort_array array_sort size cardinality array_size")
_LISTED = _words("listagg string_agg")
_WINDOWS = _words("row_number rank dense_rank percent_rank cume_dist ntile lag lead nth_value window session_window")
_GENERATORS = _words("explode explode_outer posexplode posexplode_outer inline inline_outer stack json_tuple")
_STOPPERS = _words("raise_error assert_true")


@dataclass(frozen=True)
class Expression:
    """One parsed expression. columns: the parts of each column's name, as written. calls: function names, lower case."""

    text: str
    tree: exp.Expr
    columns: tuple[tuple[str, ...], ...]
    calls: tuple[str, ...]

    @property
    def aggregates(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for c in self.calls if c in AGGREGATES))


def parse(text: str, place: Place) -> Expression | None:
    """Parse one Spark SQL expression; None, with a finding, when it is not one."""
    try:
        tokens = sqlglot.tokenize(text, dialect=DIALECT)
        if any(t.token_type == TokenType.SEMICOLON for t in tokens):
            place.wrong(f"several statements in {text!r}; one expression is needed, without a semicolon")
            return None
        if tokens and tokens[0].token_type in (TokenType.SELECT, TokenType.WITH):
            place.wrong(f"{_line(text)} is a query; an expression over the columns is needed")
            return None
        tree = sqlglot.parse_one(text, into=exp.Condition, dialect=DIALECT)
    except (SqlglotError, RecursionError) as error:
        place.wrong(f"not a Spark SQL expression: {_line(text)}{_reason(error)}")
        return None
    columns = dict.fromkeys(tuple(p.name for p in c.parts) for c in tree.find_all(exp.Column))
    found = Expression(text, tree, tuple(columns), tuple(_calls(tokens)))
    _refuse(found, place)
    return found


def nested_aggregate(expression: Expression) -> bool:
    return any(_is_aggregate(a) and any(_is_aggregate(p) for p in _above(a)) for a in expression.tree.walk())


def ungrouped(expression: Expression) -> tuple[str, ...]:
    """Columns used outside every aggregate function; empty when the tree does not show all of the calls."""
    inside = sum(1 for node in expression.tree.walk() if _is_aggregate(node))
    if inside < sum(1 for call in expression.calls if call in AGGREGATES):
        return ()
    loose = [c.name for c in expression.tree.find_all(exp.Column) if not any(_is_aggregate(p) for p in _above(c))]
    return tuple(dict.fromkeys(loose))


def not_counted(expression: Expression) -> tuple[tuple[str, ...], ...]:
    """Columns whose values can show in the result, by the parts of their names: those that are not merely counted."""
    loose = (c for c in expression.tree.find_all(exp.Column) if not any(isinstance(p, _COUNTS) for p in _above(c)))
    return tuple(dict.fromkeys(tuple(p.name for p in c.parts) for c in loose))


def volatile(name: str) -> bool:
    """True for a bare name that Spark reads as a function when there is no such column."""
    return name.casefold() in _VOLATILE


def _refuse(found: Expression, place: Place) -> None:
    tree, calls = found.tree, set(found.calls)
    if tree.find(exp.Query):
        place.wrong(f"a subquery in {_line(found.text)}; an expression sees only the columns of its own row or group")
    clock = calls & _VOLATILE
    if not clock and tree.find(*_CLOCKS):
        clock = {"unix_timestamp without arguments"} if "unix_timestamp" in calls else {"current_date or a relative of it"}
    if clock:
        place.wrong(f"{_names(clock)} gives another answer each time; a rebuild must give the same rows, so use columns of the row")
    if calls & _ORDER_BOUND:
        place.wrong(f"{_names(calls & _ORDER_BOUND)} depends on the order of rows, which a rebuild may change; use min, max or max_by")
    if calls & _COLLECTED and not calls & _SETTLED:
        place.wrong(f"{_names(calls & _COLLECTED)} has no fixed order, a rebuild may change it; wrap it in sort_array")
    if calls & _LISTED and not tree.find(exp.Order):
        place.wrong(f"{_names(calls & _LISTED)} has no fixed order; add WITHIN GROUP (ORDER BY …)")
    if tree.find(exp.Window) or calls & _WINDOWS:
        place.wrong(f"a window function in {_line(found.text)}; rows are judged, and groups computed, one by one")
    if calls & _GENERATORS:
        place.wrong(f"{_names(calls & _GENERATORS)} makes several rows of one; a row here stays one row")
    if calls & _STOPPERS:
        place.wrong(f"{_names(calls & _STOPPERS)} stops the whole run for one row; write a quality rule instead")
    if any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star)):
        place.wrong(f"* in {_line(found.text)}; name the columns (only count(*) may have it)")
    if tree.find(exp.Placeholder, exp.Parameter):
        place.wrong(f"a parameter or template in {_line(found.text)}; nothing is filled in, write the value")


def _calls(tokens: list[Token]) -> Iterator[str]:
    """Names right before a parenthesis. Read from the text, because sqlglot renames the functions it knows."""
    for n, (name, bracket) in enumerate(pairwise(tokens)):
        before = tokens[n - 1] if n else None
        if bracket.token_type != TokenType.L_PAREN or name.token_type in (TokenType.STRING, TokenType.NUMBER):
            continue
        # `x LIKE ANY (…)` quantifies a pattern, and `a.any(…)` is not a function of Spark's.
        if before and (before.token_type == TokenType.DOT or before.text.upper() in ("LIKE", "ILIKE")):
            continue
        yield name.text.lower()


def _is_aggregate(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in AGGREGATES
    if isinstance(node, exp.Any):
        return not isinstance(node.parent, (exp.Like, exp.ILike))
    # `count(x) FILTER (WHERE y)` and WITHIN GROUP stand around the call they belong to.
    return isinstance(node, (exp.AggFunc, exp.Filter, exp.WithinGroup)) and not isinstance(node.parent, (exp.Filter, exp.WithinGroup))


def _above(node: exp.Expr) -> Iterator[exp.Expr]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _names(calls: set[str]) -> str:
    return ", ".join(sorted(calls))


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return f"`{flat if len(flat) <= 80 else flat[:80] + '…'}`"


def _reason(error: Exception) -> str:
    details = getattr(error, "errors", None)
    if not details:
        return " (a quote or comment is never closed?)" if "tokeniz" in str(error) else ""
    near = details[0].get("highlight")
    return f", at {near!r} (character {details[0].get('col')})" if near else ""
