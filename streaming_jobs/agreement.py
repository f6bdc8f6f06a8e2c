"""Bronze and the file ledger: each says something of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streaming_jobs import apps, ledger
from streaming_jobs.contract import Contract, Redelivery
from streaming_jobs.errors import DamagedState
from streaming_jobs.settings import Settings


def require(contract: Contract, settings: Settings, *, forced: bool = False) -> int:
    """The last ingest that table and ledger both know to be committed.

    Raises DamagedState when one lacks what the other has; forced: only when files would be read twice.
    """
    dataset = contract.dataset
    stored = ledger.transaction_version(settings.table(contract.bronze_table), apps.bronze(dataset))
    known = ledger.known(settings, dataset)
    loaded = known.last_loaded_id
    if stored > known.last_ingest_id:
        raise DamagedState(
            f"data/{contract.bronze_table} holds ingest {stored}, the ledger knows only {known.last_ingest_id}: files would be read twice. "
            f"Nothing was read. `streaming-jobs rebuild ledger {dataset}` makes it again from bronze."
        )
    if loaded > stored and not forced:
        raise DamagedState(
            f"data/{contract.bronze_table} lacks ingest {loaded}, which the ledger has: it was removed, or an older state of it was "
            "restored. Nothing was read. Restore the table from the backup that belongs to data/ledger; or make it from the files that "
            f"still lie in the landing folder, without those that do not: `streaming-jobs rebuild bronze {dataset} --force`."
        )
    return stored


@dataclass(frozen=True)
class Held:
    """What Bronze holds of a file. oldest, newest: modification times that its rows carry, milliseconds since 1970."""

    rows: int
    malformed: int
    oldest: int
    newest: int


_HELD = """
SELECT _file, count(*) AS rows, count(_malformed) AS malformed,
       CAST(arrow_cast(min(_file_modified_at), 'Timestamp(Millisecond, None)') AS BIGINT) AS oldest,
       CAST(arrow_cast(max(_file_modified_at), 'Timestamp(Millisecond, None)') AS BIGINT) AS newest
FROM (SELECT *, max(_ingest_id) OVER (PARTITION BY _file) AS _newest FROM bronze) AS held
WHERE {counted} GROUP BY _file ORDER BY _file
"""


def held(contract: Contract, settings: Settings) -> Mapping[str, Held]:
    """What Bronze holds of each file; under `append` of its newest delivery, which the ledger counts."""
    counted = "_ingest_id = _newest" if contract.bronze.on_redelivery is Redelivery.APPEND else "true"
    found = ledger.query({"bronze": settings.table(contract.bronze_table)}, _HELD.format(counted=counted))
    return {row["_file"]: Held(row["rows"], row["malformed"], row["oldest"], row["newest"]) for row in found}


def rows_per_file(contract: Contract, settings: Settings) -> Mapping[str, tuple[int, int]]:
    """Rows and malformed rows that Bronze holds of each file, as `held`."""
    return {path: (of.rows, of.malformed) for path, of in held(contract, settings).items()}
