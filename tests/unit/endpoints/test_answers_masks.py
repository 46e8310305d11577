"""Masks as PNG, as COCO's run lengths, as class indices."""

from base64 import b64encode
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from labelloop.endpoints.answers.format import Malformed, within_memory
from labelloop.types import Mask, Region
from support.answered import PICTURE, png, reason, regions

INSIDE = bytes([0, 255, 255, 0, 0, 255])
MASK = Mask(3, 2, INSIDE)


def b64(content: bytes) -> str:
    return b64encode(content).decode()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("response", ["auto", "masks"])
def test_hugging_face_segments(prefix: str, response: str) -> None:
    body = [
        {"label": "cat", "score": 0.75, "mask": prefix + b64(png(3, 2, "L", INSIDE))},
        {"label": "wall", "score": None, "mask": b64(png(3, 2, "L", bytes([0, 1, 1, 0, 0, 1])))},
        {"label": "none", "mask": b64(png(3, 2, "1"))},
    ]
    assert regions(body, PICTURE, response=response) == [
        Region("cat", MASK, 0.75),
        Region("wall", MASK),
        Region("none", Mask(3, 2, bytes(6))),
    ]


def test_soft_masks_are_cut_at_half() -> None:
    soft = png(4, 1, "L", bytes([0, 99, 100, 200]))
    assert regions([{"label": "a", "mask": b64(soft)}], PICTURE) == [Region("a", Mask(4, 1, b"\x00\x00\xff\xff"))]


@pytest.mark.parametrize("counts", [[0, 0, 2, 2, 1, 1], [1, 0, 1, 2, 1, 1]])
def test_coco_counts_go_down_the_columns(counts: list[int]) -> None:
    rows = np.zeros(6, np.uint8)
    place, value = 0, 0
    for count in counts:
        rows[place : place + count] = value
        place, value = place + count, 255 - value
    expected = Mask(3, 2, rows.reshape(3, 2).T.tobytes())
    assert regions({"size": [2, 3], "counts": counts}, PICTURE, classes=("a",)) == [Region("a", expected)]


pictures = st.integers(1, 40).flatmap(
    lambda height: st.integers(1, 40).flatmap(
        lambda width: st.binary(min_size=height * width, max_size=height * width).map(
            lambda pixels: np.frombuffer(pixels, np.uint8).reshape(height, width) % 2
        )
    )
)


@given(pictures, st.booleans())
def test_cocos_compressed_counts_are_those_of_pycocotools(picture: npt.NDArray[np.uint8], blocky: bool) -> None:
    if blocky:
        picture = np.kron(picture, np.ones((9, 31), np.uint8))
    encoded = coco.encode(np.asfortranarray(picture))
    body = [{"category_id": 0, "score": 0.5, "segmentation": encoded | {"counts": encoded["counts"].decode()}}]
    (region,) = regions(body, PICTURE, classes=("a",))
    height, width = picture.shape
    assert region == Region("a", Mask(width, height, (picture * 255).tobytes()), 0.5)


def test_a_mask_needs_no_label() -> None:
    assert regions({"mask": b64(png(3, 2, "L", INSIDE)), "score": 0.5}, PICTURE) == [Region("", MASK, 0.5)]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_png_of_class_indices(mode: str) -> None:
    body = png(3, 2, mode, bytes([0, 2, 2, 0, 0, 2]))
    background, cat = regions(body, PICTURE, classes=("background", "dog", "cat"))
    assert cat == Region("cat", MASK)
    assert background == Region("background", Mask(3, 2, bytes(255 - value for value in INSIDE)))


def test_the_void_of_a_class_map_is_no_class() -> None:
    assert regions(png(3, 2, "L", INSIDE), PICTURE, classes=("a",)) == [
        Region("a", Mask(3, 2, bytes(255 - value for value in INSIDE)))
    ]


def test_class_indices_need_classes() -> None:
    assert "names class 0 by its number" in reason(png(1, 1, "L"), PICTURE)
    assert "one byte a pixel" in reason(png(1, 1, "RGB"), PICTURE, classes=("a",))
    assert "not a readable PNG" in reason(png(50, 50, "L")[:40], PICTURE, classes=("a",))


BAD: list[tuple[object, str]] = [
    ("no base64!", "not base64"),
    (b64(b"no picture"), "not a readable PNG"),
    (b64(png(50, 50, "L")[:60]), "not a readable PNG"),
    ({"size": [2, 3], "counts": [6, 1]}, "do not fill"),
    ({"size": [2, 3], "counts": [-6, 12]}, "do not fill"),
    ({"size": [2], "counts": [2]}, '"size" of a mask'),
    ({"size": [0, 3], "counts": []}, "a mask of 3 x 0 pixels"),
    ({"size": [10**6, 10**6], "counts": [10**12]}, "can be read"),
    ({"size": [2, 3], "counts": "~~~~"}, "compressed form"),
    ({"size": [2, 3], "counts": "o"}, "middle of a number"),
    ({"size": [2, 3], "counts": "o" * 50}, "compressed form"),
    ([[0, 1], [1]], "not of one length"),
    ([[0, "1"]], "something else than numbers"),
    ([], "not a list of rows"),
]


@pytest.mark.parametrize(("mask", "said"), BAD)
def test_a_mask_that_is_wrong_fails_its_picture(mask: object, said: str) -> None:
    assert said in reason([{"label": "a", "score": 1, "mask": mask}], PICTURE)


def test_masks_may_not_fill_the_memory() -> None:
    large = Region("a", Mask(10_000, 10_000, bytes(100_000_000)))
    assert len(within_memory([large] * 5)) == 5
    with pytest.raises(Malformed, match="more than 500000000 pixels"):
        within_memory(repeat(large))
