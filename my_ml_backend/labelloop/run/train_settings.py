"""What the training of image classification takes from the settings."""

from dataclasses import fields, replace
from pathlib import Path

from labelloop.errors import TrainingError
from labelloop.files import sha256
from labelloop.kinds.base import find
from labelloop.run.methods import raised
from labelloop.settings import Settings
from labelloop.types import IMAGES, Json, NetworkInfo, TrainSettings

_POLICY_FILES = (".yaml", ".yml")
_EXPECTED = {
    "LABELLOOP_WEIGHTS": "Name a safetensors file, or say pretrained or none",
    "LABELLOOP_AUGMENTATIONS": "Name a YAML file, or say auto, none, light, crop or realistic",
}


def train_settings(settings: Settings) -> TrainSettings:
    """Take what training needs from the settings; raises TrainingError when a file they name cannot be read."""
    weights, policy = settings.weights, settings.augmentations
    return TrainSettings(
        backbone=settings.backbone,
        weights=settings.weights,
        image_size=settings.image_size,
        recipes=settings.recipes,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        optimizer=settings.optimizer,
        augmentations=settings.augmentations,
        mixup=settings.mixup,
        balance=settings.balance,
        raised=raised(settings.recipes, find(IMAGES).recipes),
        weights_hash="" if weights in ("pretrained", "none") else _hash("LABELLOOP_WEIGHTS", weights),
        augmentations_hash=_hash("LABELLOOP_AUGMENTATIONS", policy) if policy.endswith(_POLICY_FILES) else "",
    )


def _hash(setting: str, path: str) -> str:
    try:
        return sha256(Path(path).expanduser())
    except OSError as error:
        raise TrainingError(f"{setting}: {path} cannot be read ({error.strerror}). {_EXPECTED[setting]}") from error


def recorded_settings(recorded: Json, bundle: NetworkInfo) -> TrainSettings:
    """Give what a version was trained with: as its record holds it, else what its bundle tells.

    Weights that are not on this machine as they were then count as none.
    """
    known = {entry.name for entry in fields(TrainSettings)}
    held = {name: value for name, value in recorded.items() if name in known}
    if "backbone" not in held:
        size = max(bundle.picture.width, bundle.picture.height)
        return train_settings(Settings(backbone=bundle.backbone, weights="none", image_size=size))
    lists: Json = {name: tuple(held[name]) for name in ("recipes", "raised") if name in held}
    found = TrainSettings(**{**held, **lists})
    return found if _at_hand(found) else replace(found, weights="none", weights_hash="")


def _at_hand(settings: TrainSettings) -> bool:
    if not settings.weights_hash:
        return True
    try:
        return _hash("LABELLOOP_WEIGHTS", settings.weights) == settings.weights_hash
    except TrainingError:
        return False
