"""Regions in our own language: ``{"regions": [{"label", "score", <one shape>}], "unit"?, "width"?, "height"?}``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.geometry import FRACTIONS, PERCENT, Scale, numbers, pixels, size_of
from labelloop.endpoints.answers.masks import read_mask, within_memory
from labelloop.endpoints.answers.spans import span
from labelloop.endpoints.answers.values import Malformed, number, optional_score, region_class, unicode_text
from labelloop.types import Findings, Number, Point, Polygon, Region, Shape, Span, Text


def findings(item: dict[str, Any], one: One) -> Findings:
    """Read all regions of one input. Raises Malformed when any of them is wrong."""
    entries = item["regions"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Malformed('"regions" is not a list of objects')
    size = size_of(item, one)
    scale = _scale(item.get("unit", "fractions"), size)
    regions = (region for entry in entries if (region := _region(entry, scale, one)) is not None)
    return Findings(within_memory(regions), one.version, size)


def _scale(unit: Any, size: tuple[int, int] | None) -> Scale:
    match unit:
        case "fractions":
            return FRACTIONS
        case "percent":
            return PERCENT
        case "pixels":
            return pixels(size)
    raise Malformed('"unit" is none of fractions, percent, pixels')


def _region(entry: dict[str, Any], scale: Scale, one: One) -> Region | None:
    """Read one region; None for a box that lies outside the picture."""
    kind = next((name for name in _SHAPES if entry.get(name) is not None), None)
    if kind is None:
        raise Malformed(f"a region has none of {', '.join(_SHAPES)}")
    shape = _SHAPES[kind](entry, scale, one)
    if shape is None:
        return None
    bare = isinstance(shape, Text | Number) and entry.get("label") in (None, "")
    return Region("" if bare else region_class(entry.get("label"), one), shape, optional_score(entry.get("score")))


def _box(entry: dict[str, Any], scale: Scale, _: One) -> Shape | None:
    return scale.box(entry["box"], number("rotation", entry.get("rotation", 0)))


def _corners(entry: dict[str, Any], scale: Scale, _: One) -> Shape | None:
    return scale.corners(entry["corners"])


def _center(entry: dict[str, Any], scale: Scale, _: One) -> Shape | None:
    x, y, width, height = numbers(entry["center"], 4)
    return scale.corners([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def _polygon(entry: dict[str, Any], scale: Scale, _: One) -> Shape:
    places = entry["polygon"]
    if not isinstance(places, list) or len(places) < 3:
        raise Malformed("a polygon is not a list of three or more points")
    return Polygon(tuple(_place(place, scale) for place in places))


def _point(entry: dict[str, Any], scale: Scale, _: One) -> Shape:
    return _place(entry["point"], scale)


def _place(place: Any, scale: Scale) -> Point:
    x, y = numbers(place, 2)
    return scale.point(x, y)


def _mask(entry: dict[str, Any], _: Scale, __: One) -> Shape:
    return read_mask(entry["mask"])


def _span(entry: dict[str, Any], _: Scale, one: One) -> Span:
    start, end = numbers(entry["span"], 2)
    return span(start, end, one)


def _text(entry: dict[str, Any], _: Scale, __: One) -> Shape:
    if not isinstance(entry["text"], str):
        raise Malformed('the "text" of a region is none')
    return Text(unicode_text("text", entry["text"]))


def _number(entry: dict[str, Any], _: Scale, __: One) -> Shape:
    return Number(number("number", entry["number"]))


_SHAPES: Mapping[str, Callable[[dict[str, Any], Scale, One], Shape | None]] = MappingProxyType(
    {
        "box": _box,
        "corners": _corners,
        "center": _center,
        "polygon": _polygon,
        "point": _point,
        "mask": _mask,
        "span": _span,
        "text": _text,
        "number": _number,
    }
)
