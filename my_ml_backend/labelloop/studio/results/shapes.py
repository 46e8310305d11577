"""What was found, in Label Studio's units: shapes in percent, masks in runs, parts of texts, words and numbers."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from labelloop.pictures import MAX_PIXELS
from labelloop.studio.control_tag import ControlTag
from labelloop.types import Box, Json, Mask, Point, Polygon, Span

_POINT_WIDTH = 0.5
"""How large a key point is drawn, in percent of the picture's width; Label Studio's editor drops one without."""

_DIGITS = 6
"""Of a percentage: a hundredth of a pixel in the largest picture that is read."""

_NUMBER_DIGITS = 9

_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_LONGEST_RUN = (1 << _LENGTH_BITS[-1]) // _CHANNELS
_MOST_RUNS = 1_000_000
"""More are noise, no mask, and would make a result of megabytes."""

_INSIDE = 128

Bits = npt.NDArray[np.uint8]


def box_value(box: Box) -> Json | None:
    """Write a box, cut at the picture's edges unless it is turned; None when nothing of it is inside."""
    if not _finite((box.x, box.y, box.width, box.height, box.rotation)):
        return None
    if 0.0 < box.rotation % 360.0 < 360.0:
        return _turned(box)
    left, top = max(0.0, box.x), max(0.0, box.y)
    width, height = min(1.0, box.x + box.width) - left, min(1.0, box.y + box.height) - top
    made = {**_at(left, top), "width": _percent(width), "height": _percent(height), "rotation": 0}
    return made if made["width"] > 0.0 and made["height"] > 0.0 else None


def _turned(box: Box) -> Json | None:
    # Its corner may lie outside while most of it is inside; Label Studio takes no percentage above 100.
    width, height = _percent(box.width), _percent(box.height)
    if not (-1.0 <= box.x <= 1.0 and -1.0 <= box.y <= 1.0 and 0.0 < width <= 100.0 and 0.0 < height <= 100.0):
        return None
    return {**_at(box.x, box.y), "width": width, "height": height, "rotation": box.rotation % 360.0}


def point_value(point: Point) -> Json | None:
    """Write a key point; None when it is outside the picture."""
    if not _finite((point.x, point.y)) or not (0.0 <= point.x <= 1.0 and 0.0 <= point.y <= 1.0):
        return None
    return {**_at(point.x, point.y), "width": _POINT_WIDTH}


def polygon_value(polygon: Polygon) -> Json | None:
    """Write a polygon, its points moved to the picture's edge where they are outside; None for less than three."""
    points = [(point.x, point.y) for point in polygon.points]
    if not all(map(_finite, points)):
        return None
    inside = [[_percent(_clipped(x)), _percent(_clipped(y))] for x, y in points]
    if len({(x, y) for x, y in inside}) < 3:
        return None
    return {"points": inside, "closed": True}


def _at(x: float, y: float) -> Json:
    return {"x": _percent(x), "y": _percent(y)}


def _percent(fraction: float) -> float:
    return round(100.0 * fraction, _DIGITS)


def _clipped(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(math.isfinite, numbers))


def span_value(span: Span, text: str | None) -> Json | None:
    """Write a part of a text, cut at its end where the text is known; None when nothing is left.

    Label Studio counts Unicode characters, as Python does (measured in 1.23.2, tests/e2e/test_result_kinds.py).
    """
    start, end = max(0, span.start), span.end if text is None else min(span.end, len(text))
    if start >= end:
        return None
    value: Json = {"start": start, "end": end}
    return value if text is None else value | {"text": text[start:end]}


def text_value(texts: list[str]) -> Json:
    """Write the texts of one ``TextArea``."""
    return {"text": texts}


def number_value(tag: ControlTag, number: float) -> Json | None:
    """Write a number as ``tag`` takes it; None when it is not finite.

    A ``Rating`` is a whole number from 1 to its ``maxRating``: its editor shows 0 as no rating. A ``Number`` is moved
    into its range and to the nearest of its steps, which its editor counts from ``min``, else from 0.
    """
    if not math.isfinite(number):
        return None
    if tag.tag == "Rating":
        return {"rating": int(min(max(1.0, number + 0.5), tag.maximum or 1.0))}
    return {"number": _stepped(tag, _bounded(tag, number))}


