"""Explaining an answer by hiding parts of the picture."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelloop.errors import Unreadable
from labelloop.occlusion import CELLS, occlude
from labelloop.serve.engines.base import open_engine
from labelloop.types import Answer, Failure, Findings, Output
from support.bundles import make_bundle, picture


def free(pixels: int) -> nullcontext[None]:
    """Room for any picture."""
    return nullcontext()


def patched(row: int, column: int, cell: int = 20) -> bytes:
    """A dark picture in which one cell is red."""
    image = Image.new("RGB", (CELLS * cell, CELLS * cell), (20, 20, 20))
    image.paste((250, 20, 20), (column * cell, row * cell, (column + 1) * cell, (row + 1) * cell))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 5), (CELLS - 1, 2)])
def test_the_part_that_the_answer_hangs_on_costs_most(tmp_path: Path, row: int, column: int) -> None:
    make_bundle(tmp_path, gain=40.0)
    engine = open_engine(tmp_path, "onnx")
    found = occlude(patched(row, column), lambda contents: engine.predict(contents, "v1"), free)
    drops = np.array(found.drops)
    assert isinstance(found.answer, Output)
    assert found.answer.label == "red"
    assert drops.shape == (CELLS, CELLS)
    assert divmod(int(drops.argmax()), CELLS) == (row, column)
    assert drops.max() > 0.1
    # Far from it nothing is lost; the mean colour that hides a part is a little red itself.
    assert np.median(drops) <= 0.0


def test_a_picture_of_one_colour_hangs_on_no_part(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    engine = open_engine(tmp_path, "onnx")
    found = occlude(picture("red", (300, 200)), lambda contents: engine.predict(contents, "v1"), free)
    assert np.abs(np.array(found.drops)).max() < 0.01


def test_what_is_no_classification_is_asked_about_once() -> None:
    asked: list[int] = []

    def ask(contents: Sequence[bytes]) -> Sequence[Answer | Failure]:
        asked.append(len(contents))
        return [Findings((), "v1") for _ in contents]

    assert occlude(picture("red"), ask, free).drops == ()
    assert asked == [1]


def test_parts_that_could_not_be_asked_about_count_as_nothing() -> None:
    def ask(contents: Sequence[bytes]) -> Sequence[Answer | Failure]:
        good = Output("red", 0.75, {"red": 0.75, "green": 0.25}, "v1")
        return [good] if len(contents) == 1 else [Failure("too busy") for _ in contents]

    assert {drop for line in occlude(picture("red"), ask, free).drops for drop in line} == {0.0}


def test_large_pictures_are_asked_about_small() -> None:
    sizes: set[tuple[int, int]] = set()

    def ask(contents: Sequence[bytes]) -> Sequence[Answer | Failure]:
        sizes.update(Image.open(io.BytesIO(content)).size for content in contents)
        return [Output("red", 0.5, {"red": 0.5, "green": 0.5}, "v1") for _ in contents]

    occlude(picture("red", (2000, 1000), "JPEG"), ask, free)
    assert sizes == {(384, 192)}


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 2)])
def test_the_smallest_pictures_can_be_asked_about(size: tuple[int, int]) -> None:
    def ask(contents: Sequence[bytes]) -> Sequence[Answer | Failure]:
        return [Output("red", 0.5, {"red": 0.5, "green": 0.5}, "v1") for _ in contents]

    assert len(occlude(picture("red", size), ask, free).drops) == CELLS


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(Unreadable):
        occlude(b"GIF89a", lambda contents: [Failure("never asked") for _ in contents], free)


def test_room_is_held_while_a_picture_is_decoded_and_given_back_before_anybody_is_asked() -> None:
    told: list[object] = []

    @contextmanager
    def room(pixels: int) -> Iterator[None]:
        told.append(pixels)
        yield
        told.append("free")

    def ask(contents: Sequence[bytes]) -> Sequence[Answer | Failure]:
        told.append("asked")
        return [Failure("too busy")]

    occlude(picture("red", (300, 200)), ask, room)
    assert told == [60_000, "free", "asked"]
