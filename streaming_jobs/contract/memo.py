"""A contract that was found good is not judged again until its bytes or the judges change.

`checkpoints/contracts/<dataset>.json`. To judge one takes 0.3 s with the imports that it needs, a third of a run that finds
nothing to do. To remove the files costs no more than that.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from streaming_jobs.contract.model import Contract

_LIBRARIES = ("yaml", "jsonschema", "open_data_contract_standard", "sqlglot")


@dataclass(frozen=True)
class _Memo:
    """sha256: of the file. at: where it is, links followed, because a landing path is read from there."""

    sha256: str
    at: str
    judges: str
    contract: Contract


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def find(file: Path) -> Contract | None:
    """The contract that these bytes were found to be by these judges; None: not known, also where what is kept cannot be read."""
    try:
        held = _adapter().validate_json(_place(file.parent.parent, file.stem).read_bytes())
        now = (sha256(file.read_bytes()), str(file.resolve()), _judges(), file)
    except (OSError, ValidationError):
        return None
    return held.contract if now == (held.sha256, held.at, held.judges, held.contract.file) else None


def keep(contract: Contract, home: Path) -> None:
    """Atomically, and only where it is not kept yet; without it the next run judges the contract again, no more."""
    if find(contract.file) == contract:
        return
    memo = _Memo(contract.sha256, str(contract.file.resolve()), _judges(), contract)
    written = _adapter().dump_json(memo)
    if _adapter().validate_json(written) != memo:
        return  # a bound of `.inf`, which JSON has no number for
    place = _place(home, contract.dataset)
    staged = place.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True, mode=0o700)
        staged.write_bytes(written)
        staged.replace(place)


def _place(home: Path, dataset: str) -> Path:
    return home / "checkpoints" / "contracts" / f"{dataset}.json"


@cache
def _adapter() -> TypeAdapter[_Memo]:
    return TypeAdapter(_Memo)


@cache
def _judges() -> str:
    """Another text when this package, a library that it judges by, or Python is another one."""
    return sha256("\n".join([sys.version, *(f"{file} {s.st_size} {s.st_mtime_ns}" for file in _sources() for s in [file.stat()])]).encode())


def _sources() -> Iterator[Path]:
    yield from sorted(Path(__file__).parent.glob("*.py"))
    for name in _LIBRARIES:
        found = find_spec(name)
        if found and found.origin:
            yield Path(found.origin)
