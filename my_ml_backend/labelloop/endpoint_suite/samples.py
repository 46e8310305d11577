"""What an endpoint is asked for: made pictures, the same on every machine, those of a folder, and wrong requests."""

import io
import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageDraw

from labelloop.endpoints.requests.format import Body
from labelloop.errors import SettingsError
from labelloop.sources.media import media_type_of

MOST_PICTURES = 100
"""Pictures of a folder that are sent, the first by name."""

TYPICAL = "photo.jpg"
"""The made picture whose latency is measured: 640 x 480 pixels."""

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")


@dataclass(frozen=True, slots=True)
class SamplePicture:
    """One encoded picture."""

    name: str
    content: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """What it is sent as."""
        return media_type_of(self.content, self.name)


@cache
def made_samples() -> tuple[SamplePicture, ...]:
    """Make one picture of each form that a model meets: gradients, noise and shapes, several sizes and encodings."""
    return tuple(SamplePicture(name, content) for name, content in _made())


def folder_samples(folder: Path) -> tuple[SamplePicture, ...]:
    """Read the first pictures of a folder; raises SettingsError when it holds none."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _ENDINGS and file.is_file())
    if not files:
        raise SettingsError(f"--pictures: {folder} holds no picture ({', '.join(_ENDINGS)})")
    return tuple(SamplePicture(file.name, file.read_bytes()) for file in files[:MOST_PICTURES])


def _made() -> Iterator[tuple[str, bytes]]:
    photo = _photo(640, 480)
    yield TYPICAL, _encoded(photo, "JPEG", quality=90)
    yield "gradient.png", _encoded(_gradient(256, 256), "PNG")
    yield "gradient-turned.png", _encoded(_gradient(256, 256).transpose(Image.Transpose.ROTATE_90), "PNG")
    yield "noise.png", _encoded(_noise(224, 224), "PNG")
    for colour in ("red", "green", "blue"):
        yield f"{colour}.png", _encoded(Image.new("RGB", (64, 64), colour), "PNG")
    yield "small.png", _encoded(_photo(20, 12), "PNG")
    yield "narrow.jpg", _encoded(_photo(1200, 40), "JPEG", quality=90)
    yield "large.jpg", _encoded(_photo(1200, 900), "JPEG", quality=80)
    yield "exif-turned.jpg", _turned(photo)
    yield "cmyk.jpg", _encoded(photo.convert("CMYK"), "JPEG", quality=90)
    yield "grey.jpg", _encoded(photo.convert("L"), "JPEG", quality=90)
    yield "progressive.jpg", _encoded(photo, "JPEG", quality=85, progressive=True)
    yield "alpha.png", _encoded(_veiled(_photo(200, 150)), "PNG")
    yield "palette.png", _encoded(_photo(200, 150).quantize(32), "PNG")
    yield "sixteen-bit.png", _encoded(_deep(120, 90), "PNG")


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _ramps(width: int, height: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    across, down = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32))
    return across, down


def _gradient(width: int, height: int) -> Image.Image:
    across, down = _ramps(width, height)
    return Image.fromarray((255 * np.stack([across, down, 1 - across], axis=-1)).astype(np.uint8))


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _photo(width: int, height: int) -> Image.Image:
    """Draw a ground that changes, things with edges on it, and grain: no side is like another."""
    across, down = _ramps(width, height)
    grain = 0.02 * np.random.default_rng(width).standard_normal((height, width, 1), dtype=np.float32)
    ground = np.stack([0.3 + 0.5 * across, 0.6 - 0.4 * down, 0.2 + 0.6 * down * across], axis=-1) + grain
    image = Image.fromarray((255 * ground.clip(0, 1)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.1, height * 0.15, width * 0.4, height * 0.6), fill=(240, 220, 60))
    draw.rectangle((width * 0.55, height * 0.5, width * 0.9, height * 0.8), fill=(30, 60, 160))
    draw.line((0, height * 0.9, width, height * 0.7), fill=(20, 20, 20), width=max(1, height // 60))
    return image


def _turned(image: Image.Image) -> bytes:
    """Store a picture lying on its side, with the EXIF entry that stands it up."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return _encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def _veiled(image: Image.Image) -> Image.Image:
    across, _ = _ramps(*image.size)
    image.putalpha(Image.fromarray((255 * across).astype(np.uint8)))
    return image


def _deep(width: int, height: int) -> Image.Image:
    across, down = _ramps(width, height)
    return Image.fromarray((65535 * across * down).astype(np.uint16))


HUGE = 20_000
"""Pixels a side of a picture that is small on the wire and 1.2 GB when it is decoded."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One wrong request, and how many pictures it asks for."""

    name: str
    body: Body
    pictures: int = 1


def bad_requests(formats: tuple[str, ...], picture: bytes) -> list[Bad]:
    """Make the wrong requests of these request formats; ``picture`` is a good JPEG."""
    return [*(_raw(picture) if "raw" in formats else ()), *(_instances(picture) if "instances" in formats else ())]


def _raw(picture: bytes) -> Iterator[Bad]:
    yield Bad("empty body", Body(b"", "image/jpeg"))
    yield Bad("text as picture", Body(b"this is no picture", "image/jpeg"))
    yield Bad("truncated JPEG", Body(picture[: len(picture) // 2], "image/jpeg"))
    yield Bad("huge picture", Body(huge_png(), "image/png"))


def _instances(picture: bytes) -> Iterator[Bad]:
    yield Bad("JSON cut off", Body(b'{"instances": [', "application/json"))
    yield Bad("JSON of another form", Body(b'{"nonsense": []}', "application/json"))
    yield Bad("no base64", _json("!"))
    yield Bad("truncated JPEG among instances", _json(b64encode(picture[: len(picture) // 2]).decode()))


def _json(text: str) -> Body:
    return Body(json.dumps({"instances": [{"b64": text}]}).encode(), "application/json")


@cache
def huge_png(side: int = HUGE) -> bytes:
    """Write a whole, white PNG of 1 bit a pixel: 260 KB for 400 million pixels."""
    packer, row = zlib.compressobj(1), b"\x00" + b"\xff" * (side // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
