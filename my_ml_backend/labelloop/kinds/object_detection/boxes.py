"""What is learned of the boxes that annotators drew: upright ones, inside the picture."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import numpy.typing as npt

from labelloop.types import Box, Region

TURNED = "a turned box is learned as the upright one around it"
OUTSIDE = "a box lies outside the picture"
CUT = "a box reaches over the picture's edge, and is learned as far as it lies within"
TINY = "a box is too thin to be seen"

LEAST = 1e-4
"""Share of a picture's side that a box must have at least."""

Corners = npt.NDArray[np.float32]


def upright(box: Box, aspect: float) -> Box:
    """Give the upright box around one that may be turned; ``aspect`` is the picture's height by its width."""
    if box.rotation % 360 == 0:
        return replace(box, rotation=0.0)
    angle = math.radians(box.rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    height = box.height * aspect
    # Both axes in the picture's width; Label Studio turns a box clockwise about its first corner.
    xs = (0.0, box.width * cosine, box.width * cosine - height * sine, -height * sine)
    ys = (0.0, box.width * sine, box.width * sine + height * cosine, height * cosine)
    return Box(box.x + min(xs), box.y + min(ys) / aspect, max(xs) - min(xs), (max(ys) - min(ys)) / aspect)


def within(box: Box) -> tuple[Box | None, str]:
    """Give the part of an upright box that lies in the picture, None where that is nothing; and what was the matter."""
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.width, 1.0), min(box.y + box.height, 1.0)
    if right <= left or bottom <= top:
        return None, OUTSIDE
    if right - left < LEAST or bottom - top < LEAST:
        return None, TINY
    cut = max(left - box.x, top - box.y, box.x + box.width - right, box.y + box.height - bottom)
    # Boxes that are drawn along the edge end a rounding beyond it.
    return Box(left, top, right - left, bottom - top), CUT if cut > _ROUNDING else ""


_ROUNDING = 2e-3


def middle(drawn: Sequence[Region]) -> Region:
    """Give the box of the medians of those that several drew of one thing."""
    boxes = [one.shape for one in drawn if isinstance(one.shape, Box)]
    if any(box.rotation for box in boxes):
        return drawn[0]
    sides = zip(*((box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes), strict=True)
    left, top, right, bottom = map(median, sides)
    return replace(drawn[0], shape=Box(left, top, right - left, bottom - top))


def corners_of(regions: Sequence[Region]) -> Corners:
    """Give left, top, right and bottom of upright boxes: (boxes, 4), in shares of the picture's sides."""
    boxes = [one.shape for one in regions if isinstance(one.shape, Box)]
    rows = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes]
    return np.array(rows, dtype=np.float32).reshape(-1, 4)
