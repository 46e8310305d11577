"""Things that each say by themselves where they are: records with a class, a score and a box, however that is spelled.

What four names mean, and what they count in, is told by the names. A list of four numbers, or ``x, y, width, height``,
may mean several things: it is read where the rest of the shape says whose it is, and else refused with a way to say it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    entries,
    is_number,
    number,
    optional_score,
    path_step,
    region_class,
    within_memory,
)
from labelloop.endpoints.answers.geometry import Order, Size, Unit, as_corners, boxes_of, pixels, size_of
from labelloop.endpoints.answers.masks import is_rle, read_mask
from labelloop.endpoints.answers.vocabulary import PLACES, PLAIN_WRAPPERS, folded, label_key, score_key
from labelloop.types import Findings, Mask, Polygon, Region


@dataclass(frozen=True, slots=True)
class Place:
    """Where one thing is: four numbers, their order and unit, None where the answer does not tell.

    ``written`` is how JMESPath finds them, one path for a list, else four.
    """

    numbers: Sequence[Any]
    order: Order | None
    unit: Unit | None
    written: tuple[str, ...]

    @property
    def is_told(self) -> bool:
        """Whether it can be read."""
        return self.order is not None and self.unit is not None


_HOLDERS = ("box", "bbox", "boundingbox", "rectangle", "rect", "boundingpoly", "geometry", "xyxy", "xywh", "roi")
"""What a record calls the field of its place, by the vocabulary's spelling."""

_NAMED: tuple[tuple[tuple[str, str, str, str], Order | None, Unit | None], ...] = (
    (("xmin", "ymin", "xmax", "ymax"), "corners", "pixels"),
    (("x1", "y1", "x2", "y2"), "corners", "pixels"),
    (("x0", "y0", "x1", "y1"), "corners", "pixels"),
    (("topx", "topy", "bottomx", "bottomy"), "corners", "fractions"),
    (("left", "top", "width", "height"), "box", "fractions"),
    (("xcenter", "ycenter", "width", "height"), "center", "pixels"),
    (("left", "top", "right", "bottom"), "corners", None),
    (("x", "y", "width", "height"), None, None),
    (("x", "y", "w", "h"), None, None),
    (("cx", "cy", "w", "h"), "center", None),
)
"""Names of four numbers, with what those mean to everybody who uses them, None where that differs.

Corners are Hugging Face's and pandas of YOLOv5, Ultralytics', and Azure AutoML's; left and top are Azure Custom
Vision's and Rekognition's.
"""

_OUTLINES: tuple[tuple[str, Unit], ...] = (("normalizedVertices", "fractions"), ("vertices", "pixels"))
"""Google's names of the corners of an outline."""

_EMPTIED = ("boxes", "objects", "detections", "CustomLabels", "localizedObjectAnnotations")
"""Lists that are empty where nothing was found, by themselves or beside what is said of the picture."""


def place_of(record: Any) -> Place | None:
    """Find where a thing is; None where it does not say."""
    if not isinstance(record, dict):
        return None
    if (title := _title(record)) is not None:
        return Place(record[title], "corners", "pixels", (path_step(title),))
    holder = next((key for key in record if _singular(key) in _HOLDERS and _held(record[key], path_step(key))), None)
    if holder is None:
        found = _named(record, "")
        return _of_roboflow(found) if found is not None and "detection_id" in record else found
    found = _held(record[holder], path_step(holder))
    if found is not None and len(found.written) == 1 and _singular(holder) == "bbox" and "category_id" in record:
        return Place(found.numbers, "box", "pixels", found.written)
    if found is not None and _singular(holder) in ("rectangle", "rect") and found.order is None:
        return Place(found.numbers, "box", "pixels", found.written)
    return found


def _singular(key: str) -> str:
    """Fold a name as the vocabulary does, but for a plural: that names the places of several things."""
    return "" if key.lower().endswith("s") else folded(key)


def _held(value: Any, path: str) -> Place | None:
    """Read what stands under a name for places: a list, four names, or corners of an outline."""
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], list):
            value, path = value[0], f"{path}[0]"
        return Place(value, None, None, (path,)) if len(value) == 4 and all(map(is_number, value)) else None
    if not isinstance(value, dict):
        return None
    if (outline := _bounds(value)) is not None:
        return outline
    inner = next((key for key in value if _singular(key) == "boundingbox"), None)
    return _named(value, path) if inner is None else _held(value[inner], f"{path}.{path_step(inner)}")


