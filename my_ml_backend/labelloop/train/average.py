"""A running average of a network's weights, which predicts better than the last step's weights."""

import copy

import torch
from torch import nn

_MOMENTUM = 0.98


class Average:
    """Holds the average as a network of its own, ``model``, in eval mode.

    ``fresh`` says that the first weights are random and should fade at once; otherwise the average leaves them slowly.
    """

    def __init__(self, model: nn.Module, *, fresh: bool) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._steps = 0 if fresh else 1_000_000

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``."""
        self._steps += 1
        share = 1 - min(_MOMENTUM, self._steps / (self._steps + 9))
        for held, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if held.is_floating_point():
                held.lerp_(new, share)
            else:
                held.copy_(new)
