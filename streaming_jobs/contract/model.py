"""A dataset's contract as the rest of the package sees it: frozen, typed, already checked.

Built by `contract.examine`; nothing else creates these outside tests. Names follow the Open Data
Contract Standard (ODCS) where it has a word for the thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time, timedelta
from enum import StrEnum
from pathlib import Path

PROVENANCE = ("_extra", "_malformed", "_file", "_file_modified_at", "_row", "_ingest_id", "_ingested_at")
"""Columns that Bronze adds to every row; no column of a contract may carry one of these names."""

ORDERING = ("_file", "_file_modified_at", "_row")
"""The end of every order, the middle one only where files are appended: no two rows of a Bronze table agree on all three."""


class Redelivery(StrEnum):
    """What changed content under a known file name does to Bronze."""

    REPLACE = "replace"
    APPEND = "append"
    REJECT = "reject"


@dataclass(frozen=True)
class Landing:
    """Where CSV files land and how they are written (ODCS: the server named `landing`)."""

    folder: str  # the part of the path before the first wildcard; relative to the home unless absolute
    glob: str  # the rest, matched against the path relative to `folder`; `*`, `?`, `[…]`, `**`
    delimiter: str = ","
    encoding: str = "utf-8"  # lower case, one of those Spark reads
    header: bool = True
    quote: str = '"'
    escape: str = '"'  # the quote itself: RFC 4180 doubling
    null_values: tuple[str, ...] = ()  # delivered strings that mean NULL when Silver judges them
    fallback_encodings: tuple[str, ...] = ()  # tried in order for a file not valid in `encoding`


@dataclass(frozen=True)
class RawColumn:
    name: str
    synonyms: tuple[str, ...] = ()
    required: bool = False  # a file whose header lacks it is rejected


@dataclass(frozen=True)
class Bronze:
    columns: tuple[RawColumn, ...]
    on_redelivery: Redelivery = Redelivery.REPLACE
    max_shrink: float = 0.9  # share of a file's rows a replacement may lose before it is held back


@dataclass(frozen=True)
class SilverColumn:
    """One typed column. Either a cast of the raw column of that name, or `expression`."""

    name: str
    type: str  # Spark SQL type, upper case: STRING, BIGINT, DECIMAL(12,2), …
    format: str | None = None  # Spark datetime pattern of the delivered string; only for a cast
    expression: str | None = None  # Spark SQL over typed columns, `raw.<name>` and provenance
    required: bool = False
    default: str | int | float | bool | None = None  # replaces NULL after the cast was judged
    minimum: str | int | float | None = None
    maximum: str | int | float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    pattern: str | None = None  # Java regular expression; must match the whole value
    min_length: int | None = None
    max_length: int | None = None
    enum: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True)
class RowRule:
    """A boolean Spark SQL expression over Silver's columns and `raw.<name>`; NULL passes."""

    name: str
    expression: str
    blocking: bool  # severity error: the row is quarantined; warning: it is only counted


@dataclass(frozen=True)
class Silver:
    columns: tuple[SilverColumn, ...]  # in the contract's order, which is the table's
    keys: tuple[str, ...]
    sequence_by: tuple[str, ...]  # columns of Silver or of ORDERING; a NULL is the oldest
    partitioned_by: tuple[str, ...] = ()
    merge_window_days: int | None = None
    max_quarantined_share: float | None = None
    rules: tuple[RowRule, ...] = ()
    stages: tuple[tuple[str, ...], ...] = ()  # names of expression columns, each stage needing only earlier ones

    @property
    def placing(self) -> tuple[str, ...]:
        """Partition columns by which the rows of a key are found: those in the key, and the one of `mergeWindow`."""
        return tuple(p for p in self.partitioned_by if p in self.keys or self.merge_window_days is not None)


@dataclass(frozen=True)
class GoldColumn:
    name: str
    type: str
    expression: str

    @property
    def plain(self) -> str:
        """The column of Silver, where the expression is no more than that."""
        return self.expression.strip("` ").lower()


@dataclass(frozen=True)
class Gold:
    """One aggregate table: one row per value of `grain`."""

    name: str
    path: str  # under data/, such as gold/events_per_day
    grain: tuple[GoldColumn, ...]
    aggregates: tuple[GoldColumn, ...]
    source: str | None = None  # the name of another Gold table; None: Silver
    where: str | None = None


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True)
class Latency:
    """The newest data is at most so old (ODCS: latency)."""

    within: timedelta
    column: str | None = None  # DATE or TIMESTAMP column of Silver that tells; None: when Bronze took in the newest file
    driver: str | None = None  # why it matters: regulatory, analytics, operational


@dataclass(frozen=True)
class Frequency:
    """A new file comes at least so often (ODCS: frequency). Whole days are calendar days, UTC."""

    every: timedelta
    days: frozenset[int] = EVERY_DAY  # days of the week that count, Monday is 0
    driver: str | None = None


@dataclass(frozen=True)
class Availability:
    """A new file is there by this time of each day (ODCS: timeOfAvailability)."""

    by: time  # with its offset from UTC
    days: frozenset[int] = EVERY_DAY
    driver: str | None = None


Promise = Latency | Frequency | Availability


@dataclass(frozen=True)
class Contract:
    dataset: str  # the stem of the file
    file: Path
    version: str
    landing: Landing
    bronze: Bronze
    silver: Silver
    gold: tuple[Gold, ...]  # in dependency order: a table comes after its source
    without_effect: tuple[str, ...] = ()  # ODCS keys that are legal and mean nothing here
    promises: tuple[Promise, ...] = ()  # what `status` measures; no run depends on them
    closed: frozenset[tuple[str, str]] = frozenset()  # Gold table and column whose values a report does not show
    sha256: str = field(default="", compare=False)  # of the file's bytes as they were judged

    @property
    def bronze_table(self) -> str:
        return f"bronze/{self.dataset}"

    @property
    def silver_table(self) -> str:
        return f"silver/{self.dataset}"

    @property
    def quarantine_table(self) -> str:
        return f"quarantine/{self.dataset}"

    def unit(self, gold: Gold) -> tuple[GoldColumn, ...]:
        """What of a Gold table is replaced together: whole partitions of Silver where the grain contains them, else single groups."""
        partitions = [p.lower() for p in self.silver.partitioned_by]
        return tuple(c for c in gold.grain if c.plain in partitions) or gold.grain

    @property
    def is_placed(self) -> bool:
        """Few changes need few partitions of Silver: these say where the rows of a key are, and those of every group."""
        partitions = {p.lower() for p in self.silver.partitioned_by}
        return bool(self.silver.placing) and all({c.plain for c in self.unit(g)} <= partitions for g in self.gold if g.source is None)


@dataclass(frozen=True)
class Examined:
    """One file and all that is to say about it. contract: None when there are findings."""

    file: Path
    contract: Contract | None
    findings: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        return self.file.stem
