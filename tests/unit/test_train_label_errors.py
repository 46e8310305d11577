"""Labels that are probably wrong."""

from typing import Any

import numpy as np
import pytest

from labelloop.train.label_errors import label_errors, suspects, thresholds

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


def test_with_several_labels_the_missing_and_the_surplus_are_told() -> None:
    shown = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 5, dtype=bool)
    scores = np.where(shown, 0.9, 0.1)
    scores[[0, 5]] = np.where(shown[[0, 5]], 0.95, 0.05)
    shown[0], shown[5] = [1, 1], [0, 1]  # one label too much, one too few
    found = {one.row: one.suggested for one in suspects(scores, shown, "multiple")}
    assert found == {0: (0,), 5: (0, 1)}
