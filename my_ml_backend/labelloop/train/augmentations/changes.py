"""The two changes that ``light`` and ``crop`` are made of: where pixels come from, and the light they are seen in.

Written with OpenCV alone: the same by albumentations takes three times as long on 32 pixels, and 2 s to import.
"""

import numpy as np
import numpy.typing as npt

from labelloop.train.augmentations.engine import opencv

Pixels = npt.NDArray[np.uint8]

LIGHT = 0.3
"""Most by which contrast and brightness change."""

_GREY = 127.5


def moved(pixels: Pixels, matrix: npt.NDArray[np.float64]) -> Pixels:
    """Take each pixel from where ``matrix`` (2, 3) says, in pixels of the picture; its border is repeated."""
    cv2 = opencv()
    height, width = pixels.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found: Pixels = cv2.warpAffine(pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return found


def lit(pixels: Pixels, contrast: float, brightness: float) -> Pixels:
    """Change contrast about the middle grey, and brightness, by these shares (of half the range)."""
    levels = (np.arange(256) - _GREY) * (1 + contrast) + _GREY * (1 + brightness)
    changed: Pixels = opencv().LUT(pixels, levels.round().clip(0, 255).astype(np.uint8))
    return changed
