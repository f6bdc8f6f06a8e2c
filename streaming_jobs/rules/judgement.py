"""Judge Bronze rows by their contract: typed values, and every reason why a row is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from py4j.java_gateway import JVMView
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from streaming_jobs.contract import Contract, Silver, SilverColumn
from streaming_jobs.rules import casts
from streaming_jobs.sqltext import quoted

_REASON = "STRUCT<rule: STRING, column: STRING, value: STRING, message: STRING>"
REASONS = f"ARRAY<{_REASON}>"

_VALUE_CHARACTERS = 200  # a reason shows the start of a value; the row beside it holds all of it


def judge(rows: DataFrame, contract: Contract) -> DataFrame:
    """Add what the contract makes of each row; no row is lost or doubled, and no cell's value raises.

    rows: Bronze's columns, and any others, which are kept. Result: all columns of `rows` as the struct
    `_bronze`; Silver's columns, NULL where a value was refused; `_file`, `_file_modified_at`, `_row`;
    `_reasons` (REASONS; empty: the row is valid); `_warnings`, the names of broken warning rules.
    """
    law = _written(contract, rows.sparkSession._jvm)
    judged = rows.select(*law.delivered)
    for columns in law.stages:
        judged = judged.withColumns(columns)
    return judged.select(*law.verdict)


@dataclass(frozen=True)
class _Law:
    """A contract as expressions, to be applied one after the other."""

    delivered: tuple[Column | str, ...]
    stages: tuple[dict[str, Column], ...]
    verdict: tuple[Column | str, ...]


@lru_cache(maxsize=64)
def _written(contract: Contract, jvm: JVMView) -> _Law:
    """Kept for as long as the JVM lives: to write the expressions is thousands of calls to it, a second on two cores."""
    silver = contract.silver
    delivered = (
        F.struct("*").alias("_bronze"),
        F.struct(*(_delivered(c.name, contract.landing.null_values).alias(c.name) for c in contract.bronze.columns)).alias("raw"),
        # Expressions may name these beside Silver's columns.
        *("_extra", "_malformed", "_file", "_file_modified_at", "_row"),
    )
    # Step by step: what is named several times in one expression is computed as often.
    casted = [c for c in silver.columns if c.expression is None]
    stages = [{_text(c.name): casts.text(_raw(c.name), c.type) for c in casted}]
    stages.append({_typed(c.name): casts.typed(F.col(quoted(_text(c.name))), c) for c in casted})
    stages.append({c.name: _kept(F.col(quoted(_typed(c.name))), c, silver) for c in casted})
    attempt = attempts(jvm)
    by_name = {c.name: c for c in silver.columns}
    for stage in silver.stages:
        stages.append({_tried(n): attempt(f"CAST(({by_name[n].expression}) AS {by_name[n].type})") for n in stage})
        stages.append({n: _kept(F.col(_tried(n))["value"], by_name[n], silver) for n in stage})
    stages.append({_tried(rule.name): attempt(f"CAST(({rule.expression}) AS BOOLEAN)") for rule in silver.rules})
    verdict: tuple[Column | str, ...] = (
        "_bronze",
        *(F.col(quoted(c.name)) for c in silver.columns),
        *("_file", "_file_modified_at", "_row"),
        _reasons(contract).alias("_reasons"),
        _warnings(contract).alias("_warnings"),
    )
    return _Law(delivered, tuple(stages), verdict)


def attempts(jvm: JVMView) -> Callable[[str], Column]:
    """SQL expressions that cannot fail: STRUCT<value>, and NULL as a whole where evaluation would have raised.

    ANSI errors (casts, division, overflow, dates) are caught per row by Spark's own TryEval, the
    expression behind `try_add` and its kin; SQL has no general name for it.
    """
    utils, try_eval = jvm.org.apache.spark.sql.classic.ExpressionUtils, jvm.org.apache.spark.sql.catalyst.expressions.TryEval

    def attempt(expression: str) -> Column:
        from pyspark.sql.classic.column import Column as ClassicColumn

        value = F.struct(F.expr(expression).alias("value"))
        tried = ClassicColumn(utils.column(try_eval(utils.expression(value._jc))))
        # Always true, but Spark cannot know: what stands in a branch is not hoisted out of the TryEval as a
        # common subexpression, where its error would escape.
        return F.when(F.col("_row").isNotNull(), tried)

    return attempt


def _delivered(name: str, null_values: tuple[str, ...]) -> Column:
    value = F.col(quoted(name))
    return F.when(~value.isin(*null_values), value) if null_values else value


def _raw(name: str) -> Column:
    return F.col(f"raw.{quoted(name)}")


def _kept(value: Column, column: SilverColumn, silver: Silver) -> Column:
    """The default stands in for NULL in the value only; whether the cast failed is asked of the string.

    An empty string as a partition is NULL, because that is what Delta keeps of it: as a key it would never be found again.
    """
    if column.type == "STRING" and column.name in silver.partitioned_by:
        value = F.when(value != "", value)
    return value if column.default is None else F.coalesce(value, F.lit(str(column.default)).cast(column.type))


def _reasons(contract: Contract) -> Column:
    # A record of the wrong shape has its values in the wrong columns: whatever else is said of them is noise.
    malformed = F.array(_reason("malformed", None, F.col("_malformed"), "more or fewer cells than the header, or broken quoting"))
    header = F.array(_reason("repeated_header", None, F.lit(None), "the header line again, inside the file"))
    rules = list(_rules(contract))
    given = [F.when(broken, reason) for broken, reason in rules]
    return (
        F.when(F.col("_malformed").isNotNull(), malformed)
        .when(_is_header(contract), header)
        .when(_any([broken for broken, _ in rules]), F.array_compact(F.array(F.lit(None).cast(_REASON), *given)))
        .otherwise(F.array())
        .cast(REASONS)
    )


def _any(conditions: Sequence[Column]) -> Column:
    """True where one of them is, and not false where one is NULL: all that most rows are asked.

    Spark does not compile the function that takes NULL out of an array, nor anything that stands in it: to write down the reasons that
    a row does not have took most of the time of all its judgement. As a tree of little depth, because there may be hundreds.
    """
    if not conditions:
        return F.lit(False)
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return _any(conditions[:half]) | _any(conditions[half:])


def _rules(contract: Contract) -> Iterator[tuple[Column, Column]]:
    """For each rule: where a row breaks it, and the reason that it then has."""
    keys = set(contract.silver.keys)
    for column in contract.silver.columns:
        for rule, broken, message in _column_rules(column, required=column.required or column.name in keys):
            shown = F.col(quoted(column.name)).cast("string") if column.expression else _raw(column.name)
            yield broken, _reason(rule, column.name, shown, message)
    for row_rule in contract.silver.rules:
        if row_rule.blocking:
            tried = F.col(quoted(_tried(row_rule.name)))
            yield tried.isNull(), _reason(row_rule.name, None, F.lit(None), f"cannot be evaluated: {row_rule.expression}")
            yield ~tried["value"], _reason(row_rule.name, None, F.lit(None), f"not true: {row_rule.expression}")


def _column_rules(column: SilverColumn, *, required: bool) -> Iterator[tuple[str, Column, str]]:
    """(rule, broken, message). A comparison with NULL is NULL, so a missing value breaks only `required`."""
    value = F.col(quoted(column.name))
    if column.expression is None:
        failed = casts.failed(F.col(quoted(_text(column.name))), F.col(quoted(_typed(column.name))), column.type)
        yield "cast", failed, casts.expected(column)
    else:
        failed = F.col(quoted(_tried(column.name))).isNull()
        yield "expression", failed, f"cannot be evaluated as {column.type}: {column.expression}"
    if required:
        yield "required", value.isNull() & ~failed, "missing"
    if column.minimum is not None:
        low = _bound(column.minimum, column.type)
        broken, word = (value <= low, "above") if column.exclusive_minimum else (value < low, "at least")
        yield "minimum", broken, f"must be {word} {column.minimum}"
    if column.maximum is not None:
        high = _bound(column.maximum, column.type)
        broken, word = (value >= high, "below") if column.exclusive_maximum else (value > high, "at most")
        yield "maximum", broken, f"must be {word} {column.maximum}"
    if column.min_length is not None:
        yield "minLength", F.length(value) < column.min_length, f"shorter than {column.min_length} characters"
    if column.max_length is not None:
        yield "maxLength", F.length(value) > column.max_length, f"longer than {column.max_length} characters"
    if column.pattern is not None:
        yield "pattern", ~value.rlike(rf"\A(?:{column.pattern})\z"), f"does not match {column.pattern}"
    if column.enum:
        allowed = [F.lit(str(e)).cast(column.type) for e in column.enum]
        yield "enum", ~value.isin(*allowed), f"not one of {', '.join(str(e) for e in column.enum)}"


def _warnings(contract: Contract) -> Column:
    """Names of the warning rules a row breaks; one that cannot be evaluated counts as broken."""
    broken = {rule.name: ~F.coalesce(_passes(rule.name), F.lit(False)) for rule in contract.silver.rules if not rule.blocking}
    names = [F.when(is_broken, F.lit(name)) for name, is_broken in broken.items()]
    return F.when(_any([*broken.values()]), F.array_compact(F.array(F.lit(None).cast("string"), *names))).otherwise(
        F.array().cast("array<string>")
    )


def _passes(rule: str) -> Column:
    tried = F.col(quoted(_tried(rule)))
    return F.when(tried.isNotNull(), F.coalesce(tried["value"], F.lit(True)))


def _is_header(contract: Contract) -> Column:
    """True for a header line among the data: files were joined. Every value present is a name of its column."""
    columns = contract.bronze.columns
    named = F.lit(True)
    for column in columns:
        names = [n.lower() for n in (column.name, *column.synonyms)]
        cell = F.lower(F.trim(_raw(column.name), F.lit(casts.WHITE)))
        named = named & (cell.isNull() | cell.isin(*names))
    present = F.coalesce(*(_raw(c.name) for c in columns)).isNotNull()
    return present & named


def _reason(rule: str, column: str | None, value: Column, message: str) -> Column:
    shown = F.substring(value.cast("string"), 1, _VALUE_CHARACTERS)
    return F.struct(F.lit(rule).alias("rule"), F.lit(column).alias("column"), shown.alias("value"), F.lit(message).alias("message"))


def _bound(value: str | float, kind: str) -> Column:
    # Wide enough that the bound itself is not rounded to the column's scale.
    exact = kind.startswith("DECIMAL") or kind in ("TINYINT", "SMALLINT", "INT", "BIGINT")
    return F.lit(str(value)).cast("DECIMAL(38,10)" if exact else kind)


def _text(name: str) -> str:
    return f"_text_{name}"


def _typed(name: str) -> str:
    return f"_typed_{name}"


def _tried(name: str) -> str:
    return f"_tried_{name}"
