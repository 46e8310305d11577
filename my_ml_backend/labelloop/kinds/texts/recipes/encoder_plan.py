"""How long a finetune of an encoder goes: decided by counting its work, as that of pictures is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from labelloop.kinds.texts.recipes.encoder_network import EncoderNetwork
from labelloop.kinds.texts.windows import Ids
from labelloop.train.recipes.base import Budget
from labelloop.train.recipes.finetune_plan import counted, on_gpu

_GENTLE = 0.075
"""Of the rate that random weights are given: 0.002 becomes 1.5e-4, for an average of weights (docs/training.md)."""

_FEWEST_EPOCHS, _LEAST_STEPS = 4, 20
_PASSES = 3  # forward passes that a step costs about
_LENGTH = 32  # sub-tokens of the window by which work is counted


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """``epochs`` of ``steps``, each of ``batch`` windows; pieces of at most ``most`` sub-tokens go through at once.

    ``wanted`` are the epochs that the settings ask for. ``too_long``: even the fewest would take a CPU far more than
    eight minutes.
    """

    epochs: int
    steps: int
    batch: int
    learning_rate: float
    most: int
    wanted: int
    too_long: bool = False


def plan(
    network: EncoderNetwork,
    rows: Sequence[Ids],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    alone: bool,
    budget: Budget = Budget(),  # noqa: B008 - frozen
) -> EncoderPlan:
    """Plan a training on windows by the settings; ``alone``: no other recipe competes, so that it may take its time.

    Half of the ``epochs``, for the weights are learned ones; each at least 20 steps, however few the texts. Where
    recipes compete on a CPU, as many as take about eight minutes, at least four.
    """
    wanted = math.ceil(epochs / 2)
    batch = min(max(batch_size, 2), len(rows))
    steps = max(math.ceil(len(rows) / batch), _LEAST_STEPS)
    lengths = np.array([len(row) for row in rows])
    work, kept = _work(network, min(_LENGTH, int(lengths.max())))
    most = max(int(budget.cpu_activations / (4 * kept)), int(lengths.max()))
    epoch_work = _PASSES * work * steps * batch * float(lengths.mean())
    unbounded = on_gpu() or alone
    affordable = wanted if unbounded else min(wanted, max(_FEWEST_EPOCHS, int(budget.cpu_work / epoch_work)))
    too_long = not unbounded and affordable * epoch_work > budget.cpu_work
    return EncoderPlan(affordable, steps, batch, learning_rate * _GENTLE, most, wanted, too_long)


def _work(network: EncoderNetwork, length: int) -> tuple[float, float]:
    """Give the multiply-adds, and the numbers kept for the way back, of one sub-token of a window."""
    ids = torch.ones(1, length, dtype=torch.int64)
    found = counted(network, ids, torch.ones_like(ids))
    return found.multiplications / length, max(1.0, found.activations / length)
