"""The fast gradient sign method (Goodfellow, Shlens and Szegedy 2015): the small change that misleads most."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from labelloop import pictures
from labelloop.types import Choice, PictureSpec

Pixels = npt.NDArray[np.uint8]
Indicators = npt.NDArray[np.bool_]

_BATCH = 16


def directions(
    network: nn.Module, pixels: Pixels, truth: Indicators, choice: Choice, spec: PictureSpec
) -> npt.NDArray[np.int8]:
    """Tell for every colour value whether more (1) or less (-1) of it raises the loss: like ``pixels``.

    ``pixels`` is (n, height, width, 3), ``truth`` (n, classes). The network's input is the pixels scaled by a positive
    factor, so that the signs are the same for both.
    """
    parts = [
        _signs(network, pixels[start : start + _BATCH], truth[start : start + _BATCH], choice, spec)
        for start in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(parts)


def shifted(pixels: Pixels, signs: npt.NDArray[np.int8], epsilon: int) -> Pixels:
    """Change every colour value by ``epsilon`` grey levels in the direction of ``signs``, within 0 to 255."""
    changed: Pixels = np.clip(pixels.astype(np.int16) + epsilon * signs.astype(np.int16), 0, 255).astype(np.uint8)
    return changed


def _signs(
    network: nn.Module, pixels: Pixels, truth: Indicators, choice: Choice, spec: PictureSpec
) -> npt.NDArray[np.int8]:
    images = torch.from_numpy(pictures.normalise(pixels, spec)).requires_grad_()
    logits, shown = network(images), torch.from_numpy(truth).float()
    if choice == "multiple":
        loss = functional.binary_cross_entropy_with_logits(logits, shown, reduction="sum")
    else:
        loss = functional.cross_entropy(logits, shown, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    signs: npt.NDArray[np.int8] = gradient.sign().permute(0, 2, 3, 1).to(torch.int8).numpy()
    return signs
