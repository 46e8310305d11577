"""Fog and snow as transforms of albumentations, whose own are slow (fog: 40 ms) or tint the picture (textured snow).

Imports albumentations: import it only where a picture is about to be changed.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.train.augmentations.engine import albumentations, opencv

Pixels = npt.NDArray[np.uint8]
Range = tuple[float, float]

_Transform: Any = albumentations().ImageOnlyTransform
_FOG = 235.0
_SNOW = 250.0
_FLAKES = 0.06  # share of the pixels that flakes cover at amount 1


class Fog(_Transform):  # type: ignore[misc]
    """Lays fog of uneven density over the picture: light scattered into the way, ``(1 - density) x + density L``.

    ``amount`` is the range of the mean density, in [0, 1].
    """

    def __init__(self, amount: Range, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.amount = amount

    def apply(self, img: Pixels, **_: Any) -> Pixels:
        """Change one picture (height, width, 3)."""
        amount = self.py_random.uniform(*self.amount)
        clouds = _clouds(img.shape[0], img.shape[1], self.random_generator)
        density = np.clip(amount * (0.6 + 0.8 * clouds), 0, 1)[..., None]
        return _bytes(img * (1 - density) + _FOG * density)


class Snow(_Transform):  # type: ignore[misc]
    """Lets it snow: flakes of a size that goes with the picture's, some driven by wind, and less contrast behind them.

    ``amount`` is the range of the strength, in [0, 1].
    """

    def __init__(self, amount: Range, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.amount = amount

    def apply(self, img: Pixels, **_: Any) -> Pixels:
        """Change one picture (height, width, 3)."""
        amount = self.py_random.uniform(*self.amount)
        flakes = _flakes(img.shape[0], img.shape[1], amount, self.random_generator)[..., None]
        behind = img * (1 - 0.4 * amount) + _SNOW * 0.4 * amount
        return _bytes(behind * (1 - flakes) + _SNOW * flakes)


def _clouds(height: int, width: int, chance: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw clouds (height, width) in [0, 1], mean 0.5: noise of four sizes, each half as strong as the one before."""
    cv2 = opencv()
    sizes = (2, 4, 8, 16)
    layers = [
        cv2.resize(chance.random((size, size), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        / 2**step
        for step, size in enumerate(sizes)
    ]
    total: npt.NDArray[np.float32] = np.sum(layers, axis=0) / sum(2.0**-step for step in range(len(sizes)))
    return total


def _flakes(height: int, width: int, amount: float, chance: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw how far flakes cover each pixel: (height, width), in [0, 1].

    The same seed scatters the same flakes; a larger ``amount`` shows more of them.
    """
    cv2 = opencv()
    scale = max(1, min(height, width) // 64)
    noise = chance.random((-(-height // scale), -(-width // scale)), dtype=np.float32)
    seen = (noise < _FLAKES * amount).astype(np.float32)
    large: npt.NDArray[np.float32] = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
    streak = np.zeros((3, 3), dtype=np.float32)
    np.fill_diagonal(streak, 0.5)
    covered: npt.NDArray[np.float32] = cv2.filter2D(large, -1, streak)
    return np.clip(1.2 * covered, 0, 1)


def _bytes(levels: npt.NDArray[np.floating[Any]]) -> Pixels:
    pixels: Pixels = np.round(levels).clip(0, 255).astype(np.uint8)
    return pixels
