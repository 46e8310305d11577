"""How far boxes overlap, and whether two sets of boxes can be paired."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from labelloop.types import Box

_ROUNDING = 1e-9

Corner = tuple[float, float]
Shares = npt.NDArray[np.float64]


def overlaps(ones: Sequence[Box], others: Sequence[Box], aspect: float) -> Shares:
    """Give the share of their union that boxes have in common: (ones, others), in [0, 1]; the same the other way round.

    ``aspect`` is the picture's height by its width: what is turned in fractions or percent of both is bent.
    """
    if any(map(_is_turned, (*ones, *others))):
        found = [_turned(one, other, aspect) for one in ones for other in others]
        shares: Shares = np.array(found, dtype=np.float64).reshape(len(ones), len(others))
    else:
        shares = _upright(ones, others)
    return np.minimum(shares, 1.0)  # of all but the same boxes, rounding makes more than their union common


def paired(ones: Sequence[Box], others: Sequence[Box], aspect: float, least: float) -> bool:
    """Whether each box can be given one of the others for itself that it overlaps by ``least``, and none is left."""
    if len(ones) != len(others):
        return False
    near = overlaps(ones, others, aspect) >= least - _ROUNDING
    return _matched([np.flatnonzero(row).tolist() for row in near])


def _upright(ones: Sequence[Box], others: Sequence[Box]) -> Shares:
    first, second = (
        np.array([(box.x, box.y, box.width, box.height) for box in boxes], dtype=np.float64).reshape(-1, 4)
        for boxes in (ones, others)
    )
    one, other = first[:, None], second[None]
    ends = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    common = np.clip(ends - np.maximum(one[..., :2], other[..., :2]), 0.0, None).prod(axis=-1)
    union = one[..., 2:].prod(axis=-1) + other[..., 2:].prod(axis=-1) - common
    shares = np.divide(common, union, out=np.zeros_like(union), where=union > 0.0)
    return np.where((one == other).all(axis=-1), 1.0, shares)


def _turned(one: Box, other: Box, aspect: float) -> float:
    if one == other:
        return 1.0
    # In one order, so that rounding is the same both ways.
    first, second = sorted((_corners(one, aspect), _corners(other, aspect)))
    common = _area(_clipped(first, second))
    union = _area(first) + _area(second) - common
    return common / union if union > 0 else 0.0


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
