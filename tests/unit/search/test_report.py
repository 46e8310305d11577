"""The page of a search: everything in it, nothing to fetch, nothing that could run."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from labelloop.run.report.search_page import search_page
from labelloop.types import Json


def trial(number: int, state: str = "finished", accuracy: float | None = 0.5, **more: Any) -> Json:
    return {
        "number": number,
        "state": state,
        "parameters": {"recipe": "finetune", "model": "resnet18", "learning_rate": "0.0025249851579372267"},
        "accuracy": accuracy,
        "log_loss": 0.25,
        "score": accuracy,
        "epochs": 3,
        "seconds": 1.5,
        "reason": "",
        "same_as": None,
        **more,
    }


@pytest.fixture
def found() -> Json:
    trials = [
        trial(0),
        trial(1, accuracy=0.9),
        trial(2, "pruned", 0.4),
        trial(3, "failed", None, reason="<script>alert(1)</script> & more"),
        trial(4, same_as=0),
    ]
    return {
        "objective": "accuracy on the validation side, then log-loss",
        "figure": "accuracy",
        "item": "picture",
        "pictures": 40,
        "space": {"model": ["resnet18"], "learning_rate": ["0.0002", "0.02"]},
        "ended": "all trials are made",
        "best": trials[1],
        "importances": {"learning_rate": 0.75, "model": 0.25},
        "counts": {"finished": 3, "pruned": 1, "failed": 1, "interrupted": 0},
        "seconds": 30.0,
        "jobs": 2,
        "trials_per_minute": 10.0,
        "trials": trials,
    }


class Balanced(HTMLParser):
    """Fails at a tag that closes another one than is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser hands them over
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Pass over what is complete in itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_trial_is_in_the_table_with_how_it_ended(found: Json) -> None:
    page = search_page(found)

    assert re.findall(r'<tr class="(\w+)">', page) == ["finished", "best", "pruned", "failed", "finished"]
    assert "finished, as trial 0" in page
    assert "0.00252" in page


def test_plots_show_what_has_an_accuracy(found: Json) -> None:
    page = search_page(found)

    assert re.findall(r'<circle class="(\w+)"', page) == ["finished", "finished", "pruned", "finished"]
    assert page.count("<rect ") == 2
    assert re.search(r'<path class="best" d="M\S+ \S+H\S+V\S+H\S+V\S+"/>', page)


def test_the_page_fetches_nothing_and_runs_nothing(found: Json) -> None:
    page = search_page(found)
    parser = Balanced()
    parser.feed(page)

    assert parser.open == []
    assert not re.search(r"<script|src=|href=|url\(|://", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert len(page) < 20_000


@pytest.mark.parametrize("trials", [[], [trial(0, "failed", None, reason="no")]])
def test_a_search_without_a_best_says_so(found: Json, trials: list[Json]) -> None:
    page = search_page({**found, "trials": trials, "best": None, "importances": {}})

    assert "No trial has finished yet" in page
    assert "<svg" not in page
