"""What a detector learns from: pictures as pixels with their boxes, changed and mirrored by chance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from labelloop.bundle_info import PictureSpec
from labelloop.kinds.object_detection.boxes import Corners, corners_of
from labelloop.train.augmentations.policy import AUTO, Augmentation, load_policy
from labelloop.train.dataset import Sample
from labelloop.train.parity import normalised
from labelloop.types import Region

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

FLIPS: dict[str, tuple[int, ...]] = {"h": (3,), "v": (2,), "hv": (2, 3)}
"""Mirror images, and the axes of (n, channels, height, width) along which they are flipped."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture with its boxes: ``corners`` (boxes, 4) in shares of its sides, ``labels`` (boxes,) by index."""

    sample: Sample
    corners: Corners
    labels: Labels

    @classmethod
    def of(cls, sample: Sample, regions: Sequence[Region], classes: Sequence[str]) -> Self:
        """Take the boxes of a picture; those of labels that are no classes are none."""
        index = {name: at for at, name in enumerate(classes)}
        known = [one for one in regions if one.label in index]
        return cls(sample, corners_of(known), np.array([index[one.label] for one in known], dtype=np.int64))


Boxes = tuple[Corners, Labels]
"""The boxes of one picture, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Pictures as a network takes them, and the boxes of each."""

    images: torch.Tensor
    boxes: Sequence[Boxes]


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples with their pixels: uint8, (examples, height, width, 3). ``policy`` is how they are changed by chance.

    ``flips`` are the mirror images that may be drawn as well.
    """

    examples: Sequence[Example]
    pixels: Pixels
    spec: PictureSpec
    policy: Augmentation
    flips: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    def first(self, count: int) -> "Examples":
        """Give the first so many."""
        return replace(self, examples=self.examples[:count], pixels=self.pixels[:count])

    def drawn(self, rows: Sequence[int], seeds: Sequence[int]) -> Drawn:
        """Change pictures, each by its seed."""
        changed = [self._changed(row, seed) for row, seed in zip(rows, seeds, strict=True)]
        return self._whole(changed)

    def plain(self, rows: Sequence[int], way: str = "") -> Drawn:
        """Give pictures as they are, or mirrored in one of the ways of ``FLIPS``."""
        return self._whole(
            [(*mirrored(self.pixels[row], self._corners(row), way), self.examples[row].labels) for row in rows]
        )

    def variant(self, row: int, number: int, seed: int) -> Drawn:
        """Give one variant of a picture: as it is, in each mirror image in turn, then changed by chance."""
        if number <= len(self.flips):
            return self.plain([row], ("", *self.flips)[number])
        return self.drawn([row], [seed])

    @property
    def ways(self) -> int | None:
        """How many variants of a picture there are; None where chance makes any number."""
        return 1 + len(self.flips) if self.policy.name == "none" else None

    def _corners(self, row: int) -> Corners:
        sides = np.tile((self.spec.width, self.spec.height), 2).astype(np.float32)
        placed: Corners = self.examples[row].corners * sides
        return placed

    def _changed(self, row: int, seed: int) -> tuple[Pixels, Corners, Labels]:
        own, side = np.random.SeedSequence((seed, row)).generate_state(2)
        pixels, corners, kept = self.policy.boxed(np.ascontiguousarray(self.pixels[row]), self._corners(row), int(own))
        ways = ("", *self.flips)
        way = ways[int(side) % len(ways)]
        return *mirrored(pixels, corners, way), self.examples[row].labels[kept]

    def _whole(self, parts: Sequence[tuple[Pixels, Corners, Labels]]) -> Drawn:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.spec.mean, self.spec.std))
        stacked = torch.from_numpy(np.stack([pixels for pixels, _, _ in parts]))
        images = normalised(stacked, mean, std).contiguous(memory_format=torch.channels_last)
        return Drawn(images, [(corners, labels) for _, corners, labels in parts])


def load_changes(name: str) -> Augmentation:
    """Give the policy by which pictures are changed with their boxes; ``auto`` changes nothing. Raises TrainingError.

    Short trainings gain nothing from things that are larger, smaller or elsewhere (docs/training.md).
    """
    return load_policy("none" if name == AUTO else name)


def mirrored(pixels: Pixels, corners: Corners, way: str) -> tuple[Pixels, Corners]:
    """Mirror a picture (height, width, 3) and its boxes, in pixels, in one of the ways of ``FLIPS``; "" leaves both."""
    height, width = pixels.shape[:2]
    if "h" in way:
        pixels, corners = (
            pixels[:, ::-1],
            np.stack([width - corners[:, 2], corners[:, 1], width - corners[:, 0], corners[:, 3]], axis=1),
        )
    if "v" in way:
        pixels, corners = (
            pixels[::-1],
            np.stack([corners[:, 0], height - corners[:, 3], corners[:, 2], height - corners[:, 1]], axis=1),
        )
    return np.ascontiguousarray(pixels), corners.astype(np.float32)


def batches(count: int, size: int) -> Iterator[range]:
    """Give rows a few at a time."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))
