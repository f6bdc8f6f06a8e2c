"""The keys that `forget` erased, so that no delivery, replay or rebuild brings them back: Delta `data/ledger/forgotten`.

Not the keys themselves but their salted hashes: a key that is not known beforehand cannot be read there. Whoever has the table and
can list all possible keys can still try them one by one, as with any such hash.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import keys, ledger, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.ledger import ForgottenRow
from streaming_jobs.rules.judgement import judge
from streaming_jobs.settings import Settings
from streaming_jobs.sqltext import quoted


@dataclass(frozen=True)
class Forgotten:
    """What is known of a dataset's forgotten keys. digests: of their values, and of the texts by which they were asked for."""

    salt: str
    digests: frozenset[str]


def of(settings: Settings, dataset: str) -> Forgotten | None:
    """The list of a dataset as it is now; None: nothing of it was forgotten."""
    table = settings.table(ledger.FORGOTTEN)
    if snapshots.newest(table) is None:
        return None
    rows = ledger.query({"forgotten": table}, f"SELECT DISTINCT salt, digest FROM forgotten WHERE dataset = {ledger.text(dataset)}")
    return Forgotten(rows[0]["salt"], frozenset(row["digest"] for row in rows)) if rows else None


def begin(
    spark: SparkSession, contract: Contract, settings: Settings, key: Sequence[str], values: Mapping[str, Any]
) -> tuple[ForgottenRow, ...]:
    """Put a key on the list, before anything is erased; from now on no row of it is read. Returns what `end` needs.

    key, values: as it was asked for, and as Silver has it. A dataset has one salt, which its first key brings.
    """
    known = of(settings, contract.dataset)
    salt = known.salt if known else secrets.token_hex(16)
    asked = [F.lit(text.strip()) for text in key]
    found = spark.range(1).select(_digest(salt, keys.texts(contract, values)), _digest(salt, asked)).first()
    assert found is not None  # one row was made
    rows = tuple(ForgottenRow(contract.dataset, salt, digest, ledger.now(), None) for digest in sorted(set(found)))
    ledger.append_forgotten(settings, rows)
    return rows


def end(settings: Settings, begun: Sequence[ForgottenRow]) -> None:
    """Note that what `begin` announced was done to the end."""
    ledger.append_forgotten(settings, [replace(row, begun_at=None, ended_at=ledger.now()) for row in begun])


def left_out(rows: DataFrame, contract: Contract, settings: Settings) -> DataFrame:
    """Rows of Bronze without those of forgotten keys."""
    known = of(settings, contract.dataset)
    if known is None:
        return rows
    typed = [F.col(quoted(name)).cast("string") for name in contract.silver.keys]
    listed = F.lit(False)
    for texts in filter(None, (typed, keys.delivered(contract))):
        listed = listed | F.coalesce(_digest(known.salt, texts).isin(*known.digests), F.lit(False))
    return judge(rows, contract).where(~listed).select("_bronze.*")


def _digest(salt: str, texts: Sequence[Column]) -> Column:
    return F.sha2(F.concat(F.lit(salt), F.to_json(F.array(*texts))), 256)
