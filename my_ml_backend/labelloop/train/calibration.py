"""Temperature: one number that all logits are divided by, so that scores say how often they are right.

Guo et al., 2017, "On Calibration of Modern Neural Networks". The best class stays the best, and with ``multiple``
a logit's sign, so that the temperature changes no prediction.
"""

import math

import numpy as np
import numpy.typing as npt

from labelloop.train import metrics
from labelloop.train.metrics import HeldOut, bins, calibration_errors
from labelloop.types import Choice

_SPREAD = 0.3
"""How far from 1 a temperature is expected to be before anything is seen: standard deviation of its logarithm. With it
a handful of pictures hardly move the temperature, and a hundred decide it."""

_LOWEST, _HIGHEST, _STEPS = math.log(0.1), math.log(10.0), 60


def temperature(held: HeldOut, choice: Choice) -> float:
    """Find the most likely temperature, given the log-loss on ``held`` and that it is about 1; 1 without pictures.

    The sum has one minimum, found by golden sections between 0.1 and 10.
    """
    if not len(held.truth):
        return 1.0

    answers = held.truth.shape[1] if choice == "multiple" else 1

    def cost(logarithm: float) -> float:
        loss = answers * metrics.log_losses(held.truth, held.logits / math.exp(logarithm), choice).sum()
        return float(loss) + 0.5 * (logarithm / _SPREAD) ** 2

    low, high, golden = _LOWEST, _HIGHEST, (math.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    return math.exp((low + high) / 2)


def calibrated_losses(held: HeldOut, choice: Choice) -> npt.NDArray[np.float64]:
    """Give each item's log-loss at the most likely temperature: two models are compared as they will answer.

    Without it the surer one wins: of two that are regularised alike, the one with the longer features, right or wrong.
    """
    return metrics.log_losses(held.truth, held.logits / temperature(held, choice), choice)


def temperature_effect(held: HeldOut, choice: Choice, value: float) -> dict[str, float]:
    """Say what the temperature ``value`` did to logits that are divided by it already; empty without pictures."""
    if not len(held.truth):
        return {}
    before = HeldOut(held.truth, held.logits * value)
    return {
        f"{name}_{when}": float(measure)
        for when, one in (("before", before), ("after", held))
        for name, measure in _measured(one, choice).items()
    }


def _measured(held: HeldOut, choice: Choice) -> dict[str, float]:
    found = bins(held.truth, metrics.probabilities(held.logits, choice), choice)
    return {
        "log_loss": metrics.log_loss(held.truth, held.logits, choice),
        "calibration_error": calibration_errors(np.ones((1, len(held.truth))), found)[0],
    }
