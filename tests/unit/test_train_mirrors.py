"""Whether mirror images keep their labels: told by heads that have seen neither."""

import numpy as np
import pytest

from labelloop.train import head_choice
from labelloop.train.crossvalidation import Problem, cross_validate
from labelloop.train.logistic import Features

pytestmark = pytest.mark.train


def problem(count: int) -> Problem:
    """Four classes, each with a feature of its own."""
    chance = np.random.default_rng(0)
    classes = np.arange(count) % 4
    features = np.eye(4)[classes] * 3 + chance.normal(size=(count, 4))
    return Problem(features.astype(np.float32), np.eye(4, dtype=bool)[classes], "single")


def keep_labels(given: Problem, mirrored: Features) -> bool:
    plain = cross_validate(given, 0, (0.1,))
    assert plain is not None
    return head_choice.keep_labels(given, plain, mirrored)


def test_pictures_that_look_the_same_in_a_mirror_may_be_mirrored() -> None:
    given = problem(120)
    noise = np.random.default_rng(1).normal(scale=0.3, size=given.features.shape)
    assert keep_labels(given, (given.features + noise).astype(np.float32))


def test_pictures_that_mean_something_else_in_a_mirror_may_not() -> None:
    given = problem(120)
    assert not keep_labels(given, given.features[:, [1, 0, 3, 2]])


def test_one_pair_of_classes_that_swap_is_enough() -> None:
    """Left and right arrows among much else: the mean over all would not tell."""
    many = problem(400)
    rare = many.shown[:, 2] | many.shown[:, 3]
    kept = np.flatnonzero(~rare | (np.arange(400) < 40))
    given = many.take(kept)
    assert keep_labels(given, given.features)
    assert not keep_labels(given, given.features[:, [0, 1, 3, 2]])


def test_few_pictures_say_too_little() -> None:
    given = problem(59)
    assert not keep_labels(given, given.features)
