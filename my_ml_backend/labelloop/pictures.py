"""From a picture's bytes to a network's input. Training and serving share this, so that they see the same pixels."""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from labelloop.errors import Unreadable
from labelloop.types import PictureSpec

MAX_PIXELS = 100_000_000
"""Pictures beyond this many pixels are refused before they are decoded."""

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow knows more, some of which start other programs (EPS); pictures come from anywhere."""

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(content: bytes) -> Image.Image:
    """Decode one picture as upright RGB (EXIF orientation applied, alpha laid on white, first frame of an animation).

    Raises Unreadable for anything that is not a whole picture of at most ``MAX_PIXELS``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _rgb(ImageOps.exif_transpose(_open(content)))
    except UnidentifiedImageError as error:  # its own text shows an object's address
        raise Unreadable(f"not a readable picture ({len(content)} bytes): it is of no known format") from error
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"not a readable picture ({len(content)} bytes): {error}") from error


def _open(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"the picture has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def resize(image: Image.Image, spec: PictureSpec) -> npt.NDArray[np.uint8]:
    """Squeeze an RGB picture to the spec's size: uint8, (height, width, 3)."""
    resized = image.resize((spec.width, spec.height), _RESAMPLING[spec.interpolation])
    return np.asarray(resized, dtype=np.uint8)


def normalise(pixels: npt.NDArray[np.uint8], spec: PictureSpec) -> npt.NDArray[np.float32]:
    """Turn uint8 (..., height, width, 3) into the network's float32 (..., 3, height, width)."""
    scale = 1.0 / (255.0 * np.asarray(spec.std, dtype=np.float32))
    shift = np.asarray(spec.mean, dtype=np.float32) / np.asarray(spec.std, dtype=np.float32)
    values = pixels.astype(np.float32) * scale.astype(np.float32) - shift
    return np.ascontiguousarray(np.moveaxis(values, -1, -3))


def prepare(content: bytes, spec: PictureSpec) -> npt.NDArray[np.float32]:
    """Decode, resize and normalise one picture: float32, (3, height, width). Raises MediaError."""
    return normalise(resize(decode(content), spec), spec)
