"""A picture's size is read from its header, and a picture too large to be sent is scaled down."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from labelloop.bundle_info import PictureSpec
from labelloop.errors import Unreadable
from labelloop.pictures import decode, fitted, pixels_of, resize, shrink, upright_size


def picture(width: int, height: int, form: str = "JPEG", mode: str = "RGB", orientation: int = 1) -> bytes:
    """Half noise, which stays large, over a red half."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[height // 2 :] = (255, 0, 0)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, form, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_size_is_that_of_the_upright_picture(form: str, orientation: int) -> None:
    content = picture(64, 32, form, orientation=orientation)
    assert upright_size(content) == decode(content).size


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_size_takes_only_the_header(form: str) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((640, 320), 50).save(buffer, form)
    assert upright_size(buffer.getvalue()[:1000]) == (640, 320)


def test_a_format_that_starts_another_program_is_not_read() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "EPS")
    with pytest.raises(Unreadable, match="of no known format"):
        upright_size(buffer.getvalue())
    with pytest.raises(Unreadable):
        decode(buffer.getvalue())


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff", b"<svg/>"])
def test_what_is_no_picture_has_no_size_and_cannot_be_shrunk(content: bytes) -> None:
    with pytest.raises(Unreadable, match=rf"not a readable picture \({len(content)} bytes\): it is of no known format"):
        upright_size(content)
    with pytest.raises(Unreadable):
        shrink(content, 1000)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("share", [0.9, 0.3, 0.01])
def test_a_picture_is_made_to_fit_and_keeps_its_shape(mode: str, share: float) -> None:
    content = picture(600, 300, "PNG", mode)
    most = int(len(content) * share)
    shrunk = shrink(content, most)
    assert len(shrunk) <= most
    width, height = upright_size(shrunk)
    assert abs(width - 2 * height) <= 2
    assert Image.open(io.BytesIO(shrunk)).format == "JPEG"


def test_no_more_is_lost_than_must_be() -> None:
    content = picture(600, 300)
    shrunk = shrink(content, len(content) // 2)
    assert len(shrunk) > len(content) // 4


def test_a_turned_picture_comes_out_upright() -> None:
    shrunk = shrink(picture(320, 160, orientation=6), 10_000)
    image = decode(shrunk)
    assert image.height == pytest.approx(2 * image.width, abs=2)
    left, right = image.getpixel((image.width // 8, image.height // 2)), image.getpixel((image.width - 5, 5))
    assert left == pytest.approx((255, 0, 0), abs=60), "the lower half of a picture turned right is on the left"
    assert right != pytest.approx((255, 0, 0), abs=20)


@pytest.mark.parametrize("most", [0, 100])
def test_what_cannot_fit_is_said(most: int) -> None:
    with pytest.raises(Unreadable, match=f"cannot be made to fit {most} bytes"):
        shrink(picture(64, 64), most)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16", "I", "F", "CMYK", "1"])
def test_a_large_picture_is_converted_in_strips_as_its_parts_are(mode: str) -> None:
    random = np.random.default_rng(0)
    grey = Image.fromarray(random.integers(0, 255, (1500, 1600), dtype=np.uint8))
    match mode:
        case "I;16":
            image = Image.fromarray(random.integers(0, 65535, (1500, 1600), dtype=np.uint16))
        case "I" | "F":
            image = Image.fromarray(random.random((1500, 1600), dtype=np.float32)).convert(mode)
        case "RGBA" | "LA":
            image = grey.convert(mode)
            image.putalpha(grey.rotate(180))
        case _:
            image = grey.convert(mode)

    def decoded(part: Image.Image) -> NDArray[np.uint8]:
        content = io.BytesIO()
        part.save(content, "TIFF")
        return np.asarray(decode(content.getvalue()))

    parts = [decoded(image.crop((0, top, 1600, top + 500))) for top in (0, 500, 1000)]
    assert np.array_equal(decoded(image), np.concatenate(parts))


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A photograph that scikit-learn comes with, of 801 x 601 pixels: halves of them are no whole numbers."""
    found = find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations
    with Image.open(Path(found.submodule_search_locations[0]) / "datasets" / "images" / "china.jpg") as image:
        return image.resize((801, 601), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, orientation: int = 1, form: str = "JPEG", **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = io.BytesIO()
    image.save(content, form, quality=90, exif=exif, **options)
    return content.getvalue()


SMALL = PictureSpec(72, 96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def apart(content: bytes) -> float:
    """Say how far what a network is given is from what the whole picture would make, in grey levels on average."""
    exact = resize(decode(content), SMALL).astype(int)
    return float(np.abs(fitted(content, SMALL).astype(int) - exact).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_decoded_at_the_scale_it_is_needed_and_hardly_differs(
    photograph: Image.Image, orientation: int
) -> None:
    assert 0 < apart(jpeg(photograph, orientation)) < 0.5


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_so_is_one_of_other_colours(photograph: Image.Image, mode: str) -> None:
    assert 0 < apart(jpeg(photograph.convert(mode), 6)) < 0.5


def test_so_is_one_of_a_telephone_which_holds_another_picture_beside(photograph: Image.Image) -> None:
    content = jpeg(photograph, 6, "MPO", save_all=True, append_images=[photograph.rotate(180)])
    assert 0 < apart(content) < 0.5


def test_a_jpeg_that_is_hardly_larger_than_needed_is_decoded_whole(photograph: Image.Image) -> None:
    small = jpeg(photograph.resize((300, 225)))
    assert apart(small) == 0
    close = PictureSpec(224, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    whole = jpeg(photograph)
    assert np.array_equal(fitted(whole, close), resize(decode(whole), close))


@pytest.mark.slow
def test_a_very_large_jpeg_is_decoded_small_for_whoever_wants_no_more() -> None:
    content = jpeg(Image.new("RGB", (5000, 5000), "red"))
    assert decode(content).size == (5000, 5000)
    assert decode(content, 256).size == (625, 625)


def test_half_a_file_is_no_picture_at_any_scale(photograph: Image.Image) -> None:
    content = jpeg(photograph)
    with pytest.raises(Unreadable, match="not a readable picture"):
        fitted(content[: len(content) // 2], SMALL)


def test_the_pixels_of_a_request_are_those_of_its_largest_picture() -> None:
    def png(width: int, height: int) -> bytes:
        content = io.BytesIO()
        Image.new("1", (width, height)).save(content, "PNG")
        return content.getvalue()

    assert pixels_of([png(3, 4), png(30, 40), b"none", png(12_000, 10_000)]) == 1200
    assert pixels_of([]) == 0
