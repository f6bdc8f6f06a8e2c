"""The kinds of work that are measured, each of them a race over the same files from the same state.

A contestant's home of a history is prepared by itself, once, and kept beside the path where it was made; a turn gets a copy at that path.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from pyarrow import parquet

from benchmarks import contestants, deliveries, measure, watch
from benchmarks.contestants import HEAP, OURS, Contestant
from benchmarks.deliveries import ROOT
from benchmarks.measure import Stopped, Taken, TooLong
from benchmarks.race import Entry, Say, execute, race
from benchmarks.records import Record, Result, ratio, result
from streaming_jobs import ledger

SMALL_HEAP = "4g"
BATCH = 1000  # files; the default of max_files_per_batch
PACE = f"files/s after the first {BATCH}"
GROWTH = "memory in the last quarter / in the second"


@dataclass(frozen=True)
class Sizes:
    """Days, rows and files of each work. days: of history. goes: days that a peer is given at a time while it prepares a history."""

    first_days: int = 30
    first_rows: int = 33_000
    days: tuple[int, ...] = (30, 300, 3000)
    rows: int = 10_000
    goes: int = 300
    many_days: int = 400
    many_files: int = 50
    many_rows: int = 50
    big_days: int = 30
    big_rows: int = 850_000
    minutes: float = 5.0  # of each turn of the latency


SMALL = Sizes(3, 300, (3, 6), 300, 2, 4, 300, 5, 3, 1000, 0.4)


@dataclass(frozen=True)
class Setting:
    """turns: None: as many as the work is worth. limit: seconds that a contestant may take, for one command or one history."""

    scratch: Path
    say: Say
    sizes: Sizes = field(default_factory=Sizes)
    turns: int | None = None
    only: tuple[str, ...] = ()
    limit: float = 1200.0

    @property
    def peers(self) -> list[Contestant]:
        return contestants.known(self.only)

    def folder(self, *names: str) -> Path:
        folder = self.scratch.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def race(self, entries: Sequence[Entry], turns: int, after: Callable[[Entry, Path, Taken], None] = lambda *_: None) -> list[Record]:
        return race(entries, self.turns or turns, self.folder("logs"), self.say, self.limit, after)


def first(setting: Setting) -> Result:
    """The first load of many days: the whole pipeline, and Bronze alone beside its floors, cold and warm."""
    sizes, files = setting.sizes, setting.scratch / "files" / "first"
    _made(files, lambda: deliveries.deliver(files, range(sizes.first_days), sizes.first_rows))
    entries = _loads(setting, "first", files, HEAP, excused=False)
    records = [*setting.race(entries, 5), *_warm(setting, files, 5)]
    given = {"days": f"{sizes.first_days}", "rows a day": f"{sizes.first_rows}", "MiB": f"{_mib(files)}"}
    return result("first", given, records, {})


def day(setting: Setting) -> Result:
    """One new day on top of a history; beside the shortest and the longest also what a bare append and a bare MERGE of its rows cost."""
    sizes = setting.sizes
    entries, missing = _histories(setting, lambda days: _new(setting, days))
    for days in sorted({min(sizes.days), max(sizes.days)}):
        entries += _floors(setting, days)
    return result("day", _history_given(sizes), [*setting.race(entries, 5), *missing], {})


def history(setting: Setting) -> Result:
    """Our new day alone, with one history right after the other: with peers between them they are minutes apart, and a machine changes."""
    entries = _our_new_days(setting, lambda days: f"{days} days")
    records = setting.race(entries, 9)
    base, figures = records[0], {}
    for record in records[1:]:
        found = ratio(record, base)
        figures |= {f"{record.case}, times {base.case}": found.median} if found else {}
    return result("history", _history_given(setting.sizes), records, figures)


def correction(setting: Setting) -> Result:
    """A corrected day in the middle of a history; beside it, in the same turns, what a new day costs us."""
    sizes = setting.sizes
    entries, missing = _histories(setting, lambda days: _corrected(setting, days), "may")
    entries += _our_new_days(setting, new_day_case)
    return result("correction", _history_given(sizes), [*setting.race(entries, 5), *missing], {})


def idle(setting: Setting) -> Result:
    """Nothing new on top of a history."""
    entries, missing = _histories(setting, lambda _: None)
    return result("idle", _history_given(setting.sizes), [*setting.race(entries, 5), *missing], {})


def many(setting: Setting) -> Result:
    """Very many small files: the first load of all of them."""
    sizes, files = setting.sizes, setting.scratch / "files" / "many"
    _made(files, lambda: deliveries.cut(files, range(sizes.many_days), sizes.many_rows, sizes.many_files))
    found: dict[str, list[float]] = {}

    def note(entry: Entry, home: Path, taken: Taken) -> None:
        if entry.contestant.name.startswith(OURS) and (rate := _pace(home)):
            found.setdefault(f"{entry.contestant.name}: {PACE}", []).append(rate)
            found.setdefault(f"{entry.contestant.name}: {GROWTH}", []).append(_growth(taken))

    records = setting.race(_loads(setting, "many", files, HEAP, (), excused=True), 2, note)
    given = {"files": f"{sizes.many_days * sizes.many_files}", "rows a file": f"{sizes.many_rows}", "MiB": f"{_mib(files)}"}
    return result("many", given, records, {name: statistics.median(values) for name, values in found.items()})


def big(setting: Setting) -> Result:
    """One file larger than most, and a heap smaller than most would give."""
    sizes, files = setting.sizes, setting.scratch / "files" / "big"
    _made(files, lambda: deliveries.joined(files, range(sizes.big_days), sizes.big_rows))
    records = setting.race(_loads(setting, "big", files, SMALL_HEAP, excused=True), 2)
    return result("big", {"rows": f"{sizes.big_days * sizes.big_rows}", "MiB": f"{_mib(files)}", "heap": SMALL_HEAP}, records, {})


def latency(setting: Setting) -> Result:
    """From a file dropped to its rows in Gold, left running; a turn is a process of its own, its seconds are the median of its files."""
    sentences = {
        "watch": (OURS, "this project, `watch --every 200ms`"),
        "plain": ("plain_stream", "one `processingTime` stream with MERGE (`benchmarks/plain_stream.py`)"),
    }
    turns: dict[str, list[Taken]] = {kind: [] for kind in sentences}
    times: dict[str, list[float]] = {kind: [] for kind in sentences}
    for turn in range(setting.turns or 2):
        for kind in sentences if turn % 2 == 0 else reversed(sentences):
            home = setting.scratch / "latency"
            found = watch.measured(home, kind, setting.sizes.minutes, "200ms")
            shutil.rmtree(home)
            times[kind] += found.times
            turns[kind].append(Taken(statistics.median(found.times), peak_mib=found.peak_mib))
            setting.say(f"  {kind}, turn {turn + 1}: median {turns[kind][-1].seconds:.2f} s of {len(found.times)} files")
    case = f"a file of {watch.ROWS} rows every {watch.PAUSE:g} s"
    records = [Record(name, sentence, case, tuple(turns[kind])) for kind, (name, sentence) in sentences.items()]
    figures = {
        f"{name}: {what}": statistics.quantiles(times[kind], n=100)[cut - 1]
        for kind, (name, _) in sentences.items()
        for what, cut in (("p95 s", 95), ("p99 s", 99))
    }
    return result("latency", {"minutes a turn": f"{setting.sizes.minutes:g}", "rows a file": f"{watch.ROWS}"}, records, figures)


def new_day_case(days: int) -> str:
    """Of the work `correction`, where ours takes in a new day instead."""
    return f"{days} days, a new one instead"


PIPELINE, BRONZE, WARM = "all three layers", "Bronze alone", "Bronze alone, in one warm session"


def _loads(
    setting: Setting, work: str, files: Path, heap: str, floors: Sequence[str] = ("csv_to_parquet", "cat"), *, excused: bool
) -> list[Entry]:
    """Everyone from an empty home with all files of a folder; excused: a peer that fails is a result."""
    fresh = partial(_loaded, setting.folder("turns", work) / "home", files)
    whole = [
        Entry(c, PIPELINE, fresh, excused=excused and c.name in contestants.PEERS, heap=heap) for c in (contestants.ours(), *setting.peers)
    ]
    return [*whole, *(Entry(c, BRONZE, fresh, "no", heap=heap) for c in (contestants.ours("bronze"), *map(contestants.floor, floors)))]


def _loaded(home: Path, files: Path) -> Path:
    shutil.rmtree(home, ignore_errors=True)
    return deliveries.home(home, deliveries.contract(), files)


def _warm(setting: Setting, files: Path, turns: int) -> list[Record]:
    log = setting.folder("logs") / "warm.log"
    warm = Contestant("warm", "", ("-m", "benchmarks.warm", str(files), str(setting.scratch), str(setting.turns or turns)))
    command = warm.command(setting.scratch)
    measure.must(command, log, measure.run(command, log, cwd=ROOT, environment=contestants.environment(HEAP)))
    took = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    said = {"bronze": contestants.ours("bronze"), "csv_to_parquet": contestants.floor("csv_to_parquet")}
    return [Record(of.name, of.sentence, WARM, tuple(Taken(t[key]) for t in took)) for key, of in said.items()]


def _our_new_days(setting: Setting, case: Callable[[int], str]) -> list[Entry]:
    """Ours with a new day on every length of history. case: how it is called."""
    return [
        Entry(contestants.ours(), case(days), partial(_turn, _our_history(setting, days), _new(setting, days)))
        for days in setting.sizes.days
    ]


def _histories(setting: Setting, landing: Callable[[int], Path | None], compared: str = "must") -> tuple[list[Entry], list[Record]]:
    """Everyone with every length of history; a record with a note for those who could not prepare one."""
    entries, missing = [], []
    for days in setting.sizes.days:
        for contestant in (contestants.ours(), *setting.peers):
            kept = _prepared(setting, contestant, days)
            if isinstance(kept, str):
                missing.append(Record(contestant.name, contestant.sentence, f"{days} days", note=kept))
            else:
                fresh = partial(_turn, kept, landing(days))
                entries.append(Entry(contestant, f"{days} days", fresh, "may" if compared == "may" else "must"))
    return entries, missing


def _prepared(setting: Setting, contestant: Contestant, days: int) -> Path | str:
    """The folder where its home of so many days and one is kept, made on the first call; or why there is none."""
    sizes, files = setting.sizes, _history_files(setting)
    home = setting.folder("history", f"{sizes.rows}x{days}") / contestant.name
    kept, outcome = home.with_name(f"{home.name}.kept"), home.with_name(f"{home.name}.json")
    if not outcome.exists():
        for folder in (home, kept):
            shutil.rmtree(folder, ignore_errors=True)
        said = _prepare(setting, contestant, home, files, days)
        home.rename(kept)
        if said:
            shutil.rmtree(kept)
        outcome.write_text(json.dumps({"note": said}), "utf-8")
    note = str(json.loads(outcome.read_text("utf-8"))["note"])
    return note or kept


def _our_history(setting: Setting, days: int) -> Path:
    kept = _prepared(setting, contestants.ours(), days)
    assert isinstance(kept, Path), "ours has no limit"
    return kept


def _prepare(setting: Setting, contestant: Contestant, home: Path, files: Path, days: int) -> str:
    """Its own loads; empty if it came to the end."""
    deliveries.home(home, deliveries.contract())
    until = time.monotonic() + setting.limit
    for go in _goes(setting, contestant, days):
        for number in go:
            deliveries.land(files / deliveries.name(number), home)
        try:
            taken = execute(contestant, home, setting.folder("logs"), limit=None if contestant.name == OURS else until - time.monotonic())
        except TooLong:
            return f"{days} days of history not finished in {setting.limit / 60:g} min"
        except Stopped as stopped:
            if contestant.name == OURS:
                raise
            setting.say(str(stopped))
            return f"history not finished: failed between {go.start} and {go.stop} days"
        setting.say(f"  {contestant.name}, history of {go.stop} of {days + 1} days: {taken.seconds:.0f} s more")
    return ""


def _goes(setting: Setting, contestant: Contestant, days: int) -> list[range]:
    """What it is given at a time. The last day alone: what is measured comes after an everyday run, not after the load of a history."""
    if contestant.name == "naive":
        return [range(days + 1)]  # it keeps nothing, and makes everything from all files each time
    step = days if contestant.name == OURS else setting.sizes.goes
    return [*(range(at, min(at + step, days)) for at in range(0, days, step)), range(days, days + 1)]


def _turn(kept: Path, news: Path | None) -> Path:
    """The home as it was prepared, at the path where it was, and what is new in it."""
    place = kept.with_name(kept.name.removesuffix(".kept"))
    shutil.rmtree(place, ignore_errors=True)
    home = deliveries.copied(kept, place)
    if news:
        deliveries.land(news, home)
    return home


def _history_files(setting: Setting) -> Path:
    """Two days more than the longest history."""
    sizes = setting.sizes
    files = setting.scratch / "files" / f"{sizes.rows}x{max(sizes.days)}"
    _made(files, lambda: deliveries.deliver(files, range(max(sizes.days) + 2), sizes.rows))
    return files


def _new(setting: Setting, days: int) -> Path:
    return _history_files(setting) / deliveries.name(days + 1)


def _corrected(setting: Setting, days: int) -> Path:
    folder, middle = setting.scratch / "files" / f"{setting.sizes.rows}-corrected", days // 2
    if not (folder / deliveries.name(middle)).exists():
        deliveries.deliver(folder, [middle], setting.sizes.rows, corrected=True)
    return folder / deliveries.name(middle)


def _floors(setting: Setting, days: int) -> list[Entry]:
    """A bare append and a bare MERGE of the typed rows of the new day into a copy of our Silver of so many days."""
    kept = _our_history(setting, days)
    batch = setting.folder("floors", f"{days}") / "batch.parquet"
    home = _turn(kept, _new(setting, days))
    execute(contestants.ours(), home, setting.folder("logs"))
    # One day before: the rows that correct it are in the new file too.
    near = ", ".join(f"DATE '{deliveries.FIRST + timedelta(number)}'" for number in (days, days + 1))
    silver = DeltaTable(str(home / "data/silver/events"))
    rows = f"SELECT * FROM silver WHERE event_date IN ({near}) AND _file = '{deliveries.name(days + 1)}'"
    found = pa.table(QueryBuilder().register("silver", silver).execute(rows).read_all())
    parquet.write_table(found.cast(pa.schema(silver.schema().to_arrow())), batch)
    shutil.rmtree(home)

    def fresh() -> Path:
        place = setting.folder("floors", f"{days}") / "home"
        shutil.rmtree(place, ignore_errors=True)
        deliveries.home(place, deliveries.contract())
        deliveries.copied(kept / "data/silver/events", place / "data/silver/events")
        (place / "data/batch").mkdir()
        shutil.copy(batch, place / "data/batch")
        return place

    return [Entry(contestants.floor(name), f"{days} days", fresh, "no") for name in ("delta_append", "merge")]


def _pace(home: Path) -> float | None:
    """Files a second from the end of Bronze's first batch to that of its last, by the ledger; None: there was one batch."""
    rows = ledger.query(
        {"runs": home / "data" / ledger.RUNS},
        "SELECT started_at, seconds, files FROM runs WHERE layer = 'bronze' AND batch_id IS NOT NULL ORDER BY started_at",
    )
    ends = [row["started_at"].timestamp() + row["seconds"] for row in rows]
    if len(rows) < 2:
        return None
    return float(sum(row["files"] for row in rows[1:]) / (ends[-1] - ends[0]))


def _growth(taken: Taken) -> float:
    """Median memory of the last quarter of the time by that of the second; in the first the JVM starts."""
    sizes = [size for _, size in taken.samples]
    quarter = max(1, len(sizes) // 4)
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter] or sizes)


def _made(folder: Path, make: Callable[[], object]) -> None:
    """A folder of files, made once: what an interrupted try left is made again."""
    done = folder.with_name(f"{folder.name}.made")
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        make()
        done.touch()


def _mib(files: Path) -> int:
    return sum(file.stat().st_size for file in files.iterdir()) >> 20


def _history_given(sizes: Sizes) -> dict[str, str]:
    return {"days of history": ", ".join(map(str, sizes.days)), "rows a day": f"{sizes.rows}"}
