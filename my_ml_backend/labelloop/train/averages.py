"""The mean of weights that a finetune hands back: better, and less sure of itself, than the weights of any step."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

State = dict[str, torch.Tensor]

Network = TypeVar("Network", bound=nn.Module)

_FRESH = 0.98


class Average(Generic[Network]):
    """Holds a running average of weights as a network of its own, ``model``, in eval mode.

    From random weights (``fresh``) the first fade at once, and it looks back over 50 steps. From learned ones half of
    what it is after all ``planned`` steps is still the first weights, those with the head's solution, and half the mean
    of the later ones: what both know stays, what a step learned by chance does not (Wortsman et al., 2022, "Robust
    fine-tuning of zero-shot models", section 3). ``steps`` is how many it has seen.
    """

    def __init__(self, model: Network, planned: int, *, fresh: bool) -> None:
        self.model: Network = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.steps = 0
        self._fresh = fresh
        self._momentum = _FRESH if fresh else 0.5 ** (1 / planned)

    @torch.no_grad()
    def update(self, model: Network) -> None:
        """Move the average towards ``model`` after a step."""
        self.steps += 1
        momentum = min(self._momentum, self.steps / (self.steps + 9)) if self._fresh else self._momentum
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([held for held, _ in floating], [new for _, new in floating], 1 - momentum)
        for held, new in pairs:
            if not held.is_floating_point():
                held.copy_(new)