def _named(record: Mapping[str, Any], path: str) -> Place | None:
    keys = {folded(key): key for key in record}
    if "x3" in keys:
        return None  # the four corners of a turned box, of which two say nothing
    for names, order, unit in _NAMED:
        if all(name in keys for name in names):
            own = [keys[name] for name in names]
            written = tuple(f"{path}.{path_step(key)}" if path else path_step(key) for key in own)
            return Place([record[key] for key in own], order, unit, written)
    return None


def _bounds(value: Mapping[str, Any]) -> Place | None:
    """Read Google's outlines by their bounds; a coordinate of 0 is left out of its JSON."""
    for key, unit in _OUTLINES:
        points = value.get(key)
        if isinstance(points, list) and points and all(isinstance(point, dict) for point in points):
            across, down = ([point.get(axis, 0) for point in points] for axis in ("x", "y"))
            if not all(map(is_number, (*across, *down))):
                return None
            numbers = [min(across), min(down), max(across), max(down)]
            return Place(numbers, "corners", unit, (key,))
    return None


def _title(record: Mapping[str, Any]) -> str | None:
    """Find a class that names its own place: ``{"cat": [20, 10, 120, 60], "score": 0.9}`` of TorchServe."""
    if len(record) != 2 or (score := score_key(record)) is None:
        return None
    (title,) = record.keys() - {score}
    value = record[title]
    is_place = isinstance(value, list) and len(value) == 4 and all(map(is_number, value))
    return title if is_place and folded(title) not in PLACES else None


def _of_roboflow(place: Place) -> Place:
    return Place(place.numbers, "center", "pixels", place.written) if place.order is None else place


class Objects:
    """The answer format ``objects``: a list of things, each with its class, score and box.

    ``[{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}]`` (Hugging Face), and every other spelling that
    ``place_of`` knows; an outline or a mask may stand beside the box. The list may be inside an object.
    """

    name = "objects"
    made_by = (
        "Hugging Face object detection, Ultralytics, YOLOv5, Roboflow, Azure Custom Vision and AutoML, Amazon "
        "Rekognition, Google Vision, TorchServe, COCO results"
    )

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is a list of things that have a place, perhaps empty, or an object that holds one."""
        records = _records(item)
        return records is not None and all(_has_place(record) for record in records)

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one picture's objects. Raises Malformed, also where it cannot be told what their numbers mean."""
        records = _records(item)
        found = entries(item if records is None else records)
        size = size_of(item, one)
        places = [_place(record, item) for record in found]
        if doubtful := next((place for place in places if not place.is_told), None):
            raise Malformed(_doubt(doubtful, found, one))
        spelled = {(place.order, place.unit) for place in places}
        if len(spelled) > 1:
            raise Malformed("its objects spell their boxes in different ways")
        boxes = boxes_of([as_corners(place.numbers, place.order or "corners") for place in places], _unit(places), size)
        regions = (
            Region(region_class(_label(record), one), shape, _score(record))
            for record, box in zip(found, boxes, strict=True)
            for shape in (box, *_inside(record, size))
            if shape is not None
        )
        return Findings(within_memory(regions), one.version, size)


def _unit(places: Sequence[Place]) -> Unit:
    return "fractions" if any(place.unit == "fractions" for place in places) else "pixels"


def _has_place(record: Any) -> bool:
    return isinstance(record, dict) and place_of(record) is not None


def _place(record: Mapping[str, Any], item: Any) -> Place:
    place = place_of(record)
    if place is None:
        raise Malformed('an object has no "box" with "xmin", "ymin", "xmax" and "ymax", or another known one')
    return _of_roboflow(place) if len(place.written) == 4 and _is_roboflow(item) else place


def _records(item: Any) -> list[Any] | None:
    """Find the things of one picture: the item itself, or the one list of things with places that it holds."""
    if not isinstance(item, dict):
        return item if isinstance(item, list) else None
    if len(item) == 1 and (inner := _alone(item)) is not None:
        return _records(inner) if inner else []
    lists = {key: value for key, value in item.items() if isinstance(value, list)}
    wrapped = () if _is_roboflow(item) else PLAIN_WRAPPERS  # which say more than where things are
    held = [value for key, value in lists.items() if value and key not in wrapped and all(map(_has_place, value))]
    if len(held) == 1:
        return held[0]
    if not held and not any(lists.values()):
        if any(name in lists for name in _EMPTIED) or _is_roboflow(item) or _found_nothing(item):
            return []
        return [item] if _has_place(item) and label_key(item) is not None else None
    return None


