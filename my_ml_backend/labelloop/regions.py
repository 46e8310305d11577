"""Regions as JSON, in our own language (docs/formats.md): ``{"label", <one shape>, "score"?, "tag"?}``.

What is true of an item whose kind learns regions (``Item.result``) is a list of them: parts of a text (``span``) and
boxes (``box``), in an order of its own, so that the same regions are always spelled the same.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from labelloop.types import Box, Json, Mask, Number, Point, Polygon, Region, Shape, Span, Text, Whole, canonical


def read_regions(text: str) -> tuple[Region, ...]:
    """Read back what ``write_regions`` wrote; raises ValueError, saying what is wrong, for anything else."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the regions are no JSON") from None
    if not isinstance(entries, list):
        raise ValueError("the regions are not a list")  # noqa: TRY004 - damage is one error, whatever is damaged
    return tuple(map(_region, entries))


def write_regions(regions: Iterable[Region]) -> str:
    """Spell parts of a text and boxes, from the first to the last; of a picture, from the top to the bottom.

    Raises ValueError for a region that has no label or no extent, and for any other shape.
    """
    return canonical([region_json(one) for one in sorted(map(_checked, regions), key=_place)])


def region_json(region: Region, shape: Json | None = None) -> Json:
    """Write one region; ``shape`` is its shape written already, else ``shape_json`` writes it."""
    label = {"label": region.label} if region.label else {}
    score = {} if region.score is None else {"score": region.score}
    tag = {"tag": region.tag} if region.tag else {}
    return {**label, **score, **(shape_json(region.shape) if shape is None else shape), **tag}


def shape_json(shape: Shape) -> Json:
    """Write a shape under its own key; raises ValueError for a mask, which is written as runs (endpoints/answers)."""
    return dict(_shape_json(shape))


def _shape_json(shape: Shape) -> Iterator[tuple[str, object]]:
    match shape:
        case Box(x, y, width, height, rotation):
            yield "box", [x, y, width, height]
            if rotation:
                yield "rotation", rotation
        case Point(x, y):
            yield "point", [x, y]
        case Polygon(points):
            yield "polygon", [[one.x, one.y] for one in points]
        case Mask():
            raise ValueError("a mask is no list of numbers")
        case Span(start, end):
            yield "span", [start, end]
        case Text(content):
            yield "text", content
        case Number(value):
            yield "number", value
        case Whole():
            yield "whole", True


def _region(entry: object) -> Region:
    if not isinstance(entry, dict):
        raise ValueError("a region is not an object")  # noqa: TRY004
    label, score, tag = entry.get("label"), entry.get("score"), entry.get("tag", "")
    if not isinstance(label, str) or not isinstance(tag, str):
        raise ValueError("a region's label or tag is no text")  # noqa: TRY004
    if score is not None and not (_is_number(score) and 0 <= score <= 1):
        raise ValueError("a region's score is not from 0 to 1")
    return _checked(Region(label, _shape(entry), None if score is None else float(score), tag))


def _shape(entry: Json) -> Span | Box:
    span: Any = entry.get("span")
    box: Any = entry.get("box")
    if _are(span, 2) and all(isinstance(one, int) for one in span) and box is None:
        return Span(*span)
    rotation = entry.get("rotation", 0.0)
    if _are(box, 4) and span is None and _is_number(rotation):
        return _box(*box, rotation)
    raise ValueError('a region has neither a "span" of two whole numbers nor a "box" of four numbers')


def _box(*numbers: float) -> Box:
    try:
        return Box(*map(float, numbers))
    except OverflowError:
        raise ValueError("a box has a number that is too large") from None


def _are(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked(region: Region) -> Region:
    if not region.label:
        raise ValueError("a region has no label")
    match region.shape:
        case Span(start, end) if 0 <= start < end:
            return region
        case Box(x, y, width, height, rotation):
            if all(map(math.isfinite, (x, y, width, height, rotation))) and width > 0 and height > 0:
                return region
    raise ValueError("a region is neither a part of a text nor a box that has an extent")


def _place(region: Region) -> tuple[float, float, str]:
    shape = region.shape
    first, second = 0.0, 0.0
    match shape:
        case Span(start, end):
            first, second = start, end
        case Box(x, y):
            first, second = y, x
    return first, second, canonical(region_json(region))
