"""How much arithmetic and memory a network takes: what a recipe decides by, where a clock would make runs differ."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from labelloop.types import PictureSpec


@dataclass(frozen=True, slots=True)
class Work:
    """One picture, forward: ``multiplications`` (multiply-adds) and ``activations`` (numbers kept for the way back)."""

    multiplications: int
    activations: int


def work(model: nn.Module, spec: PictureSpec) -> Work:
    """Count the multiply-adds of convolutions and linear layers, and the outputs of all layers."""
    multiplied: list[int] = []
    kept: list[int] = []

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor):
            return
        kept.append(output.numel())
        if isinstance(layer, nn.Conv2d | nn.Linear):
            multiplied.append(output.numel() * layer.weight.numel() // layer.weight.shape[0])

    layers = [layer for layer in model.modules() if not list(layer.children()) or list(layer.parameters(recurse=False))]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, spec.height, spec.width))
    finally:
        for handle in handles:
            handle.remove()
    return Work(sum(multiplied), sum(kept))
