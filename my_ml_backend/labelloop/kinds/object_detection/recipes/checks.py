"""Whether settings name what there is, before any work."""

from dataclasses import replace

from labelloop.errors import TrainingError
from labelloop.kinds.object_detection.recipes.examples import load_changes
from labelloop.kinds.object_detection.recipes.network import Detector, build_body, levels
from labelloop.train.backbone import check_backbone, spec_of
from labelloop.types import TrainSettings

RECIPES = ("head", "finetune")

_SIDE = 320


def check(settings: TrainSettings) -> None:
    """Raise TrainingError for what there is not: a backbone, a recipe, augmentations."""
    unknown = [name for name in settings.recipes if name not in RECIPES]
    if unknown or not settings.recipes:
        raise TrainingError(f"recipes {unknown or 'none'}: LABELLOOP_RECIPES takes {', '.join(RECIPES)}")
    check_backbone(settings.backbone)
    load_changes(settings.augmentations)


def check_detector(settings: TrainSettings) -> None:
    """Make a detector once; raises TrainingError where the network bears none, or its weights are not its own."""
    side = max(32, round((settings.image_size or _SIDE) / 32) * 32)
    spec = replace(spec_of(replace(settings, image_size=0)), width=side, height=side)
    body = build_body(settings, spec)
    Detector(body, 1, levels(body, spec, float(side)), (side, side))
