"""How far boxes overlap, and whether two sets of boxes can be paired."""

import math
from collections.abc import Mapping, Sequence

from labelloop.types import Box

_ROUNDING = 1e-9

Corner = tuple[float, float]


def iou(one: Box, other: Box, aspect: float) -> float:
    """Give the share of their union that two boxes have in common, in [0, 1]; the same whichever comes first.

    ``aspect`` is the picture's height by its width: what is turned in fractions or percent of both is bent.
    """
    if one == other:
        return 1.0
    if _is_turned(one) or _is_turned(other):
        # In one order, so that rounding is the same both ways.
        first, second = sorted((_corners(one, aspect), _corners(other, aspect)))
        common, areas = _area(_clipped(first, second)), (_area(first), _area(second))
    else:
        across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        common, areas = max(0.0, across) * max(0.0, down), (one.width * one.height, other.width * other.height)
    union = sum(areas) - common
    return common / union if union > 0 else 0.0


def paired(ones: Sequence[Box], others: Sequence[Box], aspect: float, least: float) -> bool:
    """Whether each box can be given one of the others for itself that it overlaps by ``least``, and none is left."""
    if len(ones) != len(others):
        return False
    near = [[at for at, other in enumerate(others) if iou(one, other, aspect) >= least - _ROUNDING] for one in ones]
    return _matched(near)


def _matched(near: Sequence[Sequence[int]]) -> bool:
    """Whether there is a perfect matching; ``near[i]`` are the partners that i may have.

    Augmenting paths (Berge, PNAS 43, 1957): each gets a partner, if need be by having others change theirs.
    """
    taker: dict[int, int] = {}
    partner: dict[int, int] = {}
    for first in range(len(near)):
        reached = _reached(first, near, taker)
        free = next((other for other in reached if other not in taker), None)
        if free is None:
            return False
        while free is not None:
            one = reached[free]
            before = partner.get(one)
            taker[free], partner[one], free = one, free, before
    return True


def _reached(first: int, near: Sequence[Sequence[int]], taker: Mapping[int, int]) -> dict[int, int]:
    """Give the partners within reach, each with who would take it then; where one is free, no more are looked for."""
    found: dict[int, int] = {}
    waiting = [first]
    while waiting:
        one = waiting.pop()
        for other in near[one]:
            if other not in found:
                found[other] = one
                if other not in taker:
                    return found
                waiting.append(taker[other])
    return found


def _is_turned(box: Box) -> bool:
    return box.rotation % 360.0 != 0.0


def _corners(box: Box, aspect: float) -> list[Corner]:
    """Give the corners in order, clockwise as they are seen, both axes in the picture's width."""
    angle = math.radians(box.rotation)
    right = box.width * math.cos(angle), box.width * math.sin(angle)
    height = box.height * aspect
    down = -height * math.sin(angle), height * math.cos(angle)
    x, y = box.x, box.y * aspect
    return [
        (x, y),
        (x + right[0], y + right[1]),
        (x + right[0] + down[0], y + right[1] + down[1]),
        (x + down[0], y + down[1]),
    ]


def _clipped(inner: Sequence[Corner], outer: Sequence[Corner]) -> list[Corner]:
    """Give the corners of what two convex outlines have in common (Sutherland and Hodgman, CACM 17, 1974)."""
    found = list(inner)
    for begin, end in zip(outer, (*outer[1:], outer[0]), strict=True):
        corners, found = found, []
        sides = [_side(begin, end, corner) for corner in corners]
        for at, (corner, side) in enumerate(zip(corners, sides, strict=True)):
            before, before_side = corners[at - 1], sides[at - 1]
            if (side >= 0) != (before_side >= 0):
                share = before_side / (before_side - side)
                found.append((before[0] + share * (corner[0] - before[0]), before[1] + share * (corner[1] - before[1])))
            if side >= 0:
                found.append(corner)
    return found


def _side(begin: Corner, end: Corner, corner: Corner) -> float:
    """Tell on which side of an edge a corner is: positive inside, for an outline that is clockwise as it is seen."""
    return (end[0] - begin[0]) * (corner[1] - begin[1]) - (end[1] - begin[1]) * (corner[0] - begin[0])


def _area(corners: Sequence[Corner]) -> float:
    ends = (*corners[1:], *corners[:1])
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, ends, strict=True))) / 2
