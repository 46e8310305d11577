"""``oriented_gradients``: a network of timm's kind that has nothing to learn but its last layer, nor to download.

For where there are no learned weights: random ones give features that say little, and a finetune from them takes a
hundred times as long. What it calculates are gradients of a picture by direction, then the gradients of these maps once
more, each averaged over a few overlapping cells at several scales: a scattering network (Bruna and Mallat, 2013,
"Invariant scattering convolution networks") of two layers, with the half-rectified derivatives of Dalal and Triggs'
histograms (2005, "Histograms of oriented gradients for human detection") for wavelets; and each cell's colours.

Its name stands for what it calculates, in every bundle and cache: change that, and it is another network.
"""

import math
from typing import Any

import numpy as np
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn
from torch.nn import functional

_SIDES = (16, 32, 64, 128)
"""Pixels of the picture at each scale, as far as it has so many; each is half of the next."""

_DIRECTIONS = 8
_CELLS, _COLOURED = 2, 4
"""Cells side by side, of gradients and of colours; so many below each other, too."""

_GREY = (0.299, 0.587, 0.114)
_LEAST = 1e-6


def resizing(pixels: int, wanted: int) -> torch.Tensor:
    """Give the matrix (wanted, pixels) that resizes lines of a picture: bilinear, over all pixels that become one."""
    return _triangles(pixels, wanted, max(pixels / wanted, 1.0))


def averaging(pixels: int, cells: int) -> torch.Tensor:
    """Give the matrix (cells, pixels) that averages over cells; they overlap, and their middle counts most."""
    return _triangles(pixels, cells, pixels / cells)


def _triangles(pixels: int, wanted: int, reach: float) -> torch.Tensor:
    middles = (np.arange(wanted) + 0.5) * (pixels / wanted)
    weights = np.maximum(0.0, 1 - np.abs(np.arange(pixels) + 0.5 - middles[:, None]) / reach)
    return torch.from_numpy((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


class Gradients(nn.Module):
    """Tells the gradients of maps by direction: (n, maps, side, side) to (n, maps * 8, side, side), none below zero.

    A gradient counts for the directions next to its own by the fourth power of the cosine of the angle.
    """

    slopes: torch.Tensor
    directions: torch.Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.maps = maps
        across = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        angles = [2 * math.pi * at / _DIRECTIONS for at in range(_DIRECTIONS)]
        along = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])
        # As convolutions, each map by itself, for a graph of a hundred steps takes seconds to export.
        slopes = torch.stack((across, across.T))[:, None].repeat(maps, 1, 1, 1)
        self.register_buffer("slopes", slopes, persistent=False)
        self.register_buffer("directions", along[:, :, None, None].repeat(maps, 1, 1, 1), persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Tell them."""
        wide = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
        slope = torch.unflatten(functional.conv2d(wide, self.slopes, groups=self.maps), 1, (self.maps, 2))
        length = torch.sqrt(slope.square().sum(dim=2, keepdim=True) + _LEAST)
        cosines = functional.conv2d((slope / length).flatten(1, 2), self.directions, groups=self.maps)
        shares = torch.unflatten(functional.relu(cosines).square().square(), 1, (self.maps, _DIRECTIONS))
        return (length * shares).flatten(1, 2)


def _colours(pictures: torch.Tensor, cells: torch.Tensor) -> list[torch.Tensor]:
    """Give the mean and the deviation of each cell's colours: (n, colours * cells) each."""
    mean, squares = _averaged(pictures, cells), _averaged(pictures.square(), cells)
    return [mean, torch.sqrt(functional.relu(squares - mean.square()) + _LEAST)]


def _averaged(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Average maps (n, maps, side, side) over their cells, (cells, side): (n, maps * cells * cells)."""
    return (cells @ maps @ cells.T).flatten(1)


class OrientedGradients(nn.Module):
    """Features of pictures (n, 3, height, width) with colours from -0.5 to 0.5, and a linear layer on them."""

    lines: torch.Tensor
    columns: torch.Tensor
    grey: torch.Tensor
    head: nn.Linear

    def __init__(self, num_classes: int = 2, img_size: int | tuple[int, int] = 128) -> None:
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.sides = tuple(side for side in _SIDES if side <= max(min(height, width), _SIDES[0]))
        self.num_classes = num_classes
        self.num_features = len(self.sides) * _DIRECTIONS**2 * _CELLS**2 + 2 * 3 * _COLOURED**2
        for name, matrix in {
            "lines": resizing(height, self.sides[-1]),
            "columns": resizing(width, self.sides[-1]).T,
            "grey": torch.tensor(_GREY).view(3, 1, 1),
            "coloured": averaging(self.sides[-1], _COLOURED),
            **{f"cells_{side // 2}": averaging(side // 2, _CELLS) for side in self.sides},
        }.items():
            self.register_buffer(name, matrix, persistent=False)
        self.first, self.second = Gradients(1), Gradients(_DIRECTIONS)
        # Nothing is drawn by chance, for others draw from the same generator.
        self.head = nn.utils.skip_init(nn.Linear, self.num_features, num_classes)  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward_features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Give features: (n, num_features)."""
        resized = self.lines @ pictures @ self.columns
        blocks = _colours(resized, self.get_buffer("coloured"))
        grey = (resized * self.grey).sum(dim=1, keepdim=True)
        for side in reversed(self.sides):
            if side < self.sides[-1]:
                grey = functional.avg_pool2d(grey, 2)
            twice = self.second(functional.avg_pool2d(self.first(grey), 2))
            # The root keeps a few strong edges from drowning the rest, the norm takes a picture's contrast out.
            rooted = torch.sqrt(_averaged(twice, self.get_buffer(f"cells_{side // 2}")) + _LEAST)
            blocks.append(functional.normalize(rooted))
        return torch.cat(blocks, dim=1)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Give logits (n, classes) of features, or with ``pre_logits`` what the last layer sees: the features."""
        logits: torch.Tensor = features if pre_logits else self.head(features)
        return logits

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Give logits: (n, classes)."""
        return self.forward_head(self.forward_features(pictures))

    def get_classifier(self) -> nn.Module:
        """Give the last layer."""
        return self.head


default_cfgs = generate_default_cfgs(
    {
        "oriented_gradients": {
            "input_size": (3, 128, 128),
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),
            "std": (1.0, 1.0, 1.0),
            "num_classes": 2,
            "classifier": "head",
        }
    }
)


@register_model
def oriented_gradients(pretrained: bool = False, **arguments: Any) -> OrientedGradients:
    """Make it, as timm makes its own."""
    network: OrientedGradients = build_model_with_cfg(
        OrientedGradients, "oriented_gradients", pretrained, kwargs_filter=("in_chans",), **arguments
    )
    return network
