"""The dashboard for Grafana asks for what is exported, by the labels it has, of a data source that is chosen."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

from streaming_jobs import ledger
from streaming_jobs.figures import KINDS
from streaming_jobs.metrics import METRICS
from tests.conftest import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana-dashboard.json").read_text("utf-8"))
LABELS = {metric.name: set(metric.labels) for metric in METRICS}
VALUES = {
    "layer": {"bronze", "silver", "gold", "quarantine"},
    "kind": set(KINDS),
    "status": {str(status) for status in ledger.Status},
}
_METRIC = re.compile(r"\b(streaming_jobs_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def variables() -> list[str]:
    return [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]


def test_every_name_it_uses_is_exported_and_every_exported_name_is_in_it() -> None:
    used = {name for expr in [*expressions(), *variables()] for name, _ in _METRIC.findall(expr)}
    assert used == set(LABELS)


def test_it_asks_by_labels_that_a_metric_has_for_values_that_they_can_have() -> None:
    asked = [
        (name, *matcher) for expr in expressions() for name, matchers in _METRIC.findall(expr) for matcher in _MATCHER.findall(matchers)
    ]
    assert len(asked) > 20
    for name, label, _, value in asked:
        assert label in LABELS[name], (name, label)
        if "$" not in value:
            assert set(value.split("|")) <= VALUES[label], (name, label, value)
    for expr in expressions():
        has = set.union(*(LABELS[name] for name, _ in _METRIC.findall(expr)))
        grouped = {label for by in re.findall(r"(?:by|on) \(([^)]*)\)", expr) for label in by.split(", ")}
        assert grouped <= has, expr
    shown = [(t["expr"], set(re.findall(r"\{\{(\w+)\}\}", t["legendFormat"]))) for p in DASHBOARD["panels"] for t in p["targets"]]
    for expr, labels in shown:
        assert labels <= set.union(*(LABELS[name] for name, _ in _METRIC.findall(expr))), expr


def test_a_counter_is_asked_for_its_increase_and_a_gauge_for_its_value() -> None:
    for expr in expressions():
        for metric in METRICS:
            for found in re.finditer(rf"(\w+\()?{metric.name}\b", expr):
                assert (found[1] == "increase(") is (metric.kind == "counter"), expr


def test_every_panel_takes_the_data_source_that_is_chosen_and_has_a_place_of_its_own() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    panels = DASHBOARD["panels"]
    sources = [panel["datasource"] for panel in panels] + [target["datasource"] for panel in panels for target in panel["targets"]]
    assert all(source == chosen for source in sources)
    assert {v["name"]: v["type"] for v in DASHBOARD["templating"]["list"]} == {"datasource": "datasource", "dataset": "query"}
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
