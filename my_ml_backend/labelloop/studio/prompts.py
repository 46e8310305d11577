"""What an annotator drew with a smart tool to ask for a prediction."""

import math
from collections.abc import Iterator

from labelloop.studio.label_config import LabelConfig
from labelloop.types import Box, Json, Point, Prompted

_POINTS = ("keypointlabels", "keypoint")
_BOXES = ("rectanglelabels", "rectangle")


def prompts_of(config: LabelConfig, context: object) -> tuple[Prompted, ...]:
    """Read the points and boxes of an interactive request's ``params.context``; what is of another form is left out.

    Label Studio sends what was drawn with smart tools, in percent of the picture: ``{"result": [{"type":
    "keypointlabels", "value": {"x", "y", "width", "keypointlabels": ["cat"]}, "is_positive": true}, ...]}``. A point
    drawn with Alt held down is negative. What is about another object tag than the one whose data goes to the
    endpoint does not count.
    """
    result = context.get("result") if isinstance(context, dict) else None
    regions = result if isinstance(result, list) else []
    return tuple(_prompts(config, regions))


def _prompts(config: LabelConfig, regions: list[object]) -> Iterator[Prompted]:
    for region in regions:
        if not isinstance(region, dict) or region.get("to_name", config.to_name) != config.to_name:
            continue
        value, kind = region.get("value"), region.get("type")
        if not isinstance(value, dict) or not isinstance(kind, str):
            continue
        shape = _point(value) if kind in _POINTS else _box(value) if kind in _BOXES else None
        if shape is not None:
            yield Prompted(shape, _label(value, kind), region.get("is_positive", True) is not False)


def _point(value: Json) -> Point | None:
    x, y = _fraction(value.get("x")), _fraction(value.get("y"))
    return None if x is None or y is None else Point(x, y)


def _box(value: Json) -> Box | None:
    corner = _point(value)
    width, height = _fraction(value.get("width")), _fraction(value.get("height"))
    if corner is None or not width or not height or min(width, height) < 0.0:
        return None
    rotation = _number(value.get("rotation", 0)) or 0.0
    return Box(corner.x, corner.y, width, height, rotation)


def _label(value: Json, kind: str) -> str:
    for key in (kind, "labels"):
        labels = value.get(key)
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return ""


def _fraction(percent: object) -> float | None:
    number = _number(percent)
    return None if number is None else number / 100.0


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
