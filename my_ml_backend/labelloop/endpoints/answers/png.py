"""Masks as PNG pictures."""

import binascii
import io
import warnings
from base64 import b64decode
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.endpoints.answers.rle import mask_of_array
from labelloop.endpoints.answers.values import Malformed
from labelloop.pictures import MAX_PIXELS
from labelloop.types import Mask

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
    pixels = _pixels(content, "L")
    return mask_of_array((pixels > 0) & (pixels >= pixels.max() / 2))


def class_masks(content: bytes, classes: tuple[str, ...]) -> Iterator[tuple[int, Mask]]:
    """Read a PNG whose pixels are class indices: a mask for each class that is there. Raises Malformed."""
    pixels = _pixels(content, None)
    for index in np.unique(pixels).tolist():
        if index != VOID or len(classes) > VOID:
            yield index, mask_of_array(pixels == index)


def _pixels(content: bytes, mode: str | None) -> npt.NDArray[np.uint8]:
    """Decode to height x width; without a ``mode`` the picture must hold one byte a pixel already."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                _check(image, mode)
                return np.asarray(image if mode is None else image.convert(mode), np.uint8)
    except Malformed:
        raise
    except Exception as error:
        raise Malformed(f"a mask is not a readable PNG ({len(content)} bytes): {type(error).__name__}") from error


def _check(image: Image.Image, mode: str | None) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Malformed(f"a mask has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    if mode is None and image.mode not in ("L", "P"):
        raise Malformed("the picture does not hold one byte a pixel, the index of a class")
