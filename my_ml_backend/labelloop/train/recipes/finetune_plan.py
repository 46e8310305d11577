"""How long and how fast a finetune goes: decided by counting its work, so that a run always takes the same steps."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from labelloop.bundle_info import PictureSpec
from labelloop.train.recipes.base import Budget, Material


@dataclass(frozen=True, slots=True)
class Work:
    """One picture, forward: ``multiplications`` (multiply-adds) and ``activations`` (numbers kept for the way back)."""

    multiplications: int
    activations: int


def work_of(model: nn.Module, spec: PictureSpec) -> Work:
    """Count the work of one picture."""
    return counted(model, torch.zeros(1, 3, spec.height, spec.width))


def counted(model: nn.Module, *inputs: torch.Tensor) -> Work:
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
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Work(sum(multiplied), sum(kept))


_GENTLE = 0.15
_PASSES, _GENTLE_PASSES = 3, 2  # forward passes that a step costs about; from learned weights the lower layers rest
_ENOUGH_EPOCHS = 6  # from the head's solution
_LAYER_DECAY = 0.9
_RESTING = 1 / 3
_GPU_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class FinetunePlan:
    """``epochs`` of ``steps``, each of ``accumulate`` batches of ``size`` pictures on each of ``ranks`` devices.

    ``learning_rate`` is the highest; with ``layer_decay`` the rate of each layer is that many times that of the next.
    The lowest layers, ``resting`` of them all, stay as they are. ``level`` says that the rate stays at its height after
    the warm-up, instead of falling to nearly zero.
    """

    epochs: int
    steps: int
    size: int
    accumulate: int
    ranks: int
    learning_rate: float
    layer_decay: float | None = None
    resting: float = 0.0
    level: bool = False

    @property
    def batch(self) -> int:
        """Pictures that one step learns from."""
        return self.size * self.accumulate * self.ranks


def on_gpu() -> bool:
    """Tell whether there is a GPU to train on."""
    return torch.cuda.is_available()


def plan(material: Material, ranks: int = 1) -> FinetunePlan:
    """Plan a finetune on so many devices: batch and rates stay what they are on one.

    From learned weights there are half as many epochs, of one pass each, at a part of the learning rate; where the
    recipes compete on a CPU, there are only as many as take about eight minutes. From random weights an epoch is at
    least 20 steps, however few the pictures, as far as the CPU can do all epochs in about a minute.
    """
    settings, budget, count = material.settings, material.budget, len(material.dataset.train)
    cost = work_of(material.start, material.pixels.spec)
    batch = min(max(settings.batch_size, 2), count)
    steps, step_work = math.ceil(count / batch), _step_work(material, batch, cost)
    size = math.ceil(batch / ranks / (pieces := _pieces(batch, ranks, cost, budget)))
    if material.fresh:
        affordable = budget.fresh_steps if on_gpu() else int(budget.fresh_work / (step_work * settings.epochs))
        steps = max(steps, min(budget.fresh_steps, affordable))
        return FinetunePlan(settings.epochs, steps, size, pieces, ranks, settings.learning_rate)
    affordable, rate = _affordable(material, steps * step_work), settings.learning_rate * _GENTLE
    return FinetunePlan(affordable, steps, size, pieces, ranks, rate, _LAYER_DECAY, _RESTING, level=True)


def epochs(material: Material) -> int:
    """Give the epochs that the settings ask for: from learned weights half of the number, for more brought nothing."""
    return material.settings.epochs if material.fresh else math.ceil(material.settings.epochs / 2)


def too_long(material: Material) -> bool:
    """Tell whether a CPU would need far more than eight minutes for the few epochs that a finetune needs at least."""
    planned = plan(material)
    cost = work_of(material.start, material.pixels.spec)
    whole = planned.epochs * planned.steps * _step_work(material, planned.batch, cost)
    return not on_gpu() and whole > material.budget.cpu_work


def _step_work(material: Material, batch: int, cost: Work) -> float:
    passes = _PASSES if material.fresh else _GENTLE_PASSES
    return float(passes * batch * cost.multiplications)


def _affordable(material: Material, epoch_work: float) -> int:
    wanted = epochs(material)
    if on_gpu() or material.settings.recipes == ("finetune",):
        return wanted
    return min(wanted, max(_ENOUGH_EPOCHS, int(material.budget.cpu_work / epoch_work)))


def _pieces(batch: int, ranks: int, cost: Work, budget: Budget) -> int:
    """Say in how many pieces each rank takes its share of a batch, so that what is kept for the way back fits."""
    room = torch.cuda.get_device_properties(0).total_memory * _GPU_SHARE if on_gpu() else budget.cpu_activations
    share = math.ceil(batch / ranks)
    return min(math.ceil(share * cost.activations * 4 / room), max(1, share // 2))
