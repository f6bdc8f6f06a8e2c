"""The keys that `forget` erased, so that no delivery, replay or rebuild brings them back: Delta `data/ledger/forgotten`.

Not the keys themselves but their salted hashes: a key that is not known beforehand cannot be read there. Whoever has the table and
can list all possible keys can still try them one by one, as with any such hash.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming_jobs import keys, ledger, snapshots
from streaming_jobs.contract import Contract
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


def begin(spark: SparkSession, contract: Contract, settings: Settings, key: Sequence[str]) -> frozenset[str]:
    """Put a key on the list, before anything is erased; from now on no row of it is read. Returns its digests.

    A dataset has one salt, which its first key brings.
    """
    known = of(settings, contract.dataset) or Forgotten(secrets.token_hex(16), frozenset())
    values = keys.typed(spark, contract, key)
    typed = [F.lit(values[c.name]).cast(c.type).cast("string") for c in keys.columns_of(contract)]
    found = spark.range(1).select(*(_digest(known.salt, texts) for texts in (typed, [F.lit(text.strip()) for text in key]))).first()
    assert found is not None  # one row was made
    digests = frozenset(map(str, found))
    _append(settings, contract.dataset, known.salt, digests, ledger.now(), None)
    return digests


def end(contract: Contract, settings: Settings, digests: Collection[str]) -> None:
    """Note that what `begin` announced was done to the end."""
    known = of(settings, contract.dataset)
    assert known is not None  # it was begun
    _append(settings, contract.dataset, known.salt, digests, None, ledger.now())


def left_out(rows: DataFrame, contract: Contract, known: Forgotten | None) -> DataFrame:
    """Rows of Bronze without those of forgotten keys."""
    if known is None:
        return rows
    typed = [F.col(quoted(name)).cast("string") for name in contract.silver.keys]
    cells = keys.delivered(contract)
    listed = F.lit(False)
    for texts in filter(None, (typed, cells)):
        listed = listed | F.coalesce(_digest(known.salt, texts).isin(*known.digests), F.lit(False))
    return judge(rows, contract).where(~listed).select("_bronze.*")


def _digest(salt: str, texts: Sequence[Column]) -> Column:
    return F.sha2(F.concat(F.lit(salt), F.to_json(F.array(*texts))), 256)


def _append(
    settings: Settings, dataset: str, salt: str, digests: Collection[str], begun_at: datetime | None, ended_at: datetime | None
) -> None:
    ledger.append_forgotten(settings, [ledger.ForgottenRow(dataset, salt, digest, begun_at, ended_at) for digest in sorted(digests)])
