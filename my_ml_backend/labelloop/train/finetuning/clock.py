"""How an epoch's time was spent."""

import time

import torch


class Clock:
    """Measures an epoch's steps: ``seconds`` in all, ``waiting`` for pictures, and their mean ``loss``."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin an epoch."""
        self._begun = self._last = time.perf_counter()
        self.waiting = 0.0
        self._losses: list[torch.Tensor] = []

    def arrived(self) -> None:
        """Note that a step has its pictures."""
        self.waiting += time.perf_counter() - self._last

    def note(self, loss: torch.Tensor) -> None:
        """Note a step's loss; it stays on its device, for reading it would wait for the step."""
        self._losses.append(loss.detach())

    def done(self) -> None:
        """Note the end of a step."""
        self._last = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the beginning to the end of the last step."""
        return self._last - self._begun

    @property
    def loss(self) -> torch.Tensor:
        """The mean over the epoch's batches."""
        return torch.stack(self._losses).mean()
