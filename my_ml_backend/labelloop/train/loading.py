"""How pictures come to a training step: drawn, changed and stacked, by as many workers as the machine has room for.

Which picture comes when, and how it is changed, follows from its position in the whole training and the seed alone: not
from the number of workers, of ranks, or from where a training was taken up again.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from labelloop.files import cores
from labelloop.train.augmentations.policy import Augmentation
from labelloop.train.pixels import Packed

Batch = tuple[torch.Tensor, ...]
"""Pixels, uint8 (pictures, height, width, 3); of the training side also what they show and how much each answer counts,
both float32 (pictures, classes)."""

_MOST_WORKERS = 8
_AHEAD = 2  # batches that each worker prepares
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where torch's workers leave their batches


@dataclass(frozen=True, slots=True)
class Draw:
    """Says which of ``count`` pictures stands at a position of the training.

    Each comes once before any comes again, in a new order every time. With ``weights`` (count,) as many are drawn,
    each by the chance that its weight gives it.
    """

    count: int
    seed: int
    weights: npt.NDArray[np.float64] | None = None

    def turn(self, number: int) -> npt.NDArray[np.int64]:
        """Give the pictures of pass ``number``, in order: (count,)."""
        chance = np.random.default_rng((self.seed, number))
        if self.weights is None:
            return chance.permutation(self.count)
        return chance.choice(self.count, self.count, p=self.weights / self.weights.sum())


class TrainingBatches(Dataset[Batch]):
    """The training side by position: whole batches of changed pictures."""

    def __init__(
        self,
        packed: Packed,
        truth: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        draw: Draw,
        policy: Augmentation,
        *,
        mirrors: bool,
    ) -> None:
        self._packed, self._truth, self._weights = packed, truth, weights
        self._draw, self._policy, self._mirrors = draw, policy, mirrors
        self._turn: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        rows = self._packed.rows()
        drawn = [self._at(position) for position in positions]
        pixels = np.stack([self._change(rows[row], position) for row, position in zip(drawn, positions, strict=True)])
        return tuple(torch.from_numpy(array) for array in (pixels, self._truth[drawn], self._weights[drawn]))

    def _at(self, position: int) -> int:
        number, place = divmod(position, self._draw.count)
        if self._turn[0] != number:
            self._turn = (number, self._draw.turn(number))
        return int(self._turn[1][place])

    def _change(self, pixels: npt.NDArray[np.uint8], position: int) -> npt.NDArray[np.uint8]:
        seed, side = np.random.SeedSequence((self._draw.seed, position)).generate_state(2)
        seen = pixels[:, ::-1] if self._mirrors and side % 2 else pixels
        return self._policy(np.ascontiguousarray(seen), int(seed))


class ValidationBatches(Dataset[Batch]):
    """The validation side by row, as it is; it lies behind the training side, from row ``first`` on."""

    def __init__(self, packed: Packed, first: int) -> None:
        self._packed, self._first = packed, first

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        return (torch.from_numpy(self._packed.rows()[[self._first + row for row in rows]]),)


class Positions:
    """The positions of each epoch, in batches of one rank: the ranks share every step's pictures evenly."""

    def __init__(self, batches: int, size: int, rank: int, ranks: int) -> None:
        self._batches, self._size, self._rank, self._ranks = batches, size, rank, ranks
        self.epoch = 0

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.epoch * self._batches, (self.epoch + 1) * self._batches):
            first = (batch * self._ranks + self._rank) * self._size
            yield list(range(first, first + self._size))


def rank_batches(count: int, size: int, rank: int, ranks: int) -> list[list[int]]:
    """Deal ``count`` rows out to the ranks in turn, in batches; all get as many, some twice where it must be."""
    share = [(place * ranks + rank) % count for place in range(-(-count // ranks))] if count else []
    return [share[first : first + size] for first in range(0, len(share), size)]


def loader(
    pictures: TrainingBatches | ValidationBatches, batches: Positions | list[list[int]], workers: int, *, pinned: bool
) -> DataLoader[Batch]:
    """Make a loader of whole batches; ``pinned`` memory is what a GPU copies from without waiting."""
    return DataLoader(
        pictures,
        batch_sampler=batches,
        collate_fn=_whole,  # type: ignore[arg-type]  # the batch comes whole from __getitems__
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=_AHEAD if workers else None,
        pin_memory=pinned,
    )


def worker_count(batch_bytes: int, ranks: int) -> int:
    """Choose the workers of each rank: the cores that the ranks leave free, as far as shared memory holds batches."""
    free = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else 0
    held = batch_bytes * (_AHEAD + 1) * ranks
    return max(0, min(_MOST_WORKERS, (cores() - ranks) // ranks, free // 2 // held))


def _whole(batch: Batch) -> Batch:
    return batch
