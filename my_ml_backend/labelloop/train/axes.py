"""Features on their principal axes, on which a regression finds its minimum in a few dozen steps.

A squared penalty does not change as features are turned, so neither does what is found; and no sample is anything off
the axes that samples span, so that of few samples there are few numbers (Hastie and Tibshirani, 2004, "Efficient
quadratic regularization for expression arrays").
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.train.logistic import Features, Linear, Matrix, Standard, one_thread

_SMALLEST = 1e-5
"""Axes with less than this share of the largest one's variance are noise of the arithmetic."""

_ENOUGH = 4096
"""Rows that axes are found by where there are more, at least two for each feature: they need not be exact."""

_AT_ONCE = 4096
"""Rows that are turned at a time."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes of standardised features: the columns of ``span.T @ turn``, or without a ``span`` those of ``turn``.

    ``span`` (samples, features) are standardised samples; without ``turn`` features stay as they are. ``spread``
    (axes,) is the mean square of samples along each.
    """

    standard: Standard
    spread: Matrix
    turn: Features | None = None
    span: Features | None = None

    @classmethod
    def plain(cls, features: Features) -> "Axes":
        """Leave features (n, features) as they are."""
        spread = np.einsum("ij,ij->j", features, features, dtype=np.float64) / len(features)
        return cls(Standard.plain(features.shape[1]), spread)

    @classmethod
    def of(cls, features: Features) -> tuple["Axes", Features]:
        """Find the principal axes of features (n, features); gives these, too, as ``rows`` does."""
        standard, (count, width) = Standard.of(features), features.shape
        if count < width:
            span = standard.rows(features)
            with one_thread():
                variances, turn = principal(span @ span.T)
                # On these axes samples are what the square roots of the variances make of them.
                rows = np.ascontiguousarray(turn * np.sqrt(variances, dtype=np.float32))
            turn /= np.sqrt(variances, dtype=np.float32)
            return cls(standard, variances / count, turn, span), rows
        sample = standard.rows(features[:: max(1, count // max(_ENOUGH, 2 * width))])
        with one_thread():
            variances, turn = principal(sample.T @ sample)
        axes = cls(standard, variances / len(sample), np.ascontiguousarray(turn))
        return axes, axes.rows(features)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of any other features is lost on these axes."""
        return self.span is None

    def rows(self, features: Features) -> Features:
        """Give features (n, features) on the axes: (n, axes)."""
        if self.turn is None:
            return features
        rows = np.empty((len(features), self.turn.shape[1]), dtype=np.float32)
        with one_thread():
            for begun in range(0, len(features), _AT_ONCE):
                part = self.standard.rows(features[begun : begun + _AT_ONCE])
                rows[begun : begun + _AT_ONCE] = (part if self.span is None else part @ self.span.T) @ self.turn
        return rows

    def fold(self, linear: Linear) -> Linear:
        """Turn a layer on the axes into one on the features themselves."""
        if self.turn is None:
            return linear
        with one_thread():
            weight = linear.weight.astype(np.float32) @ self.turn.T
            weight = weight if self.span is None else weight @ self.span
        return self.standard.fold(Linear(weight.astype(np.float64), linear.bias))


def principal(alike: npt.NDArray[np.float32]) -> tuple[Matrix, Features]:
    """Give the largest variances of a symmetric matrix and their directions, in columns."""
    from scipy.linalg import eigh  # type: ignore[import-untyped] # slow to import; not every run has a head

    variances, directions = eigh(alike, driver="evd", overwrite_a=True, check_finite=False)
    kept = variances > _SMALLEST * variances[-1]
    return variances[kept].astype(np.float64), directions[:, kept]
