"""The last layer of a ``head``."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.train import logistic
from labelloop.train.axes import Axes
from labelloop.train.logistic import Regression
from labelloop.types import Choice

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


def softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_unseen_points_are_told_apart_whatever_their_scale(classes: int) -> None:
    points, targets = blobs(20, classes)
    linear = logistic.fit(points, shown(targets, classes), "single", 0.1)
    unseen, truth = blobs(50, classes, seed=1)
    assert (linear.logits(unseen).argmax(axis=1) == truth).mean() > 0.9


def scikit_learn(strength: float, **options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, tol=1e-6, max_iter=1000, **options)


def test_several_classes_have_the_probabilities_of_scikit_learn() -> None:
    points, targets = blobs(10, 3)
    rows = (points - points.mean(axis=0)) / points.std(axis=0)
    expected = scikit_learn(0.03).fit(rows, targets).predict_proba(rows)
    given = softmax(logistic.fit(points, shown(targets, 3), "single", 0.03).logits(points))
    np.testing.assert_allclose(given, expected, atol=0.01)


def test_labels_and_their_weights_have_the_probabilities_of_scikit_learn() -> None:
    points, targets = blobs(30, 4)
    rows = (points - points.mean(axis=0)) / points.std(axis=0)
    labels = np.stack([targets % 2 == 0, targets >= 2], axis=1)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, labels.shape)
    given = logistic.fit(points, labels, "multiple", 0.1, weights).logits(points)
    for column in range(2):
        found = scikit_learn(0.1).fit(rows, labels[:, column], sample_weight=weights[:, column])
        np.testing.assert_allclose(1 / (1 + np.exp(-given[:, column])), found.predict_proba(rows)[:, 1], atol=0.02)


def test_a_class_without_samples_is_never_likely() -> None:
    points, targets = blobs(20, 3)
    linear = logistic.fit(points, shown(targets + (targets > 0), 4), "single", 0.1)  # class 1 is absent
    anywhere = np.random.default_rng(5).normal(size=(500, 6)) * points.std(axis=0) * 3 + points.mean(axis=0)
    assert softmax(linear.logits(anywhere))[:, 1].max() < 0.01


def test_labels_that_none_or_all_show_get_their_frequency() -> None:
    points, targets = blobs(10, 2)
    labels = np.stack([targets == 0, np.zeros(20, dtype=bool), np.ones(20, dtype=bool)], axis=1)
    given = logistic.fit(points, labels, "multiple", 0.1).logits(points * 100)
    assert (given[:, 1] < -3).all()
    assert (given[:, 2] > 3).all()


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_the_slope_is_that_of_the_loss(choice: Choice) -> None:
    """Against differences; a wrong slope would still end somewhere, only not at the best place."""
    points, targets = blobs(5, 3)
    rows = logistic.Standard.of(points).rows(points)
    weights = np.random.default_rng(2).uniform(0.5, 1.5, (15, 1)).repeat(3, axis=1)
    learned = np.arange(15) % 4 != np.array([[0], [1]])
    loss = logistic._Loss.of(Regression(rows, np.ones(6), shown(targets, 3), choice, weights), 0.1, learned)
    at = np.random.default_rng(0).normal(size=2 * 3 * 7)
    _, slope = loss(at)
    steps = np.eye(len(at)) * 1e-2
    measured = [(loss(at + step)[0] - loss(at - step)[0]) / 2e-2 for step in steps]
    np.testing.assert_allclose(slope, measured, atol=2e-3)


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_parts_that_are_fitted_together_are_what_each_is_alone(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has never seen a class; where they are many samples they are fitted one after the other."""
    points, targets = blobs(20, 3)
    rows = logistic.Standard.of(points).rows(points)
    learned = np.arange(60) % 5 != np.arange(5)[:, None]
    learned[0] &= targets != 1
    given = Regression(rows, np.ones(6), shown(targets, 3), choice)
    together = logistic.fit_parts(given, 0.1, learned)
    monkeypatch.setattr(logistic, "_LOGITS", 1)
    for one, other in zip(together, logistic.fit_parts(given, 0.1, learned), strict=True):
        np.testing.assert_allclose(one.logits(rows), other.logits(rows), atol=0.1)
    first, part = together[0], learned[0]
    (alone,) = logistic.fit_parts(given.take(part), 0.1, np.ones((1, part.sum()), bool))
    np.testing.assert_allclose(softmax(first.logits(rows)), softmax(alone.logits(rows)), atol=0.02)
    assert (first.logits(rows)[:, 1] < first.logits(rows).max(axis=1) - 2).all()


