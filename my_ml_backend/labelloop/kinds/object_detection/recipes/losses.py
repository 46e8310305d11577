"""Which cells answer for which box, and what their answers cost.

Task-aligned assignment (Feng et al., 2021, "TOOD", section 3.2): a box is learned by those cells within it whose score
and whose box fit it best. The score's target is how well the box fits, by varifocal loss (Zhang et al., 2021); the box
is drawn by generalized intersection over union (Rezatofighi et al., 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from labelloop.kinds.object_detection.recipes.network import Detector

_CELLS = 10  # that answer for one box
_FIT = 6.0  # how much more a box's fit counts than the score, as a power
_FOCUS = 2.0
_EASY = 0.75  # what a cell that shows nothing counts, at most
_BOXES = 2.0  # what boxes count against scores


@dataclass(frozen=True, slots=True)
class Truth:
    """The boxes of n pictures, filled up to as many each: ``corners`` (n, boxes, 4) in pixels, ``labels`` (n, boxes).

    ``real`` (n, boxes) tells those that are there.
    """

    corners: torch.Tensor
    labels: torch.Tensor
    real: torch.Tensor

    @classmethod
    def of(cls, boxes: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]) -> Self:
        """Fill the boxes of pictures up: corners and labels of each."""
        most = max([1, *(len(labels) for _, labels in boxes)])
        places = torch.zeros(len(boxes), most, 4)
        names = torch.zeros(len(boxes), most, dtype=torch.int64)
        real = torch.zeros(len(boxes), most, dtype=torch.bool)
        for at, (box, name) in enumerate(boxes):
            places[at, : len(name)], names[at, : len(name)] = torch.from_numpy(box), torch.from_numpy(name)
            real[at, : len(name)] = True
        return cls(places, names, real)

    def to(self, device: torch.device) -> Self:
        """Bring it to a device."""
        return type(self)(self.corners.to(device), self.labels.to(device), self.real.to(device))


def loss(detector: Detector, logits: torch.Tensor, corners: torch.Tensor, truth: Truth) -> torch.Tensor:
    """Give the loss of a batch; logits (n, cells, labels) and corners (n, cells, 4) are the detector's."""
    scores = logits.sigmoid()
    with torch.no_grad():
        box, fit = assign(detector, scores, corners, truth)
        target = torch.zeros_like(scores)
        name = truth.labels.gather(1, box)
        target.scatter_(2, name[..., None], fit[..., None])
        weight = torch.where(target > 0, target, _EASY * scores**_FOCUS)
        whole = fit.sum().clamp(min=1.0)
    named = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    learned = fit > 0
    wanted = truth.corners.gather(1, box[..., None].expand(-1, -1, 4))[learned]
    placed = (apart(corners[learned], wanted) * fit[learned]).sum()
    return (named + _BOXES * placed) / whole


def assign(
    detector: Detector, scores: torch.Tensor, corners: torch.Tensor, truth: Truth
) -> tuple[torch.Tensor, torch.Tensor]:
    """Say which box each cell answers for, and how well it is to: both (n, cells); 0 where it answers for none."""
    fits = overlap(truth.corners[:, :, None], corners[:, None])
    named = scores.transpose(1, 2).gather(1, truth.labels[..., None].expand(-1, -1, scores.shape[1]))
    within = _within(detector, truth)
    aligned = named * fits**_FIT * within
    best = aligned.topk(min(_CELLS, aligned.shape[2]), dim=2)
    chosen = torch.zeros_like(within).scatter_(2, best.indices, best.values > 0)
    fit, box = torch.where(chosen, fits, -1.0).max(dim=1)
    own = chosen & (box[:, None] == torch.arange(fits.shape[1], device=box.device)[None, :, None]) & (fit >= 0)[:, None]
    # A box's best cell is to be as sure as the box fits, its others less, by how they compare.
    aligned = torch.where(own, aligned, 0.0)
    highest = torch.where(own, fits, 0.0).amax(dim=2, keepdim=True)
    shares = aligned / aligned.amax(dim=2, keepdim=True).clamp(min=1e-12) * highest
    return box, shares.amax(dim=1)


def _within(detector: Detector, truth: Truth) -> torch.Tensor:
    """Tell which cells have their centre in which box, (n, boxes, cells): a tiny box is taken as large as a cell."""
    middle, half = (
        (truth.corners[..., :2] + truth.corners[..., 2:]) / 2,
        (truth.corners[..., 2:] - truth.corners[..., :2]) / 2,
    )
    reach = half.clamp(min=detector.strides[0] / 2)[:, :, None]
    away = (detector.centres[None, None] - middle[:, :, None]).abs()
    return (away <= reach).all(dim=-1) & truth.real[..., None]


def overlap(ones: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Give intersection over union of corners (..., 4)."""
    common, union, _ = _areas(ones, others)
    return common / union.clamp(min=1e-6)


def apart(ones: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Give 1 less the generalized intersection over union of corners (..., 4), in [0, 2]."""
    common, union, hull = _areas(ones, others)
    return 1 - common / union.clamp(min=1e-6) + (hull - union) / hull.clamp(min=1e-6)


def _areas(ones: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    first, last = ones[..., :2], ones[..., 2:]
    begin, end = others[..., :2], others[..., 2:]
    common = (torch.minimum(last, end) - torch.maximum(first, begin)).clamp(min=0).prod(dim=-1)
    union = (last - first).prod(dim=-1) + (end - begin).prod(dim=-1) - common
    hull = (torch.maximum(last, end) - torch.minimum(first, begin)).prod(dim=-1)
    return common, union, hull
