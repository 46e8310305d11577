"""Masks in Label Studio's run-length encoding.

The stream is that of the rle-pack package its editor uses (thi.ng/umbrella): 32 bits with the number of values, 5 bits
with the size of a value less one, four times 4 bits with the sizes of a run's length less one; then, for each run, a 1,
two bits that choose among those four, the length less one, the value. A value is one byte of an RGBA picture.
"""

import numpy as np
import numpy.typing as npt

from labelloop.pictures import MAX_PIXELS
from labelloop.types import Json, Mask

_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_LONGEST_RUN = (1 << _LENGTH_BITS[-1]) // _CHANNELS
_MOST_RUNS = 1_000_000
"""More are noise, no mask, and would make a result of megabytes."""

_INSIDE = 128

Bits = npt.NDArray[np.uint8]


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
    return {"format": "rle", "rle": encode(scaled)}


def encode(inside: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask, height x width, as the bytes of an RGBA picture that is opaque white inside."""
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
