"""Hugging Face object detection: ``[{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}]``, in pixels."""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.format import entries
from labelloop.endpoints.answers.geometry import pixels, size_of
from labelloop.endpoints.answers.values import Malformed, optional_score, region_class
from labelloop.types import Box, Findings, Region

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Objects:
    """The answer format ``objects``."""

    name = "objects"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is a list of objects with boxes of four named corners, or empty."""
        return isinstance(item, list) and all(_is_object(entry) for entry in item)

    def read(self, item: Any, one: One) -> Findings:
        """Read one picture's objects. Raises Malformed."""
        found = entries(item)
        size = size_of(None, one)
        scale = pixels(size) if found else None
        regions: list[Region] = []
        for entry in found:
            if scale is None or not _is_object(entry):
                raise Malformed('an object has no "box" with "xmin", "ymin", "xmax" and "ymax"')
            box: Box | None = scale.corners([entry["box"][corner] for corner in _CORNERS])
            if box is not None:
                regions.append(Region(region_class(entry.get("label"), one), box, optional_score(entry.get("score"))))
        return Findings(tuple(regions), one.version, size)


def _is_object(entry: Any) -> bool:
    box = entry.get("box") if isinstance(entry, dict) else None
    return isinstance(box, dict) and all(corner in box for corner in _CORNERS)
