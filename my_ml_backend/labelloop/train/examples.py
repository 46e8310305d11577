"""A grid of examples: a row of pictures for each class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from labelloop.train.chosen import balanced
from labelloop.train.dataset import Sample
from labelloop.train.pixels import Pixels

_SIDE = 96
_GAP = 4
_MOST_CLASSES = 20
_LONGEST = 18


def example_grid(samples: Sequence[Sample], pixels: Pixels, classes: Sequence[str], columns: int = 6) -> Image.Image:
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
