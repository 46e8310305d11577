"""What is chosen on pictures that a detector has not learned from: mirror images, suppression, scores, thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.kinds.object_detection.recipes.detecting import Candidates, candidates
from labelloop.kinds.object_detection.recipes.examples import Example, Examples
from labelloop.kinds.object_detection.recipes.network import Detector
from labelloop.run.resampled import AveragePrecision
from labelloop.types import HALF

Floats = npt.NDArray[np.float64]

USUAL = 0.6
"""The overlap from which on boxes of a label are suppressed, where others are not clearly better."""

_OVERLAPS = (0.6, 0.5, 0.7, 0.4)
_CLEARLY = 0.002
_WORTH = 0.005  # of mirror images, which make two or four times the work
_SAME = 0.5
"""Intersection over union from which on two boxes are the same one."""

_ALIKE = 0.85
"""Share of the average precision that is left in mirror images, where these have the same labels."""

_DRAWS = 200

_LEARNED = 0.1
"""Average precision below which a detector has learned too little to say so."""


@dataclass(frozen=True, slots=True)
class Served:
    """How a detector serves: ``flips`` whose answers are averaged, ``overlap`` from which on boxes are suppressed.

    A box's score is ``sigmoid(slopes * logit + shifts)``, by label, (labels,) each; ``thresholds`` (labels,) are those
    from which on boxes are shown. ``figure`` is AP50 of the pictures by which that was chosen.
    """

    flips: tuple[str, ...]
    overlap: float
    slopes: Floats
    shifts: Floats
    thresholds: Floats
    figure: AveragePrecision

    @property
    def precision(self) -> float:
        """AP50; NaN without pictures."""
        return float(self.figure(np.ones((1, len(self.figure.true)))).whole[0])

    def clearly_better(self, other: "Served", seed: int) -> bool:
        """Whether AP50 on the same pictures is higher by more than the standard error of the difference (bootstrap)."""
        count = len(self.figure.true)
        if not count:
            return False
        weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _DRAWS).astype(np.float64)
        gains = self.figure(weights).whole - other.figure(weights).whole
        return bool(self.precision - other.precision > np.nanstd(gains))


def mirrors(detector: Detector, examples: Examples) -> tuple[str, ...]:
    """Tell which mirror images look the same to a detector that has seen none: their labels are those of the picture.

    Mirrored digits and letters are others, mirrored cells and dogs are not.
    """
    plain = precision(suppressed(candidates(detector, examples)), examples.examples)
    if not plain >= _LEARNED:
        return ()

    def same(way: str) -> bool:
        seen = suppressed(candidates(detector, examples, way=way))
        return precision(seen, [_mirrored(one, way) for one in examples.examples]) >= _ALIKE * plain

    found = [way for way in ("h", "v") if same(way)]
    return (*found, "hv") if len(found) > 1 else tuple(found)


def _mirrored(example: Example, way: str) -> Example:
    left, top, right, bottom = example.corners.T
    if "h" in way:
        left, right = 1 - right, 1 - left
    if "v" in way:
        top, bottom = 1 - bottom, 1 - top
    return Example(example.sample, np.stack([left, top, right, bottom], axis=1), example.labels)


def choose(detector: Detector, examples: Examples, labels: int, flips: Sequence[str]) -> Served:
    """Choose how a detector serves by validation pictures, of which there may be few, or none."""
    if not len(examples):
        nothing = figure([], [], labels)
        return Served((), USUAL, np.ones(labels), np.zeros(labels), np.full(labels, HALF), nothing)
    ways: list[tuple[str, ...]] = [()]
    if flips:
        ways += [tuple(flips)[:1], tuple(flips)] if len(flips) > 1 else [tuple(flips)]
    best, found, reached = ways[0], candidates(detector, examples), 0.0
    reached = precision(suppressed(found), examples.examples)
    for way in ways[1:]:
        seen = candidates(detector, examples, way)
        value = precision(suppressed(seen), examples.examples)
        if value > reached + _WORTH:
            best, found, reached = way, seen, value
    overlap = USUAL
    for other in _OVERLAPS:
        value = precision(suppressed(found, other), examples.examples)
        if value > reached + _CLEARLY:
            overlap, reached = other, value
    kept = suppressed(found, overlap)
    right = [hits(one, example) for one, example in zip(kept, examples.examples, strict=True)]
    slopes, shifts = calibrated(kept, right, labels)
    true = np.bincount(np.concatenate([one.labels for one in examples.examples]), minlength=labels)
    thresholds = _thresholds(kept, right, slopes, shifts, true)
    return Served(best, overlap, slopes, shifts, thresholds, figure(kept, examples.examples, labels))


def suppressed(found: Sequence[Candidates], overlap: float = USUAL) -> list[Candidates]:
    """Suppress overlapping boxes in all pictures."""
    return [one.suppressed(overlap) for one in found]


def precision(found: Sequence[Candidates], examples: Sequence[Example]) -> float:
    """Give AP50; NaN where nothing is true."""
    named = [*(one.labels for one in found), *(one.labels for one in examples)]
    labels = 1 + max((int(one.max(initial=0)) for one in named), default=0)
    return float(figure(found, examples, labels)(np.ones((1, len(found)))).whole[0])


def figure(found: Sequence[Candidates], examples: Sequence[Example], labels: int) -> AveragePrecision:
    """Give AP50 as a function of how often each picture counts."""
    true = [np.bincount(one.labels, minlength=labels) for one in examples]
    right = [hits(one, example) for one, example in zip(found, examples, strict=True)]
    return AveragePrecision(
        np.repeat(np.arange(len(found)), [len(one.labels) for one in found]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(one.labels for one in found)]),
        np.concatenate([np.zeros(0), *(one.logits.astype(np.float64) for one in found)]),
        np.concatenate([np.zeros(0, dtype=bool), *right]),
        np.array(true, dtype=np.float64).reshape(-1, labels),
    )


def hits(found: Candidates, example: Example) -> npt.NDArray[np.bool_]:
    """Tell which boxes of a picture are right, the surest first choosing which true one is theirs: (n,)."""
    right = np.zeros(len(found.labels), dtype=bool)
    shared = overlaps(found.corners, example.corners) * (found.labels[:, None] == example.labels)
    for row in np.argsort(-found.logits, kind="stable"):
        if shared.shape[1] and shared[row].max() >= _SAME:
            right[row] = True
            shared[:, shared[row].argmax()] = 0.0
    return right


def overlaps(ones: npt.NDArray[np.floating[Any]], others: npt.NDArray[np.floating[Any]]) -> Floats:
    """Give intersection over union of corners: (ones, others)."""
    first, second = ones[:, None].astype(np.float64), others[None].astype(np.float64)
    common = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    shared, sizes = common.prod(axis=-1), [(one[..., 2:] - one[..., :2]).prod(axis=-1) for one in (first, second)]
    union = sizes[0] + sizes[1] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


_TRUST = 20.0
"""Boxes that those of all labels together count as much as, when a label's scores are calibrated."""


