"""Figures as functions of item weights: those of the items drawn, and COCO's average precision."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.regions import read_regions
from labelloop.run.located import Located
from labelloop.run.region_measures import precisions
from labelloop.run.resampled import F1, AveragePrecision, Figure
from labelloop.types import Box, Region
from support.examples import examples

LABELS = ("cat", "dog")
SIDE = 100
"""Pixels of a picture's sides."""


def overlaps(ones: Sequence[Region], others: Sequence[Region]) -> npt.NDArray[np.float64]:
    found = [_overlap(one.shape, other.shape) for one in ones for other in others]
    return np.array(found).reshape(len(ones), len(others))


def _overlap(one: Any, other: Any) -> float:
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    common = max(0.0, width) * max(0.0, height)
    return float(common / (one.width * one.height + other.width * other.height - common))


boxes = st.builds(
    lambda *numbers: Box(*(number / SIDE for number in numbers)),
    *(st.integers(0, 40), st.integers(0, 40), st.integers(10, 60), st.integers(10, 60)),
)
true_regions = st.lists(st.builds(Region, st.sampled_from(LABELS), boxes), max_size=4)


@st.composite
def located(draw: st.DrawFn) -> list[Located]:
    """Give items with what is true and found; what is found is often near what is true, and no two scores are equal."""
    items: list[Located] = []
    scores = iter(draw(st.permutations(range(40))))
    for at in range(draw(st.integers(1, 5))):
        true = draw(true_regions)
        near = [Region(one.label, _moved(one.shape, draw(st.integers(-9, 9)))) for one in true]
        found = near + draw(true_regions)
        sure = [Region(one.label, one.shape, next(scores) / 40) for one in found]
        items.append(Located(f"{at}", at, tuple(true), tuple(sure)))
    return items


def _moved(box: Any, by: int) -> Box:
    return Box(box.x + by / SIDE, box.y, box.width, box.height)


def by_coco(items: list[Located], least: float) -> list[float | None]:
    """Give the average precision of each label as pycocotools has it; None where none is true."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = [{"id": at, "width": SIDE, "height": SIDE} for at in range(1, len(items) + 1)]
    names = [{"id": at, "name": name} for at, name in enumerate(LABELS, start=1)]
    true = [_annotation(at, region) for at, one in enumerate(items, start=1) for region in one.true]
    found = [
        {**_annotation(at, region), "score": region.score}
        for at, one in enumerate(items, start=1)
        for region in one.found
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": pictures,
            "categories": names,
            "annotations": [{**one, "id": at} for at, one in enumerate(true, start=1)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([least])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return [None if (column < 0).all() else float(column.mean()) for column in precision.T]


def _annotation(picture: int, region: Region) -> dict[str, Any]:
    box: Any = region.shape
    sides = [round(value * SIDE, 6) for value in (box.x, box.y, box.width, box.height)]
    area = sides[2] * sides[3]
    label = LABELS.index(region.label) + 1
    return {"image_id": picture, "category_id": label, "bbox": sides, "area": area, "iscrowd": 0}


@given(located(), st.sampled_from((0.5, 0.75)))
@settings(max_examples=examples(30))
def test_average_precision_is_that_of_coco(items: list[Located], least: float) -> None:
    if not any(one.true for one in items) or not any(one.found for one in items):
        return
    values = precisions(items, LABELS, overlaps, least)(np.ones((1, len(items))))
    expected = by_coco(items, least)
    assert values.labels[0] == pytest.approx([np.nan if one is None else one for one in expected], nan_ok=True)
    assert values.whole[0] == pytest.approx(np.mean([one for one in expected if one is not None]))


@given(located(), st.data())
@settings(max_examples=examples(30))
def test_a_weight_counts_as_so_many_copies_of_an_item(items: list[Located], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(items), max_size=len(items)))
    copies = [one for one, count in zip(items, times, strict=True) for _ in range(count)]
    weights, ones = np.array([times], dtype=np.float64), np.ones((1, len(copies)))
    for figure, copied in zip(_figures(items), _figures(copies), strict=True):
        drawn, whole = figure(weights), copied(ones)
        assert drawn.whole == pytest.approx(whole.whole, nan_ok=True)
        assert drawn.labels == pytest.approx(whole.labels, nan_ok=True)


def _figures(items: list[Located]) -> tuple[Figure, Figure]:
    counts = [[sum(region.label == name for region in one.true) for name in LABELS] for one in items]
    true = np.array(counts, dtype=np.float64).reshape(len(items), len(LABELS))
    return precisions(items, LABELS, overlaps, 0.5), F1(np.floor(true / 2), true, true + 1)


@given(located(), st.data())
@settings(max_examples=examples(30))
def test_a_part_of_the_items_is_what_the_others_weigh_nothing_in(items: list[Located], data: st.DataObject) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items))))
    for figure in _figures(items):
        part, whole = figure.only(kept)(np.ones((1, int(kept.sum())))), figure(kept[None].astype(np.float64))
        assert part.whole == pytest.approx(whole.whole, nan_ok=True)
        assert part.labels == pytest.approx(whole.labels, nan_ok=True)


def test_many_resamples_are_computed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    figure = AveragePrecision(
        np.arange(40) % 10,
        np.zeros(40, dtype=np.int64),
        random.random(40),
        np.arange(40) % 3 == 0,
        np.full((10, 1), 2.0),
    )
    weights = random.integers(0, 3, (50, 10)).astype(np.float64)
    whole = figure(weights).whole
    monkeypatch.setattr("labelloop.run.resampled._AT_ONCE", 90)
    assert figure(weights).whole.tolist() == whole.tolist()
    assert len(set(whole.tolist())) > 10


def test_f1_is_of_all_regions_and_of_each_label() -> None:
    figure = F1(
        np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([[1.0, 1.0], [3.0, 0.0]])
    )
    values = figure(np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert values.whole.tolist() == pytest.approx([6 / 9, 4 / 5])
    assert values.labels[0].tolist() == pytest.approx([6 / 8, 0.0])
    # Where a label is neither true nor found, there is nothing to tell.
    assert values.labels[1].tolist() == pytest.approx([4 / 5, np.nan], nan_ok=True)


def test_a_size_ignores_what_lies_outside_as_coco_does() -> None:
    small, large = Box(0.0, 0.0, 0.1, 0.1), Box(0.3, 0.3, 0.6, 0.6)
    true = read_regions('[{"label":"cat","box":[0,0,0.1,0.1]},{"label":"cat","box":[0.3,0.3,0.6,0.6]}]')
    found = (
        Region("cat", large, 0.9),  # matches what is ignored
        Region("cat", Box(0.0, 0.4, 0.5, 0.5), 0.8),  # matches nothing, and is outside itself
        Region("cat", Box(0.5, 0.0, 0.1, 0.1), 0.7),  # invented, and inside
        Region("cat", small, 0.6),
    )
    items = [Located("a", 1, true, found)]

    def is_small(_: Located, region: Region) -> bool:
        return isinstance(region.shape, Box) and region.shape.width < 0.2

    figure = precisions(items, LABELS, overlaps, 0.5, is_small)
    assert figure.true.tolist() == [[1.0, 0.0]]
    assert figure(np.ones((1, 1))).whole.tolist() == pytest.approx([0.5])
