"""The contest of the recipes: which enter, how sure of themselves they may be, and who wins on the validation side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.train import metrics
from labelloop.train.augmentations.policy import load_policy
from labelloop.train.backbone import check_backbone
from labelloop.train.balance import check_balance
from labelloop.train.calibration import calibrated, temperature
from labelloop.train.dataset import Dataset, indicators
from labelloop.train.metrics import HeldOut, log_losses
from labelloop.train.optimizers import check_optimizer
from labelloop.train.recipes import finetune, head
from labelloop.train.recipes.base import ENOUGH, Candidate, Material, Recipe
from labelloop.train.recipes.finetune_plan import too_long
from labelloop.train.thresholds import f1_thresholds
from labelloop.types import Choice, TrainSettings

RECIPES: Mapping[str, Recipe] = {"head": head.fit, "finetune": finetune.fit}
"""All recipes, in the order in which they run."""


def check(settings: TrainSettings) -> None:
    """Raise TrainingError for what there is not: a backbone, a recipe, an optimizer, augmentations, a way to balance.

    Weights are looked at when the network is made, which is the first work a run does.
    """
    unknown = [name for name in settings.recipes if name not in RECIPES]
    if unknown or not settings.recipes:
        raise TrainingError(f"recipes {unknown or 'none'}: LABELLOOP_RECIPES takes {', '.join(RECIPES)}")
    check_backbone(settings.backbone)
    check_balance(settings.balance)
    check_optimizer(settings.optimizer)
    load_policy(settings.augmentations)


def entrants(material: Material) -> tuple[list[str], str]:
    """Name the recipes that run, in order, and say in a sentence which is left out ("" for none)."""
    settings = material.settings
    names = [name for name in RECIPES if name in settings.recipes]
    if len(names) < 2:
        return names, ""
    if material.fresh:
        return ["finetune"], "head is left out: the features of random weights say nothing"
    validation = len(material.dataset.validation)
    if validation < ENOUGH:
        return ["head"], (
            f"finetune is left out: with {validation} validation pictures it cannot win, from {ENOUGH} on it competes; "
            "LABELLOOP_RECIPES=finetune trains it alone"
        )
    if too_long(material):
        return ["head"], (
            f"finetune is left out: {settings.backbone} at {material.pixels.spec.width} px would take this CPU more "
            "than about eight minutes; use a GPU, or set LABELLOOP_RECIPES=finetune"
        )
    return names, ""


def validated(candidate: Candidate, dataset: Dataset) -> HeldOut:
    """Give what a candidate says of the validation side, with the truth."""
    return HeldOut(indicators(dataset.validation, len(dataset.classes)), candidate.logits)


def with_temperature(candidate: Candidate, dataset: Dataset) -> Candidate:
    """Calibrate on the validation side and on what cross-validation said of training pictures; changes the network.

    Thresholds are chosen by the same.
    Without the suspects: where many labels are wrong, a temperature that is fitted to them calls the model too modest.
    There is no cross-validation of a finetune. It has that of the head it began with: how far the few validation
    pictures mislead about the head's temperature, so far they mislead about its own.
    """
    kept = np.array([sample.picture not in candidate.suspects for sample in dataset.validation], dtype=bool)

    def seen(one: Candidate, more: HeldOut | None) -> HeldOut:
        held = validated(one, dataset)
        return HeldOut(held.truth[kept], held.logits[kept]).joined(more)

    def fitted(one: Candidate, more: HeldOut | None) -> float:
        return temperature(seen(one, more), dataset.choice)

    value, before = fitted(candidate, candidate.held), candidate.before
    if before is not None and before.held is not None:
        value *= fitted(before, before.held) / fitted(before, None)
    found = calibrated(candidate, value)
    if dataset.choice == "single":
        return found
    held = seen(candidate, candidate.held)
    return replace(found, thresholds=f1_thresholds(HeldOut(held.truth, held.logits / value)))


def winner(candidates: Sequence[Candidate], dataset: Dataset) -> Candidate:
    """Give the calibrated candidate that is to serve: the last one, unless one before it is clearly better.

    Clearly: its log-loss on the validation side is lower by more than the standard error of the difference, picture by
    picture. A finetune is half the head it began with, costs as much to serve, and is better more often than not: a few
    dozen pictures that differ by chance are no reason to drop it. With fewer than 50 the first one serves.
    """
    best = candidates[0]
    for one in candidates[1:]:
        if len(dataset.validation) >= ENOUGH and not _clearly_better(best, one, dataset):
            best = one
    return best


def accuracies(candidates: Sequence[Candidate], dataset: Dataset) -> dict[str, float]:
    """Map each recipe to its accuracy on the validation side; empty without validation pictures."""
    found = [(one, validated(one, dataset)) for one in candidates if dataset.validation]
    return {
        one.recipe: metrics.accuracy(held.truth, _answers(held, dataset.choice, one.thresholds)) for one, held in found
    }


def _answers(held: HeldOut, choice: Choice, thresholds: npt.NDArray[np.float64] | None) -> npt.NDArray[np.bool_]:
    return metrics.given(metrics.probabilities(held.logits, choice), choice, thresholds)


def _clearly_better(one: Candidate, other: Candidate, dataset: Dataset) -> bool:
    held, against = validated(one, dataset), validated(other, dataset)
    gain = log_losses(against.truth, against.logits, dataset.choice) - log_losses(
        held.truth, held.logits, dataset.choice
    )
    return bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)))
