"""Where in a picture a model looks, asked from outside: parts are hidden one by one, and its score says what they mean.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2. It needs nothing of the
model but its answers, so that any endpoint can be explained.
"""

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from PIL import Image, ImageStat

from labelloop.pictures import decode, pixels_of
from labelloop.types import Answer, Failure, Output

CELLS = 7
"""Rows and columns of the parts: 49 questions beside the picture itself."""

_SIDE = 384
"""Pixels of the longer side that is asked about: networks see less, and 50 copies are to be sent."""

Ask = Callable[[Sequence[bytes]], Sequence[Answer | Failure]]
"""Answers pictures (bytes of a file), one for each, in order."""

Room = Callable[[int], AbstractContextManager[None]]
"""Gives room in memory for a picture of so many pixels while it is decoded."""


@dataclass(frozen=True, slots=True)
class Occlusion:
    """An answer, and what hiding each part takes from its score: ``drops`` in [-1, 1], (CELLS, CELLS), rows first.

    A part that could not be asked about counts as 0. ``drops`` is empty where the answer is no classification.
    """

    answer: Answer | Failure
    drops: tuple[tuple[float, ...], ...] = ()


def occlude(content: bytes, ask: Ask, room: Room) -> Occlusion:
    """Ask about a picture, then about its copies in which a part is grey, one and a half cells wide.

    Raises Unreadable for what is no picture, and whatever asking and the room raise.
    """
    with room(pixels_of([content])):
        image = decode(content, _SIDE)
        image.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
    (answer,) = ask([_jpeg(image)])
    if not isinstance(answer, Output):
        return Occlusion(answer)
    # The picture's own mean: a part that stands out would be something to look at itself.
    mean = tuple(round(level) for level in ImageStat.Stat(image).mean)
    boxes = [_box(image.size, row, column) for row in range(CELLS) for column in range(CELLS)]
    found = ask([_hidden(image, box, mean) for box in boxes])
    drops = [_drop(answer, one) for one in found]
    return Occlusion(answer, tuple(tuple(drops[at : at + CELLS]) for at in range(0, len(drops), CELLS)))


def _box(size: tuple[int, int], row: int, column: int) -> tuple[int, int, int, int]:
    """Give left, top, right, bottom of a part: a cell with a quarter of a cell around it, inside the picture."""

    def ends(length: int, at: int) -> tuple[int, int]:
        cell = length / CELLS
        return max(0, round((at - 0.25) * cell)), min(length, round((at + 1.25) * cell))

    left, right = ends(size[0], column)
    top, bottom = ends(size[1], row)
    return left, top, right, bottom


def _hidden(image: Image.Image, box: tuple[int, int, int, int], mean: tuple[int, ...]) -> bytes:
    copy = image.copy()
    copy.paste(mean, box)
    return _jpeg(copy)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _drop(whole: Output, hidden: Answer | Failure) -> float:
    if not isinstance(hidden, Output):
        return 0.0
    return round(whole.score - hidden.scores.get(whole.label, 0.0), 6)
