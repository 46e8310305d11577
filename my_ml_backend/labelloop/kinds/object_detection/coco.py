"""COCO's other figures: average precision over ten overlaps, and that of small, medium and large boxes."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from labelloop.errors import Unreadable
from labelloop.pictures import upright_size
from labelloop.run.located import Located
from labelloop.run.region_measures import precisions
from labelloop.run.resampled import Matrix
from labelloop.types import Box, Json, Region

if TYPE_CHECKING:
    from labelloop.run.context import Context

OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

AREAS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
)
"""Areas of boxes in pixels of their picture (cocodataset.org, "Detection Evaluation")."""

Within = Callable[[Located, Region], bool]
Overlaps = Callable[[Sequence[Region], Sequence[Region]], Matrix]


def figures(context: "Context", items: Sequence[Located], overlaps: Overlaps) -> Json:
    """Give ``ap`` at .5:.95, and by ``sizes`` of boxes how many there are, ``ap50`` and ``ap``; None where none is."""
    classes = context.manifest.classes
    sizes = {one.picture: _size(context, one.picture) for one in items}

    def of(name: str) -> Within:
        least, most = AREAS[name]

        def within(item: Located, region: Region) -> bool:
            width, height = sizes[item.picture]
            box = region.shape
            return isinstance(box, Box) and least <= box.width * width * box.height * height <= most

        return within

    found: Json = {"ap": mean_precision(items, classes, overlaps)}
    found["sizes"] = {
        name: {
            "boxes": sum(of(name)(one, region) for one in items for region in one.true),
            "ap50": mean_precision(items, classes, overlaps, (0.5,), of(name)),
            "ap": mean_precision(items, classes, overlaps, OVERLAPS, of(name)),
        }
        for name in AREAS
    }
    return found


def mean_precision(
    items: Sequence[Located],
    classes: Sequence[str],
    overlaps: Overlaps,
    least: Sequence[float] = OVERLAPS,
    within: Within | None = None,
) -> float | None:
    """Give the mean over overlaps of the average precision; None where nothing is true."""
    once = np.ones((1, len(items)))
    values = [float(precisions(items, classes, overlaps, one, within)(once).whole[0]) for one in least]
    return None if np.isnan(values).any() else float(np.mean(values))


def _size(context: "Context", picture: str) -> tuple[int, int]:
    """Give a picture's width and height; nothing of one that is not at hand, whose boxes are then of no size."""
    try:
        return upright_size(context.pictures.path(picture).read_bytes())
    except (OSError, Unreadable):
        return (0, 0)