def test_a_fit_that_begins_near_enough_is_not_left_where_it_began() -> None:
    """Or strengths that are looked at in turn would tie, with thousands of samples."""
    chance = np.random.default_rng(0)
    targets = chance.integers(0, 3, 8000)
    points = (chance.normal(size=(8000, 20)) + 0.7 * np.eye(3, 20)[targets]).astype(np.float32)
    axes, rows = Axes.of(points)
    labels, everything = shown(targets, 3), np.ones((1, 8000), dtype=bool)
    near = logistic.fit_parts(Regression(rows, axes.spread, labels, "single"), 0.1, everything)
    (found,) = logistic.fit_parts(Regression(rows, axes.spread, labels, "single"), 0.3, everything, start=near)
    (cold,) = logistic.fit_parts(Regression(rows, axes.spread, labels, "single"), 0.3, everything)
    np.testing.assert_array_equal(found.weight, cold.weight)
    assert np.abs(found.weight - near[0].weight).max() > 1e-4


@pytest.mark.parametrize("samples", [60, 12])
def test_a_layer_on_the_principal_axes_is_one_on_the_features(samples: int) -> None:
    """With more samples than features, and with fewer."""
    chance = np.random.default_rng(3)
    points = (chance.normal(size=(samples, 30)) @ chance.normal(size=(30, 30)) + 2).astype(np.float32)
    labels = shown(chance.integers(0, 3, samples), 3)
    axes, rows = Axes.of(points)
    assert rows.shape[1] <= min(points.shape)
    assert axes.is_whole == (samples == 60)
    np.testing.assert_allclose(axes.rows(points), rows, atol=0.02)
    np.testing.assert_allclose((rows**2).mean(axis=0), axes.spread, rtol=0.05)
    everything = np.ones((1, samples), dtype=bool)
    (found,) = logistic.fit_parts(Regression(rows, axes.spread, labels, "single"), 0.1, everything)
    np.testing.assert_allclose(axes.fold(found).logits(points), found.logits(rows), atol=0.02)
    plain = logistic.fit(points, labels, "single", 0.1).logits(points)
    np.testing.assert_allclose(softmax(found.logits(rows)), softmax(plain), atol=0.02)


def test_the_same_data_give_the_same_weights() -> None:
    points, targets = blobs(20, 3)
    one, two = (logistic.fit(points, shown(targets, 3), "single", 0.3) for _ in range(2))
    np.testing.assert_array_equal(one.weight, two.weight)


@pytest.mark.parametrize("samples", [60, 12])
def test_features_that_are_always_the_same_tell_nothing(samples: int) -> None:
    chance = np.random.default_rng(3)
    points = chance.normal(size=(samples, 30)).astype(np.float32)
    points[:, 10:20] = 7
    axes, rows = Axes.of(points)
    assert np.isfinite(rows).all()
    assert rows.shape[1] <= 20
    labels = shown(chance.integers(0, 3, samples), 3)
    (found,) = logistic.fit_parts(
        Regression(rows, axes.spread, labels, "single"), 0.1, np.ones((1, samples), dtype=bool)
    )
    given = axes.fold(found).logits(points)
    np.testing.assert_allclose(given, found.logits(rows), atol=0.02)
    others = points.copy()
    others[:, 10:20] = chance.permutation(10) / 1e3 + 7
    assert np.isfinite(axes.fold(found).logits(others)).all()


def test_a_single_sample_has_axes_on_which_it_is_nothing() -> None:
    points = np.arange(1, 9, dtype=np.float32)[None]
    axes, rows = Axes.of(points)
    assert np.abs(rows).max(initial=0) == 0
    found = logistic.Linear(np.ones((2, rows.shape[1])), np.array([0.5, -0.5]))
    np.testing.assert_allclose(axes.fold(found).logits(points), [[0.5, -0.5]])


def test_products_take_one_thread_in_every_library_that_is_loaded() -> None:
    """In a process of its own, for here scipy is loaded already; scipy's OpenBLAS is another than numpy's."""
    code = (
        "from labelloop.train.logistic import one_thread\n"
        "from threadpoolctl import threadpool_info\n"
        "with one_thread(): pass\n"
        "import scipy.linalg\n"
        "with one_thread(): print([one['num_threads'] for one in threadpool_info()])\n"
    )
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60, env=free
    )
    assert set(json.loads(found.stdout)) == {1}
