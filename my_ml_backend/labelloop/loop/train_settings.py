"""What training takes from the settings."""

import hashlib
from pathlib import Path

from labelloop.errors import TrainingError
from labelloop.settings import Settings
from labelloop.types import TrainSettings


def train_settings(settings: Settings) -> TrainSettings:
    """Take what training needs from the settings; raises TrainingError when the weights' file cannot be read."""
    weights_hash = ""
    if settings.weights not in ("pretrained", "none"):
        try:
            weights_hash = hashlib.sha256(Path(settings.weights).expanduser().read_bytes()).hexdigest()
        except OSError as error:
            raise TrainingError(
                f"LABELLOOP_WEIGHTS: {settings.weights} cannot be read ({error.strerror}). "
                "Name a safetensors file, or say pretrained or none"
            ) from error
    return TrainSettings(
        backbone=settings.backbone,
        weights=settings.weights,
        image_size=settings.image_size,
        recipes=settings.recipes,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        weights_hash=weights_hash,
    )
