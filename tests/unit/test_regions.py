"""Regions are read back as they were written, are spelled in one way, and damaged ones are named."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.endpoints.answers.labelloop import read_item, write_item
from labelloop.regions import read_regions, write_regions
from labelloop.types import Box, Findings, Input, Mask, Point, Region, Shape, Span
from support.examples import examples

SPANS = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 500), st.integers(1, 500))
NUMBERS = st.floats(-2, 2, allow_nan=False)
SIDES = st.floats(0, 2, exclude_min=True)
BOXES = st.builds(Box, NUMBERS, NUMBERS, SIDES, SIDES, st.floats(-720, 720))
SCORES = st.none() | st.floats(0, 1)
REGIONS = st.builds(Region, st.text(min_size=1), SPANS | BOXES, SCORES, st.text(max_size=5))


@given(st.lists(REGIONS, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_regions_are_read_back_and_spelled_in_one_way(regions: list[Region], random: random.Random) -> None:
    written = write_regions(regions)
    read = read_regions(written)
    assert sorted(read, key=repr) == sorted(regions, key=repr)
    random.shuffle(regions)
    assert write_regions(regions) == write_regions(read) == written


@given(st.lists(st.builds(Region, st.text(min_size=1).filter(str.strip), SPANS), max_size=4))
@settings(max_examples=examples(50))
def test_regions_are_those_of_our_own_answers(regions: list[Region]) -> None:
    answer = {"regions": json.loads(write_regions(regions))}
    found = read_item(answer, Input(text="x" * 1000), "v1", ())
    assert isinstance(found, Findings)
    assert write_regions(found.regions) == write_regions(regions)
    assert write_item(found) == answer


def test_regions_come_from_the_first_to_the_last_and_from_the_top_to_the_bottom() -> None:
    spans = [Region("A", Span(10, 12)), Region("B", Span(2, 30)), Region("A", Span(2, 9))]
    assert [one.shape for one in read_regions(write_regions(spans))] == [Span(2, 9), Span(2, 30), Span(10, 12)]
    boxes = [Region("A", Box(0.1, 0.5, 0.2, 0.2)), Region("A", Box(0.9, 0.25, 0.1, 0.1, 30.0))]
    assert write_regions(boxes) == (
        '[{"box":[0.9,0.25,0.1,0.1],"label":"A","rotation":30.0},{"box":[0.1,0.5,0.2,0.2],"label":"A"}]'
    )
    assert read_regions("[]") == ()


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("{}", "not a list"),
        ("[", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "not an object"),
        ('[{"span": [0, 1]}]', "label"),
        ('[{"label": "", "span": [0, 1]}]', "no label"),
        ('[{"label": "A"}]', "neither"),
        ('[{"label": "A", "span": [0, 1], "box": [0, 0, 1, 1]}]', "neither"),
        ('[{"label": "A", "span": [0, 1.5]}]', "neither"),
        ('[{"label": "A", "span": [0, true]}]', "neither"),
        ('[{"label": "A", "span": [3, 3]}]', "extent"),
        ('[{"label": "A", "span": [-1, 3]}]', "extent"),
        ('[{"label": "A", "box": [0, 0, 1]}]', "neither"),
        ('[{"label": "A", "box": [0, 0, 0, 1]}]', "extent"),
        ('[{"label": "A", "box": [0, NaN, 1, 1]}]', "extent"),
        (f'[{{"label": "A", "box": [0, 1{"0" * 400}, 1, 1]}}]', "too large"),
        ('[{"label": "A", "box": [0, 0, 1, 1], "rotation": "x"}]', "neither"),
        ('[{"label": "A", "span": [0, 1], "score": 2}]', "score"),
        ('[{"label": "A", "span": [0, 1], "tag": 2}]', "tag"),
    ],
)
def test_what_is_wrong_with_damaged_regions_is_said(entry: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        read_regions(entry)


def test_what_a_newer_release_adds_to_a_region_is_passed_over() -> None:
    assert read_regions('[{"label": "A", "span": [0, 1], "sure": true}]') == (Region("A", Span(0, 1)),)


@pytest.mark.parametrize("shape", [Point(0.5, 0.5), Mask(1, 1, b"\xff"), Span(4, 4), Box(0, 0, 0.5, 0)])
def test_a_region_that_could_not_be_read_back_is_not_written(shape: Shape) -> None:
    with pytest.raises(ValueError, match="neither a part of a text nor a box"):
        write_regions([Region("A", shape)])
