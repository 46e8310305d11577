"""Grids of pictures: what a policy does to them, and examples of each class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from labelloop.train.augmentations.policy import Augmentation
from labelloop.train.dataset import Sample, balanced
from labelloop.train.pixels import PixelCache

Pixels = npt.NDArray[np.uint8]

_GAP = 4
_SMALLEST = 96  # pixels; pictures of 32 would be hard to look at
_LARGEST = 224


def policy_grid(policy: Augmentation, pictures: Sequence[Pixels], variants: int = 6) -> Image.Image:
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


_SIDE = 96

_MOST_CLASSES = 20
_LONGEST = 18


def example_grid(
    samples: Sequence[Sample], pixels: PixelCache, classes: Sequence[str], columns: int = 6
) -> Image.Image:
    """Draw at most ``columns`` of ``samples`` (readable ones) for each of the first 20 classes that have any."""
    shown = [
        (name, [one for one in balanced(samples, len(samples), seed=0) if at in one.targets][:columns])
        for at, name in enumerate(classes)
    ]
    rows = [(name, [pixels.one(one) for one in few]) for name, few in shown if few][:_MOST_CLASSES]
    sheet = Image.new("RGB", ((columns + 1) * (_SIDE + _GAP), max(1, len(rows)) * (_SIDE + _GAP)), "white")
    drawing = ImageDraw.Draw(sheet)
    for down, (name, row) in enumerate(rows):
        top = down * (_SIDE + _GAP)
        drawing.text((_GAP, top + _SIDE // 2), name[:_LONGEST], fill="black", anchor="lm")
        for across, picture in enumerate(row, start=1):
            sheet.paste(_small(picture), (across * (_SIDE + _GAP), top))
    return sheet


def _small(picture: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
