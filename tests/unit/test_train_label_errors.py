"""Labels that are probably wrong."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.train.label_errors import (
    Suspect,
    label_errors,
    left_out,
    suspected,
    suspects,
    thresholds,
    wrong_share,
)
from labelloop.train.metrics import HeldOut, probabilities
from labelloop.types import Choice

pytestmark = pytest.mark.train


def test_wrong_labels_among_digits_are_found() -> None:
    """With 5 % of 600 labels wrong, most of what is listed is wrong, and most of what is wrong is listed."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    random = np.random.default_rng(0)
    chosen = random.permutation(len(data.target))[:600]
    truth, wrong = data.target[chosen], random.permutation(600)[:30]
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + random.integers(1, 10, 30)) % 10
    found = label_errors(data.data[chosen].astype(np.float32), np.eye(10, dtype=bool)[labels], "single", 0)
    listed = [one.row for one in found.suspects]
    assert len(set(listed) & set(wrong.tolist())) >= 18
    assert np.isin(listed, wrong).mean() >= 0.7
    assert np.isin(listed[:15], wrong).mean() >= 0.9
    assert np.mean([one.suggested == (truth[one.row],) for one in found.suspects]) >= 0.7
    np.testing.assert_allclose(found.scores.sum(axis=1), 1)


def test_a_class_is_believed_above_its_own_mean_score() -> None:
    shown = np.eye(2, dtype=bool)[[0, 0, 1, 1, 1]]
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6], [0.45, 0.55]])
    np.testing.assert_allclose(thresholds(scores, shown), [0.55, (0.7 + 0.6 + 0.55) / 3])
    assert [(one.row, one.suggested) for one in suspects(scores, shown, "single")] == [(1, (1,))]


def test_the_most_certain_comes_first() -> None:
    shown = np.eye(2, dtype=bool)[[0] * 6 + [1] * 6]
    right = np.where(shown, 0.9, 0.1)
    right[2], right[8] = [0.05, 0.95], [0.99, 0.01]
    found = suspects(right, shown, "single")
    assert [one.row for one in found] == [8, 2]
    assert (found[0].score, found[0].given_score) == (0.99, 0.01)


def test_a_class_that_nobody_used_is_never_suggested() -> None:
    shown = np.eye(3, dtype=bool)[[0, 1, 0, 1]]
    scores = np.array([[0.1, 0.1, 0.8]] * 4)
    assert suspects(scores, shown, "single") == []


def held_out(choice: Choice, wrong: float, seed: int = 0) -> tuple[HeldOut, npt.NDArray[np.bool_]]:
    """Draw logits of 400 samples and labels by the scores they stand for, of which a share is then replaced."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(400, 4)) * 3
    scores = probabilities(logits, choice)
    if choice == "multiple":
        truth = random.random(scores.shape) < scores
        flipped = random.random(scores.shape) < wrong
        return HeldOut(truth ^ flipped, logits), np.asarray(flipped.any(axis=1))
    drawn = (random.random((400, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    moved = np.asarray(random.random(400) < wrong)
    return HeldOut(
        np.eye(4, dtype=bool)[np.where(moved, (drawn + random.integers(1, 4, 400)) % 4, drawn)], logits
    ), moved


@pytest.mark.parametrize("choice", ["single", "multiple"])
@pytest.mark.parametrize("wrong", [0.0, 0.05, 0.2])
def test_the_share_of_wrong_labels_is_found(choice: Choice, wrong: float) -> None:
    found = [wrong_share(held_out(choice, wrong, seed)[0], choice) for seed in range(3)]
    assert np.mean(found) == pytest.approx(wrong, abs=0.03)


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_as_many_are_left_out_as_are_wrong_and_of_every_class_half_stays(choice: Choice) -> None:
    nobody = np.zeros(400, dtype=bool)
    clean, _ = held_out(choice, 0.0)
    assert len(left_out(clean, choice, nobody)) <= 8
    noisy, wrong = held_out(choice, 0.2)
    found = left_out(noisy, choice, nobody)
    assert wrong[[one.row for one in found]].mean() >= 0.7
    assert left_out(noisy, choice, ~nobody) == ()
    against = HeldOut(np.eye(2, dtype=bool)[[0] * 8 + [1] * 100], np.array([[-9.0, 9.0]] * 108))
    assert len(left_out(against, "single", np.zeros(108, dtype=bool))) <= 4


def test_what_was_left_out_is_listed_by_name() -> None:
    found = {"a": Suspect(0, (1,), 0.9, 0.1), "b": Suspect(4, (0,), 0.99, 0.0)}
    listed = suspected(found, {"a": (0,), "b": (1,)}, ("cat", "dog"))
    assert [(one["picture"], one["given"], one["suggested"]) for one in listed] == [
        ("b", ["dog"], ["cat"]),
        ("a", ["cat"], ["dog"]),
    ]
    assert (listed[0]["score"], listed[0]["given_score"]) == (0.99, 0.0)


def test_with_several_labels_the_missing_and_the_surplus_are_told() -> None:
    shown = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 5, dtype=bool)
    scores = np.where(shown, 0.9, 0.1)
    scores[[0, 5]] = np.where(shown[[0, 5]], 0.95, 0.05)
    shown[0], shown[5] = [1, 1], [0, 1]  # one label too much, one too few
    found = {one.row: one.suggested for one in suspects(scores, shown, "multiple")}
    assert found == {0: (0,), 5: (0, 1)}