def calibrated(
    found: Sequence[Candidates], right: Sequence[npt.NDArray[np.bool_]], labels: int
) -> tuple[Floats, Floats]:
    """Fit slope and shift of each label's logits (Platt, 1999), drawn to those of all labels, and these to 1 and 0."""
    logits = np.concatenate([one.logits for one in found]).astype(np.float64)
    names, hit = np.concatenate([one.labels for one in found]), np.concatenate(right).astype(np.float64)
    whole = _platt(logits, hit, np.array([1.0, 0.0]))
    fitted = np.array([_platt(logits[names == at], hit[names == at], whole) for at in range(labels)])
    return fitted[:, 0], fitted[:, 1]


_STEPS = 50


def _platt(logits: Floats, hit: Floats, towards: Floats) -> Floats:
    """Fit a logistic regression of one feature by Newton's method, drawn ``towards`` a slope and a shift."""
    features, found = np.stack([logits, np.ones_like(logits)], axis=1), towards.copy()
    for _ in range(_STEPS):
        shown = 1 / (1 + np.exp(-np.clip(features @ found, -30, 30)))
        slope = features.T @ (shown - hit) + _TRUST * (found - towards) / 4
        curve = (features * (shown * (1 - shown))[:, None]).T @ features + _TRUST / 4 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        found = found - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    found[0] = max(found[0], _LEAST_SLOPE)
    return found


_LEAST_SLOPE = 0.05
"""A surer box stays a surer one."""


def scores_of(found: Candidates, slopes: Floats, shifts: Floats) -> Floats:
    """Give calibrated scores, (n,)."""
    scores: Floats = 1 / (1 + np.exp(-(slopes[found.labels] * found.logits + shifts[found.labels])))
    return scores


_CALM = 10.0
"""Boxes of a label that count for a half, when its threshold is chosen."""


def _thresholds(
    found: Sequence[Candidates],
    right: Sequence[npt.NDArray[np.bool_]],
    slopes: Floats,
    shifts: Floats,
    true: npt.NDArray[np.int64],
) -> Floats:
    """Choose each label's threshold by the highest F1, drawn towards a half where there are few boxes."""
    names, hit = np.concatenate([one.labels for one in found]), np.concatenate(right)
    scores = np.concatenate([scores_of(one, slopes, shifts) for one in found])
    return np.array(list(_by_label(scores, names, hit, true)))


def _by_label(
    scores: Floats, names: npt.NDArray[np.int64], hit: npt.NDArray[np.bool_], true: npt.NDArray[np.int64]
) -> Iterator[float]:
    for label, total in enumerate(true.tolist()):
        own, order = scores[names == label], np.argsort(-scores[names == label], kind="stable")
        if not total or not len(own):
            yield HALF
            continue
        taken = np.cumsum(hit[names == label][order])
        gained = 2 * taken / (np.arange(1, len(own) + 1) + total)
        at = int(gained.argmax())
        # Between the last that is shown and the first that is not.
        best = float(own[order][at : at + 2].mean())
        share = total / (total + _CALM)
        yield round(float(np.clip(share * best + (1 - share) * HALF, 0.05, 0.95)), 4)
