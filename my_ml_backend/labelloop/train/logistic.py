"""Logistic regression on features, as the weights of one linear layer.

Softmax (kind ``single``) or one sigmoid per class (``multiple``) with a squared penalty, by L-BFGS on all classes at
once. The features stay float32; only the small matrix of weights is double.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from labelloop.types import Choice

Matrix = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Shown = npt.NDArray[np.bool_]

_STEPS = 200
_TOLERANCE = 1e-3  # largest slope of the mean loss at which a fit ends: tighter ones predict no better
_ABSENT = -5.0  # what a class without training pictures gets on top of the mean logit: below 1 % of the best class


@dataclass(frozen=True, slots=True)
class Linear:
    """``logits = features @ weight.T + bias``; weight is (classes, features), bias is (classes,)."""

    weight: Matrix
    bias: Matrix

    def logits(self, features: npt.NDArray[np.floating[Any]]) -> Matrix:
        """Give logits, (n, classes), of features (n, features)."""
        values: Matrix = features.astype(np.float32, copy=False) @ self.weight.T.astype(np.float32) + self.bias
        return values


@dataclass(frozen=True, slots=True)
class Standard:
    """Takes mean and scale out of features, and puts them back into a layer fitted to the result."""

    mean: Matrix
    scale: Matrix

    @classmethod
    def of(cls, features: Features) -> "Standard":
        """Measure features (n, features), summing in double, without a copy of them."""
        mean = features.mean(axis=0, dtype=np.float64)
        squares = np.einsum("ij,ij->j", features, features, dtype=np.float64) / len(features)
        return cls(mean, np.maximum(np.sqrt(np.maximum(squares - mean**2, 0)), 1e-6))

    @classmethod
    def plain(cls, width: int) -> "Standard":
        """Leave features as they are."""
        return cls(np.zeros(width), np.ones(width))

    def rows(self, features: Features) -> Features:
        """Standardise: a copy, float32."""
        rows = features - self.mean.astype(np.float32)
        rows /= self.scale.astype(np.float32)
        return rows

    def fold(self, linear: Linear) -> Linear:
        """Turn a layer on standardised features into one on the features themselves."""
        weight = linear.weight / self.scale
        return Linear(weight, linear.bias - weight @ self.mean)


def fit(features: Features, shown: Shown, choice: Choice, strength: float, weights: Matrix | None = None) -> Linear:
    """Fit classes to features (n, features); ``shown`` (n, classes) tells which sample shows which class.

    ``strength`` is C: the loss is C times the sum over samples plus half the squared weights of standardised features.
    ``weights`` (n, classes) say how much each sample's answer counts, on average 1. Classes that no sample, or
    (``multiple``) every sample, shows get a constant answer.
    """
    standard = Standard.of(features)
    return standard.fold(fit_rows(standard.rows(features), shown, choice, strength, weights))


def fit_rows(
    rows: Features,
    shown: Shown,
    choice: Choice,
    strength: float,
    weights: Matrix | None = None,
    start: Linear | None = None,
) -> Linear:
    """Fit as ``fit`` does, to rows that are standardised already; ``start`` is where the search begins."""
    weights = np.ones(shown.shape) if weights is None else weights
    counts = shown.sum(axis=0)
    told = np.flatnonzero((counts > 0) & ((counts < len(rows)) if choice == "multiple" else True))
    everything = _constant(shown, choice, rows.shape[1])
    if len(told):
        begin = everything if start is None else start
        given = shown[:, told].astype(np.float32)
        loss = _Loss(rows, given, weights[:, told].astype(np.float32), choice, strength)
        found = _minimise(loss, Linear(begin.weight[told], begin.bias[told]))
        if choice == "single":
            everything.weight[:], everything.bias[:] = found.weight.mean(axis=0), found.bias.mean() + _ABSENT
        everything.weight[told], everything.bias[told] = found.weight, found.bias
    return everything


def _constant(shown: Shown, choice: Choice, width: int) -> Linear:
    """Answer with each class's frequency, whatever the features."""
    counts = shown.sum(axis=0)
    bias = np.log((counts + 0.5) / (len(shown) - counts + 0.5)) if choice == "multiple" else np.zeros(shown.shape[1])
    return Linear(np.zeros((shown.shape[1], width)), bias)


@dataclass(frozen=True, slots=True)
class _Loss:
    """The mean loss over samples and its slope, at flat parameters (classes * (features + 1))."""

    rows: Features
    shown: Features
    weights: Features
    choice: Choice
    strength: float

    def __call__(self, flat: Matrix) -> tuple[float, Matrix]:
        parameters = flat.reshape(self.shown.shape[1], -1)
        weight = parameters[:, :-1]
        logits = self.rows @ weight.T.astype(np.float32) + parameters[:, -1].astype(np.float32)
        loss, slope = self._sigmoid(logits) if self.choice == "multiple" else self._softmax(logits)
        slope *= self.weights
        share = 1 / len(self.rows)
        penalty = share / self.strength
        total = float((loss * self.weights).sum(dtype=np.float64)) * share + penalty / 2 * float((weight**2).sum())
        towards = np.empty_like(parameters)
        towards[:, :-1] = (slope.T @ self.rows) * share + penalty * weight
        towards[:, -1] = slope.sum(axis=0, dtype=np.float64) * share
        return total, towards.ravel()

    def _softmax(self, logits: Features) -> tuple[Features, Features]:
        """Give the loss and its slope, both (n, classes); only the class shown has a loss."""
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -logits * self.shown, np.exp(logits) - self.shown

    def _sigmoid(self, logits: Features) -> tuple[Features, Features]:
        sharp = np.exp(-np.abs(logits))
        loss = np.maximum(logits, 0) - logits * self.shown + np.log1p(sharp)
        return loss, np.where(logits >= 0, 1, sharp) / (1 + sharp) - self.shown


@cache
def _threads() -> ThreadpoolController:
    """Know the libraries that start threads: looking for them takes longer than a small fit."""
    return ThreadpoolController()


def _minimise(loss: _Loss, begin: Linear) -> Linear:
    from scipy.optimize import minimize  # type: ignore[import-untyped] # slow to import; not every run has a head

    flat = np.column_stack((begin.weight, begin.bias)).ravel()
    with _threads().limit(limits=1):  # as torch: two threads on shared cores wait for each other
        found = minimize(
            loss, flat, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "gtol": _TOLERANCE, "ftol": 1e-9}
        )
    parameters: Matrix = np.asarray(found.x, dtype=np.float64).reshape(len(begin.bias), -1)
    return Linear(parameters[:, :-1].copy(), parameters[:, -1].copy())
