"""A confusion matrix as a picture that can be read, with two classes as with fifty."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

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
