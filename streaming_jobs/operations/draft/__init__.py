"""`contract draft`: a complete contract guessed from samples of a source.

Every type takes every value that was seen, nothing that was delivered is lost by a guess, and what could be read in two
ways is left as text. Reads the samples; starts no JVM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path, PurePosixPath

from streaming_jobs.contract.place import Place
from streaming_jobs.contract.server import landing
from streaming_jobs.errors import UsageError
from streaming_jobs.operations.draft import keys, names
from streaming_jobs.operations.draft.columns import columns
from streaming_jobs.operations.draft.page import Guesses, page
from streaming_jobs.operations.draft.source import read

_PLAIN_FOLDERS = ("data", "raw")


@dataclass(frozen=True)
class Draft:
    """text: the contract's file. rows: well-formed rows read; seen: those looked at."""

    dataset: str
    text: str
    rows: int
    seen: int


def draft(files: Sequence[Path], home: Path, name: str | None = None, out: Path | None = None) -> Draft:
    """Draft a contract from files of one source; with `out`, also write it there.

    home: what a path of the contract is relative to. name: of the dataset; else the stem of `out`, else made of the files' names.
    Raises UsageError for a file of which nothing can be drafted, a name that no dataset can have, and an `out` that is there already.
    """
    wanted = _dataset(name, out)
    if out is not None and out.exists():
        raise UsageError(f"{out} is there already and was left as it is; name another file with --out, or remove it first.")
    source = read([file.absolute() for file in files])
    dataset = wanted or _made(source.files, home)
    found, nulls = columns(source)
    path, elsewhere = _path(source.files, home, dataset)
    text = page(Guesses(dataset, path, elsewhere, source, found, nulls, keys.candidates(source, found, dataset), keys.newest(found)))
    if out is not None:
        _write(text, out)
    return Draft(dataset, text, source.read, len(source.rows))


def _dataset(name: str | None, out: Path | None) -> str | None:
    if out is not None and out.suffix != ".yaml":
        raise UsageError(f"--out {out}: a contract's file ends with .yaml, such as conf/orders.yaml; nothing was written.")
    if name is not None and out is not None and out.stem != name:
        raise UsageError(f"--name {name} and --out {out}: the file is named after the dataset; leave one of them out. Nothing was written.")
    given = name if name is not None else out.stem if out is not None else None
    if given is not None and not names.is_dataset(given):
        raise UsageError(
            f"{given}: a dataset's name is lower-case letters, digits and _, a letter first, and not settings; name it with --name. "
            "Nothing was written."
        )
    return given


def _made(files: Sequence[Path], home: Path) -> str:
    """By what the files' names have in common, else by the nearest folder of the home whose name says something."""
    stem = names.pattern([file.name for file in files]).split(".")[0]
    folders = (folder.name for folder in files[0].parents if home in folder.parents and folder.name not in _PLAIN_FOLDERS)
    return next((name for name in map(names.dataset, (stem, *folders)) if name), "dataset")


def _path(files: Sequence[Path], home: Path, dataset: str) -> tuple[str, bool]:
    """The landing's path, and whether it is another folder than that of the files."""
    glob = names.pattern([file.name for file in files])
    folder = Path(commonpath([file.parent.resolve() for file in files]))
    if any(file.parent.resolve() != folder for file in files):
        glob = f"**/{glob}"
    if folder.is_relative_to(home):
        inside = f"{folder.relative_to(home).as_posix()}/{glob}"
        if _is_landing(inside, home):
            return inside, False
    usual = f"data/raw/{glob}"
    return (usual if _is_landing(usual, home) else f"data/raw/{dataset}/*.csv"), True


def _is_landing(path: str, home: Path) -> bool:
    place = Place("")
    landing({"servers": [{"server": "landing", "format": "csv", "path": path}]}, PurePosixPath(home.as_posix()), place)
    return not place.findings


def _write(text: str, out: Path) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{out} is there already and was left as it is; name another file with --out, or remove it first.") from None
    except FileNotFoundError:
        raise UsageError(f"--out {out}: there is no folder {out.parent}; create it, or name another. Nothing was written.") from None
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror or error}. Nothing was written.") from None
