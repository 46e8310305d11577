"""Geometry, spans and numbers as Label Studio writes them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from labelloop.studio.label_config import parse_label_config
from labelloop.studio.results.shapes import (
    box_value,
    encode_rle,
    mask_value,
    number_value,
    point_value,
    polygon_value,
    span_value,
)
from labelloop.types import Box, Mask, Point, Polygon, Span

WILD = st.floats() | st.floats(-2, 2)


class TestPictures:
    def test_a_box_is_in_percent(self) -> None:
        assert box_value(Box(0.1, 0.25, 0.5, 0.3)) == {
            "x": 10.0,
            "y": 25.0,
            "width": 50.0,
            "height": 30.0,
            "rotation": 0,
        }

    def test_a_box_is_cut_at_the_edges(self) -> None:
        assert box_value(Box(-0.1, 0.9, 0.3, 0.3)) == {
            "x": 0.0,
            "y": 90.0,
            "width": 20.0,
            "height": 10.0,
            "rotation": 0,
        }

    def test_a_turned_box_keeps_its_corner_and_size(self) -> None:
        assert box_value(Box(-0.1, 0.2, 0.3, 0.4, -90.0)) == {
            "x": -10.0,
            "y": 20.0,
            "width": 30.0,
            "height": 40.0,
            "rotation": 270.0,
        }

    @pytest.mark.parametrize(
        "box", [Box(1.0, 0, 0.5, 0.5), Box(0, 0, 0, 1), Box(0, 0, -1, 1), Box(0, 0, math.nan, 1), Box(0, 0, 2, 1, 45)]
    )
    def test_a_box_without_an_inside_is_none(self, box: Box) -> None:
        assert box_value(box) is None

    def test_a_point_has_a_width_to_be_drawn_with(self) -> None:
        assert point_value(Point(0.5, 1.0)) == {"x": 50.0, "y": 100.0, "width": 0.5}
        assert point_value(Point(1.01, 0.5)) is None

    def test_a_polygon_is_closed_and_inside(self) -> None:
        corners = (Point(0, 0), Point(1.5, 0), Point(0.5, 0.5))

        assert polygon_value(Polygon(corners)) == {"points": [[0.0, 0.0], [100.0, 0.0], [50.0, 50.0]], "closed": True}
        assert polygon_value(Polygon(corners[:2])) is None
        assert polygon_value(Polygon((*corners[:2], corners[0]))) is None

    @given(x=WILD, y=WILD, width=WILD, height=WILD, rotation=WILD)
    def test_whatever_comes_is_inside_or_left_out(
        self, x: float, y: float, width: float, height: float, rotation: float
    ) -> None:
        for value in (box_value(Box(x, y, width, height)), box_value(Box(x, y, width, height, rotation))):
            if value is not None:
                assert all(-100.0 <= value[key] <= 100.0 for key in ("x", "y", "width", "height"))
                assert value["width"] > 0.0
                assert 0.0 <= value["rotation"] < 360.0


class TestMasks:
    def decode(self, rle: list[int]) -> list[int]:
        """Read the stream bit by bit, as its format says (thi.ng/umbrella, rle-pack)."""
        bits = iter("".join(f"{byte:08b}" for byte in rle))

        def read(count: int) -> int:
            return int("".join(next(bits) for _ in range(count)), 2)

        left, size = read(32), read(5) + 1
        lengths = [read(4) + 1 for _ in range(4)]
        found: list[int] = []
        while len(found) < left:
            repeated = read(1)
            length = read(lengths[read(2)]) + 1
            found += [read(size)] * length if repeated else [read(size) for _ in range(length)]
        return found

    @given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
    def test_every_mask_is_read_back(self, inside: Any) -> None:
        assert self.decode(encode_rle(inside)) == np.repeat(np.where(inside.ravel(), 255, 0), 4).tolist()

    @pytest.mark.parametrize("pixels", [1, 2, 4, 5, 64, 65, 16384, 16385, 40000])
    def test_runs_of_every_length_are_read_back(self, pixels: int) -> None:
        inside = np.zeros((1, pixels + 3), bool)
        inside[0, 1 : pixels + 1] = True

        assert self.decode(encode_rle(inside)) == np.repeat(np.where(inside.ravel(), 255, 0), 4).tolist()

    def test_a_mask_is_scaled_to_the_picture(self) -> None:
        value = mask_value(Mask(2, 1, bytes([0, 255])), (4, 3))

        assert value is not None
        assert value["format"] == "rle"
        assert self.decode(value["rle"])[::4] == [0, 0, 255, 255] * 3

    @pytest.mark.parametrize(
        ("mask", "size"),
        [
            (Mask(2, 1, bytes(2)), (2, 1)),
            (Mask(2, 2, bytes([255])), (2, 2)),
            (Mask(0, 0, b""), (2, 2)),
            (Mask(-1, -1, bytes([255])), (2, 2)),
            (Mask(1, 1, bytes([255])), (10**6, 10**6)),
            (Mask(1, 1, bytes([255])), (0, 5)),
        ],
        ids=["empty", "too short", "no size", "negative", "enormous", "no width"],
    )
    def test_what_is_no_mask_is_none(self, mask: Mask, size: tuple[int, int]) -> None:
        assert mask_value(mask, size) is None

    def test_noise_is_no_mask(self) -> None:
        noise = np.zeros((1100, 2000), np.uint8)
        noise[:, ::2] = 255

        assert mask_value(Mask(2000, 1100, noise.tobytes()), (2000, 1100)) is None


class TestText:
    def test_counts_characters_and_cuts_at_the_end(self) -> None:
        assert span_value(Span(2, 4), "a😀bc") == {"start": 2, "end": 4, "text": "bc"}
        assert span_value(Span(-3, 99), "abc") == {"start": 0, "end": 3, "text": "abc"}

    def test_a_text_that_is_not_known_is_not_written(self) -> None:
        assert span_value(Span(2, 4), None) == {"start": 2, "end": 4}

    @pytest.mark.parametrize("span", [Span(3, 3), Span(4, 2), Span(3, 9)])
    def test_nothing_of_the_text_is_none(self, span: Span) -> None:
        assert span_value(span, "abc") is None


class TestNumbers:
    def tag(self, xml: str) -> Any:
        text = f'<View><Image name="image" value="$image"/><{xml} name="t" toName="image"/></View>'
        return parse_label_config(text).tags[0]

    @pytest.mark.parametrize(("number", "rating"), [(0.2, 1), (-7, 1), (2.4, 2), (2.5, 3), (5, 5), (99, 5), (1e300, 5)])
    def test_a_rating_is_a_whole_number_in_its_range(self, number: float, rating: int) -> None:
        assert number_value(self.tag("Rating"), number) == {"rating": rating}

    @pytest.mark.parametrize(
        ("attributes", "number", "value"),
        [
            ("", 2.345, 2.345),
            ('min="0" max="10"', -3.0, 0.0),
            ('min="0" max="10"', 30.0, 10.0),
            ('step="0.1"', 0.31, 0.3),
            ('step="1"', 2.5, 3.0),
            ('min="1" step="2"', 3.9, 3.0),
            ('min="0" max="10" step="4"', 10.0, 8.0),
            ('step="0"', 1.5, 1.5),
            ('step="-1"', 1.5, 1.5),
            ('step="1e-300"', 1e300, 1e300),
            ('min="wrong"', -5.0, -5.0),
        ],
    )
    def test_a_number_is_moved_into_its_range_and_to_its_step(
        self, attributes: str, number: float, value: float
    ) -> None:
        assert number_value(self.tag(f"Number {attributes}"), number) == {"number": value}

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_is_none(self, number: float) -> None:
        assert number_value(self.tag("Number"), number) is None
