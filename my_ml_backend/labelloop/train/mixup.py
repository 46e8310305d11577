"""Mixup: each picture of a batch is blended with its neighbour, and so is what it is to be recognised as.

Zhang et al., 2018, "mixup: Beyond Empirical Risk Minimization".
"""

import torch

from labelloop.train.losses import losses
from labelloop.types import Choice


class Mixup:
    """One batch's blend: ``shares`` (pictures,) in [0, 1] are each picture's own, the rest is its neighbour's."""

    def __init__(self, alpha: float, pictures: int, device: torch.device) -> None:
        """Draw the shares from Beta(alpha, alpha) by torch's generator; ``alpha`` is above 0."""
        beta = torch.distributions.Beta(alpha, alpha)
        self.shares: torch.Tensor = beta.sample((pictures,)).to(device)

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """Blend images (pictures, channels, height, width)."""
        own = self.shares.view(-1, 1, 1, 1)
        return own * images + (1 - own) * images.roll(1, 0)

    def loss(self, logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor, choice: Choice) -> torch.Tensor:
        """Give the mean loss of logits for blended images, all (pictures, classes); ``truth`` is not blended."""
        own = losses(logits, truth, weights, choice)
        other = losses(logits, truth.roll(1, 0), weights.roll(1, 0), choice)
        return (self.shares * own + (1 - self.shares) * other).mean()
