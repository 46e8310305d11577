"""The sample of predictions: uniform, without counting, the same in whatever parts and order it is made."""

import hashlib
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.types import ProjectKey
from labelloop.watch.sample import MOST_CLASSES, Predicted, rounded, sampled
from support.examples import examples

PROJECT = ProjectKey("localhost-8080", 7)


def predicted(number: int, at: float = 0.0, salt: str = "") -> Predicted:
    key = hashlib.sha256(f"{salt}{number}".encode()).digest()
    return Predicted(PROJECT, "v1", key, number, {"cat": 0.5}, at)


def test_every_picture_is_in_it_as_often_as_any_other() -> None:
    """Of 60 pictures 15 are taken, 400 times, with other hashes each time."""
    from scipy import stats  # type: ignore[import-untyped]

    counts = np.zeros(60)
    for turn in range(400):
        for one in sampled([predicted(number, salt=f"{turn}-") for number in range(60)], 15):
            assert one.task is not None
            counts[one.task] += 1
    assert counts.sum() == 400 * 15
    # Without replacement counts spread less than chi-square says, by 45/59.
    statistic = ((counts - 100) ** 2 / 100).sum() / (45 / 60)
    assert 0.001 < stats.chi2.sf(statistic, 59) < 0.999


@settings(max_examples=examples(100))
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 20), st.integers(0, 60))
def test_samples_of_parts_make_the_sample_of_all(numbers: list[int], size: int, cut: int) -> None:
    stream = [predicted(number) for number in numbers]
    parts = [*sampled(stream[:cut], size), *sampled(stream[cut:], size)]
    random.Random(0).shuffle(parts)
    assert sampled(parts, size) == sampled(stream, size)


def test_a_picture_that_is_predicted_twice_is_in_it_once_as_it_was_said_last() -> None:
    [one] = sampled([predicted(1, at=1.0), predicted(1, at=2.0)])
    assert one.at == 2.0


def test_scores_are_kept_short() -> None:
    many = {f"class {number}": number / 1000 for number in range(MOST_CLASSES + 50)}
    assert rounded({"cat": 0.123456, "dog": 1.0}) == {"cat": 0.1235, "dog": 1.0}
    assert set(rounded(many)) == {f"class {number}" for number in range(50, MOST_CLASSES + 50)}
