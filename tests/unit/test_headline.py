"""The figure that a version is shown and compared by."""

from typing import Any

import pytest

from labelloop.models.headline import headline, headline_told, weight
from labelloop.models.versions import VersionRecord
from labelloop.train.tensorboard import measured
from labelloop.watch.figures import version_figures

SHARE = {"value": 0.9, "low": 0.77, "high": 0.96}
MAIN = {"name": "span F1", "value": 0.8, "low": 0.72, "high": 0.88}
CLASSES: dict[str, Any] = {"items": 40, "accuracy": SHARE}
REGIONS: dict[str, Any] = {**CLASSES, "main": MAIN}


def test_it_is_the_main_figure_and_else_the_accuracy() -> None:
    assert headline(CLASSES) == ("accuracy", SHARE)
    assert headline(REGIONS) == ("span F1", {"value": 0.8, "low": 0.72, "high": 0.88})
    assert headline({}) == ("accuracy", {"value": None, "low": None, "high": None})


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (CLASSES, "accuracy 0.900 (95 % interval 0.770 to 0.960)"),
        (REGIONS, "span F1 0.800 (95 % interval 0.720 to 0.880)"),
        ({"main": {**MAIN, "low": None, "high": None}}, "span F1 0.800"),
        ({"main": dict.fromkeys(("value", "low", "high")) | {"name": "AP50"}}, "no AP50"),
        ({}, "no accuracy"),
    ],
)
def test_it_is_told_with_its_interval(found: dict[str, Any], told: str) -> None:
    assert headline_told(found) == told


def test_it_weighs_as_much_as_a_share_of_so_many_items() -> None:
    assert weight(CLASSES) == 40
    # A share of .8 of 96 items has a standard error of .0408, and so an interval of .16.
    assert weight(REGIONS) == pytest.approx(0.8 * 0.2 / (0.16 / 3.92) ** 2, rel=1e-3)
    assert weight({**REGIONS, "main": {**MAIN, "value": 1.0, "low": None, "high": None}}) == 40
    assert weight({}) == 0
    assert weight({"items": 3, "main": {**MAIN, "value": None}}) == 0


def test_alarms_and_curves_get_it_too() -> None:
    def figures(found: dict[str, Any]) -> dict[str, float]:
        record = VersionRecord("v1", "key", "head", None, "", True, "", {"test": found})
        return {one.name: one.value for one in version_figures("p", record, None, 0.0)}

    assert figures(CLASSES) == {"Accuracy": 0.9}
    assert figures(REGIONS) == {"Accuracy": 0.9, "Main": 0.8}
    assert dict(measured(REGIONS)) == {"test/accuracy": 0.9, "test/span_F1": 0.8}
