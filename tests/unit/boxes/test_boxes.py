"""What is learned of boxes as they were drawn."""

import pytest

from labelloop.kinds.object_detection import boxes
from labelloop.types import Box, Region


def sides(box: Box | None) -> tuple[float, ...]:
    assert box is not None
    return tuple(round(one, 6) for one in (box.x, box.y, box.width, box.height, box.rotation))


def test_a_turned_box_is_learned_as_the_upright_one_around_it() -> None:
    # A quarter turn about the upper left corner lays it to the left, its sides exchanged in pixels.
    turned = boxes.upright(Box(0.5, 0.2, 0.2, 0.1, 90), aspect=0.5)
    assert sides(turned) == (0.45, 0.2, 0.05, 0.4, 0.0)
    eighth = boxes.upright(Box(0.5, 0.5, 0.2, 0.2, 45), aspect=1.0)
    assert sides(eighth) == (0.358579, 0.5, 0.282843, 0.282843, 0.0)
    assert sides(boxes.upright(Box(0.1, 0.2, 0.3, 0.4, 360), aspect=2.0)) == (0.1, 0.2, 0.3, 0.4, 0.0)


@pytest.mark.parametrize(
    ("drawn", "learned", "why"),
    [
        (Box(0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4, 0.0), ""),
        (Box(-0.1, 0.9, 0.3, 0.4), (0.0, 0.9, 0.2, 0.1, 0.0), boxes.CUT),
        (Box(0.9, 0.1, 0.1001, 0.2), (0.9, 0.1, 0.1, 0.2, 0.0), ""),
    ],
)
def test_a_box_is_learned_as_far_as_it_lies_in_the_picture(drawn: Box, learned: tuple[float, ...], why: str) -> None:
    seen, trouble = boxes.within(drawn)
    assert sides(seen) == learned
    assert trouble == why


@pytest.mark.parametrize(("drawn", "why"), [(Box(1.2, 0, 0.1, 0.1), boxes.OUTSIDE), (Box(0, 0, 5e-5, 0.1), boxes.TINY)])
def test_what_cannot_be_seen_is_not_learned(drawn: Box, why: str) -> None:
    assert boxes.within(drawn) == (None, why)


def test_what_several_drew_of_one_thing_is_one_box_of_the_medians() -> None:
    drawn = [
        Region("cat", Box(0.1, 0.1, 0.2, 0.2)),
        Region("cat", Box(0.12, 0.1, 0.2, 0.2)),
        Region("cat", Box(0.1, 0.1, 0.3, 0.2)),
    ]
    found = boxes.middle(drawn)
    assert found.label == "cat"
    assert isinstance(found.shape, Box)
    assert sides(found.shape) == (0.1, 0.1, 0.22, 0.2, 0.0)
