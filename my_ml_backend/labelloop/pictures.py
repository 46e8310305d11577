"""From a picture's bytes to a network's input. Training and serving share this, so that they see the same pixels."""

import io
import math
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError, _imaging
from PIL.JpegImagePlugin import JpegImageFile

from labelloop.bundle_info import PictureSpec
from labelloop.errors import Unreadable

MAX_PIXELS = 100_000_000
"""Pictures beyond this many pixels are refused before they are decoded."""

_DRAFT_PIXELS = 300_000
"""A JPEG of so many pixels is decoded at a half, a quarter or an eighth where that leaves enough of it.

Smaller ones take a few milliseconds anyway, and are sharp to the pixel.
"""

_HUGE_PIXELS = 20_000_000
"""A JPEG beyond this many pixels comes scaled down where its size is of no matter, for the memory that it takes."""

_DRAFT_MARGIN = 2
"""So many times the network's input at least, so that its pixels come out the same but for a grey level on average."""

_STRIP_PIXELS = 2_000_000
"""Pixels that are converted at a time: a large picture is held once in its own mode and once as RGB, and no more."""

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow knows more, some of which start other programs (EPS); pictures come from anywhere."""

_SMALLEST_SIDE = 8
"""Pixels; no model sees anything in less."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""

_SIDEWAYS = frozenset(
    (Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90)
)
"""The turns that make width and height change places."""

_BROKEN_EXIF = (ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error)
"""What Pillow raises for EXIF that is damaged; the picture's pixels may well be whole."""

# Larger than what malloc may keep in a thread's heap (32 MiB): a large picture's memory goes back when it is closed.
_imaging.set_block_size(64 << 20)

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(content: bytes, least: int = 0) -> Image.Image:
    """Decode one picture as upright RGB (EXIF orientation applied, alpha laid on white, first frame of an animation).

    With ``least``, a very large JPEG may come scaled down, no side below so many pixels. Raises Unreadable for anything
    that is not a whole picture of at most ``MAX_PIXELS``.
    """
    with _readable(content):
        image = _open(content)
        if least and isinstance(image, JpegImageFile) and image.width * image.height > _HUGE_PIXELS:
            image.draft(image.mode, (least, least))
        return _upright_rgb(image)


@contextmanager
def _readable(content: bytes) -> Iterator[None]:
    """Raise Unreadable for whatever Pillow raises at a picture, and be still about its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"not a readable picture ({len(content)} bytes): {_why(error)}") from error


def _open(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"the picture has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    return image


class _Draft(NamedTuple):
    """What is made of a JPEG that is decoded smaller: ``part`` of that, squeezed to what ``spec`` says.

    The part is no whole number of pixels: a half of 427 rows is 213.5, and 214 are decoded.
    """

    part: tuple[float, float, float, float]
    spec: PictureSpec

    @classmethod
    def of(cls, image: Image.Image, spec: PictureSpec) -> Self | None:
        """Have a large JPEG decoded smaller; None for what stays as it is."""
        if not isinstance(image, JpegImageFile) or image.width * image.height < _DRAFT_PIXELS:
            return None
        least, whole = _DRAFT_MARGIN * max(spec.width, spec.height), image.size
        found = image.draft(image.mode, (least, least))
        return None if found is None or image.size == whole else cls(found[1], spec)

    def squeezed(self, image: Image.Image, *, lying: bool) -> Image.Image:
        """Squeeze what was decoded; ``lying`` pictures are yet to be turned by a right angle."""
        size = (self.spec.width, self.spec.height)
        return image.resize(size[::-1] if lying else size, _RESAMPLING[self.spec.interpolation], box=self.part)


def _upright_rgb(image: Image.Image, draft: _Draft | None = None) -> Image.Image:
    upright = _upright(image, draft)
    found = _rgb(upright)
    for one in (image, upright):
        if one is not found:
            one.close()  # an open picture is part of a circle: its pixels would stay until it is collected
    return found


def _upright(image: Image.Image, draft: _Draft | None) -> Image.Image:
    # Decoded first: a PNG's EXIF may stand behind the pixels, and Pillow turns a TIFF as it decodes it.
    image.load()
    turn = _TURNS.get(_orientation(image))
    inverted = image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info
    pixels = image if draft is None else draft.squeezed(image, lying=turn in _SIDEWAYS)
    upright = pixels if turn is None else pixels.transpose(turn)
    # Pillow takes the CMYK of every JPEG as inverted, which is Adobe's way alone (libjpeg.txt, "Special color spaces").
    return ImageChops.invert(upright) if inverted else upright


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    scale = _scale(image) if image.mode == "F" else 1.0
    rows = max(1, _STRIP_PIXELS // image.width)
    if rows >= image.height:
        return _strip(image, scale)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_strip(part, scale), (0, top))
    return whole


def _strip(image: Image.Image, scale: float) -> Image.Image:
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
        image = Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _scale(image: Image.Image) -> float:
    """Say what turns floating point numbers to grey levels: they go from 0 to 1, or from 0 to 255."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    return 255.0 if values.max() <= 1.0 else 1.0


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


