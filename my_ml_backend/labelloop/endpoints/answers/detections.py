"""SageMaker object detection: ``{"prediction": [[class, score, x0, y0, x1, y1], ...]}``.

The class is an index, the corners are fractions of the picture (SageMaker Developer Guide, "Object Detection Request
and Response Formats").
"""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.geometry import FRACTIONS, size_of
from labelloop.endpoints.answers.values import Malformed, class_name, is_number, score
from labelloop.types import Findings, Region


class Detections:
    """The answer format ``detections``."""

    name = "detections"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - what is missing is said on reading
        """Whether it is an object with rows of six numbers."""
        rows = item.get("prediction") if isinstance(item, dict) else None
        return isinstance(rows, list) and all(_is_row(row) for row in rows) and (len(rows) > 0 or len(item) == 1)

    def read(self, item: Any, one: One) -> Findings:
        """Read one picture's rows; class -1 says that a row is empty. Raises Malformed."""
        rows = item.get("prediction") if isinstance(item, dict) else item
        if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
            raise Malformed("it is not a list of rows [class, score, x0, y0, x1, y1]")
        regions = [region for row in rows if row[0] != -1 for region in _regions(row, one)]
        return Findings(tuple(regions), one.version, size_of(None, one))


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 6 and all(map(is_number, row))


def _regions(row: list[Any], one: One) -> list[Region]:
    box = FRACTIONS.corners(row[2:])
    return [] if box is None else [Region(class_name(row[0], one), box, score("score", row[1]))]
