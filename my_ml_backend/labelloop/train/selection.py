"""Which of the recipes' models serves: how sure each may be of itself, and who wins on the validation side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from labelloop.train import metrics
from labelloop.train.calibration import temperature
from labelloop.train.dataset import Dataset, indicators
from labelloop.train.label_errors import Suspect
from labelloop.train.metrics import HeldOut, Indicators, log_losses
from labelloop.train.thresholds import f1_thresholds
from labelloop.types import Choice

ENOUGH = 50
"""Validation items below which choosing by them would follow chance."""

Floats = npt.NDArray[np.float64]


class Entrant(Protocol):
    """What a recipe has made, as far as a choice looks at it (recipes.base.Candidate says what the fields are)."""

    @property
    def recipe(self) -> str:
        """The recipe."""

    @property
    def logits(self) -> npt.NDArray[np.floating[Any]]:
        """Logits on the validation side, (items, classes)."""

    @property
    def held(self) -> HeldOut | None:
        """What cross-validation said of training items."""

    @property
    def suspects(self) -> Mapping[str, Suspect]:
        """The items (sha256) whose labels are probably wrong."""

    @property
    def before(self) -> "Entrant | None":
        """The head that a finetune began with, or that learned from the same."""

    @property
    def thresholds(self) -> Floats | None:
        """From which score on each class is given."""


E = TypeVar("E", bound=Entrant)


@dataclass(frozen=True, eq=False)
class Validation:
    """The validation side: its items (sha256) and their ``truth``, (items, classes)."""

    names: tuple[str, ...]
    truth: Indicators
    choice: Choice

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Take the validation side of pictures."""
        names = tuple(sample.picture for sample in dataset.validation)
        return cls(names, indicators(dataset.validation, len(dataset.classes)), dataset.choice)

    def held(self, one: Entrant) -> HeldOut:
        """Give what somebody says of it, with the truth."""
        return HeldOut(self.truth, one.logits)


class Settled(NamedTuple):
    """What logits are divided by, and from which scores on classes are given then (None: a half each)."""

    temperature: float
    thresholds: Floats | None


def settled(one: Entrant, validation: Validation) -> Settled:
    """Calibrate on the validation side and on what cross-validation said of training items.

    Thresholds are chosen by the same.
    Without the suspects: where many labels are wrong, a temperature that is fitted to them calls the model too modest.
    There is no cross-validation of a finetune. It has that of the head before it: how far the few validation items
    mislead about the head's temperature, so far they mislead about its own.
    """
    kept = np.array([name not in one.suspects for name in validation.names], dtype=bool)

    def seen(model: Entrant, more: HeldOut | None) -> HeldOut:
        return HeldOut(validation.truth[kept], model.logits[kept]).joined(more)

    def fitted(model: Entrant, more: HeldOut | None) -> float:
        return temperature(seen(model, more), validation.choice)

    value, before = fitted(one, one.held), one.before
    if before is not None and before.held is not None:
        value *= fitted(before, before.held) / fitted(before, None)
    if validation.choice == "single":
        return Settled(value, None)
    held = seen(one, one.held)
    return Settled(value, f1_thresholds(HeldOut(held.truth, held.logits / value)))


def winner(entrants: Sequence[E], validation: Validation) -> E:
    """Give the calibrated entrant that is to serve: the last one, unless one before it is clearly better.

    Clearly: its log-loss on the validation side is lower by more than the standard error of the difference, item by
    item. A finetune of pictures is half the head it began with, costs as much to serve, and is better more often than
    not: a few dozen items that differ by chance are no reason to drop it. With fewer than 50 the first one serves.
    """
    best = entrants[0]
    for one in entrants[1:]:
        if len(validation.names) >= ENOUGH and not _clearly_better(best, one, validation):
            best = one
    return best


def accuracies(entrants: Sequence[Entrant], validation: Validation) -> dict[str, float]:
    """Map each recipe to its accuracy on the validation side; empty without validation items."""
    found = [(one, validation.held(one)) for one in entrants if len(validation.names)]
    return {
        one.recipe: metrics.accuracy(held.truth, _answers(held, validation.choice, one.thresholds))
        for one, held in found
    }


def _answers(held: HeldOut, choice: Choice, thresholds: Floats | None) -> Indicators:
    return metrics.given(metrics.probabilities(held.logits, choice), choice, thresholds)


def _clearly_better(one: Entrant, other: Entrant, validation: Validation) -> bool:
    losses, against = (
        log_losses(held.truth, held.logits, validation.choice) for held in map(validation.held, (one, other))
    )
    gain = against - losses
    return bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)))
