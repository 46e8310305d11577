"""Every kind of picture file comes out as upright RGB, laid on white; what is not whole is refused with a reason."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st
from PIL import ExifTags, Image

from labelloop.errors import Unreadable
from labelloop.pictures import decode, upright_size
from labelloop.sources.media import media_type_of
from support.examples import examples

RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(width: int = 64, height: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def plain(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (16, 16), colour)


def colour(content: bytes) -> tuple[int, ...]:
    """The colour of a picture that has one only."""
    pixels = np.asarray(decode(content)).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return tuple(int(value) for value in pixels[0])


def png16(pixels: npt.NDArray[np.uint16], colour_type: int, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 16 bits a channel, which Pillow reads but does not write."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", *(size or (width, height)), 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def stored(upright: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Lay pixels as a camera that was held so would (EXIF 2.32, tag 0x0112: which sides are the 0th row and column)."""
    ways = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright.swapaxes(0, 1)[::-1],  # right, top
        7: upright.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: upright.swapaxes(0, 1)[:, ::-1],  # left, bottom
    }
    return np.ascontiguousarray(ways[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_upright_however_the_camera_was_held(form: str, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), dtype=np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    content = saved(Image.fromarray(stored(upright, orientation)), form, exif=exif, **options)

    seen = np.asarray(decode(content)).astype(int)

    assert seen.shape == upright.shape
    assert np.abs(seen - upright).mean() < 10, "JPEG blurs the borders"
    assert upright_size(content) == (48, 32)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0XX\0*\0\0\0\x08",
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02a\0\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
    ],
    ids=["no TIFF", "empty", "points nowhere", "a letter for an orientation", "orientation 99"],
)
def test_damaged_exif_does_not_cost_a_picture(form: str, exif: bytes) -> None:
    content = saved(noise(48, 32), form, exif=exif)
    assert decode(content).size == upright_size(content) == (48, 32)


@pytest.mark.parametrize("form", ["AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_a_pictures_type_is_told_by_its_content(form: str) -> None:
    content = saved(noise(48, 32), form)
    assert media_type_of(content) == f"image/{form.lower()}"
    assert media_type_of(content[:3]) == media_type_of(b"") == media_type_of(b"a note") == "application/octet-stream"


@given(st.binary(max_size=60))
@tries(max_examples=examples(100))
def test_whatever_stands_in_exif_the_pixels_are_read(tail: bytes) -> None:
    content = saved(noise(48, 32), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + tail)
    assert sorted(decode(content).size) == sorted(upright_size(content)) == [32, 48]


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(form: str) -> None:
    assert colour(saved(plain("CMYK", (0, 255, 255, 0)), form)) == pytest.approx(RED, abs=2)


def test_cmyk_is_inverted_where_adobe_wrote_it_so_and_only_there() -> None:
    """Adobe's programs store CMYK in JPEG inverted and say so by an APP14 marker; Pillow writes both, too."""
    content = saved(plain("CMYK", (0, 255, 255, 0)), "JPEG", quality=95)
    at = content.index(b"\xff\xee")
    length = int.from_bytes(content[at + 2 : at + 4])
    unmarked = content[:at] + content[at + 2 + length :]

    assert content[at + 4 : at + 9] == b"Adobe"
    assert colour(content) == pytest.approx(RED, abs=2)
    assert colour(unmarked) == pytest.approx((0, 0, 0), abs=2), "the same numbers, taken as they stand"


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_levels(form: str) -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    seen = np.asarray(decode(saved(Image.fromarray(levels), form)))
    assert (seen[..., 0] == levels >> 8).all()


def test_16_bit_grey_of_the_other_byte_order_keeps_its_levels() -> None:
    levels = np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16)
    seen = np.asarray(decode(saved(Image.frombytes("I;16B", (16, 16), levels.tobytes()), "TIFF")))
    assert (seen[..., 0] == levels >> 8).all()


def test_16_bit_colours_keep_their_levels() -> None:
    pixels = np.full((16, 16, 3), (40000, 20000, 65535), dtype=np.uint16)
    assert colour(png16(pixels, 2)) == (156, 78, 255)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_grey_is_read_from_0_to_1_and_from_0_to_255(top: float) -> None:
    levels = (np.linspace(0, top, 256, dtype=np.float32)).reshape(16, 16)
    levels[0, 0] = np.nan
    seen = np.asarray(decode(saved(Image.fromarray(levels), "TIFF")))
    assert (seen[0, 0, 0], seen[-1, -1, 0]) == (0, 255)
    assert 120 < seen[8, 0, 0] < 135


def palette() -> Image.Image:
    image = plain("P", 0)
    image.putpalette([255, 0, 0] + [0] * 765)
    return image


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(plain("RGBA", (255, 0, 0, 0)), "PNG"), WHITE),
        (saved(plain("RGBA", (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
        (saved(plain("RGBA", (255, 0, 0, 255)), "PNG"), RED),
        (saved(plain("RGBA", (255, 0, 0, 0)), "WEBP", lossless=True), WHITE),
        (saved(plain("LA", (0, 0)), "PNG"), WHITE),
        (saved(palette(), "PNG"), RED),
        (saved(palette(), "PNG", transparency=0), WHITE),
        (saved(palette(), "PNG", transparency=b"\x80"), (255, 127, 127)),
        (saved(palette(), "GIF", transparency=0), WHITE),
        (saved(plain("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)), WHITE),
        (saved(plain("L", 9), "PNG", transparency=9), WHITE),
        (png16(np.full((16, 16, 4), (40000, 20000, 65535, 0), dtype=np.uint16), 6), WHITE),
        (png16(np.full((16, 16, 2), (40000, 0), dtype=np.uint16), 4), WHITE),
        (saved(plain("1", 0), "PNG"), (0, 0, 0)),
        (saved(plain("1", 1), "TIFF"), WHITE),
        (saved(plain("YCbCr", (76, 85, 255)), "TIFF"), RED),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else f"{len(value)} bytes",
)
def test_what_is_transparent_is_laid_on_white(content: bytes, expected: tuple[int, ...]) -> None:
    assert colour(content) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO"])
def test_of_several_frames_the_first_is_read(form: str) -> None:
    frames = [plain("RGB", name) for name in ("red", "lime", "blue")]
    content = saved(frames[0], form, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(content)).n_frames == 3  # type: ignore[attr-defined]
    assert colour(content) == pytest.approx(RED, abs=3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_is_cut_off_is_refused_with_a_reason(form: str, share: float) -> None:
    content = saved(noise(), form)
    cut = content[: int(len(content) * share)]
    with pytest.raises(Unreadable, match=rf"not a readable picture \({len(cut)} bytes\): ."):
        decode(cut)


@pytest.mark.parametrize("size", [(20_000, 20_000), (11_000, 10_000), (2**31 - 1, 1), (1, 2**31 - 1)])
def test_huge_dimensions_are_refused_before_anything_is_decoded(size: tuple[int, int]) -> None:
    content = png16(np.zeros((1, 1, 3), dtype=np.uint16), 2, size)
    with pytest.raises(Unreadable):
        decode(content)


def test_too_many_pixels_are_named() -> None:
    content = png16(np.zeros((1, 1, 3), dtype=np.uint16), 2, (11_000, 10_000))
    with pytest.raises(Unreadable, match="11000 x 10000 pixels; at most 100000000 are read"):
        decode(content)
