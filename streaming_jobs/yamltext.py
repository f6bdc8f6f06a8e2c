"""Why a text is not YAML, for whoever wrote it: the place, the reason, and what it mostly comes from."""

from __future__ import annotations

import yaml

_COMES_FROM = {
    r"'\t'": "YAML is indented with spaces; replace the tab",
    "<block end>": "indent the line like those it belongs to",
    "mapping values are not allowed": "put a text with a colon in quotes, or indent the line like those it belongs to",
}


def fault(error: yaml.YAMLError) -> str:
    """`line 3, column 1: …` in one line; what the parser says alone when it names no place."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not (problem and mark):
        return " ".join(str(error).split())
    remedy = next((f"; {text}" for sign, text in _COMES_FROM.items() if sign in problem), "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{remedy}"
