"""How good a version is on pictures it has not seen: metrics as torchmetrics has them, with intervals.

Those of proportions are Wilson's, the others the bootstrap's; where no draw of it differs from another there is none.

Kind ``single`` gives each picture its best class, ``multiple`` every class from its threshold on. A picture
whose prediction failed (its scores are all 0, or nan) was given nothing: it counts as wrong. Averages are over the
classes that at least one picture has. What is not defined is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.train import intervals, metrics
from labelloop.train.intervals import FEW, RATES, rates, wilson
from labelloop.train.metrics import Indicators, accuracy, confusion, correct, support
from labelloop.types import Choice, Json

Matrix = npt.NDArray[np.float64]

RESAMPLES = 1000
_DIGITS = 6
_NO_WIDTH = 1e-9
_PROPORTIONS: Mapping[Choice, Sequence[str]] = {"single": ("accuracy", "weighted recall"), "multiple": ("accuracy",)}
"""Metrics that are the share of pictures with exactly the right classes."""


def measure(
    truth: Indicators,
    scores: Matrix,
    classes: Sequence[str],
    choice: Choice,
    seed: int = 0,
    resamples: int = RESAMPLES,
    thresholds: Matrix | None = None,
) -> Json:
    """Measure predictions: ``truth`` is bool and ``scores`` holds probabilities, both (items, classes).

    ``thresholds`` (classes,) are the scores from which on classes are given with ``multiple``, None: a half for each.
    Gives ``metrics.json`` (docs/evaluation.md). ``seed`` decides what the intervals' resamples draw. Raises ValueError
    for arrays of another shape, or without items.
    """
    given = _Given.of(truth, scores, classes, choice, thresholds)
    by_class = rates(given.truth, given.predicted, given.scores)
    values, found = _values(given, by_class), _resampled(given, seed, resamples)
    measured = {name: _with_ends(value, found[name]) for name, value in values.items()}
    measured |= dict.fromkeys(_PROPORTIONS[choice], _proportion(given.right.sum(), len(truth)))
    return {
        "items": len(truth),
        "failed": int((~given.answered).sum()),
        "few": len(truth) < FEW,
        "kind": choice,
        "classes": list(classes),
        "accuracy": measured["accuracy"],
        "macro": {rate: measured[f"macro {rate}"] for rate in RATES},
        "weighted": {rate: measured[f"weighted {rate}"] for rate in RATES},
        "per_class": _per_class(by_class, given, classes),
        "calibration_error": measured["calibration_error"],
        "reliability": metrics.diagram(given.bins()),
        "log_loss": _rounded(metrics.score_log_loss(*given.scored(), choice)),
        "confusion": confusion(truth, given.predicted).tolist(),
        "interval": intervals.INTERVAL,
        "resamples": resamples,
    }


def answers_of(scores: Matrix, choice: Choice, thresholds: Matrix | None = None) -> Indicators:
    """Tell which classes the scores (items, classes) give each item; none where all of them are 0."""
    shown: Indicators = metrics.given(scores, choice, thresholds) & scores.any(axis=1, keepdims=True)
    return shown


@dataclass(frozen=True, slots=True)
class _Given:
    """Checked predictions, (items, classes); ``answered`` (items,) tells which of them did not fail."""

    truth: Indicators
    scores: Matrix
    predicted: Indicators
    answered: Indicators
    choice: Choice

    @classmethod
    def of(
        cls, truth: Indicators, scores: Matrix, classes: Sequence[str], choice: Choice, thresholds: Matrix | None
    ) -> "_Given":
        if truth.shape != (len(truth), len(classes)) or scores.shape != truth.shape:
            raise ValueError(f"truth {truth.shape} and scores {scores.shape} must be (items, {len(classes)} classes)")
        if not len(truth):
            raise ValueError("there are no items to measure")
        failed = np.isnan(scores).any(axis=1, keepdims=True)
        known = np.where(failed, 0.0, np.clip(scores.astype(np.float64), 0, 1))
        return cls(truth, known, answers_of(known, choice, thresholds), np.asarray(known.any(axis=1)), choice)

    def scored(self) -> tuple[Indicators, Matrix]:
        """Give truth and scores of the items that did not fail."""
        return self.truth[self.answered], self.scores[self.answered]

    @property
    def right(self) -> Indicators:
        """Which items are given exactly their classes: bool, (items,)."""
        return correct(self.truth, self.predicted)

    def bins(self) -> metrics.Bins:
        return metrics.bins(*self.scored(), self.choice)


def _values(given: _Given, by_class: Mapping[str, Matrix]) -> dict[str, float]:
    """Give the metrics themselves, by name; nan where not defined."""
    counts = support(given.truth)[None].astype(np.float64)
    bins = given.bins()
    error = metrics.calibration_errors(np.ones((1, len(bins.count))), bins)
    values = {"accuracy": accuracy(given.truth, given.predicted), "calibration_error": float(error[0])}
    for rate in RATES:
        plain, weighted = intervals.averages(by_class[rate][None], counts)
        values |= {f"macro {rate}": float(plain[0]), f"weighted {rate}": float(weighted[0])}
    return values


def _resampled(given: _Given, seed: int, resamples: int) -> dict[str, Matrix]:
    """Give the metrics' values over the resamples, by name: (resamples,)."""
    bins, right = given.bins(), given.right.astype(np.float64)
    blocks = [_block(weights, given, bins, right) for weights in intervals.draws(len(right), resamples, seed)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _block(weights: Matrix, given: _Given, bins: metrics.Bins, right: Matrix) -> dict[str, Matrix]:
    by_class = dict(intervals.shares(weights, given.truth, given.predicted))
    by_class["auroc"] = intervals.areas(weights, given.truth, given.scores)
    block = {
        "accuracy": weights @ right / len(right),
        "calibration_error": metrics.calibration_errors(weights[:, given.answered], bins),
    }
    for rate in RATES:
        plain, weighted = intervals.averages(by_class[rate], by_class["support"])
        block |= {f"macro {rate}": plain, f"weighted {rate}": weighted}
    return block


def _proportion(hits: int, items: int) -> Json:
    """Give a share with its interval; all None without items."""
    if not items:
        return {"value": None, "low": None, "high": None}
    low, high = wilson(hits, items, intervals.INTERVAL)
    return {"value": _rounded(hits / items), "low": _rounded(low), "high": _rounded(high)}


def _with_ends(value: float, resampled: Matrix) -> Json:
    low, high = intervals.ends(resampled) if not np.isnan(value) else (np.nan, np.nan)
    if not high - low > _NO_WIDTH:
        low = high = np.nan  # draws that all give the same say nothing of chance
    return {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high)}


def _per_class(by_class: Mapping[str, Matrix], given: _Given, classes: Sequence[str]) -> Json:
    """Give each class's rates, and the intervals of those that are proportions of pictures."""
    counts, taken = support(given.truth), support(given.predicted)
    hits = support(given.truth & given.predicted)
    return {
        name: {rate: _rounded(by_class[rate][at]) for rate in RATES}
        | {"support": int(counts[at])}
        | {"intervals": {"recall": _ends(hits[at], counts[at]), "precision": _ends(hits[at], taken[at])}}
        for at, name in enumerate(classes)
    }


def _ends(hits: int, items: int) -> Json:
    found = _proportion(hits, items)
    return {end: found[end] for end in ("low", "high")}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), _DIGITS)
