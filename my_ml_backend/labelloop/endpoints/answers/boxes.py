"""Boxes in a picture, written as rows of numbers, or as lists side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelloop.endpoints.answers.classifications import classified
from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    class_name,
    is_number,
    optional_score,
    read_score,
    region_class,
    whole,
    within_memory,
)
from labelloop.endpoints.answers.geometry import FRACTIONS, Order, Unit, as_corners, boxes_of, numbers, size_of
from labelloop.endpoints.answers.masks import read_mask
from labelloop.endpoints.answers.texts import span
from labelloop.endpoints.answers.vocabulary import folded, is_class, is_word, label_column, score_column
from labelloop.endpoints.failures import one_line
from labelloop.types import Answer, Findings, Region


class Detections:
    """The answer format ``detections``, SageMaker's: ``{"prediction": [[class, score, x0, y0, x1, y1], ...]}``.

    The class is an index, the corners are fractions of the picture (SageMaker Developer Guide, "Object Detection
    Request and Response Formats").
    """

    name = "detections"
    made_by = "SageMaker object detection"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - what is missing is said on reading
        """Whether it is an object with rows of six numbers, of which the first is that of a class."""
        rows = item.get("prediction") if isinstance(item, dict) else None
        return (
            isinstance(rows, list)
            and all(_is_row(row) and is_class(row[0]) for row in rows)
            and (len(rows) > 0 or len(item) == 1)
        )

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


@dataclass(frozen=True, slots=True)
class Column:
    """What a list of boxes of that name holds: the order and unit of its numbers, and the number of the first class.

    ``named``: beside it ``labels`` are the names of all the model's classes, of which ``classes`` holds the numbers.
    """

    order: Order
    unit: Unit
    first: int = 0
    named: bool = False


_COLUMNS: Mapping[str, Column] = {
    "normalizedbox": Column("corners", "fractions", named=True),
    "detectionbox": Column("row first", "fractions", first=1),
    "box": Column("corners", "pixels"),
    "bbox": Column("corners", "pixels"),
    "predbox": Column("corners", "pixels"),
    "xyxy": Column("corners", "pixels"),
    "xyxyn": Column("corners", "fractions"),
}
"""By the vocabulary's spelling, the surest first: of JumpStart, TensorFlow, torchvision, MMDetection, Detectron2, YOLO.
"""

_CLASSES = ("labels", "classes", "detection_classes", "pred_classes")
"""Lists of what boxes are, whatever they hold."""


class Boxes:
    """The answer format ``boxes``: lists side by side, of boxes, of their classes, of their scores.

    ``{"boxes": [[x0, y0, x1, y1]], "labels": [...], "scores": [...]}`` of torchvision's detectors, in pixels. ``masks``
    may stand beside the boxes, a height x width array for each, perhaps inside a list of one. What the other names of
    ``_COLUMNS`` hold is what those who made them up write. Rows of six numbers are YOLO's: corners, score and class.
    """

    name = "boxes"
    made_by = "torchvision, JumpStart, TensorFlow Object Detection, YOLO rows, MMDetection, Detectron2, Florence-2"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names may be in the answer
        """Whether it is an object with lists of boxes and of what they are."""
        return _boxes_in(_unwrapped(item)) is not None

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one picture's boxes, and a mask beside each where there are masks. Raises Malformed."""
        item = _unwrapped(item)
        key = _boxes_in(item)
        if key is None:
            raise Malformed('it is not an object with "boxes" and "labels"')
        column = _COLUMNS[folded(key)]
        _require_as_named(item, column)
        rows = _rows(item[key])[: _count(item)]
        size = size_of(item, one)
        if rows and all(map(_is_row, rows)):
            labels, scores = [row[5] for row in rows], [row[4] for row in rows]
            rows = [row[:4] for row in rows]
        else:
            beside = _beside(item, len(rows))
            labels, scores = _labels(beside, len(rows), column), _scores(beside, len(rows))
        known = _known(item, column)
        names = [region_class(_named(label, known), one, first=column.first) for label in labels]
        places = [as_corners(row, column.order) for row in rows]
        regions = [
            Region(name, box, optional_score(score))
            for name, box, score in zip(names, boxes_of(places, column.unit, size), scores, strict=True)
            if box is not None
        ]
        if item.get("masks") is not None:
            regions += within_memory(_masks(item, names, scores))
        return Findings(tuple(regions), one.version, size)


_OTHERWISE = frozenset(("xywh", "cxcywh", "xcycwh", "ltwh", "tlwh", "yxyx", "xywhn", "cxcywhn"))
"""What a field beside boxes calls those that are no two corners, x first."""


def _require_as_named(item: Mapping[str, Any], column: Column) -> None:
    """Raise Malformed where another field says that boxes are not what such boxes usually are."""
    for key, value in item.items():
        order = isinstance(value, str) and value.strip().casefold() in _OTHERWISE
        unit = value is True and folded(key) in ("normalized", "isnormalized", "relative")
        if order or (column.unit == "pixels" and (unit or value == "xyxyn")):
            raise Malformed(
                f"its field {key[:60]!r} says that its boxes are not {column.order} in {column.unit}: a mapping to "
                '{"regions": [...], "unit": ...}, with corners, box or center, says what they are'
            )


def _unwrapped(item: Any) -> Any:
    """Take an object out of one that holds nothing else: ``{"instances": {...}}``, ``{"<OD>": {...}}``."""
    for _ in range(3):
        if not isinstance(item, dict) or len(item) != 1 or not isinstance(inner := next(iter(item.values())), dict):
            break
        item = inner
    return item


def _boxes_in(item: Any) -> str | None:
    """Find the list of boxes of an object that says with lists, too, what they are; None where it is none."""
    if not isinstance(item, dict):
        return None
    for name in _COLUMNS:
        lists = (str(key) for key, value in item.items() if folded(key) == name and isinstance(value, list))
        key = next(lists, None)
        if key is None or any(isinstance(entry, dict) for entry in item[key]):
            continue
        rows = _rows(item[key])
        if (rows and all(map(_is_row, rows))) or any(isinstance(item.get(name), list) for name in _CLASSES):
            return key
        if label_column(item, len(rows)) is not None or score_column(item, len(rows)) is not None:
            return key
    return None


def _rows(values: list[Any]) -> list[Any]:
    """Give boxes, which may be those of one picture in a list of pictures."""
    inner = values[0] if len(values) == 1 else None
    return inner if isinstance(inner, list) and (not inner or isinstance(inner[0], list)) else values


def _count(item: Mapping[str, Any]) -> int | None:
    """Read how many of the boxes count, where it is said: TensorFlow fills its lists up with empty ones."""
    said = item.get("num_detections")
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    return None if said is None else max(0, whole("num_detections", said))


def _beside(item: Mapping[str, Any], length: int) -> dict[str, list[Any]]:
    """Give the lists beside boxes, of one picture, no longer than the boxes that count."""
    found: dict[str, list[Any]] = {}
    for key, values in item.items():
        if isinstance(values, list):
            inner = values[0] if len(values) == 1 and isinstance(values[0], list) else values
            found[key] = inner[:length] if "num_detections" in item else inner
    return found


def _labels(beside: Mapping[str, list[Any]], length: int, column: Column) -> list[Any]:
    key = "classes" if column.named and "classes" in beside else label_column(beside, length)
    key = key or next((key for key in _CLASSES if key in beside), None)
    if key is not None:
        return _column(beside, key, length)
    words = (key for key, values in beside.items() if 0 < len(values) == length and all(map(is_word, values)))
    if (doubtful := next(words, None)) is not None:
        raise Malformed(f"whether {one_line(doubtful)!r} says what its boxes are cannot be told: a mapping says so")
    return [None] * length


def _scores(beside: Mapping[str, list[Any]], length: int) -> list[Any]:
    key = "scores" if "scores" in beside else score_column(beside, length)
    return [None] * length if key is None else _column(beside, key, length)


def _known(item: Mapping[str, Any], column: Column) -> Mapping[Any, Any]:
    """Give the names of classes by their numbers, where the answer itself lists them."""
    listed = item.get("names", item.get("labels") if column.named and "classes" in item else None)
    return listed if isinstance(listed, dict) else dict(enumerate(listed)) if isinstance(listed, list) else {}


def _named(label: Any, known: Mapping[Any, Any]) -> Any:
    if not known or not is_number(label):
        return label
    index = whole("label", label)
    name = known.get(index, known.get(str(index)))
    if not isinstance(name, str):
        raise Malformed(f"it names class {index}, which its own list of names does not hold")
    return name


def _masks(item: Mapping[str, Any], names: Sequence[str], scores: Sequence[Any]) -> Iterator[Region]:
    for mask, name, value in zip(_column(item, "masks", len(names)), names, scores, strict=True):
        yield Region(name, read_mask(mask), optional_score(value))


def _column(item: Mapping[str, Any], name: str, length: int) -> list[Any]:
    column = item.get(name)
    if not isinstance(column, list):
        raise Malformed(f'"{name}" is not a list')
    if len(column) != length:
        raise Malformed(f'"{name}" holds {len(column)} values for {length} boxes')
    return column


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
