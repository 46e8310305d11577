"""Pictures as AutoML takes them: others become upright JPEGs."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from labelloop.cloud.google.automl_terms import ASKED_BYTES, LEARNED_BYTES, taken
from labelloop.pictures import decode, is_turned


def written(form: str, orientation: int = 1) -> bytes:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    shown = Image.new("RGB", (40, 20), "red")
    shown.paste((0, 0, 255), (0, 0, 20, 20))
    more = {} if form in ("GIF", "BMP", "ICO") else {"exif": exif}
    shown.save(stream, form, **more)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif"), ("BMP", "image/bmp"),
     ("ICO", "image/vnd.microsoft.icon")],
)  # fmt: skip
def test_what_it_takes_stays_as_it_is(form: str, media_type: str) -> None:
    content = written(form)
    assert taken(content, LEARNED_BYTES) == (content, media_type)


@pytest.mark.parametrize("form", ["WEBP", "TIFF"])
def test_other_forms_become_jpegs(form: str) -> None:
    content, media_type = taken(written(form), LEARNED_BYTES)
    shown = Image.open(io.BytesIO(content))
    assert (shown.format, shown.size, media_type) == ("JPEG", (40, 20), "image/jpeg")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_what_exif_turns_lies_as_it_is_shown(orientation: int) -> None:
    turned = written("JPEG", orientation)
    assert is_turned(turned)
    content, _ = taken(turned, LEARNED_BYTES)
    assert not is_turned(content)
    expected, got = (np.asarray(decode(one), int) for one in (turned, content))
    assert expected.shape == got.shape
    assert np.abs(expected - got).mean() < 5


def test_what_is_too_large_is_scaled_down_and_what_is_no_picture_goes_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).integers(0, 255, (800, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    large = (tmp_path / "noise.png").read_bytes()
    content, media_type = taken(large, ASKED_BYTES)
    assert len(large) > ASKED_BYTES >= len(content)
    assert media_type == "image/jpeg"
    assert taken(b"no picture", ASKED_BYTES)[0] == b"no picture"
    assert not is_turned(b"no picture")
