"""What a finetune makes small: cross-entropy with smoothed truths, each answer counting by its weight."""

import torch
from torch.nn import functional

from labelloop.types import Choice

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
