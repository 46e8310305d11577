"""A run as TensorBoard shows it: ``tensorboard --logdir RUN/tensorboard``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelloop.train.confusion_picture import draw_confusion
from labelloop.types import Json, TrainSettings

_FILES = "events.out.tfevents.*"
_HELD = "hyperparameters"


def write_events(
    directory: Path,
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    metrics: Json,
    settings: TrainSettings,
    pictures: Mapping[str, Image.Image],
) -> None:
    """Write event files into ``directory``; those of an earlier time are deleted.

    ``curves`` maps a recipe to what its epochs reached (recipes.base.Epoch), ``metrics`` is evaluation.measure's,
    ``pictures`` are shown under their names, as a grid of examples. The confusion matrix is drawn here.
    """
    from torch.utils.tensorboard import SummaryWriter

    directory.mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob(_FILES), *(directory / _HELD).glob(_FILES)]:
        old.unlink()
    final = dict(_final(metrics))
    with SummaryWriter(str(directory)) as writer:
        for name, step, value in _points(curves):
            writer.add_scalar(name, value, step)
        for name, value in final.items():
            writer.add_scalar(name, value, 0)
        drawn = {"confusion": draw_confusion(metrics["confusion"], metrics["classes"])} | dict(pictures)
        for name, picture in drawn.items():
            writer.add_image(name, np.asarray(picture.convert("RGB")), 0, dataformats="HWC")
        writer.add_hparams(_hyperparameters(settings), final, run_name=_HELD)


def _points(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[tuple[str, int, float]]:
    for recipe, epochs in curves.items():
        for at, epoch in enumerate(epochs, start=1):
            for name, value in epoch.items():
                if name != "epoch":
                    yield f"{recipe}/{name}", int(epoch.get("epoch", at)), value


def _final(metrics: Json) -> Iterator[tuple[str, float]]:
    """Give what was measured on the test side, where it is defined."""
    known = {"accuracy": metrics["accuracy"], "calibration_error": metrics["calibration_error"]}
    known |= {f"{average}_{rate}": of for average in ("macro", "weighted") for rate, of in metrics[average].items()}
    for name, found in known.items():
        if found["value"] is not None:
            yield f"test/{name}", found["value"]


def _hyperparameters(settings: TrainSettings) -> dict[str, Any]:
    """Give the settings as TensorBoard takes them; a file's folder is nobody's business."""
    values = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
    values |= {name: Path(values[name]).name for name in ("weights", "augmentations")}
    return values
