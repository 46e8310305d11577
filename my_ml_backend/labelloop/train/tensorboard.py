"""A run as TensorBoard shows it (``tensorboard --logdir RUN/tensorboard``), its confusion matrix as a picture."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelloop.kinds.base import Hyperparameters
from labelloop.types import Json

_COUNTED = 25  # classes up to which the counts are written into the cells
_DPI = 100
_LONGEST = 24  # letters of a class's name
_BESIDE = 5  # letters that fit beside each other


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Image.Image:
    """Draw counts of true classes (rows) given each class (columns); a cell's colour is its share of the row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(confusion, dtype=np.int64).reshape(len(classes), len(classes))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 2.6 + len(classes) * (0.55 if len(classes) <= _COUNTED else 0.2)
    figure = Figure(figsize=(side + 0.6, side), dpi=_DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _name(axes, classes)
    if len(classes) <= _COUNTED:
        _count(axes, counts, shares)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    with warnings.catch_warnings():
        # Names in scripts that matplotlib's own font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _name(axes: Any, classes: Sequence[str]) -> None:
    # A dollar sign would begin a formula.
    names = [(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…").replace("$", r"\$") for name in classes]
    size = 9 if len(classes) <= _COUNTED else 7
    upright = max(len(name) for name in names) > _BESIDE
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _count(axes: Any, counts: Any, shares: Any) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)


_FILES = "events.out.tfevents.*"
_HELD = "hyperparameters"


def write_events(
    directory: Path,
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    metrics: Json,
    settings: Hyperparameters,
    pictures: Mapping[str, Image.Image],
) -> None:
    """Write event files into ``directory``; those of an earlier time are deleted.

    ``curves`` maps a recipe to what its epochs reached (train.dataset.Epoch), ``metrics`` is evaluation.measure's,
    ``pictures`` are shown under their names, as a grid of examples. The confusion matrix is drawn here, where there is
    one.
    """
    from torch.utils.tensorboard import SummaryWriter

    directory.mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob(_FILES), *(directory / _HELD).glob(_FILES)]:
        old.unlink()
    final = dict(measured(metrics))
    with SummaryWriter(str(directory)) as writer:
        for name, step, value in points(curves):
            writer.add_scalar(name, value, step)
        for name, value in final.items():
            writer.add_scalar(name, value, 0)
        drawn = dict(pictures)
        if "confusion" in metrics:
            drawn = {"confusion": draw_confusion(metrics["confusion"], metrics["classes"])} | drawn
        for name, picture in drawn.items():
            writer.add_image(name, np.asarray(picture.convert("RGB")), 0, dataformats="HWC")
        writer.add_hparams(hyperparameters(settings.to_json()), final, run_name=_HELD)


def points(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[tuple[str, int, float]]:
    """Give every point of the curves: its name, epoch and value."""
    for recipe, epochs in curves.items():
        for at, epoch in enumerate(epochs, start=1):
            for name, value in epoch.items():
                if name != "epoch":
                    yield f"{recipe}/{name}", int(epoch.get("epoch", at)), value


_MEASURED = ("accuracy", "calibration_error", "log_loss")


def measured(metrics: Json) -> Iterator[tuple[str, float]]:
    """Give by name what was measured on the test side, where it is measured and defined."""
    known = {name: metrics[name] for name in _MEASURED if name in metrics}
    if main := metrics.get("main"):
        known[main["name"].replace(" ", "_")] = main
    known |= {
        f"{average}_{rate}": of
        for average in ("micro", "macro", "weighted")
        for rate, of in metrics.get(average, {}).items()
    }
    for name, found in known.items():
        value = found["value"] if isinstance(found, dict) else found
        if value is not None:
            yield f"test/{name}", value


def hyperparameters(values: Json) -> Json:
    """Give what a training was made with, as plain values; a file's folder is nobody's business."""
    plain = {name: ",".join(value) if isinstance(value, (list, tuple)) else value for name, value in values.items()}
    return plain | {name: Path(plain[name]).name for name in ("weights", "augmentations") if plain.get(name)}
