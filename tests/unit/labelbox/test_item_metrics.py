"""Metrics of data rows: their values by hand, for one class, several, and regions, and what is not given."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from labelloop.kinds import base
from labelloop.kinds.majority import Vote
from labelloop.kinds.regions import Regions
from labelloop.labelbox.item_metrics import METRICS, item_metrics
from labelloop.labelbox.lines import RESERVED
from labelloop.labelbox.model_types import TYPES
from labelloop.regions import write_regions
from labelloop.types import BOXES, SPANS, Box, Findings, Output, Region, Span


def output(choice: str = "single", **scores: float) -> Output:
    best = max(scores, key=scores.__getitem__)
    return Output(best, scores[best], scores, "v1", "multiple" if choice == "multiple" else "single")


def vote(*labels: str) -> Vote:
    return Vote(frozenset(labels))


def drew(*regions: Region) -> Vote:
    return Vote(frozenset(one.label for one in regions), result=write_regions(regions))


def regions(kind: str) -> Regions:
    found = base.find(kind)
    assert isinstance(found, Regions)
    return found


def test_one_class_of_several() -> None:
    found = item_metrics(output(a=0.5, b=0.3, c=0.2), [vote("a"), vote("a"), vote("b")], ["a"])

    assert tuple(found) == METRICS
    assert found == pytest.approx(
        {
            "loss": math.log(2),
            "entropy": -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)),
            "margin": 0.2,
            "agreement": 2 / 3,
        }
    )


def test_classes_that_are_independent() -> None:
    found = item_metrics(output("multiple", a=0.9, b=0.6, c=0.2), [vote("a"), vote("a", "b")], ["a"])

    halves = [-(share * math.log(share) + (1 - share) * math.log(1 - share)) for share in (0.9, 0.6, 0.2)]
    assert found == pytest.approx(
        {
            "loss": -(math.log(0.9) + math.log(0.4) + math.log(0.8)) / 3,
            "entropy": sum(halves) / 3,
            "margin": 0.2,
            "agreement": (1 / 2 + 1) / 2,
        }
    )


def test_nothing_given_and_nothing_said_agree() -> None:
    assert item_metrics(output("multiple", a=0.1), [vote()], [])["agreement"] == 1.0


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_certainty_costs_nothing_where_it_is_right_and_stays_finite_where_it_is_wrong(choice: str) -> None:
    right, wrong, unknown = (item_metrics(output(choice, a=1.0, b=0.0), [], [name])["loss"] for name in "abz")

    assert right == 0.0
    assert wrong == pytest.approx(math.log(1e7))
    assert 10.0 < unknown < 20.0
    assert item_metrics(output(choice, a=1.0, b=0.0))["entropy"] == 0.0


def test_a_row_without_a_truth_has_no_loss_and_without_votes_no_agreement() -> None:
    assert tuple(item_metrics(output(a=0.7, b=0.3))) == ("entropy", "margin")
    assert tuple(item_metrics(output(a=0.7, b=0.3), [Vote(reason="no"), Vote(skipped=True)], [])) == (
        "entropy",
        "margin",
    )


def test_a_model_of_one_class_is_ahead_of_nothing() -> None:
    assert item_metrics(output(a=1.0)) == {"entropy": 0.0, "margin": 1.0}


@pytest.mark.parametrize(
    ("votes", "agreement"),
    [
        ([drew(Region("car", Box(0.1, 0.1, 0.4, 0.4)))], 2 / 3),
        ([drew(Region("car", Box(0.12, 0.1, 0.4, 0.4)), Region("bus", Box(0.6, 0.6, 0.2, 0.2)))], 1.0),
        ([drew(Region("bus", Box(0.1, 0.1, 0.4, 0.4)))], 0.0),
        ([drew(), drew(Region("car", Box(0.1, 0.1, 0.4, 0.4)))], 1 / 3),
    ],
)
def test_boxes_agree_as_f1_does(votes: Sequence[Vote], agreement: float) -> None:
    answer = Findings((Region("car", Box(0.1, 0.1, 0.4, 0.4), 0.9), Region("bus", Box(0.6, 0.6, 0.2, 0.2), 0.5)), "v1")

    found = item_metrics(answer, votes, ["car"], regions(BOXES).matched)

    assert tuple(found) == ("entropy", "agreement")
    assert found["agreement"] == pytest.approx(agreement)
    assert found["entropy"] == pytest.approx((math.log(2) - 0.9 * math.log(0.9) - 0.1 * math.log(0.1)) / 2)


def test_spans_agree_where_they_are_the_same() -> None:
    answer = Findings((Region("PER", Span(0, 3)), Region("PER", Span(5, 9))), "v1")

    found = item_metrics(
        answer, [drew(Region("PER", Span(0, 3)), Region("PER", Span(5, 8)))], (), regions(SPANS).matched
    )

    assert found == {"agreement": 0.5}


def test_nothing_found_where_nothing_is_agrees() -> None:
    assert item_metrics(Findings((), "v1"), [drew()], (), regions(BOXES).matched) == {"agreement": 1.0}


def test_regions_without_what_compares_them_have_no_agreement() -> None:
    assert item_metrics(Findings((), "v1"), [drew()], ()) == {}


def test_none_of_them_is_called_what_labelbox_computes() -> None:
    assert RESERVED.isdisjoint(METRICS)


def test_the_page_has_all_of_them_and_all_model_types() -> None:
    page = (Path(__file__).parents[3] / "docs" / "labelbox-rows.md").read_text()
    table = page.partition("| metric |")[2]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(METRICS)
    assert all(f"`{one.name}`" in page for one in TYPES)