def _bounded(tag: ControlTag, number: float) -> float:
    at_least = number if tag.minimum is None else max(tag.minimum, number)
    return at_least if tag.maximum is None else min(tag.maximum, at_least)


def _stepped(tag: ControlTag, number: float) -> float:
    if tag.step is None or tag.step <= 0.0:
        return number
    basis = tag.minimum or 0.0
    steps = (number - basis) / tag.step
    if not math.isfinite(steps):
        return number
    nearest = basis + math.floor(steps + 0.5) * tag.step
    if tag.maximum is not None and nearest > tag.maximum:
        nearest = basis + math.floor(steps) * tag.step
    return round(nearest, _NUMBER_DIGITS) if math.isfinite(nearest) else number


def mask_value(mask: Mask, size: tuple[int, int]) -> Json | None:
    """Write a mask, scaled to the picture's ``size`` in pixels.

    None when it is empty, noise, or not as large as it says, or the picture larger than any that is read.
    """
    pixels = _pixels(mask)
    if pixels is None or min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        return None
    scaled = _scaled(pixels, size)
    if not scaled.any() or np.count_nonzero(scaled[:, 1:] != scaled[:, :-1]) > _MOST_RUNS:
        return None
    return {"format": "rle", "rle": encode_rle(scaled)}


def encode_rle(inside: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask, height x width, as the bytes of an RGBA picture that is opaque white inside.

    The stream is that of the rle-pack package Label Studio's editor uses (thi.ng/umbrella): 32 bits with the number of
    values, 5 bits with the size of a value less one, four times 4 bits with the sizes of a run's length less one; then,
    for each run, a 1, two bits that choose among those four, the length less one, the value. A value is one byte.
    """
    flat = inside.ravel()
    values, lengths = _runs(flat)
    header = _bits(np.array([flat.size * _CHANNELS, _VALUE_BITS - 1]), np.array([32, 5]))
    sizes = _bits(np.array(_LENGTH_BITS) - 1, np.full(len(_LENGTH_BITS), 4))
    chosen = np.searchsorted([1 << bits for bits in _LENGTH_BITS], lengths)
    bits = np.array(_LENGTH_BITS)[chosen]
    codes = (((0b100 | chosen) << bits | (lengths - 1)) << _VALUE_BITS) | np.where(values, 255, 0)
    body = _bits(codes, 3 + bits + _VALUE_BITS)
    found: list[int] = np.packbits(np.concatenate([header, sizes, body])).tolist()
    return found


def _pixels(mask: Mask) -> npt.NDArray[np.bool_] | None:
    if mask.width < 1 or mask.height < 1 or len(mask.inside) != mask.width * mask.height:
        return None
    return np.frombuffer(mask.inside, np.uint8).reshape(mask.height, mask.width) >= _INSIDE


def _scaled(pixels: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Scale to (width, height) by the nearest pixel, so that inside stays inside."""
    height, width = pixels.shape
    if size == (width, height):
        return pixels
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(np.int64)
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(np.int64)
    return pixels[np.ix_(rows, columns)]


def _runs(flat: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Give each run's value and its length in bytes, at most what 16 bits hold."""
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    pieces = -(-lengths // _LONGEST_RUN)
    last = np.cumsum(pieces) - 1
    cut = np.full(int(pieces.sum()), _LONGEST_RUN, np.int64)
    cut[last] = lengths - (pieces - 1) * _LONGEST_RUN
    return np.repeat(flat[starts], pieces), cut * _CHANNELS


def _bits(numbers: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Bits:
    """Write each number with its own number of bits, the highest first: one 0 or 1 per element."""
    ends = np.cumsum(sizes)
    shifts = np.repeat(ends, sizes) - 1 - np.arange(int(ends[-1]))
    return ((np.repeat(numbers, sizes) >> shifts) & 1).astype(np.uint8)
