"""A running average of a network's weights, which predicts better than the last step's weights."""

import copy

import torch
from torch import nn

_FRESH, _LONGEST = 0.98, 0.998


class Average:
    """Holds the average as a network of its own, ``model``, in eval mode, on the device of the network it follows.

    ``fresh`` says that the first weights are random and should fade at once. Otherwise the average leaves them slowly,
    and looks back over half of the training, which is ``planned`` steps, and over 500 at most. ``steps`` is how many it
    has seen.
    """

    def __init__(self, model: nn.Module, planned: int, *, fresh: bool, steps: int = 0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.steps = steps
        self._fresh = fresh
        self._momentum = _FRESH if fresh else min(_LONGEST, max(0.0, 1 - 2 / planned))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``."""
        self.steps += 1
        momentum = min(self._momentum, self.steps / (self.steps + 9)) if self._fresh else self._momentum
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([held for held, _ in floating], [new for _, new in floating], 1 - momentum)
        for held, new in pairs:
            if not held.is_floating_point():
                held.copy_(new)
