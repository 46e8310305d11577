"""Pictures are decoded once, and a damaged cache heals."""

from pathlib import Path

import numpy as np
import pytest

from labelloop import pictures
from labelloop.bundle_info import PictureSpec
from labelloop.train.dataset import Sample
from labelloop.train.pixels import PixelCache
from support import shapes

SPEC = PictureSpec(24, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def one(tmp_path: Path) -> Sample:
    return shapes.sample(tmp_path, shapes.picture((0,), 1), (0,))


def test_pixels_are_those_that_serving_sees(one: Sample, tmp_path: Path) -> None:
    seen = PixelCache(SPEC, tmp_path / "cache").one(one)
    assert seen.shape == (24, 16, 3)
    np.testing.assert_array_equal(pictures.normalise(seen, SPEC), pictures.prepare(one.path.read_bytes(), SPEC))


def test_a_picture_is_decoded_once_ever(one: Sample, tmp_path: Path) -> None:
    first = PixelCache(SPEC, tmp_path / "cache").one(one)
    one.path.unlink()
    np.testing.assert_array_equal(PixelCache(SPEC, tmp_path / "cache").one(one), first)


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_cache_file_is_made_again(one: Sample, tmp_path: Path, damage: bytes) -> None:
    first = PixelCache(SPEC, tmp_path / "cache").one(one)
    next((tmp_path / "cache").rglob("*.npy")).write_bytes(damage)
    np.testing.assert_array_equal(PixelCache(SPEC, tmp_path / "cache").one(one), first)


def test_two_sizes_do_not_meet_in_the_cache(one: Sample, tmp_path: Path) -> None:
    PixelCache(SPEC, tmp_path / "cache").one(one)
    other = PictureSpec(16, 24, SPEC.mean, SPEC.std)
    assert PixelCache(other, tmp_path / "cache").one(one).shape == (16, 24, 3)


def test_unreadable_pictures_are_named_with_the_reason(one: Sample, tmp_path: Path) -> None:
    broken = shapes.sample(tmp_path, b"no picture", (0,))
    seen: list[tuple[str, int, int]] = []
    unreadable = PixelCache(SPEC, tmp_path / "cache").check([one, broken], 2, lambda *step: seen.append(step))
    assert list(unreadable) == [broken.picture]
    assert "not a readable picture" in unreadable[broken.picture]
    assert seen == [("pictures", 1, 2), ("pictures", 2, 2)]
