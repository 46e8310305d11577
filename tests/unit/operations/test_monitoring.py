"""deploy/monitoring: alerts and dashboard ask for what ``/metrics`` has, by labels and values that it gives."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from labelloop.cli.main import main
from labelloop.counters import LoopCounters, OfMachine
from labelloop.errors import NotFound
from labelloop.loop.gauges import Gauges, OfLoop, told
from labelloop.loop.process import open_hub
from labelloop.loop.queue import NAMES, QUEUES
from labelloop.serve.counters import OfCatalog, ServeCounters
from labelloop.serve.registry import ModelChoice
from labelloop.settings import Settings
from labelloop.studio.backends import ACTIONS
from labelloop.types import Failure, Json, Target
from support.operations import web_routes

FOLDER = Path(__file__).parents[3] / "deploy/monitoring"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *((panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]),
]
OF_PROMETHEUS = {"job", "instance"}


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Each series that web, worker and inference tell once something has happened, with its labels."""
    app, web, inference = Flask("counted"), LoopCounters(), ServeCounters()
    web.watch(app)
    app.add_url_rule("/predict", view_func=lambda: "", methods=["POST"])
    app.test_client().post("/predict")
    web.predicted([{}])
    web.heard(ACTIONS[0])
    web.turned_away("slow")
    web.looked_up(1, 1)
    web.called("other", "left_alone", 0.0)
    web.called("other", "failed", 0.1)
    web.worked("retrain", "finished", 1.0)
    inference.answered([Failure("no")])
    inference.worked([Failure("no")], 0.1)
    pages = [web.page([OfMachine(FOLDER), Everything()]), inference.page([OfCatalog(Loaded())])]
    families = [one for page in pages for one in text_string_to_metric_families(page.get_data(as_text=True))]
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


class Everything:
    """A project of which all is known that may be told."""

    def collect(self) -> Iterator[Metric]:
        found = Gauges(
            champion="v1",
            announced="v1",
            measures={"accuracy": [0.9, 0.8, 0.95]},
            runs={"k": "promoted"},
            last="k",
            succeeded=1.0,
            stages={"train": 1.0},
            agreed=(2, 1),
            deployment_failed=False,
        )
        yield from told({"7": (found, 1, 1.0)}, {("labelloop", "waiting"): 1}, 1)
        yield from OfLoop(open_hub(Settings(redis_url="redis://127.0.0.1:1/0"))).collect()


class Loaded:
    """A catalog with one version."""

    def choose(self, target: Target) -> ModelChoice:
        raise NotFound(str(target))

    def state(self) -> Json:
        return {"mode": "store", "loaded": ["ls-8080/7/v1"]}


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """The series that an expression reads, each with what it asks of their labels."""
    found = re.findall(r"\b(labelloop_\w+|up)\b(?:\{([^}]*)\})?", re.sub(r'job="[^"]*"', 'job="x"', expression))
    return [(name, dict(re.findall(r'(\w+)=~?"([^"]*)"', asked))) for name, asked in found]


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_what_is_asked_for_is_there(exposed: dict[str, set[str]], name: str, expression: str) -> None:
    series = selectors(expression)

    assert series
    for one, asked in series:
        labels = {"up": set[str]()}.get(one, exposed.get(one))
        assert labels is not None, one
        assert set(asked) <= labels | OF_PROMETHEUS, one
        grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")}
        assert grouped <= labels | OF_PROMETHEUS, one


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_it_is_asked_for_by_values_that_there_are(name: str, expression: str) -> None:
    known = {
        "route": web_routes(),
        "action": {*ACTIONS, "other"},
        "outcome": {"predicted", "skipped", "answered", "failed", "left_alone", "hit", "miss"},
        "state": {"waiting", "started", "scheduled", "failed"},
        "queue": set(QUEUES),
        "function": {*NAMES, "other"},
    }
    for _, asked in selectors(expression):
        for label, values in known.items():
            assert set(asked[label].split("|") if label in asked else ()) <= values


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_brackets_are_closed_and_counters_are_not_read_as_they_stand(name: str, expression: str) -> None:
    assert [expression.count(one) for one in "({["] == [expression.count(one) for one in ")}]"]
    for counter in re.findall(r"(?:(\w+)\()?labelloop_\w+_(?:total|bucket)\b", expression):
        assert counter in ("rate", "increase")


def test_each_alert_says_what_is_the_matter_and_what_to_do() -> None:
    commands = set(main.list_commands(None))  # type: ignore[arg-type]
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}
        named = re.findall(r"`labelloop ([a-z-]+)", rule["annotations"]["action"])
        assert set(named) <= commands, rule["alert"]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_panels_lie_beside_each_other() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & places, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_uses_the_variables_that_it_has() -> None:
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval"}

    assert used == declared
