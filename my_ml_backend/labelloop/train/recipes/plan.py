"""How long and how fast a finetune goes, decided by counting, so that the same run always takes the same steps."""

import math
from dataclasses import dataclass

import torch

from labelloop.train.recipes.base import Material
from labelloop.train.work import multiplications

_FRESH_STEPS = 20
_GENTLE = 0.1
_CPU_WORK = 5e11  # multiply-adds, forward and backward: about a minute on one core
_BACKWARD = 3  # a training step costs about three forward passes


@dataclass(frozen=True, slots=True)
class Plan:
    """``epochs`` of ``steps`` batches of ``batch`` pictures, up to a peak ``learning_rate``."""

    epochs: int
    steps: int
    batch: int
    learning_rate: float


def device() -> torch.device:
    """Choose where to train: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def plan(material: Material) -> Plan:
    """Plan a finetune.

    From learned weights an epoch is one pass, at a tenth of the learning rate. From random weights an epoch is at least
    20 steps, however few the pictures, as far as the CPU can do all epochs in about a minute.
    """
    settings, count = material.settings, len(material.dataset.train)
    batch = min(max(settings.batch_size, 2), count)
    steps = math.ceil(count / batch)
    if not material.fresh:
        return Plan(settings.epochs, steps, batch, settings.learning_rate * _GENTLE)
    affordable = _FRESH_STEPS if device().type == "cuda" else int(_CPU_WORK / (_step_work(material) * settings.epochs))
    return Plan(settings.epochs, max(steps, min(_FRESH_STEPS, affordable)), batch, settings.learning_rate)


def too_long(material: Material) -> bool:
    """Tell whether the CPU would need far more than a minute to finetune from learned weights."""
    planned = plan(material)
    return device().type == "cpu" and planned.epochs * planned.steps * _step_work(material) > _CPU_WORK


def _step_work(material: Material) -> float:
    batch = min(max(material.settings.batch_size, 2), len(material.dataset.train))
    return float(_BACKWARD * batch * multiplications(material.start, material.pixels.spec))
