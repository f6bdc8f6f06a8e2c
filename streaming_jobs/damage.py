"""State that contradicts itself: tables, checkpoints and ledger, looked at without Spark before a layer begins.

Each finding is one line with the one command that repairs it. What a layer can put right by itself, because
another part of the state says all of it, is none: a lost checkpoint, a lost Silver or Gold table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from streaming_jobs import apps, checkpoints, ledger, marks, snapshots
from streaming_jobs.contract import Contract
from streaming_jobs.errors import DamagedState, Failure, Unexpected
from streaming_jobs.run import Healed, Run
from streaming_jobs.settings import Settings

LAYERS = ("bronze", "silver", "gold")
ABOVE = {"silver": "bronze", "gold": "silver"}


@dataclass(frozen=True)
class Damage:
    """place: relative to the home. what: said of it. repair: the command, and what it does."""

    place: str
    what: str
    repair: str


def require_none(layer: str, contract: Contract, settings: Settings) -> None:
    """Raise DamagedState for the first finding."""
    for found in of_layer(layer, contract, settings):
        raise DamagedState(f"{layer} of {contract.dataset}: {found.place} {found.what}. Nothing was read or written. {found.repair}")


def of_layer(layer: str, contract: Contract, settings: Settings) -> Iterator[Damage]:
    """What is seen at a glance: names, sizes, newest commits. Where a table cannot be opened nothing more is looked for."""
    above = LAYERS[: LAYERS.index(layer) + 1]
    unreadable = [found for name in above for found in _unreadable(name, contract, settings)] + [
        *of_ledger(settings),
        *_of_forgotten(settings),
    ]
    yield from unreadable
    if not unreadable:
        yield from _set_back(layer, contract, settings)
        yield from _OF[layer](contract, settings)


def of_files(layer: str, contract: Contract, settings: Settings) -> Iterator[Damage]:
    """Data files that a table's log names and that are not there, or have another size. Looks at every file's name, reads none."""
    for name in marks.tables(layer, contract):
        table = settings.table(name)
        found = None if snapshots.flaw(table) else snapshots.newest(table)
        if found is None:
            continue
        files = snapshots.files(found)
        sizes = dict(zip(files["path"].to_pylist(), files["size_bytes"].to_pylist(), strict=True))
        wrong = sorted(path for path, size in sizes.items() if _size(table / path) != size and _size(table / unquote(path)) != size)
        if wrong:
            what = f"lacks {len(wrong)} of its {len(sizes)} data files, or they have another size; the first is {wrong[0]}"
            yield Damage(f"data/{name}", what, repair(layer, contract.dataset))


def explained(failure: Failure, contract: Contract, settings: Settings) -> Failure:
    """A failure that nobody foresaw, or the damage that it comes from."""
    if not isinstance(failure, Unexpected):
        return failure
    for layer in LAYERS:
        for found in of_files(layer, contract, settings):
            said = f"{found.place} {found.what}. What was committed stays, the rest was left. {found.repair}"
            explained = DamagedState(f"{layer} of {contract.dataset}: {said}")
            explained.__cause__ = failure
            return explained
    return failure


def set_aside(layer: str, contract: Contract, run: Run) -> None:
    """Move the tables of a layer that cannot be read any more out of the way of a rebuild, to data/set-aside.

    Raises DamagedState for Bronze, whose rows may be nowhere else, unless `run.force`; nothing is moved then.
    """
    settings = run.settings
    for found in [*_unreadable(layer, contract, settings), *of_files(layer, contract, settings)]:
        if layer == "bronze" and not run.force:
            raise DamagedState(f"bronze of {contract.dataset}: {found.place} {found.what}. Nothing was read or written. {found.repair}")
        place = move_aside(found.place.removeprefix("data/"), settings)
        run.notify(Healed(layer, contract.dataset, f"{found.place} {found.what}; it was moved to {place}"))
    for name, held, _ in marks.set_back(layer, contract, settings):
        _forget_commits_after(held, settings.table(name))


def _forget_commits_after(version: int, table: Path) -> None:
    """Remove what Hadoop and Delta kept as checksums of commits that are lost: the next ones would be measured by them."""
    for file in (table / "_delta_log").glob("*.crc"):
        number = file.name.lstrip(".").split(".")[0]
        if number.isdecimal() and int(number) > version:
            file.unlink()


def move_aside(name: str, settings: Settings) -> str:
    """Move a table to data/set-aside; returns where, relative to the home."""
    target = settings.table("set-aside") / f"{name.replace('/', '-')}-{ledger.now():%Y%m%dT%H%M%S.%f}"
    target.parent.mkdir(exist_ok=True, mode=0o700)
    settings.table(name).rename(target)
    return str(target.relative_to(settings.home))


def of_ledger(settings: Settings) -> Iterator[Damage]:
    for name in (ledger.FILES, ledger.RUNS):
        if flaw := snapshots.flaw(settings.table(name)):
            yield Damage(f"data/{name}", flaw, "`streaming-jobs rebuild ledger` makes the ledger again from bronze.")


def _of_forgotten(settings: Settings) -> Iterator[Damage]:
    if flaw := snapshots.flaw(settings.table(ledger.FORGOTTEN)):
        remedy = "Restore it from a backup: without it the keys that `forget` erased would be read again with the next delivery."
        yield Damage(f"data/{ledger.FORGOTTEN}", flaw, remedy)


def repair(layer: str, dataset: str) -> str:
    """The command that makes a layer again."""
    if layer == "bronze":
        return (
            "Restore data/ and checkpoints/ from one backup; or make it from the files that still lie in the landing folder, without "
            f"those that do not: `streaming-jobs rebuild bronze {dataset} --force`."
        )
    return f"`streaming-jobs rebuild {layer} {dataset}` makes {layer} again from {ABOVE[layer]}."


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _unreadable(layer: str, contract: Contract, settings: Settings) -> Iterator[Damage]:
    for name in marks.tables(layer, contract):
        if flaw := snapshots.flaw(settings.table(name)):
            yield Damage(f"data/{name}", flaw, repair(layer, contract.dataset))


def _set_back(layer: str, contract: Contract, settings: Settings) -> Iterator[Damage]:
    for name, held, marked in marks.set_back(layer, contract, settings):
        what = f"is at version {held} and was at {marked}: an older copy of it was restored, or its newest commits are lost"
        yield Damage(f"data/{name}", what, repair(layer, contract.dataset))


def _of_bronze(contract: Contract, settings: Settings) -> Iterator[Damage]:
    """Commits by somebody else: whatever they changed, the ledger and the layers below know nothing of it."""
    for name, versions in marks.since("bronze", contract, settings):
        for version in versions:
            if operation := _foreign(contract, settings, version):
                yield Damage(
                    f"data/{name}",
                    f"was changed by another hand in version {version} ({operation})",
                    f"`streaming-jobs rebuild bronze {contract.dataset}` reads the files of the landing folder again.",
                )


def _foreign(contract: Contract, settings: Settings, version: int) -> str | None:
    """The operation of a commit to Bronze that changed rows and is not ours."""
    try:
        actions = checkpoints.actions(settings.table(contract.bronze_table), version)
    except (OSError, ValueError):
        return None  # cleaned away since: a damaged one could not be opened
    ours = any(a.get("txn", {}).get("appId") == apps.bronze(contract.dataset) for a in actions)
    if ours or not checkpoints.has_changed_rows(actions):
        return None
    return str(next((a["commitInfo"].get("operation") for a in actions if "commitInfo" in a), None) or "unknown")


def _of_silver(contract: Contract, settings: Settings) -> Iterator[Damage]:
    def writes(query: str) -> dict[str, str]:
        return {
            contract.silver_table: apps.silver(contract.dataset, "merge", query),
            contract.quarantine_table: apps.silver(contract.dataset, "quarantine", query),
        }

    yield from _of_stream("silver", contract, contract.bronze_table, writes, settings)


def _of_gold(contract: Contract, settings: Settings) -> Iterator[Damage]:
    def writes(query: str) -> dict[str, str]:
        return {g.path: apps.gold(g.name, query) for g in contract.gold}

    yield from _of_stream("gold", contract, contract.silver_table, writes, settings)


def _of_stream(
    layer: str, contract: Contract, source: str, writes: Callable[[str], Mapping[str, str]], settings: Settings
) -> Iterator[Damage]:
    """writes: the id of the stream's query -> table -> the application id by which it writes to the table."""
    checkpoint, above = settings.checkpoint(layer, contract.dataset), settings.table(source)
    place, command = f"checkpoints/{layer}/{contract.dataset}", repair(layer, contract.dataset)
    if flaw := checkpoints.flaw(checkpoint):
        yield Damage(f"{place}/{flaw}", "and the stream cannot go on", command)
        return
    if snapshots.newest(above) is None or checkpoints.is_of_another(checkpoint, above):
        return
    if (read := checkpoints.is_ahead(checkpoint, above)) is not None:
        held = snapshots.existing(above).version()
        yield Damage(place, f"has read version {read} of data/{source}, which is at {held}: an older copy of it was restored", command)
    query = checkpoints.query_id(checkpoint) or ""
    written = {**writes(query), ledger.RUNS: apps.runs(layer, contract.dataset, query)}
    batch = checkpoints.is_set_back(checkpoint, {settings.table(name): app for name, app in written.items()})
    if batch is not None:
        yield Damage(place, f"does not know batch {batch}, which the tables have: an older copy of it was restored", command)


_OF: dict[str, Callable[[Contract, Settings], Iterator[Damage]]] = {"bronze": _of_bronze, "silver": _of_silver, "gold": _of_gold}
