"""The size that a run's pictures are squeezed to, by their shape and by how large their boxes are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from labelloop.bundle_info import PictureSpec
from labelloop.data.split import splits
from labelloop.errors import Unreadable
from labelloop.kinds.object_detection.boxes import corners_of
from labelloop.pictures import upright_size
from labelloop.train.backbone import spec_of
from labelloop.types import Item, TrainSettings

if TYPE_CHECKING:
    from labelloop.kinds.regions import Regions
    from labelloop.run.context import Context

STEP = 32
"""Sides are multiples of it, so that all levels of a detector cover the picture evenly."""

_LOOKED_AT = 500
_SMALL = 0.05
_WANTED = 22.0
_LEAST, _MOST = 256, 640


@dataclass(frozen=True, slots=True)
class Size:
    """How pictures are prepared, and the shorter side, in pixels of them, of boxes that are small among the others."""

    spec: PictureSpec
    smallest: float


def size_of(context: "Context", kind: "Regions", settings: TrainSettings) -> Size:
    """Choose the size by the first 500 training pictures on this machine, in the order of their hashes.

    The longer side is the settings', else as large as it takes for one box in twenty to be less than 22 pixels wide or
    high, from 256 to 640 pixels and not more than the pictures have; the shorter one follows from the usual aspect.
    Raises TrainingError for a network that timm does not know.
    """
    items = sorted(splits(context.manifest, context.named_sides)["train"], key=lambda item: item.content)
    shapes, sides = _looked(context, kind, items)
    width, height = np.median(shapes, axis=0) if len(shapes) else (1.0, 1.0)
    longer = max(width, height)
    small = float(np.quantile(sides, _SMALL)) if len(sides) else 1.0
    side = settings.image_size or min(np.clip(_WANTED / small, _LEAST, _MOST), max(longer, _LEAST))
    spec = replace(
        spec_of(replace(settings, image_size=0)),
        width=_stepped(side * width / longer),
        height=_stepped(side * height / longer),
    )
    return Size(spec, small * max(spec.width, spec.height))


def _looked(context: "Context", kind: "Regions", items: Iterable[Item]) -> tuple[list[tuple[int, int]], list[float]]:
    """Give widths and heights of pictures, and the shorter sides of boxes in shares of their pictures' longer ones."""
    shapes: list[tuple[int, int]] = []
    sides: list[float] = []
    for item in islice(items, _LOOKED_AT):
        try:
            width, height = upright_size(context.pictures.path(item.content).read_bytes())
        except (OSError, Unreadable):
            continue
        shapes.append((width, height))
        corners = corners_of(kind.learnable(context, item).regions)
        pixels = (corners[:, 2:] - corners[:, :2]) * (width, height)
        sides += (pixels.min(axis=1) / max(width, height)).tolist()
    return shapes, sides


def _stepped(side: float) -> int:
    return max(STEP, round(side / STEP) * STEP)
