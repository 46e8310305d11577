"""What a picture is like, in a few numbers: light, colour, sharpness, and where what is bright. No network is asked.

These numbers see what scores do not: pictures that have become darker, blurred or another scene while the model is as
sure as before. What a version's network sees in them, ``features.py`` says.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.pictures import decode

_SIDE = 128
"""Pixels: small enough to be quick, large enough that a slight blur is seen."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_CELLS, _DIRECTIONS = 4, 8
_LUMINANCE = (0.299, 0.587, 0.114)

Row = npt.NDArray[np.floating[Any]]


def describe(content: bytes) -> Row:
    """Describe an encoded picture by 40 numbers. Raises MediaError for what is none."""
    image = decode(content, 4 * _SIDE)
    small = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    image.close()
    light = small @ np.array(_LUMINANCE, dtype=np.float32)
    return np.concatenate([_light(light), _colour(small), _sharpness(light), _directions(light)]).astype(np.float32)


def _light(light: Row) -> Row:
    """Quantiles of the luminance, and its mean in each cell of a grid."""
    side = _SIDE // _CELLS
    cells = light.reshape(_CELLS, side, _CELLS, side).mean(axis=(1, 3))
    return np.concatenate([np.quantile(light, _QUANTILES), cells.ravel()])


def _colour(pixels: Row) -> Row:
    """Mean and deviation of each channel, and of how colourful the pixels are."""
    colourful = pixels.max(axis=2) - pixels.min(axis=2)
    channels = [pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))]
    return np.concatenate([*channels, [colourful.mean(), colourful.std()]])


def _sharpness(light: Row) -> Row:
    """How much neighbouring pixels differ, in both directions and all around, as logarithms."""
    down, across = np.abs(np.diff(light, axis=0)).mean(), np.abs(np.diff(light, axis=1)).mean()
    around = light[1:-1, 1:-1] * 4 - light[:-2, 1:-1] - light[2:, 1:-1] - light[1:-1, :-2] - light[1:-1, 2:]
    found: Row = np.log(np.array([down, across, around.std()], dtype=np.float32) + 1e-4)
    return found


def _directions(light: Row) -> Row:
    """Which share of all edges runs in which direction; all the same for a picture without any."""
    down, across = np.gradient(light)
    at = ((np.arctan2(down, across) % np.pi) / np.pi * _DIRECTIONS).astype(int) % _DIRECTIONS
    strength = np.bincount(at.ravel(), weights=np.hypot(down, across).ravel(), minlength=_DIRECTIONS) + 1e-6
    found: Row = strength / strength.sum()
    return found
