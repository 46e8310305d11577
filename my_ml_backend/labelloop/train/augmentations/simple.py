"""The ``light`` and ``crop`` policies: a little geometry and light, for handwriting too; parts of photographs."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.train.augmentations.engine import opencv

Pixels = npt.NDArray[np.uint8]

LIGHT = 0.3
"""Most by which contrast and brightness change."""

_GREY = 127.5


def moved(pixels: Pixels, matrix: npt.NDArray[np.float64]) -> Pixels:
    """Take each pixel from where ``matrix`` (2, 3) says, in pixels of the picture; its border is repeated.

    By OpenCV alone: the same by albumentations takes three times as long on 32 pixels, and 2 s to import.
    """
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


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a picture: where its pixels come from (``matrix``, see ``moved``), and its light (see ``lit``)."""

    matrix: npt.NDArray[np.float64]
    contrast: float
    brightness: float

    def __call__(self, pixels: Pixels) -> Pixels:
        """Change a picture: uint8, (height, width, 3)."""
        return lit(moved(pixels, self.matrix), self.contrast, self.brightness)

    def corners(self, corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Move upright boxes (boxes, 4) along: left, top, right, bottom in pixels of the picture, from its edge on."""
        turn, shift = self.matrix[:, :2], self.matrix[:, 2]
        places = corners[:, [[0, 1], [2, 1], [2, 3], [0, 3]]].astype(np.float64)  # (boxes, 4 corners, 2)
        # The matrix counts from the middle of the first pixel.
        moved_to = (places - 0.5 - shift) @ np.linalg.inv(turn).T + 0.5
        found: npt.NDArray[np.float32] = np.concatenate([moved_to.min(axis=1), moved_to.max(axis=1)], axis=1)
        return found.astype(np.float32)


_SMALLEST = 0.5
_RATIO = 4 / 3


def crop(pixels: Pixels, seed: int) -> Pixels:
    """Take 50 to 100 % of the area of a picture (height, width, 3), stretched by up to 4:3, and change its light.

    Without flips: a finetune mirrors its pictures where mirror images keep their labels.

    Contrast about the middle grey by up to 30 %, brightness by up to 30 % of half the range.
    """
    height, width = pixels.shape[:2]
    return cropping(height, width, seed)(pixels)


def cropping(height: int, width: int, seed: int) -> Move:
    """Draw how ``crop`` changes a picture."""
    chance = np.random.default_rng(seed)
    area, stretch = chance.uniform(_SMALLEST, 1), math.exp(chance.uniform(-1, 1) * math.log(_RATIO) / 2)
    left, top, contrast, brightness = chance.uniform((0, 0, -LIGHT, -LIGHT), (1, 1, LIGHT, LIGHT))
    across, down = min(1.0, math.sqrt(area) * stretch), min(1.0, math.sqrt(area) / stretch)
    matrix = np.array(
        [
            [across, 0, left * (1 - across) * width + (across - 1) / 2],
            [0, down, top * (1 - down) * height + (down - 1) / 2],
        ]
    )
    return Move(matrix, contrast, brightness)


_DEGREES = 15.0
_ZOOM = 0.15
_STRETCH = 0.07
_SHIFT = 0.1


def light(pixels: Pixels, seed: int) -> Pixels:
    """Turn, zoom, stretch, shift, brighten and sharpen a picture (height, width, 3) by chance.

    Up to 15 degrees, 15 % in size, 7 % in shape and 10 % of a side, the border repeated; contrast about the middle grey
    by up to 30 %, brightness by up to 30 % of half the range.
    """
    height, width = pixels.shape[:2]
    return lighting(height, width, seed)(pixels)


def lighting(height: int, width: int, seed: int, *, turns: bool = True) -> Move:
    """Draw how ``light`` changes a picture; without ``turns`` what is upright stays so."""
    angle, zoom, stretch, across, down, contrast, brightness = np.random.default_rng(seed).uniform(-1, 1, 7)
    matrix = _affine(
        math.radians(_DEGREES) * angle if turns else 0.0,
        math.exp(math.log1p(_ZOOM) * zoom),
        math.exp(math.log1p(_STRETCH) * stretch),
        (_SHIFT * across * width, _SHIFT * down * height),
        ((width - 1) / 2, (height - 1) / 2),
    )
    return Move(matrix, LIGHT * contrast, LIGHT * brightness)


def _affine(
    angle: float, zoom: float, stretch: float, shift: tuple[float, float], centre: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Make the matrix (2, 3) that tells where in the picture each pixel of the result comes from; lengths in pixels."""
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    turn = np.array([[cosine * stretch, -sine], [sine, cosine / stretch]])
    return np.column_stack((turn, np.array(centre) + np.array(shift) - turn @ np.array(centre)))
