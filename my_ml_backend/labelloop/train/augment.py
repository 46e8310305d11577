"""Small changes to training pictures that leave their labels true: for photographs as for handwriting, so no flips."""

import math

import torch
from torch.nn import functional

_DEGREES = 15.0
_ZOOM = 0.15
_SHIFT = 0.1
_LIGHT = 0.3


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn, zoom, shift, brighten and sharpen each of ``images`` (n, 3, height, width; normalised) by chance.

    Up to 15 degrees, 15 % in size, 10 % of a side; contrast by up to 30 %, brightness by up to 0.3 standard deviations.
    ``generator`` is the CPU's, so that every device draws the same.
    """
    turned = functional.grid_sample(
        images,
        functional.affine_grid(_affine(len(images), generator).to(images), list(images.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    contrast = 1 + _uniform(len(images), _LIGHT, generator).view(-1, 1, 1, 1).to(images)
    brightness = _uniform(len(images), _LIGHT, generator).view(-1, 1, 1, 1).to(images)
    return turned * contrast + brightness


def _affine(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw ``count`` matrices (count, 2, 3) from output to input coordinates, which run from -1 to 1."""
    angle = _uniform(count, math.radians(_DEGREES), generator)
    zoom = torch.exp(_uniform(count, math.log1p(_ZOOM), generator))
    stretch = torch.exp(_uniform(count, math.log1p(_ZOOM) / 2, generator))
    across, down = (_uniform(count, 2 * _SHIFT, generator) for _ in range(2))
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    return torch.stack(
        (torch.stack((cosine * stretch, -sine, across), 1), torch.stack((sine, cosine / stretch, down), 1)), 1
    )


def _uniform(count: int, most: float, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * most
