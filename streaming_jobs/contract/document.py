"""A contract's file as plain data: UTF-8, YAML without doubled keys, no secrets in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from streaming_jobs import yamltext
from streaming_jobs.contract.place import Place

_SECRET = re.compile(r"password|passwd|passphrase|secret|token|accesskey|apikey|privatekey|credential|connectionstring")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """SafeLoader that leaves dates as the text they are and notes keys given twice (plain YAML keeps the last)."""

    yaml_implicit_resolvers = {  # noqa: RUF012  a class attribute by PyYAML's design
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.doubled: list[str] = []
        self.checked: set[int] = set()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # A node is constructed again where an alias merges it; by then its keys are flattened.
        if id(node) not in self.checked:
            self.checked.add(id(node))
            lines: dict[str, int] = {}
            for key, _ in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines and name != "<<":
                    self.doubled.append(f"line {line}: {name} is given twice (first in line {lines[name]}); keep one")
                lines.setdefault(name, line)
        return super().construct_mapping(node, deep)


def content(file: Path, place: Place) -> bytes | None:
    """The bytes of a file; None, with a finding, when it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        place.wrong(f"cannot be read: {error.strerror}")
        return None


def read(content: bytes, place: Place) -> dict[str, Any] | None:
    """The document of one file; None, with a finding, when there is none that can be judged."""
    try:
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place.wrong(f"not UTF-8 from byte {error.start} on; save it as UTF-8")
        return None
    try:
        loader = _Loader(written)
        document = loader.get_single_data()
    except yaml.YAMLError as error:
        place.wrong(f"not readable as YAML: {yamltext.fault(error)}")
        return None
    for line in loader.doubled:
        place.wrong(line)
    if document is None:
        place.wrong("empty; a contract starts with `apiVersion: v3.2.0` and `kind: DataContract`")
        return None
    if not isinstance(document, dict):
        place.wrong("not a mapping; a contract starts with `apiVersion: v3.2.0` and `kind: DataContract`")
        return None
    try:
        json.dumps(document, default=str, skipkeys=True)
    except ValueError:
        place.wrong("an alias (*) holds itself; write the part out")
        return None
    if not {"apiVersion", "kind"} & document.keys():
        # A file of something else has as many faults as keys; that it is none of ours is all there is to say.
        place.wrong(
            "not a contract, it has neither apiVersion nor kind; every .yaml file of conf/ is read as one: "
            "move it elsewhere, or start it with `apiVersion: v3.2.0` and `kind: DataContract`"
        )
        return None
    for where in _secrets(document, ""):
        place.wrong(f"{where} looks like a secret; contracts are committed, so remove it and change the secret")
    return document


def _secrets(value: object, where: str) -> Iterator[str]:
    """Places of non-empty values under a secret-looking key; the value itself is never shown."""
    if isinstance(value, list):
        for n, item in enumerate(value):
            yield from _secrets(item, f"{where}[{n}]")
    elif isinstance(value, dict):
        named = value.get("property")
        if isinstance(named, str) and _looks_secret(named) and value.get("value") not in (None, "", False):
            yield f"{where} {named}"
        for key, item in value.items():
            here = f"{where}.{key}" if where else str(key)
            if isinstance(item, (dict, list)):
                yield from _secrets(item, here)
            elif _looks_secret(str(key)) and item not in (None, "", False):
                yield here


def _looks_secret(name: str) -> bool:
    return _SECRET.search(re.sub(r"[^a-z]", "", name.lower())) is not None
