"""The facts of an installation: frozen, plain, without a clock. Times are aware and in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from streaming_jobs.contract import Promise
from streaming_jobs.errors import DamagedState


@dataclass(frozen=True)
class Table:
    """One table of a dataset. All None: it is not there, or cannot be read.

    layer: bronze, silver, quarantine or gold. bytes: of the files it consists of now. changed_at: of the newest commit that
    changed rows; joining files is none.
    """

    layer: str
    name: str  # under data/, such as silver/orders
    rows: int | None = None
    bytes: int | None = None
    version: int | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True)
class Layer:
    """One layer's newest work and what lies before it. Its first four None: it has not worked yet.

    rows: that went in. outcome: `done`, or `failed: …`. succeeded_at: the end of the newest work that is done. pending: what
    a run would do; waiting_since: the longest that it can have waited. unfinished_batch: planned, and at work in no process.
    problem: why what is pending cannot be told.
    """

    layer: str
    started_at: datetime | None = None
    outcome: str | None = None
    rows: int | None = None
    seconds: float | None = None
    succeeded_at: datetime | None = None
    pending: tuple[str, ...] = ()
    pending_bytes: int | None = 0
    waiting_since: datetime | None = None
    unfinished_batch: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Balance:
    """All recorded work of a layer. off: how many pieces of it do not add up."""

    layer: str
    runs: int
    rows_in: int
    accepted: int
    superseded: int
    quarantined: int
    deleted: int
    seconds: float
    off: int


@dataclass(frozen=True)
class Gap:
    """Two numbers that have to be equal, or, of `at_most`, not more, and are not. command: makes them so again."""

    what: str
    command: str


@dataclass(frozen=True)
class RefusedFile:
    """A file whose newest decision is a refusal or its absence. rows: that Bronze holds of it from before."""

    path: str
    status: str  # rejected, held, missing
    reason: str | None
    decided_at: datetime
    rows: int
    by_contract: bool = False  # content that `files accept` can let in


@dataclass(frozen=True)
class Quarantined:
    """Rows that one rule refused. A row that broke several rules counts under each. recent: in the last seven days."""

    rule: str
    column: str | None
    rows: int
    files: int
    since: datetime
    newest: datetime
    recent: int


@dataclass(frozen=True)
class Arrival:
    """A file that Bronze holds, or that waits for it.

    came: when it was first written, but never after it was taken in; taken: when that was, or now. rows: None while it waits.
    """

    path: str
    came: datetime
    taken: datetime
    rows: int | None


@dataclass(frozen=True)
class Rhythm:
    """On which days a dataset's files come, as the last eight weeks have it.

    by: `name`, days are the dates in file names; `arrival`, days are those on which files came. newest: the newest day with a
    file. weekdays: those on which a file is expected, Monday is 0. due: how long after the beginning of a day its file is
    late. missing: days without their file: all after `newest`, and those of the last week before it. unknown: why no file is expected.
    """

    by: str = "arrival"
    newest: date | None = None
    weekdays: frozenset[int] = frozenset()
    due: timedelta | None = None
    missing: tuple[date, ...] = ()
    unknown: str | None = "no file has come yet"


@dataclass(frozen=True)
class Unusual:
    """A file with far fewer or far more rows than those before it. usual: the median of these."""

    path: str
    rows: int
    usual: int
    taken: datetime


@dataclass(frozen=True)
class Kept:
    """One promise of the contract. kept: None: there is nothing to measure yet. open: what was promised is still not there."""

    promise: Promise
    said: str
    kept: bool | None
    measured: str
    open: bool = False


@dataclass(frozen=True)
class Damaged:
    """place: relative to the home. remedy: words before the command, empty for none."""

    place: str
    what: str
    remedy: str
    command: str


@dataclass(frozen=True)
class Dataset:
    """One dataset. files: how many paths are in each status. changed: how the contract differs from what Silver was made by.

    problems: what keeps it from being looked at. gaps: sums that do not agree. forgetting_since: of a `forget` that has not ended.
    """

    dataset: str
    tables: tuple[Table, ...] = ()
    layers: tuple[Layer, ...] = ()
    balances: tuple[Balance, ...] = ()
    gaps: tuple[Gap, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    newest: Arrival | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)
    unusual: tuple[Unusual, ...] = ()
    promises: tuple[Kept, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    changed: tuple[str, ...] = ()
    replayable: bool = False
    forgetting_since: datetime | None = None

    def layer(self, name: str) -> Layer:
        return next((layer for layer in self.layers if layer.layer == name), Layer(name))


@dataclass(frozen=True)
class Hand:
    """Something that needs a hand. kind: one word. command: what to type, as a shell takes it."""

    kind: str
    dataset: str | None
    what: str
    command: str
    exit_code: int = 0

    def __str__(self) -> str:
        of = f" {self.dataset}" if self.dataset else ""
        return f"{self.kind}{of}: {self.what}: `{self.command}`"


@dataclass(frozen=True)
class Facts:
    """An installation at one moment. broken: contract file and finding, of contracts that cannot be used."""

    at: datetime
    datasets: tuple[Dataset, ...]
    hands: tuple[Hand, ...]

    @property
    def exit_code(self) -> int:
        """4 for damage and for sums that do not agree; else 0: looking at a problem is no failure."""
        return DamagedState.exit_code if any(hand.exit_code for hand in self.hands) else 0
