"""conf/<dataset>.yaml -> Contract, or every reason why not.

What was found good before is taken from `memo`; else `examine` judges it. A contract is refused whole or loaded whole; whatever
else it says that has no meaning here is in `without_effect`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from streaming_jobs.contract import memo
from streaming_jobs.contract.model import Contract, Examined
from streaming_jobs.contract.place import nearest
from streaming_jobs.errors import ContractError, UsageError

SETTINGS = "settings.yaml"


def load(file: Path) -> Contract:
    """The contract in `file`. Raises ContractError with every finding, one line each."""
    examined = _examine(file)
    if examined.contract is None:
        raise ContractError(examined.findings)
    return examined.contract


def load_all(conf: Path, datasets: Sequence[str] = ()) -> tuple[Contract, ...]:
    """Contracts of `conf`, sorted by dataset; only those of `datasets` when it names any.

    Raises ContractError with the findings of all the files asked for; a broken file that was not asked
    for is passed over. Raises UsageError for a dataset without a file, or no contract at all.
    """
    examined = examine_all(conf, datasets)
    findings = [line for e in examined for line in e.findings]
    if findings:
        raise ContractError(findings)
    return tuple(e.contract for e in examined if e.contract)


def examine_all(conf: Path, datasets: Sequence[str] = ()) -> tuple[Examined, ...]:
    """Like `load_all`, without raising for a broken contract."""
    files = {f.stem: f for f in sorted(conf.glob("*.yaml")) if f.name != SETTINGS}
    if not files:
        raise UsageError(
            f"{conf} holds no contract, so there is nothing to do. {_overlooked(conf)}"
            f"Write {conf / '<dataset>.yaml'}, or copy one of conf/examples."
        )
    for name in datasets:
        if name not in files:
            raise UsageError(
                f"there is no dataset {name}: no {conf / name}.yaml{nearest(name, files)}. {_overlooked(conf)}Datasets: {', '.join(files)}."
            )
    everything = {name: _examine(file) for name, file in files.items()}
    wanted = [name for name in files if name in datasets or not datasets]
    clashes = _clashes(everything)
    return tuple(_with(everything[name], clashes.get(name, ())) for name in wanted)


def _overlooked(conf: Path) -> str:
    names = sorted(f.name for f in conf.glob("*.yml"))
    return f"Not read, because only .yaml is: {', '.join(names)}. " if names else ""


def _examine(file: Path) -> Examined:
    held = memo.find(file)
    if held:
        return Examined(file, held, (), held.without_effect)
    # Only here: to import sqlglot and jsonschema takes a fifth of a second, and most runs find their contracts as they were.
    from streaming_jobs.contract.examine import examine

    return examine(file)


def _clashes(examined: Mapping[str, Examined]) -> dict[str, list[str]]:
    """Findings by dataset for Gold tables that several contracts write."""
    writers: dict[str, list[str]] = {}
    for name, one in examined.items():
        for table in one.contract.gold if one.contract else ():
            writers.setdefault(table.path, []).append(name)
    found: dict[str, list[str]] = {}
    for path, names in writers.items():
        for name in names if len(names) > 1 else ():
            others = ", ".join(str(examined[n].file) for n in names if n != name)
            found.setdefault(name, []).append(f"{examined[name].file}: {path} is also written by {others}; rename one of the tables.")
    return found


def _with(examined: Examined, findings: Sequence[str]) -> Examined:
    if not findings:
        return examined
    return Examined(examined.file, None, (*examined.findings, *findings), examined.without_effect)
