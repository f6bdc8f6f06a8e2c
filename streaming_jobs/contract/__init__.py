"""Data contracts: one ODCS v3 YAML per dataset, checked whole, then frozen.

`load` and `load_all` are the only way in; `docs/contract.md` is the reference of what a contract may say.
"""

from streaming_jobs.contract.load import SETTINGS, examine_all, load, load_all
from streaming_jobs.contract.memo import keep as remember
from streaming_jobs.contract.model import (
    ORDERING,
    PROVENANCE,
    WEEKDAYS,
    Availability,
    Bronze,
    Contract,
    Frequency,
    Gold,
    GoldColumn,
    Landing,
    Latency,
    Promise,
    RawColumn,
    Redelivery,
    RowRule,
    Silver,
    SilverColumn,
)

__all__ = [
    "ORDERING",
    "PROVENANCE",
    "SETTINGS",
    "WEEKDAYS",
    "Availability",
    "Bronze",
    "Contract",
    "Frequency",
    "Gold",
    "GoldColumn",
    "Landing",
    "Latency",
    "Promise",
    "RawColumn",
    "Redelivery",
    "RowRule",
    "Silver",
    "SilverColumn",
    "examine_all",
    "load",
    "load_all",
    "remember",
]
