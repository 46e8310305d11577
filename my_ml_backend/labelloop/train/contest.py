"""The contest of the recipes: which enter, and who wins on the validation side: the clearly lower log-loss."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

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
from labelloop.train.recipes.base import Candidate, Material, Recipe
from labelloop.train.recipes.finetune_plan import too_long
from labelloop.train.stopping import ENOUGH
from labelloop.types import TrainSettings

RECIPES: Mapping[str, Recipe] = {"head": head.fit, "finetune": finetune.fit}
"""All recipes, in the order in which they run."""

REFITS: Mapping[str, Callable[[Material, Candidate], Candidate]] = {"head": head.refit, "finetune": finetune.refit}
"""What each recipe does with the validation pictures once it has won."""


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

    Without the suspects: where many labels are wrong, a temperature that is fitted to them calls the model too modest.
    """
    held = validated(candidate, dataset)
    kept = np.array([sample.picture not in candidate.suspects for sample in dataset.validation], dtype=bool)
    seen = HeldOut(held.truth[kept], held.logits[kept]).joined(candidate.held)
    return calibrated(candidate, temperature(seen, dataset.choice))


def winner(candidates: Sequence[Candidate], dataset: Dataset) -> Candidate:
    """Give the calibrated candidate that does better on the validation side; the first unless one is clearly better.

    Clearly: on 50 pictures or more, its log-loss is lower by more than the standard error of the difference, picture by
    picture. Accuracy would be decided by one or two pictures where there are few, and with fewer the log-loss would be,
    too; what costs more has to show that it is worth it.
    """
    best = candidates[0]
    for one in candidates[1:]:
        if dataset.validation and _clearly_better(one, best, dataset):
            best = one
    return best


def accuracies(candidates: Sequence[Candidate], dataset: Dataset) -> dict[str, float]:
    """Map each recipe to its accuracy on the validation side; empty without validation pictures."""
    found = {one.recipe: validated(one, dataset) for one in candidates if dataset.validation}
    return {
        name: metrics.accuracy(held.truth, metrics.predictions(held.logits, dataset.choice))
        for name, held in found.items()
    }


def _clearly_better(one: Candidate, other: Candidate, dataset: Dataset) -> bool:
    held, against = validated(one, dataset), validated(other, dataset)
    gain = log_losses(against.truth, against.logits, dataset.choice) - log_losses(
        held.truth, held.logits, dataset.choice
    )
    return len(gain) >= ENOUGH and bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)))
