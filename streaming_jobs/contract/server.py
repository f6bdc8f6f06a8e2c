"""The server `landing`: where CSV files land and how they are written."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from streaming_jobs.contract import custom
from streaming_jobs.contract.model import Landing
from streaming_jobs.contract.place import Place, items, nearest, shown, text

ENCODINGS = ("utf-8", "utf-16", "utf-16be", "utf-16le", "utf-32", "iso-8859-1", "us-ascii")
_ALIASES = {
    "utf8": "utf-8", "utf16": "utf-16", "utf16be": "utf-16be", "utf16le": "utf-16le", "utf32": "utf-32",
    "latin1": "iso-8859-1", "iso88591": "iso-8859-1", "l1": "iso-8859-1", "ascii": "us-ascii", "usascii": "us-ascii",
}  # fmt: skip
_OURS = ("data/bronze", "data/silver", "data/gold", "data/quarantine", "data/ledger", "checkpoints")


def landing(document: dict[str, Any], home: PurePosixPath, place: Place) -> Landing:
    """Landing of the document; with findings, and something in its stead, when there is none.

    home: the folder that holds conf/, only to recognise an absolute path into our own tables.
    """
    servers = items(document, "servers")
    ours = [s for s in servers if s.get("server") == "landing"]
    for other in servers:
        if other.get("server") not in (None, "landing"):
            place.without_effect(f"server {other['server']}; only the one named landing is read")
    if len(ours) != 1:
        names = [str(s["server"]) for s in servers if "server" in s]
        place.at("servers").wrong(
            f"{len(ours)} servers are named landing, one is needed" + (nearest("landing", names) if names and not ours else "")
        )
        return Landing("data/raw", "*.csv")
    here, server = place.at("server landing"), ours[0]
    if "roles" in server:
        here.without_effect("roles; access is the file system's")
    found = custom.values(server, "server landing", here)
    file_format = server.get("format")
    if file_format is None:
        if server.get("type") != "local":  # of a local one the standard itself says that it is missing
            here.wrong("format is missing; write `format: csv`")
    elif not isinstance(file_format, str) or file_format.lower() != "csv":
        here.wrong(f"format: {shown(file_format)} must be csv")
    folder, glob = _path(text(server, "path"), home, here)
    delimiter, quote = _delimiter(server, found, here), _character(found, "quote", '"', here)
    if quote and quote == delimiter:
        here.wrong(f"quote and delimiter are both {quote}")
    header = found.get("header", True)
    if not isinstance(header, bool):
        here.wrong(f"header: {shown(header)} must be true or false")
        header = True
    encoding = _encoding(server.get("encoding", "utf-8"), "encoding", here) or "utf-8"
    return Landing(
        folder, glob, delimiter, encoding, header, quote, _character(found, "escape", quote or '"', here),
        custom.texts(found, "nullValues", here), _fallbacks(found, encoding, here),
    )  # fmt: skip


def _path(path: str | None, home: PurePosixPath, place: Place) -> tuple[str, str]:
    """Split at the first part with a wildcard; the last part is always a file pattern."""
    here = place.at(".path")
    if path is None:
        here.wrong("missing; such as data/raw/events_*.csv")
        return "data/raw", "*.csv"
    if re.search(r"[\x00-\x1f\\{}:~$]", path) or path != path.strip():
        here.wrong(f"{shown(path)}: a plain path with /, and only * ? [a-z] ** as wildcards; no URL, braces, ~ or variables")
        return "data/raw", "*.csv"
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if ".." in parts:
        here.wrong(f"{path}: must not climb with ..; name the folder from the home on, or from / on")
    last = parts[-1] if parts and not path.endswith("/") else ""
    if not (re.search(r"[*?\[]", last) or "." in last):
        here.wrong(f"{path}: names a folder; end it with a file pattern such as *.csv")
    if any(p.count("[") != p.count("]") for p in parts):
        here.wrong(f"{path}: an opened [ is never closed, or the other way round")
    at = next((n for n, p in enumerate(parts) if re.search(r"[*?\[]", p)), max(len(parts) - 1, 0))
    hidden = [p for p in parts[at:] if p.startswith(("_", "."))]
    if hidden:
        here.wrong(f"{path}: {hidden[0]} matches only hidden names (a leading _ or .), which are never read")
    folder = ("/" if path.startswith("/") else "") + "/".join(parts[:at]) or "."
    _refuse_own_folders(path, folder, home, here)
    return folder, "/".join(parts[at:]) or "*.csv"


def _refuse_own_folders(path: str, folder: str, home: PurePosixPath, place: Place) -> None:
    absolute = home / folder
    for own in _OURS:
        inside = (home / own == absolute) or (home / own) in absolute.parents
        if inside:
            place.wrong(f"{path}: lies inside {own}, which holds our own tables; use a folder such as data/raw")
        elif absolute in (home / own).parents:
            place.wrong(f"{path}: the landing folder {folder} would contain {own}; use a folder of its own such as data/raw")
            return


def _delimiter(server: dict[str, Any], found: dict[str, Any], place: Place) -> str:
    if "delimiter" in server and "delimiter" in found and server["delimiter"] != found["delimiter"]:
        place.wrong("delimiter is given twice, as the server's key and as a custom property; keep one")
    given = {"delimiter": server["delimiter"]} if "delimiter" in server else found
    if given.get("delimiter") == r"\t":
        return "\t"
    value = _character(given, "delimiter", ",", place)
    if not value or value in "\r\n":
        place.wrong(f"delimiter: {shown(value)} must be one character, not a line break")
        return ","
    return value


def _character(found: dict[str, Any], name: str, default: str, place: Place) -> str:
    value = found.get(name, default)
    # An empty quote switches quoting off; the others need their character.
    if not isinstance(value, str) or len(value) > 1 or (value == "" and name != "quote"):
        place.wrong(f"{name}: {shown(value)} must be one character")
        return default
    return value


def _encoding(value: object, name: str, place: Place) -> str | None:
    known = _ALIASES.get(re.sub(r"[-_ ]", "", str(value).lower()))
    if known is None:
        place.wrong(f"{name}: Spark cannot read {shown(value)}; convert the files to one of {', '.join(ENCODINGS)}")
    return known


def _fallbacks(found: dict[str, Any], encoding: str, place: Place) -> tuple[str, ...]:
    given = custom.texts(found, "fallbackEncodings", place)
    known = [e for e in (_encoding(g, "fallbackEncodings", place) for g in given) if e]
    tried = [encoding, *known]
    for n, name in enumerate(tried[1:], 1):
        if "iso-8859-1" in tried[:n]:
            place.wrong(f"fallbackEncodings: {name} is never reached, any bytes are valid iso-8859-1; put iso-8859-1 last")
        elif name in tried[:n]:
            place.wrong(f"fallbackEncodings: {name} was already tried before; remove it")
    return tuple(known)
