"""Logistic regression on features, as the weights of one linear layer.

scikit-learn takes 2.4 s to import and is not needed by every run, so it is imported where it is used.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from labelloop.types import Kind

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Matrix = npt.NDArray[np.float64]

_STRENGTHS = (0.003, 0.03, 0.3, 3.0)
_DEFAULT = 0.03
_FOLDS = 3
_MOST = 2000  # samples that the choice of the regularisation looks at
_ABSENT = -5.0  # what a class without training pictures gets on top of the mean logit: below 1 % of the best class


@dataclass(frozen=True, slots=True)
class Linear:
    """``logits = features @ weight.T + bias``; weight is (classes, features), bias is (classes,)."""

    weight: Matrix
    bias: Matrix


def fit(features: npt.NDArray[np.float32], shown: npt.NDArray[np.bool_], kind: Kind, seed: int) -> Linear:
    """Fit classes to features (n, features); ``shown`` (n, classes) tells which sample shows which class.

    Features are standardised, and the standardisation is folded into the weights. Kind ``multiple`` fits one class
    against the rest at a time. Classes that no sample, or (``multiple``) every sample, shows get a constant answer.
    """
    rows = features.astype(np.float64)
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    with threadpool_limits(1):  # as torch: two threads on shared cores wait for each other
        fitted = (_single if kind == "single" else _multiple)((rows - mean) / scale, shown, seed)
    weight = fitted.weight / scale
    return Linear(weight, fitted.bias - weight @ mean)


def _single(rows: Matrix, shown: npt.NDArray[np.bool_], seed: int) -> Linear:
    targets = shown.argmax(axis=1)
    found = _regression(rows, targets, seed)
    # Two classes give one logit: half of it for one and half against the other has the same softmax.
    weight, bias = (
        (np.vstack((-values, values)) / 2 if len(values) == 1 else values)
        for values in (found.coef_, found.intercept_.reshape(-1, 1))
    )
    everything = Linear(
        np.tile(weight.mean(axis=0), (shown.shape[1], 1)), np.full(shown.shape[1], bias.mean() + _ABSENT)
    )
    everything.weight[found.classes_], everything.bias[found.classes_] = weight, bias[:, 0]
    return everything


def _multiple(rows: Matrix, shown: npt.NDArray[np.bool_], seed: int) -> Linear:
    positive = shown.sum(axis=0)
    everything = Linear(
        np.zeros((shown.shape[1], rows.shape[1])), np.log((positive + 0.5) / (len(rows) - positive + 0.5))
    )
    for column in np.flatnonzero((positive > 0) & (positive < len(rows))):
        found = _regression(rows, shown[:, column].astype(int), seed)
        everything.weight[column], everything.bias[column] = found.coef_[0], found.intercept_[0]
    return everything


def _regression(rows: Matrix, targets: npt.NDArray[np.integer], seed: int) -> "LogisticRegression":
    return _fit(rows, targets, _strength(rows, targets, seed))


def _fit(rows: Matrix, targets: npt.NDArray[np.integer], strength: float) -> "LogisticRegression":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 steps are as good as converged here
        return LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(rows, targets)


def _strength(rows: Matrix, targets: npt.NDArray[np.integer], seed: int) -> float:
    """Choose the regularisation's C by cross-validated log-loss; the default where a class has too few samples."""
    from sklearn.model_selection import StratifiedKFold

    chosen = np.random.default_rng(seed).permutation(len(rows))[:_MOST]
    rows, targets = rows[chosen], targets[chosen]
    counts = np.bincount(targets)
    if counts[counts > 0].min() < _FOLDS:
        return _DEFAULT
    losses = dict.fromkeys(_STRENGTHS, 0.0)
    for train, held in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(rows, targets):
        for strength in _STRENGTHS:
            fitted = _fit(rows[train], targets[train], strength)
            column = np.searchsorted(fitted.classes_, targets[held])
            losses[strength] -= float(fitted.predict_log_proba(rows[held])[np.arange(len(held)), column].sum())
    return min(losses, key=lambda strength: losses[strength])
