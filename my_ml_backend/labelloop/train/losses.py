"""What a finetune makes small: cross-entropy with smoothed truths, weighted, and blended by mixup."""

import torch
from torch.nn import functional

from labelloop.types import Choice


class Mixup:
    """One batch's blend: ``shares`` (pictures,) in [0, 1] are each picture's own, the rest is its neighbour's.

    Zhang et al., 2018, "mixup: Beyond Empirical Risk Minimization".
    """

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


_SMOOTHING = 0.1


def losses(logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor, choice: Choice) -> torch.Tensor:
    """Give each picture's loss, (pictures,); all else is (pictures, classes).

    ``weights`` are 1 on average over the whole training side.
    They are not made to be 1 within the batch: the mean over several pieces of a batch is then that of the whole.
    """
    if choice == "multiple":
        smooth = truth * (1 - _SMOOTHING) + _SMOOTHING / 2
        each = functional.binary_cross_entropy_with_logits(logits, smooth, weight=weights, reduction="none")
        return each.mean(dim=1)
    each = functional.cross_entropy(logits, truth, label_smoothing=_SMOOTHING, reduction="none")
    return each * (weights * truth).sum(dim=1)
