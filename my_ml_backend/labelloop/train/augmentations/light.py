"""The ``light`` policy: safe for photographs as for handwriting, so no flips, and little enough to cost nothing."""

import math

import numpy as np
import numpy.typing as npt

from labelloop.train.augmentations.changes import LIGHT, lit, moved

Pixels = npt.NDArray[np.uint8]

_DEGREES = 15.0
_ZOOM = 0.15
_STRETCH = 0.07
_SHIFT = 0.1


def light(pixels: Pixels, seed: int) -> Pixels:
    """Turn, zoom, stretch, shift, brighten and sharpen a picture (height, width, 3) by chance.

    Up to 15 degrees, 15 % in size, 7 % in shape and 10 % of a side, the border repeated; contrast about the middle grey
    by up to 30 %, brightness by up to 30 % of half the range.
    """
    angle, zoom, stretch, across, down, contrast, brightness = np.random.default_rng(seed).uniform(-1, 1, 7)
    height, width = pixels.shape[:2]
    matrix = _affine(
        math.radians(_DEGREES) * angle,
        math.exp(math.log1p(_ZOOM) * zoom),
        math.exp(math.log1p(_STRETCH) * stretch),
        (_SHIFT * across * width, _SHIFT * down * height),
        ((width - 1) / 2, (height - 1) / 2),
    )
    return lit(moved(pixels, matrix), LIGHT * contrast, LIGHT * brightness)


def _affine(
    angle: float, zoom: float, stretch: float, shift: tuple[float, float], centre: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Make the matrix (2, 3) that tells where in the picture each pixel of the result comes from; lengths in pixels."""
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    turn = np.array([[cosine * stretch, -sine], [sine, cosine / stretch]])
    return np.column_stack((turn, np.array(centre) + np.array(shift) - turn @ np.array(centre)))
