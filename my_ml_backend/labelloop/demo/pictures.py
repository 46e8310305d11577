"""The demo's pictures: scikit-learn's handwritten digits, one on each, or several on a canvas with their boxes."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.demo.examples import Example, Examples
from labelloop.types import BOXES, IMAGES, Box, Region

_SHOWN_SIDE = 96
"""Pixels: scikit-learn's digits have 8 x 8, too few to look at."""

_WIDTH, _HEIGHT = 192, 144
_SMALLEST, _LARGEST = 28, 44
_MOST = 6
_CANVASES = 400
_NOISE = 10

_SOUGHT = (1, 4, 8)
"""Digits that are labeled on canvases; others would only take longer to learn."""

Grey = npt.NDArray[np.uint8]


def digits(folder: Path, seed: int, tasks: int) -> Examples:
    """Write scikit-learn's 1,797 digits to ``folder``; ``tasks`` of them, chosen by ``seed``, are to be shown."""
    examples = []
    for number, (grey, label) in enumerate(_digits()):
        path = folder / f"digit-{number:04}.png"
        side = (_SHOWN_SIDE, _SHOWN_SIDE)
        Image.fromarray(grey).resize(side, Image.Resampling.BICUBIC).save(path)
        examples.append(Example(path, (str(label),)))
    return Examples.drawn("0123456789", examples, seed, tasks, IMAGES)


def canvases(folder: Path, seed: int, tasks: int) -> Examples:
    """Scatter real digits over 400 canvases in ``folder``, none over another, each with the box that it was put into.

    They are made by the demo. ``tasks`` of them are to be shown.
    """
    known = [(grey, label) for grey, label in _digits() if label in _SOUGHT]
    chance = random.Random("canvases")
    examples = []
    for number in range(_CANVASES):
        path = folder / f"canvas-{number:04}.png"
        canvas, regions = _canvas(known, chance)
        canvas.save(path)
        examples.append(Example(path, tuple(sorted({one.label for one in regions})), "", regions))
    return Examples.drawn([str(one) for one in _SOUGHT], examples, seed, tasks, BOXES)


def _digits() -> Iterator[tuple[Grey, int]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    for pixels, label in zip(data.images, data.target, strict=True):
        yield (255 - pixels * (255 / 16)).astype(np.uint8), int(label)


def _canvas(known: list[tuple[Grey, int]], chance: random.Random) -> tuple[Image.Image, tuple[Region, ...]]:
    # With noise, for canvases without a digit would else be one and the same picture.
    noise = np.frombuffer(chance.randbytes(_WIDTH * _HEIGHT), dtype=np.uint8).reshape(_HEIGHT, _WIDTH) % _NOISE
    canvas = Image.fromarray(chance.randrange(225, 246) + noise)
    taken: list[tuple[int, int, int]] = []
    regions = []
    for _ in range(chance.randint(0, _MOST)):
        grey, label = chance.choice(known)
        side = chance.randint(_SMALLEST, _LARGEST)
        x, y = chance.randint(0, _WIDTH - side), chance.randint(0, _HEIGHT - side)
        if any(abs(x - left) < max(side, wide) and abs(y - top) < max(side, wide) for left, top, wide in taken):
            continue
        taken.append((x, y, side))
        drawn = Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)
        # The darker of both, so that the ground stays what it is.
        place = (x, y, x + side, y + side)
        canvas.paste(Image.fromarray(np.minimum(np.asarray(canvas.crop(place)), np.asarray(drawn))), place)
        regions.append(Region(str(label), Box(x / _WIDTH, y / _HEIGHT, side / _WIDTH, side / _HEIGHT)))
    return canvas, tuple(regions)
