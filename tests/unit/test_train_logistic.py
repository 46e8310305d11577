"""The last layer of a ``head``."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.train import logistic

pytestmark = pytest.mark.train


def blobs(per_class: int, classes: int, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw points around one centre per class, on scales from 0.01 to 100 and far from zero."""
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), per_class)
    centres = np.random.default_rng(99).normal(size=(classes, 6)) * 2
    points = centres[targets] + random.normal(size=(len(targets), 6))
    return (points * 10.0 ** np.arange(-2, 4) + 5).astype(np.float32), targets


def shown(targets: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.bool_]:
    return np.eye(classes, dtype=bool)[targets]


def logits(linear: logistic.Linear, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return points.astype(np.float64) @ linear.weight.T + linear.bias


def softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_unseen_points_are_told_apart_whatever_their_scale(classes: int) -> None:
    points, targets = blobs(20, classes)
    linear = logistic.fit(points, shown(targets, classes), "single", 0)
    unseen, truth = blobs(50, classes, seed=1)
    assert (logits(linear, unseen).argmax(axis=1) == truth).mean() > 0.9


def test_two_classes_have_the_probabilities_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    points, targets = blobs(2, 2)  # too few to choose the regularisation: the default holds
    rows = (points - points.mean(axis=0)) / points.std(axis=0)
    expected = LogisticRegression(C=0.03, tol=1e-3).fit(rows, targets).predict_proba(rows)
    given = softmax(logits(logistic.fit(points, shown(targets, 2), "single", 0), points))
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_a_class_without_samples_is_never_likely() -> None:
    points, targets = blobs(20, 3)
    linear = logistic.fit(points, shown(targets + (targets > 0), 4), "single", 0)  # class 1 is absent
    anywhere = np.random.default_rng(5).normal(size=(500, 6)) * points.std(axis=0) * 3 + points.mean(axis=0)
    assert softmax(logits(linear, anywhere))[:, 1].max() < 0.01


def test_multiple_labels_are_fitted_one_by_one() -> None:
    points, targets = blobs(30, 4)
    labels = np.stack([targets % 2 == 0, targets >= 2], axis=1)
    linear = logistic.fit(points, labels, "multiple", 0)
    unseen, truth = blobs(50, 4, seed=1)
    assert ((logits(linear, unseen) >= 0) == np.stack([truth % 2 == 0, truth >= 2], axis=1)).mean() > 0.8


def test_labels_that_none_or_all_show_get_their_frequency() -> None:
    points, targets = blobs(10, 2)
    labels = np.stack([targets == 0, np.zeros(20, dtype=bool), np.ones(20, dtype=bool)], axis=1)
    given = logits(logistic.fit(points, labels, "multiple", 0), points * 100)
    assert (given[:, 1] < -3).all()
    assert (given[:, 2] > 3).all()


def test_the_same_data_give_the_same_weights() -> None:
    points, targets = blobs(20, 3)
    one, two = (logistic.fit(points, shown(targets, 3), "single", 7) for _ in range(2))
    np.testing.assert_array_equal(one.weight, two.weight)
