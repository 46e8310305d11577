"""The numbers that describe a picture: what each change of it moves."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from labelloop.errors import Unreadable
from labelloop.watch.description import Row, describe


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
    return coarse.resize((300, 200), Image.Resampling.BICUBIC)


def moved(picture: Image.Image, other: Image.Image) -> Row:
    return describe(encoded(other)) - describe(encoded(picture))


def test_a_picture_is_forty_numbers_whatever_its_size_and_mode(picture: Image.Image) -> None:
    for image in (picture, picture.convert("L"), picture.resize((3, 2)), picture.resize((1000, 30))):
        found = describe(encoded(image))
        assert found.shape == (40,)
        assert np.isfinite(found).all()


def test_a_darker_picture_has_less_light(picture: Image.Image) -> None:
    found = moved(picture, ImageEnhance.Brightness(picture).enhance(0.5))
    assert (found[:21] < 0).all()


def test_a_blurred_picture_is_less_sharp_and_as_light(picture: Image.Image) -> None:
    found = moved(picture, picture.filter(ImageFilter.GaussianBlur(3)))
    assert (found[29:32] < -0.1).all()
    assert np.abs(found[5:21]).max() < 0.05


def test_a_grey_picture_has_no_colour(picture: Image.Image) -> None:
    found = describe(encoded(picture.convert("L")))
    assert found[27] == found[28] == 0
    assert (moved(picture, picture.convert("L").convert("RGB"))[27:29] < -0.05).all()


def test_a_turned_picture_has_its_edges_in_other_directions(picture: Image.Image) -> None:
    stripes = picture.resize((8, 1)).resize((300, 200), Image.Resampling.BILINEAR)
    found = moved(stripes, stripes.transpose(Image.Transpose.ROTATE_90))
    assert np.abs(found[32:]).max() > 0.5


def test_one_colour_has_all_directions_alike() -> None:
    found = describe(encoded(Image.new("RGB", (50, 50), (200, 10, 10))))
    assert found[32:] == pytest.approx(np.full(8, 1 / 8))


def test_what_is_no_picture_is_said() -> None:
    with pytest.raises(Unreadable):
        describe(b"no picture")
