"""Where a detector looked for one box: parts of what is around it are hidden, and its score says what they mean.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from labelloop.kinds.object_detection.boxes import corners_of
from labelloop.kinds.object_detection.engine import DetectorEngine
from labelloop.kinds.overlap import overlaps
from labelloop.pictures import normalise
from labelloop.types import Box, Findings, Region

Pixels = npt.NDArray[np.uint8]
Drops = npt.NDArray[np.float64]

CELLS = 7
"""Rows and columns of the parts."""

_AROUND = 0.5
"""How much of a box's sides is looked at around it."""

_SAME = 0.3
_AT_ONCE = 8


def drops(engine: DetectorEngine, pixels: Pixels, region: Region) -> tuple[Drops, tuple[int, int, int, int]]:
    """Give what hiding each part takes from a region's score, (CELLS, CELLS), and the window of the parts in pixels.

    ``pixels`` is the picture as the detector sees it: uint8, (height, width, 3).
    """
    left, top, right, bottom = window = _window(pixels, region)
    across, down = (np.linspace(*ends, CELLS + 1).round().astype(int) for ends in ((left, right), (top, bottom)))
    # The picture's own mean: a part that stands out would be something to look at itself.
    mean = pixels.mean(axis=(0, 1)).astype(np.uint8)
    hidden = np.repeat(pixels[None], CELLS * CELLS, axis=0)
    for at in range(CELLS * CELLS):
        row, column = divmod(at, CELLS)
        hidden[at, down[row] : down[row + 1], across[column] : across[column + 1]] = mean
    scores: list[float] = []
    for start in range(0, len(hidden), _AT_ONCE):
        answers = engine.answers(normalise(hidden[start : start + _AT_ONCE], engine.picture), "")
        scores += [_score(answer.regions if isinstance(answer, Findings) else (), region) for answer in answers]
    return (region.score or 0.0) - np.array(scores).reshape(CELLS, CELLS), window


def explanation(engine: DetectorEngine, pixels: Pixels, region: Region) -> Image.Image:
    """Draw the picture with the box, and red what the detector needed to find it; blue what spoke against it."""
    found, (left, top, right, bottom) = drops(engine, pixels, region)
    strongest = max(float(np.abs(found).max()), 1e-9)
    heat = Image.fromarray((found / strongest * 127 + 128).clip(0, 255).astype(np.uint8))
    shares = np.asarray(heat.resize((right - left, bottom - top), Image.Resampling.BILINEAR), dtype=np.float64)
    strength = ((shares - 128) / 127)[..., None]
    drawn, part = pixels.astype(np.float64), pixels[top:bottom, left:right].astype(np.float64)
    colour = np.where(strength > 0, np.array([255.0, 0.0, 0.0]), np.array([0.0, 0.0, 255.0]))
    weight = np.abs(strength) * 0.6
    drawn[top:bottom, left:right] = part * (1 - weight) + colour * weight
    image = Image.fromarray(drawn.astype(np.uint8))
    corners = corners_of([region])[0] * np.tile((pixels.shape[1] - 1, pixels.shape[0] - 1), 2)
    ImageDraw.Draw(image).rectangle(tuple(corners.tolist()), outline="yellow", width=2)
    return image


def _window(pixels: Pixels, region: Region) -> tuple[int, int, int, int]:
    height, width = pixels.shape[:2]
    left, top, right, bottom = corners_of([region])[0].tolist()
    wide, high = (right - left) * _AROUND, (bottom - top) * _AROUND
    window = (
        max(0, int((left - wide) * width)),
        max(0, int((top - high) * height)),
        min(width, int(np.ceil((right + wide) * width))),
        min(height, int(np.ceil((bottom + high) * height))),
    )
    return window if window[2] - window[0] >= CELLS and window[3] - window[1] >= CELLS else (0, 0, width, height)


def _score(found: tuple[Region, ...], region: Region) -> float:
    """Give the score of what is still found at a region's place under its label."""
    same = [one for one in found if one.label == region.label]
    boxes = [one.shape for one in same if isinstance(one.shape, Box)]
    if not boxes or not isinstance(region.shape, Box):
        return 0.0
    near = overlaps([region.shape], boxes, 1.0)[0] >= _SAME
    return max((one.score or 0.0 for one, is_near in zip(same, near, strict=True) if is_near), default=0.0)
