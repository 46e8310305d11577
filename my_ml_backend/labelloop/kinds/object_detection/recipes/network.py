"""The detector: a timm network, a feature pyramid on it, and two small heads that every level shares.

FCOS (Tian et al., 2019) on a pyramid (Lin et al., 2017): every cell of every level says how sure it is of each label,
and how far its box reaches to the left, the top, the right and the bottom. One score says both what and how well the
box fits, as in generalized focal loss (Li et al., 2020), so there is no centre-ness.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from labelloop.bundle_info import PictureSpec
from labelloop.errors import TrainingError
from labelloop.kinds.object_detection.recipes.sizes import Size
from labelloop.train.backbone import build
from labelloop.types import TrainSettings

CHANNELS = 96
"""Of the pyramid and the heads."""

STRIDES = (4, 8, 16, 32)
"""Those of the levels that a detector may have, in pixels."""

_GROUP = 8
_CONVOLUTIONS = 2
_RARE = 0.01  # how sure a fresh cell is of any label: focal losses begin where nearly all cells show nothing
_FARTHEST = 6.0  # the logarithm, in strides, of the farthest reach


class Detector(nn.Module):
    """``body`` is the timm network, whose levels of these ``strides`` are looked at, the finest first."""

    def __init__(self, body: nn.Module, labels: int, strides: Sequence[int], size: tuple[int, int]) -> None:
        super().__init__()
        self.body = body
        self.strides = tuple(strides)
        self._places = _places(body, strides)
        widths = [_info(body)[place]["num_chs"] for place in self._places]
        self.sizes = tuple((math.ceil(size[0] / stride), math.ceil(size[1] / stride)) for stride in self.strides)
        self.lateral = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in widths)
        self.naming, self.placing = _tower(), _tower()
        self.label = nn.Conv2d(CHANNELS, labels, 3, padding=1)
        self.reach = nn.Conv2d(CHANNELS, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(len(widths)))
        centres, cells = _grid(self.strides, self.sizes)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("cells", cells, persistent=False)
        self._initialise()

    centres: torch.Tensor
    """Of all cells, (cells, 2) as x and y in pixels."""
    cells: torch.Tensor
    """The stride of each cell, (cells,)."""

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.scale.device

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Give what the body says of images (n, 3, height, width): a map a level, (n, channels, rows, columns)."""
        found: list[torch.Tensor] = self.body.forward_intermediates(  # type: ignore[operator]
            images, indices=self._places, intermediates_only=True
        )
        return found

    def heads(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give logits (n, cells, labels) and corners (n, cells, 4) in pixels: left, top, right, bottom."""
        levels = [lateral(one) for lateral, one in zip(self.lateral, maps, strict=True)]
        for at in range(len(levels) - 1, 0, -1):
            finer = levels[at - 1]
            levels[at - 1] = finer + functional.interpolate(levels[at], size=finer.shape[-2:], mode="nearest")
        logits, reaches = [], []
        for at, (smooth, level) in enumerate(zip(self.smooth, levels, strict=True)):
            seen = smooth(level)
            logits.append(self.label(self.naming(seen)).flatten(2))
            steps = (self.reach(self.placing(seen)) * self.scale[at]).clamp(max=_FARTHEST).exp()
            reaches.append((steps * self.strides[at]).flatten(2))
        sides = torch.cat(reaches, 2).transpose(1, 2)
        corners = torch.cat([self.centres - sides[..., :2], self.centres + sides[..., 2:]], dim=-1)
        return torch.cat(logits, 2).transpose(1, 2), corners

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give logits and corners of images; see ``heads``."""
        return self.heads(self.maps(images))

    def flipped(self, found: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """Give what cells (n, cells, ...) say in the order of the cells of pictures flipped along ``axes`` (2, 3)."""
        parts = torch.split(found, [rows * columns for rows, columns in self.sizes], dim=1)
        turned = [
            torch.unflatten(part, 1, size).flip([axis - 1 for axis in axes]).flatten(1, 2)
            for part, size in zip(parts, self.sizes, strict=True)
        ]
        return torch.cat(turned, dim=1)

    def _initialise(self) -> None:
        for layer in (*self.lateral, *self.smooth):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        for layer in (*self.naming, *self.placing, self.label, self.reach):
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        nn.init.constant_(self.label.bias, math.log(_RARE / (1 - _RARE)))  # type: ignore[arg-type]
        nn.init.constant_(self.reach.bias, math.log(2))  # type: ignore[arg-type]


def short_numbers(device: torch.device) -> torch.autocast:
    """Let convolutions calculate in bfloat16 within the block, where this CPU does that: then they learn twice as fast.

    Weights, losses and what is served are as long as ever.
    """
    known = torch.cpu.get_capabilities()
    able = any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=able and device.type == "cpu")


def _tower() -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(_CONVOLUTIONS):
        convolution = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        layers += [convolution, nn.GroupNorm(CHANNELS // _GROUP, CHANNELS), nn.ReLU()]
    return nn.Sequential(*layers)


def build_body(settings: TrainSettings, spec: PictureSpec) -> nn.Module:
    """Make the network of the settings with its first weights, as far as maps are taken from it; see train.backbone.

    Raises TrainingError, also for a network that gives no maps.
    """
    body = build(settings, 2, (spec.height, spec.width))
    if not hasattr(body, "forward_intermediates") or not getattr(body, "feature_info", None):
        raise TrainingError(
            f"backbone {settings.backbone!r} gives no maps between its layers, which boxes are found on; choose "
            "another backbone"
        )
    if hasattr(body, "prune_intermediate_layers"):
        body.prune_intermediate_layers(len(_info(body)) - 1, prune_norm=False, prune_head=True)  # type: ignore[operator]
    return body


def _info(body: nn.Module) -> list[dict[str, Any]]:
    return list(body.feature_info)  # type: ignore[arg-type]


def _places(body: nn.Module, strides: Sequence[int]) -> list[int]:
    last = {one["reduction"]: at for at, one in enumerate(_info(body))}
    return [last[stride] for stride in strides]


def _grid(strides: Sequence[int], sizes: Sequence[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    centres, cells = [], []
    for stride, (rows, columns) in zip(strides, sizes, strict=True):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        cells.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres), torch.cat(cells)


def first_detector(settings: TrainSettings, size: Size, classes: Sequence[str]) -> Detector:
    """Make the detector that a training begins with: CPU, eval mode. Raises TrainingError."""
    spec = size.spec
    body = build_body(settings, spec)
    detector = Detector(body, len(classes), levels(body, spec, size.smallest), (spec.height, spec.width))
    return detector.to(memory_format=torch.channels_last).eval()


def levels(body: nn.Module, spec: PictureSpec, smallest: float) -> tuple[int, ...]:
    """Choose the strides of a body's levels for boxes of ``smallest`` pixels a side (at the network's size) and more.

    The finest level costs more than all others together: it is there only where small boxes need it. Raises
    TrainingError for a network that looks at pictures in other steps.
    """
    known = sorted({int(one["reduction"]) for one in _info(body)} & set(STRIDES))
    fitting = [stride for stride in known if stride >= 8 or smallest < _SMALL]
    found = fitting or known
    if not found or max(spec.height, spec.width) < found[0]:
        raise TrainingError(
            f"{type(body).__name__} looks at pictures in steps of none of {', '.join(map(str, STRIDES))} pixels; "
            "choose another backbone"
        )
    return tuple(found)


_SMALL = 12.0
"""Pixels of a box's side below which a step of 8 is too coarse."""
