"""Pictures that are easy to tell apart, for training in seconds: a bright bar across or upright, on a noisy ground."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from labelloop.train.dataset import Dataset, Sample
from labelloop.types import Choice, TrainSettings

ACROSS, UPRIGHT = 0, 1
CLASSES = ("across", "upright")


def picture(shown: tuple[int, ...], seed: int, side: int = 32) -> bytes:
    """Draw one PNG with the bars in ``shown``."""
    random = np.random.default_rng((seed, *shown))
    pixels = random.integers(0, 60, (side, side, 3), dtype=np.uint8)
    at, width = int(random.integers(side // 4, side // 2)), side // 6
    if ACROSS in shown:
        pixels[at : at + width, 2:-2] = random.integers(180, 255)
    if UPRIGHT in shown:
        pixels[2:-2, at : at + width] = random.integers(180, 255)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def sample(folder: Path, content: bytes, targets: tuple[int, ...]) -> Sample:
    """Write one picture below ``folder``, named by its content."""
    name = hashlib.sha256(content).hexdigest()
    path = folder / name
    path.write_bytes(content)
    return Sample(path, name, targets)


def samples(folder: Path, count: int, seed: int, shown: tuple[tuple[int, ...], ...] = ((0,), (1,))) -> list[Sample]:
    """Write ``count`` pictures, showing each of ``shown`` in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    turns = [shown[number % len(shown)] for number in range(count)]
    return [sample(folder, picture(turn, seed * 1000 + number), turn) for number, turn in enumerate(turns)]


def dataset(
    folder: Path, train: int = 24, validation: int = 8, classes: tuple[str, ...] = CLASSES, choice: Choice = "single"
) -> Dataset:
    """Write a dataset of bars."""
    shown = ((0,), (1,)) if choice == "single" else ((0,), (1,), (0, 1), ())
    return Dataset(
        classes, choice, tuple(samples(folder, train, 1, shown)), tuple(samples(folder, validation, 2, shown))
    )


def settings(
    recipes: tuple[str, ...] = ("head", "finetune"),
    *,
    backbone: str = "test_resnet",
    weights: str = "none",
    image_size: int = 32,
    epochs: int = 1,
    learning_rate: float = 0.002,
    seed: int = 0,
) -> TrainSettings:
    """Give settings of a small network that trains in seconds."""
    return TrainSettings(
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        recipes=recipes,
        epochs=epochs,
        batch_size=32,
        learning_rate=learning_rate,
        seed=seed,
    )
