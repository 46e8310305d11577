"""Boxes that are probably wrong: what heads say with confidence of pictures that they have not learned from.

As confident learning has it (Northcutt, Jiang and Chuang, 2021, section 3), a head is confident of a label where it is
at least as sure as it is on average where that label is right. A box may be missed by annotators, be of another label,
be drawn at another place, or have nothing in it (Tkachenko, Thyagarajan and Mueller, 2023, "ObjectLab").
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from labelloop.errors import TrainingError
from labelloop.kinds.object_detection.recipes.choosing import calibrated, hits, overlaps, scores_of
from labelloop.kinds.object_detection.recipes.detecting import Candidates, above_floor
from labelloop.kinds.object_detection.recipes.examples import Example, Examples, batches, load_changes
from labelloop.kinds.object_detection.recipes.fitting import Remembered, Told, fit
from labelloop.kinds.object_detection.recipes.maps import MOST_BYTES, Maps, bytes_of, kept
from labelloop.kinds.object_detection.recipes.network import Detector, first_detector
from labelloop.kinds.object_detection.recipes.planning import Budget, Planner, Work
from labelloop.kinds.object_detection.recipes.sizes import size_of
from labelloop.regions import region_json
from labelloop.run.preprocess import training_of
from labelloop.train.pixels import PixelCache, packed
from labelloop.types import Box, Item, Json, Region

if TYPE_CHECKING:
    from labelloop.kinds.regions import Regions
    from labelloop.run.context import Context

FOLDS = 3
_MOST = 600
"""Pictures that are examined, in the order of their hashes."""

_SAME, _NEAR, _APART = 0.5, 0.1, 0.2
_AT_ONCE = 8

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One box that is probably wrong, and ``what`` is: ``missed``, ``label``, ``border`` or ``empty``.

    ``given`` is the box as it was drawn (index), ``found`` what was found instead (index); None where there is none.
    """

    what: str
    given: int | None
    found: int | None
    score: float
    given_score: float


def find_doubts(context: "Context", kind: "Regions") -> Json:
    """Examine the boxes of a run's items, but for confirmed ones; gives ``label_errors.json``. Raises TrainingError."""
    settings = training_of(context)
    if settings.weights == "none":
        raise TrainingError("the features of random weights say nothing of labels: set LABELLOOP_WEIGHTS")
    size = size_of(context, kind, settings)
    pixels = PixelCache(size.spec, context.caches)
    items, examples = _readable(context, kind, pixels)
    if len(examples) < 2 * FOLDS:
        raise TrainingError(f"{len(examples)} pictures are too few to be examined: {2 * FOLDS} are needed")
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]), packed([one.sample for one in examples], pixels, context.caches) as rows:
        torch.manual_seed(settings.seed)
        detector = first_detector(settings, size, context.manifest.classes)
        if bytes_of(detector, size.spec) * len(examples) > MOST_BYTES:
            raise TrainingError("the pictures are too large to be examined on this machine: lower LABELLOOP_IMAGE_SIZE")
        learned = Examples(examples, rows.rows(), size.spec, load_changes("none"))
        planner = Planner(settings, len(examples), Work.of(detector, size.spec), Budget())
        with kept(detector, learned, 1, settings.seed, context.caches, context.progress) as maps:
            found = list(_unseen(detector, maps, learned, planner, context))
    errors = list(_errors(context, items, examples, [one.suppressed(_SAME) for one in found]))
    return {"examined": len(examples), "folds": FOLDS, "errors": sorted(errors, key=_certainty)}


def _certainty(one: Json) -> tuple[float, str]:
    return one["given_score"] - one["score"], one["picture"]


def _readable(context: "Context", kind: "Regions", pixels: PixelCache) -> tuple[list[Item], list[Example]]:
    from labelloop.train.dataset import Sample

    items, examples = [], []
    for item in sorted(context.manifest.distinct(), key=lambda one: one.content)[:_MOST]:
        sample = Sample(context.pictures.path(item.content), item.content, ())
        if not pixels.trouble(sample):
            items.append(item)
            examples.append(Example.of(sample, kind.learnable(context, item).regions, context.manifest.classes))
    return items, examples


