"""A chart of matplotlib as a part of a page: no addresses, no style attributes, no names that another chart might carry too.

The page forbids styles that it does not know by their hash. So every style of a chart becomes a class of the page's one style sheet, and
every colour that stands for one of the page's becomes that variable, which is another one at night.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

COLOURS = {
    "ink": "#00aa01", "muted": "#00aa02", "line": "#00aa03", "bad": "#00aa04", "paper": "#00aa05", "none": "#00aa06",
    "c1": "#00aa11", "c2": "#00aa12", "c3": "#00aa13", "c4": "#00aa14", "c5": "#00aa15", "c6": "#00aa16",
    "on1": "#00aa21", "on2": "#00aa22", "on3": "#00aa23", "on4": "#00aa24", "on5": "#00aa25", "on6": "#00aa26",
}  # fmt: skip
"""Variable of the page -> the colour that charts are drawn with in its stead, which no chart has by itself."""

_LONG = re.compile(r"-?\d+\.\d{2,}")
_FONT = re.compile(r"font: (?P<weight>bold )?(?:\w+ )*?(?P<size>[\d.]+px)[^;]*")
_REFERENCE = re.compile(r"#([\w.-]+)")


@dataclass
class Styles:
    """Styles of all charts of a page, each by the name of its class."""

    names: dict[str, str] = field(default_factory=dict)

    def name(self, style: str) -> str:
        return self.names.setdefault(style, f"s{len(self.names)}")

    def css(self) -> str:
        return "".join(f".{name}{{{style}}}" for style, name in self.names.items())


def embed(drawn: str, key: str, title: str, description: str, tips: Mapping[str, str], styles: Styles) -> str:
    """A chart as markup. key: unlike that of any other chart of the page. tips: what parts say when pointed at, by their ids."""
    root = ET.fromstring(drawn)
    used = {name for element in root.iter() for value in element.attrib.values() for name in _references(value)}
    for element in root.iter():
        for child in [*element]:
            if _plain(child.tag) in ("metadata", "style"):
                element.remove(child)
    for element in root.iter():
        _clean(element, key, used, tips, styles)
    root.attrib = {
        "viewBox": root.attrib["viewBox"], "class": "chart", "role": "img", "aria-labelledby": f"{key}-title {key}-text",
    }  # fmt: skip
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        said = ET.Element(tag, {"id": f"{key}-{'title' if tag == 'title' else 'text'}"})
        said.text = text
        root.insert(place, said)
    return "".join(line.strip() for line in ET.tostring(root, encoding="unicode").splitlines())


def _clean(element: ET.Element, key: str, used: set[str], tips: Mapping[str, str], styles: Styles) -> None:
    element.tag = _plain(element.tag)
    kept: dict[str, str] = {}
    for long_name, value in element.attrib.items():
        name = _plain(long_name)
        if name == "id":
            if value in tips:
                tip = ET.Element("title")
                tip.text = tips[value]
                element.insert(0, tip)
            if value in used:
                kept["id"] = f"{key}-{value}"
        elif name == "style":
            kept["class"] = styles.name(_style(value))
        elif name in ("href", "clip-path"):
            kept[name] = _REFERENCE.sub(rf"#{key}-\1", value)
        elif name != "version":
            kept[name] = _LONG.sub(lambda found: f"{float(found[0]):.1f}", value)
    element.attrib = kept


def _style(style: str) -> str:
    style = _FONT.sub(lambda found: f"font-size: {found['size']}{'; font-weight: 600' if found['weight'] else ''}", style)
    for variable, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{variable})")
    return style


def _references(value: str) -> list[str]:
    return _REFERENCE.findall(value) if value.startswith(("url(", "#")) else []


def _plain(name: str) -> str:
    """A name without its namespace, which a page does without."""
    return name.rpartition("}")[2]
