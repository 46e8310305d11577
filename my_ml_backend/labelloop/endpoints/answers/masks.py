"""Silhouettes, in the ways that models write them: PNG pictures, run lengths, rows of numbers."""

import binascii
import io
import warnings
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    entries,
    is_number,
    optional_score,
    region_class,
    whole,
    within_memory,
)
from labelloop.pictures import MAX_PIXELS
from labelloop.types import Findings, Mask, Region


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


def rle_of_mask(mask: Mask) -> dict[str, Any]:
    """Write a mask as ``mask_of_rle`` reads it, its counts uncompressed."""
    columns = np.frombuffer(mask.inside, np.uint8).reshape(mask.height, mask.width).T.ravel() > 0
    ends = np.flatnonzero(np.diff(columns, prepend=False, append=not columns[-1]))
    return {"size": [mask.height, mask.width], "counts": np.diff(ends, prepend=0).tolist()}


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


SIGNATURE = b"\x89PNG\r\n\x1a\n"

VOID = 255
"""The class index of pixels that belong to no class, unless the model's classes name it."""


def mask_of_base64(text: str) -> Mask:
    """Read a black and white PNG; at least half as bright as its brightest pixel is inside. Raises Malformed."""
    encoded = text.partition("base64,")[2] if text.startswith("data:") else text
    try:
        content = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a mask is not base64") from None
    pixels = _decoded(content, "L")
    return mask_of_array((pixels > 0) & (pixels >= pixels.max() / 2))


def class_masks(content: bytes, classes: tuple[str, ...]) -> Iterator[tuple[int, Mask]]:
    """Read a PNG whose pixels are class indices: a mask for each class that is there. Raises Malformed."""
    pixels = _decoded(content, None)
    for index in np.unique(pixels).tolist():
        if index != VOID or len(classes) > VOID:
            yield index, mask_of_array(pixels == index)


def _decoded(content: bytes, mode: str | None) -> npt.NDArray[np.uint8]:
    """Decode to height x width; without a ``mode`` the picture must hold one byte a pixel already."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                _check_picture(image, mode)
                return np.asarray(image if mode is None else image.convert(mode), np.uint8)
    except Malformed:
        raise
    except Exception as error:
        raise Malformed(f"a mask is not a readable PNG ({len(content)} bytes): {type(error).__name__}") from error


def _check_picture(image: Image.Image, mode: str | None) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Malformed(f"a mask has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    if mode is None and image.mode not in ("L", "P"):
        raise Malformed("the picture does not hold one byte a pixel, the index of a class")


class Masks:
    """The answer format ``masks``, in three forms.

    Hugging Face image segmentation: ``[{"label", "score", "mask": "<PNG as base64>"}]``. COCO results:
    ``[{"category_id", "score", "segmentation": {"size": [height, width], "counts": ...}}]``. SageMaker semantic
    segmentation: the body is one PNG whose pixels are class indices.
    """

    name = "masks"
    made_by = "Hugging Face image segmentation, COCO results, SageMaker semantic segmentation"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names may be in the answer
        """Whether it is a PNG, a mask by itself, or a list of objects with masks, perhaps empty."""
        if isinstance(item, list):
            return all(_is_masked(entry) for entry in item)
        return isinstance(item, bytes) or _is_masked(item)

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one picture's masks, each in its own resolution. Raises Malformed."""
        if isinstance(item, bytes):
            found = (Region(region_class(index, one), mask) for index, mask in class_masks(item, one.classes))
        else:
            found = (_region(entry, one) for entry in entries(item))
        regions = within_memory(found)
        return Findings(regions, one.version, _size(regions))


def read_mask(value: Any) -> Mask:
    """Read one mask: a PNG as base64, COCO's run lengths, or rows of numbers. Raises Malformed."""
    if isinstance(value, str):
        return mask_of_base64(value)
    if is_rle(value):
        return mask_of_rle(value)
    if isinstance(value, list):
        return mask_of_rows(value)
    raise Malformed('a mask is neither a PNG as base64 nor {"size": [height, width], "counts": ...}')


def _is_masked(entry: Any) -> bool:
    return isinstance(entry, dict) and ("mask" in entry or is_rle(entry.get("segmentation")) or is_rle(entry))


def _region(entry: dict[str, Any], one: Asked) -> Region:
    mask = entry if is_rle(entry) else entry.get("mask", entry.get("segmentation"))
    label = entry.get("label", entry.get("category_id"))
    return Region(region_class(label, one), read_mask(mask), optional_score(entry.get("score")))


def _size(regions: Sequence[Region]) -> tuple[int, int] | None:
    sizes = {(region.shape.width, region.shape.height) for region in regions if isinstance(region.shape, Mask)}
    return sizes.pop() if len(sizes) == 1 else None
