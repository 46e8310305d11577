"""What training takes from the settings."""

import hashlib
from pathlib import Path

from labelloop.errors import TrainingError
from labelloop.settings import Settings
from labelloop.types import TrainSettings

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
        weights_hash="" if weights in ("pretrained", "none") else _hash("LABELLOOP_WEIGHTS", weights),
        augmentations_hash=_hash("LABELLOOP_AUGMENTATIONS", policy) if policy.endswith(_POLICY_FILES) else "",
    )


def _hash(setting: str, path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"{setting}: {path} cannot be read ({error.strerror}). {_EXPECTED[setting]}") from error
