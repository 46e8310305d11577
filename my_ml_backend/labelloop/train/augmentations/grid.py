"""A grid of pictures that shows what a policy does."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.train.augmentations.policy import Policy

Pixels = npt.NDArray[np.uint8]

_GAP = 4
_SMALLEST = 96  # pixels; pictures of 32 would be hard to look at
_LARGEST = 224


def policy_grid(policy: Policy, pictures: Sequence[Pixels], variants: int = 6) -> Image.Image:
    """Draw a row for each picture (height, width, 3; all of one size): the picture itself, then ``variants`` of it."""
    if not pictures:
        raise ValueError("there are no pictures to show a policy on")
    rows = [
        [picture, *(policy(picture, _seed(row, column)) for column in range(variants))]
        for row, picture in enumerate(pictures)
    ]
    return tile(rows)


def tile(rows: Sequence[Sequence[Pixels]]) -> Image.Image:
    """Lay pictures out in rows, on white, each scaled to a readable size."""
    width, height = _shown_size(rows[0][0])
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP), "white")
    for down, row in enumerate(rows):
        for across, pixels in enumerate(row):
            sheet.paste(_scaled(pixels, (width, height)), (across * (width + _GAP), down * (height + _GAP)))
    return sheet


def _seed(row: int, column: int) -> int:
    return 1000 * row + column


def _shown_size(pixels: Pixels) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    larger = max(height, width)
    shown = min(max(larger, _SMALLEST), _LARGEST)
    return max(1, round(width * shown / larger)), max(1, round(height * shown / larger))


def _scaled(pixels: Pixels, size: tuple[int, int]) -> Image.Image:
    enlarged = size[0] > pixels.shape[1]
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)
