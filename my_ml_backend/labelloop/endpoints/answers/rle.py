"""Masks as run lengths, as COCO writes them, and as rows of numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.endpoints.answers.values import Malformed, is_number, whole
from labelloop.pictures import MAX_PIXELS
from labelloop.types import Mask


def is_rle(value: Any) -> bool:
    """Whether it is ``{"size": [height, width], "counts": list or text}``."""
    return (
        isinstance(value, dict) and isinstance(value.get("size"), list) and isinstance(value.get("counts"), list | str)
    )


def mask_of_rle(value: dict[str, Any]) -> Mask:
    """Read COCO's run lengths: how many pixels outside, inside, outside, ..., column by column. Raises Malformed.

    A text of counts is COCO's compressed form (cocoapi, ``common/maskApi.c``: ``rleFrString``).
    """
    size = value["size"]
    if len(size) != 2:
        raise Malformed('the "size" of a mask is not [height, width]')
    height, width = whole("size", size[0]), whole("size", size[1])
    _check_size(width, height)
    counts = value["counts"]
    lengths = _uncompressed(counts) if isinstance(counts, str) else [whole("counts", count) for count in counts]
    if any(length < 0 for length in lengths) or sum(lengths) != height * width:
        raise Malformed('the "counts" of a mask do not fill its "size"')
    runs = np.zeros(len(lengths), np.uint8)
    runs[1::2] = 255
    columns = np.repeat(runs, np.asarray(lengths, np.int64))
    return Mask(width, height, columns.reshape(width, height).T.tobytes())


def mask_of_rows(value: list[Any]) -> Mask:
    """Read height x width numbers, inside from 0.5 on, perhaps inside a list of one. Raises Malformed."""
    rows = value[0] if len(value) == 1 and _is_rows(value[0]) else value
    if not _is_rows(rows) or not rows[0]:
        raise Malformed("a mask is not a list of rows of numbers")
    if any(len(row) != len(rows[0]) or not all(map(is_number, row)) for row in rows):
        raise Malformed("the rows of a mask are not of one length, or hold something else than numbers")
    _check_size(len(rows[0]), len(rows))
    inside = bytes(255 if pixel >= 0.5 else 0 for row in rows for pixel in row)
    return Mask(len(rows[0]), len(rows), inside)


def mask_of_array(inside: npt.NDArray[np.bool_]) -> Mask:
    """Make a mask of a height x width array."""
    height, width = inside.shape
    return Mask(width, height, (inside.astype(np.uint8) * 255).tobytes())


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) for row in value)


def _check_size(width: int, height: int) -> None:
    if min(width, height) <= 0 or width * height > MAX_PIXELS:
        raise Malformed(f"a mask of {width} x {height} pixels; from 1 to {MAX_PIXELS} can be read")


def _uncompressed(text: str) -> list[int]:
    """Read numbers of five bits a character, the lowest first; from the fourth on they are differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise Malformed('the "counts" of a mask are not in COCO\'s compressed form')
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise Malformed('the "counts" of a mask end in the middle of a number')
    return counts
