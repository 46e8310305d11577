"""torchvision's detectors: ``{"boxes": [[x0, y0, x1, y1]], "labels": [...], "scores": [...]}``, in pixels.

``masks`` may stand beside the boxes, a height x width array for each, perhaps inside a list of one.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.geometry import pixels, size_of
from labelloop.endpoints.answers.masks import read_mask, within_memory
from labelloop.endpoints.answers.values import Malformed, optional_score, region_class
from labelloop.types import Findings, Region


class Boxes:
    """The answer format ``boxes``."""

    name = "boxes"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names may be in the answer
        """Whether it is an object with lists of boxes and labels."""
        return isinstance(item, dict) and isinstance(item.get("boxes"), list) and isinstance(item.get("labels"), list)

    def read(self, item: Any, one: One) -> Findings:
        """Read one picture's boxes, and a mask beside each where there are masks. Raises Malformed."""
        if not isinstance(item, dict):
            raise Malformed('it is not an object with "boxes" and "labels"')
        boxes = _column(item, "boxes", None)
        labels = _column(item, "labels", len(boxes))
        scores = _column(item, "scores", len(boxes)) if item.get("scores") is not None else repeat(None, len(boxes))
        size = size_of(item, one)
        scale = pixels(size) if boxes else None
        regions: list[Region] = []
        for place, label, value in zip(boxes, labels, scores, strict=True):
            box = None if scale is None else scale.corners(place)
            if box is not None:
                regions.append(Region(region_class(label, one), box, optional_score(value)))
        if item.get("masks") is not None:
            regions += within_memory(_masks(item, labels, one))
        return Findings(tuple(regions), one.version, size)


def _masks(item: Any, labels: list[Any], one: One) -> Iterator[Region]:
    masks = _column(item, "masks", len(labels))
    scores = item.get("scores") or [None] * len(labels)
    for mask, label, value in zip(masks, labels, scores, strict=True):
        yield Region(region_class(label, one), read_mask(mask), optional_score(value))


def _column(item: dict[str, Any], name: str, length: int | None) -> list[Any]:
    column = item.get(name)
    if not isinstance(column, list):
        raise Malformed(f'"{name}" is not a list')
    if length is not None and len(column) != length:
        raise Malformed(f'"{name}" holds {len(column)} values for {length} boxes')
    return column
