"""Folds for cross-validation."""

import numpy as np
import pytest

from labelloop.train.crossvalidation import Problem, cross_validate, folds, solve


def test_every_sample_is_held_out_once_and_classes_are_spread_evenly() -> None:
    targets = np.repeat([0, 1, 2], [30, 9, 3])
    shown = np.eye(3, dtype=bool)[targets]
    parts = list(folds(shown, 3, seed=0))
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(42))
    for learned, held in parts:
        assert not set(learned) & set(held)
        assert np.bincount(targets[held], minlength=3).tolist() == [10, 3, 1]


def test_samples_of_one_picture_are_held_out_together() -> None:
    shown = np.eye(2, dtype=bool)[np.arange(20) % 2]
    pictures = [f"picture {number // 2}" for number in range(20)]
    for learned, held in folds(shown, 5, 1, pictures):
        assert not {pictures[row] for row in learned} & {pictures[row] for row in held}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides(seed: int) -> None:
    shown = np.eye(2, dtype=bool)[np.arange(40) % 2]
    first, again, other = ([held.tolist() for _, held in folds(shown, 4, chosen)] for chosen in (seed, seed, seed + 10))
    assert first == again != other


def test_without_a_default_the_lowest_log_loss_decides_though_it_may_be_chance() -> None:
    chance = np.random.default_rng(2)
    shown = np.eye(2, dtype=bool)[np.arange(60) % 2]
    features = (chance.normal(size=(60, 4)) + 0.3 * shown[:, :1]).astype(np.float32)

    def chosen(default: float | None) -> float:
        found = cross_validate(Problem(features, shown, "single", default=default), 0, (0.05, 0.1))
        assert found is not None
        return found.strength

    assert (chosen(0.1), chosen(None)) == (0.1, 0.05)


def test_a_head_that_nothing_is_asked_of_learns_from_what_is_added() -> None:
    shown = np.eye(2, dtype=bool)[np.arange(20) % 2]
    features = (np.random.default_rng(0).normal(size=(20, 4)) + 6 * shown[:, :1]).astype(np.float32)
    problem = Problem(features[:0], shown[:0], "single", added=(features, shown), default=None).turned()
    assert cross_validate(problem, 0) is None
    assert (solve(problem, 0.1).logits(features).argmax(axis=1) == shown.argmax(axis=1)).all()
