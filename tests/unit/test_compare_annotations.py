"""Whether an answer is right: what annotators say against what a trainer's model says, as Label Studio has both."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labelloop.kinds.annotations.correctness import is_right
from labelloop.kinds.overlap import overlaps, paired
from labelloop.types import Box
from support.examples import examples

Region = dict[str, Any]


def box(x: float, y: float, width: float, height: float, label: str = "car", turn: float = 0, **more: Any) -> Region:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": turn, "rectanglelabels": [label]}
    return {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value} | more


def span(start: int, end: int, label: str = "who") -> Region:
    value = {"start": start, "end": end, "labels": [label]}
    return {"from_name": "who", "to_name": "text", "type": "labels", "value": value}


def said(kind: str, value: object, name: str = "says", key: str = "") -> Region:
    return {"from_name": name, "to_name": "image", "type": kind, "value": {key or kind: value}}


def labelled(label: str, **value: Any) -> Region:
    """Label what another tag has drawn on a picture."""
    return {"from_name": "who", "to_name": "image", "type": "labels", "value": value | {"labels": [label]}}


WORD = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0}
MASK = said("brushlabels", ["car"], "mask")
SIZE: Region = {"original_width": 640, "original_height": 480}


@pytest.mark.parametrize(
    ("truth", "answer", "right"),
    [
        ([], [], True),
        ([box(10, 10, 20, 20)], [box(10, 10, 20, 10)], True),  # exactly half
        ([box(10, 10, 20, 20)], [box(10, 10, 20, 9.9)], False),
        ([box(10, 10, 20, 20)], [box(10, 10, 20, 20, "bus")], False),
        ([box(10, 10, 20, 20)], [], False),
        ([box(10, 10, 20, 20)], [box(10, 10, 20, 20), box(10, 10, 20, 20)], False),
        ([box(10, 10, 20, 20), box(50, 50, 9, 9)], [box(50, 50, 9, 9), box(11, 10, 20, 20)], True),
        # Only in one way can all of them be paired.
        ([box(0, 0, 10, 10), box(3, 0, 10, 10)], [box(3, 0, 10, 10), box(6, 0, 10, 10)], True),
        ([box(0, 0, 10, 10), box(3, 0, 10, 10)], [box(6, 0, 10, 10), box(6, 0, 10, 10)], False),
        ([span(0, 3), span(9, 12, "where")], [span(9, 12, "where"), span(0, 3)], True),
        ([span(0, 3)], [span(0, 4)], False),
        ([labelled("a", **WORD)], [labelled("a", **WORD | {"height": 10})], True),
        ([labelled("a", **WORD)], [labelled("a", **WORD | {"height": 9})], False),
        ([labelled("a", **WORD)], [labelled("b", **WORD)], False),
        ([labelled("a", **WORD)], [], False),
        ([labelled("a", **WORD)], [labelled("a", x=10, y=10, width=0.5)], None),
        ([labelled("a", x=10, y=10, width=0.5)], [labelled("a", x=10, y=10, width=0.5)], None),
        ([labelled("a", points=[[1, 1], [2, 2], [1, 2]])], [], None),
        ([span(0, 3)], [span(0, 3, "where")], False),
        ([span(0, 3)], [span(0, 3), span(0, 3)], False),
        ([said("choices", ["a", "b"])], [said("choices", ["b", "a"])], True),
        ([said("choices", ["a"])], [said("choices", ["a", "b"])], False),
        ([], [said("choices", [])], True),
        ([said("taxonomy", [["a", "b"]])], [said("taxonomy", [["a", "b"]])], True),
        ([said("taxonomy", [["a", "b"]])], [said("taxonomy", [["a"]])], False),
        ([said("rating", 3)], [said("rating", 3.0)], True),
        ([said("number", 3)], [said("number", 4)], False),
        ([said("number", 10**400)], [said("number", 10**400)], True),
        ([said("datetime", "2026-11-29")], [said("datetime", "2026-11-29")], True),
        ([said("textarea", ["one", "two"], key="text")], [said("textarea", ["one"], key="text")], False),
        ([said("textarea", "one", key="text")], [said("textarea", ["one"], key="text")], True),
        # All control tags must be right, and each is compared with itself.
        ([box(1, 1, 9, 9), said("choices", ["a"])], [box(1, 1, 9, 9), said("choices", ["b"])], False),
        ([said("choices", ["a"], "sky")], [said("choices", ["a"], "sea")], False),
        # Nobody can tell.
        ([MASK], [MASK], None),
        ([MASK], [], None),
        ([MASK, said("choices", ["a"])], [MASK, said("choices", ["b"])], None),
        ([box(1, 1, 9, 9)], [box(1, 1, 9, 9), MASK], False),
        ([box(1, 1, 9, 9, turn=30)], [box(1, 1, 9, 9, turn=30)], None),
        ([box(1, 1, 9, 9)], [box(1, 1, 9, 9, turn=30)], None),
        ([box(1, 1, 9, 9, image_rotation=90)], [box(1, 1, 9, 9)], None),
        ([{"type": "labels", "value": {"start": "/p[1]", "end": "/p[2]"}}], [], None),
        ([box(40, 40, 20, 9, turn=30, **SIZE)], [box(40, 40, 20, 9, turn=31)], True),
        ([box(40, 40, 20, 9, turn=30, **SIZE)], [box(40, 40, 20, 9, turn=75)], False),
        ([box(40, 40, 20, 9, turn=360)], [box(40, 40, 20, 9)], True),
    ],
)
def test_an_answer_is_right_where_labels_are_equal_and_regions_match(
    truth: list[Region], answer: list[Region], right: bool | None
) -> None:
    assert is_right(truth, answer) is right


BOXES = st.builds(
    box,
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["car", "bus"]),
    st.sampled_from([0, 0, 15, 90]),
    original_width=st.just(640),
    original_height=st.just(480),
)
SPANS = st.builds(span, st.integers(0, 5), st.integers(6, 9), st.sampled_from(["who", "where"]))
SAID = st.builds(
    said,
    st.sampled_from(["choices", "taxonomy", "textarea"]),
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True),
    st.sampled_from(["one", "other"]),
    st.just("choices"),
)
RESULTS = st.lists(BOXES | SPANS | SAID, max_size=6)


@given(RESULTS, RESULTS)
@settings(max_examples=examples(150))
def test_whichever_is_called_the_truth_it_is_the_same(one: list[Region], other: list[Region]) -> None:
    assert is_right(one, other) is is_right(other, one)


@given(RESULTS, st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_the_same_in_another_order_is_right(result: list[Region], random: Any) -> None:
    again = random.sample(result, len(result))
    assert is_right(result, again) is True


@given(RESULTS, BOXES | SPANS)
@settings(max_examples=examples(100))
def test_a_region_too_many_or_missing_is_wrong(result: list[Region], more: Region) -> None:
    assert is_right(result, [*result, more]) is False
    assert is_right([more, *result], result) is False


@given(RESULTS, RESULTS, st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_the_order_never_matters(one: list[Region], other: list[Region], random: Any) -> None:
    assert is_right(random.sample(one, len(one)), random.sample(other, len(other))) is is_right(one, other)


def iou(one: Box, other: Box, aspect: float) -> float:
    return float(overlaps([one], [other], aspect)[0, 0])


PLAIN = st.builds(Box, *[st.floats(0, 50)] * 2, *[st.floats(1, 50)] * 2)


@given(PLAIN, PLAIN, st.floats(-5, 5), st.sampled_from([1.0, 0.75, 2.0]))
@example(Box(3.0, 0.0, 1.9, 1.0), Box(3.0, 1e-135, 1.9, 1.0), 0.0, 1.0)  # all but the same
@settings(max_examples=examples(150))
def test_boxes_overlap_alike_however_the_picture_is_turned(one: Box, other: Box, turn: float, aspect: float) -> None:
    flat = iou(one, other, aspect)
    assert 0.0 <= flat <= 1.0
    # Almost not turned is as good as not turned; turned both by the same about the same point, nothing changes.
    barely = Box(one.x, one.y, one.width, one.height, 1e-9)
    assert iou(barely, other, aspect) == pytest.approx(flat, abs=1e-6)
    spun = [_about_origin(each, turn, aspect) for each in (one, other)]
    assert iou(spun[0], spun[1], aspect) == pytest.approx(flat, abs=1e-6)


def _about_origin(box: Box, degrees: float, aspect: float) -> Box:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = box.x, box.y * aspect
    return Box(x * cos - y * sin, (x * sin + y * cos) / aspect, box.width, box.height, degrees)


TURNED = st.builds(replace, PLAIN, rotation=st.sampled_from([0.0, 15.0, 90.0]))


@given(st.lists(PLAIN | TURNED, max_size=4), st.lists(PLAIN | TURNED, max_size=4), st.floats(0.05, 0.9))
@settings(max_examples=examples(100))
def test_boxes_are_paired_where_some_order_pairs_them(ones: list[Box], others: list[Box], least: float) -> None:
    from itertools import permutations

    orders = permutations(others) if len(ones) == len(others) else ()
    some = any(all(iou(a, b, 1.0) >= least - 1e-9 for a, b in zip(ones, order, strict=True)) for order in orders)
    assert paired(ones, others, 1.0, least) is some


def test_a_thousand_boxes_in_a_row_are_paired_in_the_only_way() -> None:
    ones = [Box(7.0 * at, 0, 10, 10) for at in range(300)]
    others = [Box(7.0 * at + 3.0, 0, 10, 10) for at in range(300)]
    assert paired(ones, others, 1.0, 0.5)
    assert not paired(ones, [*others[:-1], Box(0, 50, 10, 10)], 1.0, 0.5)