def _unseen(
    detector: Detector, maps: Maps, examples: Examples, planner: Planner, context: "Context"
) -> Iterator[Candidates]:
    """Give what heads find in each picture that have learned from the others, in the order of the pictures."""
    count, seed = len(examples), planner.settings.seed
    fold = np.random.default_rng(seed).permutation(count) % FOLDS
    found: dict[int, Candidates] = {}
    for held in range(FOLDS):
        head, others = copy.deepcopy(detector), np.flatnonzero(fold != held).tolist()
        told = Told(f"label errors {held + 1} of {FOLDS}", context.progress)
        fit(head, Remembered(maps, others), planner.examination(len(others)), seed, told)
        rows = np.flatnonzero(fold == held).tolist()
        for part in batches(len(rows), _AT_ONCE):
            some = [rows[at] for at in part]
            with torch.inference_mode():
                logits, corners = head.cpu().heads(maps.at(some))
            found |= dict(zip(some, above_floor(logits, corners, examples.spec), strict=True))
    return (found[at] for at in range(count))


def _errors(
    context: "Context", items: Sequence[Item], examples: Sequence[Example], found: Sequence[Candidates]
) -> Iterator[Json]:
    classes = context.manifest.classes
    right = [hits(one, example) for one, example in zip(found, examples, strict=True)]
    slopes, shifts = calibrated(found, right, len(classes))
    scores = [scores_of(one, slopes, shifts) for one in found]
    confident = _confident(found, right, scores, len(classes))
    for item, example, one, sure in zip(items, examples, found, scores, strict=True):
        if item.confirmed:
            continue
        for doubt in doubts(example, one, sure, confident):
            names = {
                "given": [] if doubt.given is None else [classes[example.labels[doubt.given]]],
                "suggested": [] if doubt.found is None else [classes[one.labels[doubt.found]]],
            }
            yield {
                "task": item.task,
                "picture": item.content,
                "what": doubt.what,
                **names,
                "score": doubt.score,
                "given_score": doubt.given_score,
                "regions": [
                    region_json(_region(corners[at], label))
                    for corners, at, label in (
                        (example.corners, doubt.given, names["given"]),
                        (one.corners, doubt.found, names["suggested"]),
                    )
                    if at is not None
                ],
            }


def _region(corners: npt.NDArray[np.float32], label: Sequence[str]) -> Region:
    left, top, right, bottom = (round(float(side), 6) for side in corners)
    return Region(label[0], Box(left, top, right - left, bottom - top))


def _confident(
    found: Sequence[Candidates], right: Sequence[npt.NDArray[np.bool_]], scores: Sequence[Floats], labels: int
) -> Floats:
    """Give the mean score of what is right of each label, (labels,); infinite where nothing is."""
    names, hit, sure = (np.concatenate(list(parts)) for parts in ([one.labels for one in found], right, scores))
    counts = np.bincount(names[hit], minlength=labels)
    sums = np.bincount(names[hit], weights=sure[hit], minlength=labels)
    means: Floats = np.divide(sums, counts, out=np.full(labels, np.inf), where=counts > 0)
    return means


def doubts(example: Example, found: Candidates, scores: Floats, confident: Floats) -> Iterator[Doubt]:
    """Compare the boxes of one picture with what was found in it; ``scores`` (found,), ``confident`` (labels,)."""
    shared = overlaps(found.corners, example.corners)
    same = found.labels[:, None] == example.labels
    sure = scores >= confident[found.labels]
    for at in range(len(example.labels)):
        own = _most(scores, (shared[:, at] >= _SAME) & same[:, at])
        other = _best(scores, sure & (shared[:, at] >= _SAME) & ~same[:, at])
        moved = _best(scores, sure & (shared[:, at] >= _NEAR) & same[:, at] & (shared.argmax(axis=1) == at))
        anything = _most(scores, shared[:, at] >= _NEAR)
        if other is not None and own < scores[other]:
            yield Doubt("label", at, other, float(scores[other]), own)
        elif moved is not None and shared[:, at][sure & same[:, at]].max() < _SAME:
            yield Doubt("border", at, moved, float(scores[moved]), own)
        elif 1 - anything >= 1 - _EMPTY:
            yield Doubt("empty", at, None, 1 - anything, anything)
    for row in np.flatnonzero(sure):
        if not shared.shape[1] or shared[row].max() < _APART:
            yield Doubt("missed", None, int(row), float(scores[row]), 1 - float(scores[row]))


_EMPTY = 0.1
"""The score of the surest thing near a box below which there is nothing in it."""


def _most(scores: Floats, those: npt.NDArray[np.bool_]) -> float:
    return float(scores[those].max(initial=0.0))


def _best(scores: Floats, those: npt.NDArray[np.bool_]) -> int | None:
    return int(np.where(those, scores, -1.0).argmax()) if those.any() else None
