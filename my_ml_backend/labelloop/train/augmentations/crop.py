"""The ``crop`` policy: a part of the picture, at its whole size. For photographs, where a part has the label, too.

Without flips: a finetune mirrors its pictures where mirror images keep their labels.
"""

import math

import numpy as np
import numpy.typing as npt

from labelloop.train.augmentations.changes import LIGHT, lit, moved

Pixels = npt.NDArray[np.uint8]

_SMALLEST = 0.5
_RATIO = 4 / 3


def crop(pixels: Pixels, seed: int) -> Pixels:
    """Take 50 to 100 % of the area of a picture (height, width, 3), stretched by up to 4:3, and change its light.

    Contrast about the middle grey by up to 30 %, brightness by up to 30 % of half the range.
    """
    chance = np.random.default_rng(seed)
    area, stretch = chance.uniform(_SMALLEST, 1), math.exp(chance.uniform(-1, 1) * math.log(_RATIO) / 2)
    left, top, contrast, brightness = chance.uniform((0, 0, -LIGHT, -LIGHT), (1, 1, LIGHT, LIGHT))
    height, width = pixels.shape[:2]
    across, down = min(1.0, math.sqrt(area) * stretch), min(1.0, math.sqrt(area) / stretch)
    matrix = np.array(
        [
            [across, 0, left * (1 - across) * width + (across - 1) / 2],
            [0, down, top * (1 - down) * height + (down - 1) / 2],
        ]
    )
    return lit(moved(pixels, matrix), contrast, brightness)
