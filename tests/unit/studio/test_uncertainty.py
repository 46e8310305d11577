"""Confidence by each measure, with values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.studio.results.prediction import of_each, of_one, of_regions
from labelloop.types import UNCERTAINTIES, Uncertainty

SCORES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("scores", "measure", "sure"),
    [
        ([0.7, 0.2, 0.1], "least_confidence", 0.7),
        ([0.7, 0.2, 0.1], "margin", 0.5),
        ([0.7, 0.2, 0.1], "entropy", 1 - 0.801819 / math.log(3)),
        ([0.5, 0.5], "margin", 0.0),
        ([0.5, 0.5], "entropy", 0.0),
        ([1.0, 0.0], "margin", 1.0),
        ([1.0, 0.0], "entropy", 1.0),
        ([1.0], "margin", 1.0),
        ([1.0], "entropy", 1.0),
        ([0.2, 0.1], "least_confidence", 0.2),
        ([0.2, 0.1], "margin", 0.0),
        ([0.2, 0.1], "entropy", 1 - 0.801819 / math.log(3)),
        ([0.9], "margin", 0.8),
        ([0.9, 0.8], "margin", 0.1),
        ([1.0, 1.0], "entropy", 0.0),
    ],
)
def test_a_choice_of_one(scores: list[float], measure: Uncertainty, sure: float) -> None:
    assert of_one(scores, measure) == pytest.approx(sure, abs=1e-6)


@pytest.mark.parametrize(
    ("measure", "sure"), [("least_confidence", 0.6), ("margin", 0.2), ("entropy", 1 - 0.673012 / math.log(2))]
)
def test_independent_answers_are_as_sure_as_the_least_sure(measure: Uncertainty, sure: float) -> None:
    assert of_each([0.95, 0.4, 0.0], measure) == pytest.approx(sure, abs=1e-6)


def test_regions_are_as_sure_as_the_least_sure_that_is_shown() -> None:
    assert of_regions([0.9, 0.6], [0.4]) == 0.6
    assert of_regions([], [0.1, 0.4]) == pytest.approx(0.6)
    assert of_regions([], []) == 1.0


@given(SCORES, st.sampled_from(UNCERTAINTIES))
def test_every_measure_is_a_confidence(scores: list[float], measure: Uncertainty) -> None:
    assert 0.0 <= of_one(scores, measure) <= 1.0
    assert 0.0 <= of_each(scores, measure) <= 1.0
