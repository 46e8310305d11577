"""How much arithmetic a network takes: what a recipe decides by, where a clock would make runs differ."""

from typing import Any

import torch
from torch import nn

from labelloop.types import PictureSpec


def multiplications(model: nn.Module, spec: PictureSpec) -> int:
    """Count the multiply-adds of convolutions and linear layers for one picture, forward."""
    counts: list[int] = []

    def note(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        weight: torch.Tensor = layer.weight  # type: ignore[assignment]
        counts.append(output.numel() * weight.numel() // weight.shape[0])

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, spec.height, spec.width))
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)
