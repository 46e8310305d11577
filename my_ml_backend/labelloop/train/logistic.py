"""Logistic regression on features, as the weights of one linear layer.

Softmax (kind ``single``) or one sigmoid per class (``multiple``) with a squared penalty, by L-BFGS on all classes at
once, and on all parts of the samples that a layer each is wanted of, as for cross-validation: a product of matrices for
all of them costs little more than for one. The features stay float32; only the small matrix of weights is double.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
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
_TOLERANCE = 4e-3
"""Largest slope of the mean loss at which a fit ends, by scaled parameters: tighter ones predict no better."""

_REMEMBERED = 5
"""Steps by which L-BFGS knows how the loss is curved."""

_CURVED = 0.1
"""How curved the loss is, as a share of what it would be if all samples had the same scores: they soon differ."""

_ABSENT = -5.0
"""What a class without training pictures gets on top of the mean logit: below 1 % of the best class."""

_NEVER = -1e4
"""A logit that is never likely."""

_TOGETHER, _LOGITS = 64, 4_000_000
"""Columns that a product of matrices has at most where parts are fitted together, and logits that are held then."""


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


@dataclass(frozen=True, slots=True)
class Regression:
    """What layers learn from: ``rows`` (n, axes) that show classes, ``shown`` (n, classes).

    ``spread`` (axes,) is the rows' mean square along each axis: the fewer steps it takes, the less the axes have to do
    with each other. ``weights`` (n, classes) say how much each answer counts, on average 1 (None: all the same).
    """

    rows: Features
    spread: Matrix
    shown: Shown
    choice: Choice
    weights: Matrix | None = None

    def take(self, at: Shown) -> "Regression":
        """Give a part of the samples."""
        if at.all():
            return self
        return replace(
            self,
            rows=self.rows[at],
            shown=self.shown[at],
            weights=None if self.weights is None else self.weights[at],
        )


def fit(features: Features, shown: Shown, choice: Choice, strength: float, weights: Matrix | None = None) -> Linear:
    """Fit classes to features (n, features); ``shown`` (n, classes) tells which sample shows which class.

    ``strength`` is C: the loss is C times the sum over samples plus half the squared weights of standardised features.
    ``weights`` are as a Regression's. Classes that no sample, or (``multiple``) every sample, shows get a constant
    answer.
    """
    standard = Standard.of(features)
    rows = standard.rows(features)
    regression = Regression(rows, np.ones(rows.shape[1]), shown, choice, weights)
    (found,) = fit_parts(regression, strength, np.ones((1, len(rows)), dtype=bool))
    return standard.fold(found)


def fit_parts(regression: Regression, strength: float, learned: Shown, start: Sequence[Linear] = ()) -> list[Linear]:
    """Fit, as ``fit`` does, a layer to each part of the samples: ``learned`` (parts, n) tells which are in it.

    ``start`` is where the search begins, one for each part (none: at nothing).
    """
    shown, found = regression.shown, list[Linear]()
    together = min(_TOGETHER // max(1, shown.shape[1]), _LOGITS // max(1, shown.size))
    if together > 1:
        for begun in range(0, len(learned), together):
            some = slice(begun, begun + together)
            found += _fitted(regression, strength, learned[some], start[some])
        return found
    for at, part in enumerate(learned):
        alone = np.ones((1, part.sum()), dtype=bool)
        found += _fitted(regression.take(part), strength, alone, start[at : at + 1])
    return found


def _fitted(regression: Regression, strength: float, learned: Shown, start: Sequence[Linear]) -> list[Linear]:
    """Fit parts together; see ``fit_parts``."""
    loss = _Loss.of(regression, strength, learned)
    return _completed(loss, _minimise(loss, start), learned)


def _completed(loss: "_Loss", found: list[Linear], learned: Shown) -> list[Linear]:
    """Give classes that samples tell nothing of their constant answer."""
    shown, choice = loss.regression.shown, loss.regression.choice
    for linear, told, part in zip(found, loss.told, learned, strict=True):
        if choice == "multiple":
            counts, count = shown[part].sum(axis=0), part.sum()
            odds = np.log((counts + 0.5) / (count - counts + 0.5))
            linear.weight[~told], linear.bias[~told] = 0.0, odds[~told]
        elif told.any():
            linear.weight[~told] = linear.weight[told].mean(axis=0)
            linear.bias[~told] = linear.bias[told].mean() + _ABSENT
    return found


@dataclass(frozen=True, slots=True)
class _Loss:
    """The sum over parts of their mean loss over samples, and its slope, at flat parameters.

    Parameters are those of the layers times ``scale`` (parts, classes, axes + 1): by as much as the loss is curved
    along each, so that a step is as long along all. ``counts`` (n, parts, classes) says how much an answer counts, 0 if
    it is not learned from; ``told`` (parts, classes) which classes there are samples of; ``penalty`` is (parts,), and
    ``share`` (classes,) the share of the answers that each class is.
    """

    regression: Regression
    counts: Features
    told: Shown
    penalty: Features
    scale: Features
    share: Matrix

    @classmethod
    def of(cls, regression: Regression, strength: float, learned: Shown) -> "_Loss":
        """Say what there is to minimise; see ``fit_parts``."""
        shown, choice = regression.shown, regression.choice
        weights = np.ones(shown.shape) if regression.weights is None else regression.weights
        samples = np.maximum(learned.sum(axis=1), 1)
        seen = learned.astype(np.float32) @ shown.astype(np.float32)
        told = (seen > 0) & ((seen < samples[:, None]) if choice == "multiple" else True)
        # With choice single, the class that is shown says how much a sample counts, and one number is enough.
        given = weights if choice == "multiple" else weights[shown][:, None]
        counts = (learned / samples[:, None]).T[:, :, None] * given[:, None, :]
        if choice == "multiple":
            counts *= told
        share = (weights * shown).sum(axis=0) / weights.sum(axis=0)
        curved = _CURVED * weights.mean() * share * (1 - share)
        penalty = 1 / (strength * samples)
        scale = np.empty((len(learned), shown.shape[1], len(regression.spread) + 1), dtype=np.float32)
        scale[:, :, :-1] = np.sqrt(curved[:, None] * regression.spread + penalty[:, None, None])
        scale[:, :, -1] = np.sqrt(curved + penalty[:, None])
        return cls(regression, counts.astype(np.float32), told, penalty.astype(np.float32), scale, share)

    def __call__(self, flat: Matrix) -> tuple[float, Matrix]:
        layers = self.layers(flat)
        weight = layers[:, :, :-1]
        parts, classes, axes = weight.shape
        logits = (self.regression.rows @ weight.reshape(-1, axes).T).reshape(-1, parts, classes) + layers[:, :, -1]
        losses, slopes = self._sigmoid(logits) if self.regression.choice == "multiple" else self._softmax(logits)
        slopes *= self.counts
        towards = np.empty_like(layers)
        towards[:, :, :-1] = (slopes.reshape(-1, parts * classes).T @ self.regression.rows).reshape(weight.shape)
        towards[:, :, :-1] += self.penalty[:, None, None] * weight
        towards[:, :, -1] = slopes.sum(axis=0)
        towards /= self.scale
        squared = np.einsum("pca,pca->p", weight, weight, dtype=np.float64)
        total = float((losses * self.counts).sum(dtype=np.float64)) + float(self.penalty @ squared) / 2
        return total, towards.ravel().astype(np.float64)

    def layers(self, flat: Matrix) -> Features:
        """Give the layers of flat parameters: (parts, classes, axes + 1), the bias last."""
        return np.asarray(flat.astype(np.float32).reshape(self.scale.shape) / self.scale)

    def flat(self, layers: Sequence[Linear]) -> Matrix:
        """Give the flat parameters of layers; of none: those of layers that answer how frequent each class is."""
        stacked = np.zeros(self.scale.shape)
        share = np.clip(self.share, 1e-3, 1 - 1e-3)
        if self.regression.choice == "multiple":
            stacked[:, :, -1] = np.log(share / (1 - share))
        else:
            # About 0, as what a class without samples gets is said by the mean of the others.
            counts = np.maximum(self.told.sum(axis=1, keepdims=True), 1)
            stacked[:, :, -1] = np.log(share) - (self.told * np.log(share)).sum(axis=1, keepdims=True) / counts
        for at, one in enumerate(layers):
            stacked[at, :, :-1], stacked[at, :, -1] = one.weight, one.bias
        return np.asarray((stacked * self.scale).ravel(), dtype=np.float64)

    def _softmax(self, logits: Features) -> tuple[Features, Features]:
        """Give losses (n, parts, 1) and their slope (n, parts, classes); only the class shown has a loss."""
        logits += np.where(self.told, np.float32(0), np.float32(_NEVER))
        logits -= logits.max(axis=2, keepdims=True)
        powers = np.exp(logits)
        sums = powers.sum(axis=2, keepdims=True)
        # (n, parts, classes) by (n, classes): a row for each sample, which shows one class.
        given = logits.transpose(0, 2, 1)[self.regression.shown][:, :, None]
        powers /= sums
        powers -= self.regression.shown[:, None, :]
        return np.log(sums) - given, powers

    def _sigmoid(self, logits: Features) -> tuple[Features, Features]:
        shown, sharp = self.regression.shown[:, None, :], np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0) - logits * shown + np.log1p(sharp)
        return losses, np.where(logits >= 0, 1, sharp) / (1 + sharp) - shown


@cache
def _threads() -> ThreadpoolController:
    """Know the libraries that start threads: looking for them takes longer than a small fit."""
    # Only what is loaded is found, and scipy brings an OpenBLAS of its own.
    import scipy.linalg  # type: ignore[import-untyped]
    import scipy.optimize  # type: ignore[import-untyped] # noqa: F401

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Let products of matrices take one thread, as torch does: two on shared cores wait for each other."""
    limited: AbstractContextManager[Any] = _threads().limit(limits=1)
    return limited


def _minimise(loss: _Loss, start: Sequence[Linear]) -> list[Linear]:
    from scipy.optimize import minimize  # slow to import; not every run has a head

    options = {"maxiter": _STEPS, "gtol": _TOLERANCE, "ftol": 1e-9, "maxcor": _REMEMBERED}
    with one_thread():
        found = minimize(loss, loss.flat(start), jac=True, method="L-BFGS-B", options=options)
        if start and not found.nit:
            # With many samples strengths would all be what the first one is.
            found = minimize(loss, loss.flat(()), jac=True, method="L-BFGS-B", options=options)
    layers = loss.layers(np.asarray(found.x)).astype(np.float64)
    return [Linear(layer[:, :-1].copy(), layer[:, -1].copy()) for layer in layers]
