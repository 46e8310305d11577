"""The contest of the recipes for pictures: which enter, and a candidate with its temperature."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from labelloop.errors import TrainingError
from labelloop.train.augmentations.policy import load_policy
from labelloop.train.backbone import check_backbone, divide_logits
from labelloop.train.balance import check_balance
from labelloop.train.dataset import Dataset
from labelloop.train.optimizers import check_optimizer
from labelloop.train.recipes import finetune, head
from labelloop.train.recipes.base import Candidate, Material, Recipe
from labelloop.train.recipes.finetune_plan import too_long
from labelloop.train.selection import ENOUGH, Validation, settled
from labelloop.types import TrainSettings

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


def entrants(materials: Mapping[str, Material]) -> tuple[list[str], str]:
    """Name the recipes that run, in order, and say in a sentence which is left out ("" for none).

    ``materials`` holds what each recipe is given that the settings name.
    """
    names = [name for name in RECIPES if name in materials]
    if len(names) < 2:
        return names, ""
    reason = too_few(len(materials["finetune"].dataset.validation)) or too_slow(materials["finetune"])
    return (["head"], reason) if reason else (names, "")


def too_few(validation: int) -> str:
    """Say that so many validation pictures would not tell whether a finetune is worse than a head; else nothing."""
    if validation >= ENOUGH:
        return ""
    return (
        f"finetune is left out: with {validation} validation pictures it cannot win, from {ENOUGH} on it competes; "
        "LABELLOOP_RECIPES=finetune trains it alone"
    )


def too_slow(material: Material) -> str:
    """Say that a finetune would take this CPU too long; empty where it would not."""
    if too_long(material):
        return (
            f"finetune is left out: {material.settings.backbone} at {material.pixels.spec.width} px would take this "
            "CPU more than about eight minutes; use a GPU, or set LABELLOOP_RECIPES=finetune"
        )
    return ""


def with_temperature(candidate: Candidate, dataset: Dataset) -> Candidate:
    """Calibrate a candidate and choose its thresholds; changes its network."""
    found = settled(candidate, Validation.of(dataset))
    divide_logits(candidate.model, found.temperature)
    return replace(
        candidate,
        logits=(candidate.logits / found.temperature).astype(np.float32),
        temperature=candidate.temperature * found.temperature,
        thresholds=found.thresholds,
    )
