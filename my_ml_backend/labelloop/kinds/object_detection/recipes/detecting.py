"""What a detector finds in pictures before overlapping boxes are suppressed, and after."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torchvision.ops import batched_nms

from labelloop.bundle_info import PictureSpec
from labelloop.kinds.object_detection.recipes.examples import FLIPS, Examples, batches
from labelloop.kinds.object_detection.recipes.network import Detector
from labelloop.types import Box, Region

_AT_ONCE = 8

FLOOR = 0.02
"""The score, before calibration, below which nothing is found."""

MOST = 300
"""Boxes of a label that are found in a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What cells say of one picture: ``corners`` (n, 4) in shares of its sides, ``labels`` (n,), ``logits`` (n,)."""

    corners: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]

    def suppressed(self, overlap: float) -> "Candidates":
        """Leave of boxes of a label that overlap by more than this the surest, at most ``MOST`` of a label."""
        places, names, sure = (torch.from_numpy(one) for one in (self.corners, self.labels, self.logits))
        kept = batched_nms(places, sure, names, overlap).numpy()
        first = np.zeros(len(kept), dtype=bool)
        for label in np.unique(self.labels):
            first[np.flatnonzero(self.labels[kept] == label)[:MOST]] = True
        rows = kept[first]
        return Candidates(self.corners[rows], self.labels[rows], self.logits[rows])

    def regions(self, classes: Sequence[str], scores: npt.NDArray[np.float64]) -> tuple[Region, ...]:
        """Give them as regions with these scores (n,); those without an extent are none."""
        return tuple(
            Region(classes[label], Box(left, top, right - left, bottom - top), float(score))
            for (left, top, right, bottom), label, score in zip(
                self.corners.astype(np.float64).tolist(), self.labels.tolist(), scores, strict=True
            )
            if right > left and bottom > top
        )


def averaged(detector: Detector, images: torch.Tensor, flips: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Give logits and corners in pixels, the mean over pictures and their mirror images (``FLIPS``)."""
    height, width = images.shape[2:]
    # In one batch: a graph that held the network once for each image would be as many times as large.
    together = torch.cat([images, *(images.flip(FLIPS[way]) for way in flips)])
    logits, corners = (torch.unflatten(found, 0, (1 + len(flips), -1)) for found in detector(together))
    named, placed = [logits[0]], [corners[0]]
    for at, way in enumerate(flips, start=1):
        axes = FLIPS[way]
        box = detector.flipped(corners[at], axes)
        if 3 in axes:
            box = torch.stack([width - box[..., 2], box[..., 1], width - box[..., 0], box[..., 3]], dim=-1)
        if 2 in axes:
            box = torch.stack([box[..., 0], height - box[..., 3], box[..., 2], height - box[..., 1]], dim=-1)
        named.append(detector.flipped(logits[at], axes))
        placed.append(box)
    return torch.stack(named).mean(dim=0), torch.stack(placed).mean(dim=0)


def shares(corners: torch.Tensor, spec: PictureSpec) -> torch.Tensor:
    """Give corners in pixels in shares of the picture's sides, as far as they lie within."""
    sides = torch.tensor([spec.width, spec.height, spec.width, spec.height], device=corners.device)
    return (corners / sides).clamp(0.0, 1.0)


def candidates(detector: Detector, examples: Examples, flips: Sequence[str] = (), way: str = "") -> list[Candidates]:
    """Look at examples as they are, or, to see whether that is the same to the detector, mirrored in a ``way``."""
    detector.eval()
    found: list[Candidates] = []
    for rows in batches(len(examples), _AT_ONCE):
        images = examples.plain(rows, way).images.to(detector.device)
        with torch.inference_mode():
            found += above_floor(*averaged(detector, images, flips), examples.spec)
    return found


def above_floor(logits: torch.Tensor, corners: torch.Tensor, spec: PictureSpec) -> Iterator[Candidates]:
    """Give what cells say of each picture, as far as it is sure enough to be looked at."""
    least, places = float(np.log(FLOOR / (1 - FLOOR))), shares(corners, spec).cpu()
    for named, placed in zip(logits.float().cpu(), places, strict=True):
        cells, labels = (named > least).nonzero(as_tuple=True)
        yield Candidates(placed[cells].numpy(), labels.numpy(), named[cells, labels].numpy())