def _found_nothing(item: Mapping[str, Any]) -> bool:
    """Whether empty ``predictions`` are those of one picture: Azure Custom Vision's, or DeepStack's of a success."""
    return "predictions" in item and ("iteration" in item or item.get("success") is True)


def _alone(item: Mapping[str, Any]) -> Any:
    """Take out what an object holds alone, also Google's ``responses`` of one picture, empty where there is nothing."""
    if item.keys() == {"responses"}:
        responses = item["responses"]
        return responses[0] if isinstance(responses, list) and len(responses) == 1 else None
    (inner,) = item.values()
    return inner if isinstance(inner, dict) and inner else None


def _is_roboflow(item: Any) -> bool:
    """Whether it is Roboflow's, which says how large the picture is and gives the middle of each box."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("predictions"), list)
        and isinstance(item.get("image"), dict)
        and {"width", "height"} <= item["image"].keys()
        and all(map(_has_place, item["predictions"]))
    )


def _label(record: Mapping[str, Any]) -> Any:
    if (title := _title(record)) is not None:
        return title
    if (key := label_key(record)) is not None:
        return record[key]
    return record.get("object")  # Azure's image analysis


def _score(record: Mapping[str, Any]) -> float | None:
    key = score_key(record)
    if key is None:
        return None
    percent = "Geometry" in record and is_number(record[key])
    return optional_score(number(key, record[key]) / 100 if percent else record[key])


def _inside(record: Mapping[str, Any], size: Size | None) -> Iterator[Mask | Polygon | None]:
    """Read the outline or the mask that stands beside a box."""
    mask = record.get("mask", record.get("segmentation"))
    if isinstance(mask, str) or is_rle(mask):
        yield read_mask(mask)
    elif (points := _outline(record)) is not None and len(points) > 2:
        scale = pixels(size)
        yield Polygon(tuple(scale.point(x, y) for x, y in points))


def _outline(record: Mapping[str, Any]) -> list[tuple[Any, Any]] | None:
    """Find the outline: ``segments`` of Ultralytics, ``points`` of Roboflow, both in pixels."""
    segments, points = record.get("segments"), record.get("points")
    if isinstance(segments, dict) and isinstance(segments.get("x"), list) and isinstance(segments.get("y"), list):
        return list(zip(segments["x"], segments["y"], strict=False))
    if isinstance(points, list) and all(isinstance(point, dict) for point in points):
        return [(point.get("x"), point.get("y")) for point in points]
    return None


def _doubt(place: Place, records: Sequence[Mapping[str, Any]], one: Asked) -> str:
    """Say what cannot be told of a box, and how a mapping tells it."""
    several = len(place.written) > 1
    order, unit = place.order or ("box" if several else "corners"), place.unit or "pixels"
    numbers = f"[{', '.join(place.written)}]" if several else place.written[0]
    named = (("label", label_key(records[0])), ("score", score_key(records[0])))
    fields = [f"{name}: {path_step(key)}" for name, key in named if key] + [f"{order}: {numbers}"]
    mapping = f"{{regions: {_path(one.body, records)}[].{{{', '.join(fields)}}}, unit: '{unit}'}}"
    orders = (
        "begin at a corner or in the middle" if several else "are two corners, or a corner or the middle and a size"
    )
    unknown = [] if place.order else [f"whether they {orders}"]
    unknown += [] if place.unit else ["whether they are pixels, percent or fractions"]
    return (
        f"of its boxes' numbers ({', '.join(place.written)}) it cannot be told {' and '.join(unknown)}: a mapping says "
        f"so, such as {mapping}, with corners, box or center, and 'pixels', 'percent' or 'fractions'"
    )


def _path(body: Any, records: object, depth: int = 4) -> str:
    """Write how JMESPath finds a list in an answer; empty for the answer itself, and where it is not there."""
    if body is records or not depth:
        return ""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in inner:
        step = path_step(key) if isinstance(key, str) else f"[{key}]"
        if value is records:
            return step
        if isinstance(value, dict | list) and (below := _path(value, records, depth - 1)):
            return f"{step}{below}" if below.startswith("[") else f"{step}.{below}"
    return ""
