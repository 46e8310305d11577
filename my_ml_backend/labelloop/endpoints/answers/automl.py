"""Vertex AutoML: ``{"displayNames", "confidences", "ids"}``, with ``bboxes`` or text offsets beside them.

Boxes are ``[xMin, xMax, yMin, yMax]`` in fractions. Google's reference calls ``textSegmentEndOffsets`` inclusive; its
own sample code takes the text from the start up to, and without, the end, and so does this. Offsets may be texts.
"""

from typing import Any

from labelloop.endpoints.answers.classifications import classified
from labelloop.endpoints.answers.format import Asked, Malformed, class_name, score
from labelloop.endpoints.answers.geometry import FRACTIONS, numbers, size_of
from labelloop.endpoints.answers.texts import span
from labelloop.types import Answer, Findings, Region

_STARTS, _ENDS = "textSegmentStartOffsets", "textSegmentEndOffsets"


class AutoMl:
    """The answer format ``automl``."""

    name = "automl"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is an object with lists of names and confidences."""
        return isinstance(item, dict) and all(
            isinstance(item.get(key), list) for key in ("displayNames", "confidences")
        )

    def read(self, item: Any, one: Asked) -> Answer:
        """Read a classification, boxes or spans. Raises Malformed."""
        if not self.fits(item, ()):
            raise Malformed('it is not an object with "displayNames" and "confidences"')
        names = [class_name(name, one) for name in item["displayNames"]]
        scores = [score("confidences", value) for value in _column(item, "confidences", len(names))]
        if "bboxes" in item:
            return _boxes(names, scores, _column(item, "bboxes", len(names)), one)
        if _STARTS in item or _ENDS in item:
            offsets = zip(_column(item, _STARTS, len(names)), _column(item, _ENDS, len(names)), strict=True)
            spans = [span(start, end, one) for start, end in offsets]
            return Findings(tuple(map(Region, names, spans, scores)), one.version)
        return classified(zip(names, scores, strict=True), one.version) if names else Findings((), one.version)


def _boxes(names: list[str], scores: list[float], places: list[Any], one: Asked) -> Findings:
    regions: list[Region] = []
    for name, value, place in zip(names, scores, places, strict=True):
        x0, x1, y0, y1 = numbers(place, 4)
        if (box := FRACTIONS.corners([x0, y0, x1, y1])) is not None:
            regions.append(Region(name, box, value))
    return Findings(tuple(regions), one.version, size_of(None, one))


def _column(item: dict[str, Any], name: str, length: int) -> list[Any]:
    column = item.get(name)
    if not isinstance(column, list) or len(column) != length:
        raise Malformed(f'"{name}" is not a list as long as "displayNames"')
    return column
