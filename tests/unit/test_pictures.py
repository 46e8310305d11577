"""A picture's size is read from its header, and a picture too large to be sent is scaled down."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from labelloop.errors import Unreadable
from labelloop.pictures import decode, shrink, upright_size


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
