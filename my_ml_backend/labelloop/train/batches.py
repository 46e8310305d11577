"""Batches of pictures, ready for a network."""

from collections.abc import Iterator, Sequence

import torch

from labelloop.train.dataset import Sample
from labelloop.train.pixels import Pixels


class Batches:
    """Moves pixels to a device and normalises them there, as ``labelloop.pictures.normalise`` does."""

    def __init__(self, pixels: Pixels, device: torch.device) -> None:
        self._pixels = pixels
        self._device = device
        self._mean = torch.tensor(pixels.spec.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(pixels.spec.std, device=device).view(3, 1, 1)

    def images(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Give samples as float32, (samples, 3, height, width)."""
        pixels = torch.from_numpy(self._pixels.many(samples)).to(self._device)
        return pixels.permute(0, 3, 1, 2).float().div_(255).sub_(self._mean).div_(self._std)

    def forever(self, samples: Sequence[Sample], size: int, chance: torch.Generator) -> Iterator[list[Sample]]:
        """Yield batches of exactly ``size``; each sample once before any comes again, in a new order every time."""
        waiting: list[int] = []
        while True:
            if len(waiting) < size:
                waiting = torch.randperm(len(samples), generator=chance).tolist() + waiting
            yield [samples[waiting.pop()] for _ in range(size)]