def fitted(content: bytes, spec: PictureSpec) -> npt.NDArray[np.uint8]:
    """Decode and squeeze one picture to the spec's size: uint8, (height, width, 3). Raises MediaError.

    A large JPEG is decoded at the scale that this needs, which leaves it the same but for a grey level on average.
    """
    with _readable(content):
        opened = _open(content)
        image = _upright_rgb(opened, _Draft.of(opened, spec))
    try:
        return resize(image, spec)
    finally:
        image.close()


def prepare(content: bytes, spec: PictureSpec) -> npt.NDArray[np.float32]:
    """Decode, resize and normalise one picture: float32, (3, height, width). Raises MediaError."""
    return normalise(fitted(content, spec), spec)


def pixels_of(contents: Iterable[bytes]) -> int:
    """Say how many pixels the largest of these pictures has, by its header; 0 for what is none, or never decoded."""
    most = 0
    for content in contents:
        with suppress(Unreadable):
            width, height = upright_size(content)
            if width * height <= MAX_PIXELS:
                most = max(most, width * height)
    return most


def is_turned(content: bytes) -> bool:
    """Whether EXIF says that a picture stands otherwise than its pixels lie; False for what is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            return image.format != "TIFF" and _orientation(image) in range(2, 9)
    except Exception:  # noqa: BLE001 - Pillow raises whatever it likes at what is no picture
        return False


def upright_size(content: bytes) -> tuple[int, int]:
    """Read a picture's width and height, EXIF orientation applied, from its header alone. Raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
    except Exception as error:
        raise Unreadable(f"not a readable picture ({len(content)} bytes): {_why(error)}") from error
    return (image.height, image.width) if turned else (image.width, image.height)


def _orientation(image: Image.Image) -> int:
    # Pillow decodes a whole PNG to look for EXIF behind the pixels, where next to no writer puts it.
    if image.format == "PNG" and not {"exif", "Raw profile type exif", "XML:com.adobe.xmp"} & image.info.keys():
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN_EXIF:
        return 1
    return found if isinstance(found, int) else 1


def shrink(content: bytes, most_bytes: int) -> bytes:
    """Scale a picture down until it fits, as an upright JPEG of the same aspect ratio. Raises Unreadable.

    Also raised when not even a picture of a few pixels fits. JPEG's size goes with the number of pixels, so that two or
    three tries suffice.
    """
    image = decode(content)
    written = _jpeg(image)
    while len(written) > most_bytes:
        factor = 0.95 * math.sqrt(most_bytes / len(written)) if most_bytes > 0 else 0.0
        size = (round(image.width * factor), round(image.height * factor))
        if min(size) < _SMALLEST_SIDE:
            raise Unreadable(f"the picture cannot be made to fit {most_bytes} bytes")
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        written = _jpeg(image)
    return written


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _why(error: Exception) -> str:
    """An error's text, except where that shows an object's address."""
    return "it is of no known format" if isinstance(error, UnidentifiedImageError) else str(error)
