"""What an endpoint is asked for: made pictures or texts, the same on every machine, and those of a folder."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageDraw

from labelloop.errors import SettingsError
from labelloop.sources.media import media_type_of
from labelloop.types import Input

MOST_SAMPLES = 100
"""Files of a folder that are sent, the first by name."""

PICTURE, TEXT = "picture", "text"
"""What kinds call an input that there are samples of."""

_ENDINGS = {
    PICTURE: (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"),
    TEXT: (".txt",),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One input: an encoded picture, or a text in UTF-8."""

    name: str
    content: bytes = field(repr=False)
    of: str = PICTURE

    @property
    def input(self) -> Input:
        """Give it as it is sent."""
        if self.of == TEXT:
            return Input(text=self.content.decode())
        return Input(self.content, media_type_of(self.content, self.name))


@cache
def made_samples(of: str) -> tuple[Sample, ...]:
    """Make one input of each form that a model meets; the latency of the first is measured.

    Pictures are gradients, noise and shapes, in several sizes and encodings; texts are in several scripts, with all
    that makes characters, bytes and UTF-16 units differ.
    """
    if of == TEXT:
        return tuple(Sample(name, text.encode(), TEXT) for name, text in _TEXTS.items())
    return tuple(Sample(name, content) for name, content in _pictures())


def folder_samples(folder: Path, of: str) -> tuple[Sample, ...]:
    """Read the first pictures, or texts, of a folder; raises SettingsError when it holds none, or one is no text."""
    endings = _ENDINGS[of]
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in endings and file.is_file())
    if not files:
        raise SettingsError(f"--samples: {folder} holds no {of} ({', '.join(endings)})")
    samples = tuple(Sample(file.name, file.read_bytes(), of) for file in files[:MOST_SAMPLES])
    for one in samples:
        try:
            _ = one.input
        except UnicodeDecodeError as error:
            raise SettingsError(f"--samples: {folder / one.name} is no text in UTF-8 ({error.reason})") from error
    return samples


_SENTENCE = "On 3 March 2024 Ada Lovelace of Acme Corp. paid $1,250.50 to the Bank of Oslo, in Norway."

_TEXTS = {
    "sentence": _SENTENCE,
    "question": "why was my card declined at the cash machine in Berlin?",
    "capitals": _SENTENCE.upper(),
    "small": _SENTENCE.lower(),
    "emoji": "\N{GRINNING FACE} Ada Lovelace \N{FAMILY} met Bob Smith \N{THUMBS UP SIGN} in Oslo.",
    "combining": "Rene\N{COMBINING ACUTE ACCENT} Muller\N{COMBINING DIAERESIS} lives in Zu\N{COMBINING DIAERESIS}rich.",
    "composed": "Ren\u00e9 M\u00fcller lives in Z\u00fcrich.",
    "right to left": "\u05e2\u05d3\u05d4 \u05d2\u05e8\u05d4 \u05d1\u05d0\u05d5\u05e1\u05dc\u05d5 with Ada Lovelace.",
    "without blanks": "\u5c71\u7530\u592a\u90ce\u306f\u6771\u4eac\u306b\u4f4f\u3093\u3067\u3044\u308b\u3002",
    "lines": "Ada Lovelace\r\nAcme Corp.\n\n\tOslo\n",
    "blanks": "  Ada \u00a0 Lovelace\u2028Oslo  ",
    "one letter": "A",
    "signs": "?! -- (...) #@ %",
    "numbers": "1999 12.50 +47 22 33 44 55 2024-03-03",
    "long": " ".join([_SENTENCE] * 20),
    "repeated": "Oslo " * 40,
}
"""Names, dates and places, as span models look for them, and questions, as classes are told of."""


def _pictures() -> Iterator[tuple[str, bytes]]:
    photo = _photo(640, 480)
    yield "photo.jpg", _encoded(photo, "JPEG", quality=90)
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
