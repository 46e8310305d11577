"""Boxes in a picture, as SageMaker, torchvision, Hugging Face and Vertex AutoML write them."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from labelloop.endpoints.answers.classifications import classified
from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    class_name,
    entries,
    is_number,
    optional_score,
    read_score,
    region_class,
    within_memory,
)
from labelloop.endpoints.answers.geometry import FRACTIONS, numbers, pixels, size_of
from labelloop.endpoints.answers.masks import read_mask
from labelloop.endpoints.answers.texts import span
from labelloop.types import Answer, Box, Findings, Region


class Detections:
    """The answer format ``detections``, SageMaker's: ``{"prediction": [[class, score, x0, y0, x1, y1], ...]}``.

    The class is an index, the corners are fractions of the picture (SageMaker Developer Guide, "Object Detection
    Request and Response Formats").
    """

    name = "detections"
    made_by = "SageMaker object detection"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - what is missing is said on reading
        """Whether it is an object with rows of six numbers."""
        rows = item.get("prediction") if isinstance(item, dict) else None
        return isinstance(rows, list) and all(_is_row(row) for row in rows) and (len(rows) > 0 or len(item) == 1)

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one picture's rows; class -1 says that a row is empty. Raises Malformed."""
        rows = item.get("prediction") if isinstance(item, dict) else item
        if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
            raise Malformed("it is not a list of rows [class, score, x0, y0, x1, y1]")
        regions = [region for row in rows if row[0] != -1 for region in _of_row(row, one)]
        return Findings(tuple(regions), one.version, size_of(None, one))


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 6 and all(map(is_number, row))


def _of_row(row: list[Any], one: Asked) -> list[Region]:
    box = FRACTIONS.corners(row[2:])
    return [] if box is None else [Region(class_name(row[0], one), box, read_score("score", row[1]))]


class Boxes:
    """The answer format ``boxes`` of torchvision's detectors, in pixels.

    ``{"boxes": [[x0, y0, x1, y1]], "labels": [...], "scores": [...]}``. ``masks`` may stand beside the boxes, a height
    x width array for each, perhaps inside a list of one.
    """

    name = "boxes"
    made_by = "torchvision detectors"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names may be in the answer
        """Whether it is an object with lists of boxes and labels."""
        return isinstance(item, dict) and isinstance(item.get("boxes"), list) and isinstance(item.get("labels"), list)

    def read(self, item: Any, one: Asked) -> Findings:
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


def _masks(item: Any, labels: list[Any], one: Asked) -> Iterator[Region]:
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


_NAMED_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Objects:
    """The answer format ``objects``, Hugging Face's, in pixels.

    ``[{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}]``.
    """

    name = "objects"
    made_by = "Hugging Face object detection"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is a list of objects with boxes of four named corners, or empty."""
        return isinstance(item, list) and all(_is_object(entry) for entry in item)

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one picture's objects. Raises Malformed."""
        found = entries(item)
        size = size_of(None, one)
        scale = pixels(size) if found else None
        regions: list[Region] = []
        for entry in found:
            if scale is None or not _is_object(entry):
                raise Malformed('an object has no "box" with "xmin", "ymin", "xmax" and "ymax"')
            box: Box | None = scale.corners([entry["box"][corner] for corner in _NAMED_CORNERS])
            if box is not None:
                regions.append(Region(region_class(entry.get("label"), one), box, optional_score(entry.get("score"))))
        return Findings(tuple(regions), one.version, size)


def _is_object(entry: Any) -> bool:
    box = entry.get("box") if isinstance(entry, dict) else None
    return isinstance(box, dict) and all(corner in box for corner in _NAMED_CORNERS)


_STARTS, _ENDS = "textSegmentStartOffsets", "textSegmentEndOffsets"


class AutoMl:
    """The answer format ``automl``, Vertex AI's.

    ``{"displayNames", "confidences", "ids"}``, with ``bboxes`` or text offsets beside them. Boxes are
    ``[xMin, xMax, yMin, yMax]`` in fractions. Google's reference calls ``textSegmentEndOffsets`` inclusive; its own
    sample code takes the text from the start up to, and without, the end, and so does this. Offsets may be texts.
    """

    name = "automl"
    made_by = "Vertex AI AutoML: classes, boxes, spans"

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
        scores = [read_score("confidences", value) for value in _named_column(item, "confidences", len(names))]
        if "bboxes" in item:
            return _named_boxes(names, scores, _named_column(item, "bboxes", len(names)), one)
        if _STARTS in item or _ENDS in item:
            offsets = zip(
                _named_column(item, _STARTS, len(names)),
                _named_column(item, _ENDS, len(names)),
                strict=True,
            )
            spans = [span(start, end, one) for start, end in offsets]
            return Findings(tuple(map(Region, names, spans, scores)), one.version)
        return classified(zip(names, scores, strict=True), one.version) if names else Findings((), one.version)


def _named_boxes(names: list[str], scores: list[float], places: list[Any], one: Asked) -> Findings:
    regions: list[Region] = []
    for name, value, place in zip(names, scores, places, strict=True):
        x0, x1, y0, y1 = numbers(place, 4)
        if (box := FRACTIONS.corners([x0, y0, x1, y1])) is not None:
            regions.append(Region(name, box, value))
    return Findings(tuple(regions), one.version, size_of(None, one))


def _named_column(item: dict[str, Any], name: str, length: int) -> list[Any]:
    column = item.get(name)
    if not isinstance(column, list) or len(column) != length:
        raise Malformed(f'"{name}" is not a list as long as "displayNames"')
    return column
