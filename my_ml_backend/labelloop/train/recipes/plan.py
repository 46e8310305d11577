"""How long and how fast a finetune goes, decided by counting, so that the same run always takes the same steps."""

import math
from dataclasses import dataclass

import torch

from labelloop.train.recipes.base import Material
from labelloop.train.work import Work, work

_FRESH_STEPS = 20
_GENTLE = 0.3
_FRESH_WORK = 5e11  # multiply-adds, forward and backward: about a minute on one core, with small networks
_CPU_WORK = 4e12  # about five minutes on one core, with networks that are worth starting from
_BACKWARD = 3  # a training step costs about three forward passes
_ENOUGH_EPOCHS = 6  # from the head's solution
_LAYER_DECAY = 0.9
_CPU_ACTIVATIONS = 2e9  # bytes
_GPU_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """``epochs`` of ``steps``, each of ``accumulate`` batches of ``size`` pictures on each of ``ranks`` devices.

    ``learning_rate`` is the highest; with ``layer_decay`` the rate of each layer is that many times that of the next.
    """

    epochs: int
    steps: int
    size: int
    accumulate: int
    ranks: int
    learning_rate: float
    layer_decay: float | None = None

    @property
    def batch(self) -> int:
        """Pictures that one step learns from."""
        return self.size * self.accumulate * self.ranks


def on_gpu() -> bool:
    """Tell whether there is a GPU to train on."""
    return torch.cuda.is_available()


def plan(material: Material, ranks: int = 1) -> Plan:
    """Plan a finetune on so many devices: batch and rates stay what they are on one.

    From learned weights an epoch is one pass, at a part of the learning rate; where the recipes compete on a CPU, there
    are only as many epochs as take about five minutes. From random weights an epoch is at least 20 steps, however few
    the pictures, as far as the CPU can do all epochs in about a minute.
    """
    settings, count = material.settings, len(material.dataset.train)
    cost = work(material.start, material.pixels.spec)
    batch = min(max(settings.batch_size, 2), count)
    steps, step_work = math.ceil(count / batch), float(_BACKWARD * batch * cost.multiplications)
    epochs, rate, layer_decay = settings.epochs, settings.learning_rate, None
    if not material.fresh:
        epochs, rate, layer_decay = _affordable(material, steps * step_work), rate * _GENTLE, _LAYER_DECAY
    else:
        affordable = _FRESH_STEPS if on_gpu() else int(_FRESH_WORK / (step_work * epochs))
        steps = max(steps, min(_FRESH_STEPS, affordable))
    size = math.ceil(batch / ranks / (pieces := _pieces(batch, ranks, cost)))
    return Plan(epochs, steps, size, pieces, ranks, rate, layer_decay)


def too_long(material: Material) -> bool:
    """Tell whether a CPU would need far more than five minutes for the few epochs that a finetune needs at least."""
    planned = plan(material)
    cost = work(material.start, material.pixels.spec)
    whole = float(planned.epochs * planned.steps * planned.batch * _BACKWARD * cost.multiplications)
    return not on_gpu() and whole > _CPU_WORK


def _affordable(material: Material, epoch_work: float) -> int:
    epochs = material.settings.epochs
    if on_gpu() or material.settings.recipes == ("finetune",):
        return epochs
    return min(epochs, max(_ENOUGH_EPOCHS, int(_CPU_WORK / epoch_work)))


def _pieces(batch: int, ranks: int, cost: Work) -> int:
    """Say in how many pieces each rank takes its share of a batch, so that what is kept for the way back fits."""
    room = torch.cuda.get_device_properties(0).total_memory * _GPU_SHARE if on_gpu() else _CPU_ACTIVATIONS
    share = math.ceil(batch / ranks)
    return min(math.ceil(share * cost.activations * 4 / room), max(1, share // 2))
