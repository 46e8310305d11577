"""Our own language (docs/formats.md): a classification with every class's score, or regions.

Regions are ``{"regions": [{"label", "score", <one shape>, "tag"?}], "unit"?, "width"?, "height"?, "tags"?}``.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from labelloop.endpoints.answers.classifications import SUM_TOLERANCE
from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    exact_score,
    number,
    optional_score,
    region_class,
    required_text,
    unicode_text,
    within_memory,
)
from labelloop.endpoints.answers.geometry import FRACTIONS, PERCENT, Scale, numbers, pixels, size_of
from labelloop.endpoints.answers.masks import read_mask, rle_of_mask
from labelloop.endpoints.answers.texts import span
from labelloop.endpoints.failures import one_line
from labelloop.regions import region_json
from labelloop.types import (
    Answer,
    Failure,
    Findings,
    Input,
    Json,
    Mask,
    Number,
    Output,
    Point,
    Polygon,
    Region,
    Shape,
    Span,
    Text,
    Whole,
)


class LabelLoopAnswers:
    """The answer format ``labelloop``."""

    name = "labelloop"
    made_by = "LabelLoop's own containers, your own code, mappings"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is an object with every class's score, or with regions."""
        return isinstance(item, dict) and (
            isinstance(item.get("scores"), dict) or isinstance(item.get("regions"), list)
        )

    def read(self, item: Any, one: Asked) -> Answer:
        """Read one input's classification or regions. Raises Malformed."""
        if not isinstance(item, dict):
            raise Malformed("it is not an object")
        return findings(item, one) if "regions" in item else _output(item, one.version)


def _output(item: dict[str, Any], version: str) -> Output:
    scores = item.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise Malformed('"scores" is not a map from class to score')
    read = {required_text("class", name): exact_score(name, value) for name, value in scores.items()}
    label = required_text("label", item.get("label"))
    if label not in read:
        raise Malformed(f'the label {label[:60]!r} is not in "scores"')
    best = exact_score("score", item.get("score"))
    if abs(best - read[label]) > SUM_TOLERANCE or read[label] < max(read.values()):
        raise Malformed('"label" and "score" are not the best of "scores"')
    match item.get("kind", "single"):
        case "single":
            if abs(math.fsum(read.values()) - 1) > SUM_TOLERANCE:
                raise Malformed("the scores of a single choice do not sum to 1")
            return Output(label, best, read, version, "single")
        case "multiple":
            return Output(label, best, read, version, "multiple", _thresholds(item.get("thresholds", {}), read))
    raise Malformed('"kind" is neither single nor multiple')


def _thresholds(said: Any, scores: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(said, dict) or not said.keys() <= scores.keys():
        raise Malformed('"thresholds" is not a map from classes to scores')
    return {name: exact_score(name, value) for name, value in said.items()}


def findings(item: dict[str, Any], one: Asked) -> Findings:
    """Read all regions of one input. Raises Malformed when any of them is wrong."""
    entries = item["regions"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Malformed('"regions" is not a list of objects')
    size = size_of(item, one)
    scale = _scale(item.get("unit", "fractions"), size)
    regions = (region for entry in entries if (region := _region(entry, scale, one)) is not None)
    score = optional_score(item.get("score"), exact_score)
    return Findings(within_memory(regions), one.version, size, _tags(item.get("tags", [])), score=score)


def _tags(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list):
        raise Malformed('"tags" is not a list of names')
    return tuple(required_text("tags", name) for name in names)


def _scale(unit: Any, size: tuple[int, int] | None) -> Scale:
    match unit:
        case "fractions":
            return FRACTIONS
        case "percent":
            return PERCENT
        case "pixels":
            return pixels(size)
    raise Malformed('"unit" is none of fractions, percent, pixels')


def _region(entry: dict[str, Any], scale: Scale, one: Asked) -> Region | None:
    """Read one region; None for a box that lies outside the picture."""
    kind = next((name for name in _SHAPES if entry.get(name) is not None), None)
    if kind is None:
        raise Malformed(f"a region has none of {', '.join(_SHAPES)}")
    shape = _SHAPES[kind](entry, scale, one)
    if shape is None:
        return None
    bare = isinstance(shape, Text | Number) and entry.get("label") in (None, "")
    label = "" if bare else region_class(entry.get("label"), one)
    if isinstance(shape, Whole) and not label:
        raise Malformed("a label of the whole is missing")
    tag = required_text("tag", entry["tag"]) if entry.get("tag") is not None else ""
    return Region(label, shape, optional_score(entry.get("score"), exact_score), tag)


def _box(entry: dict[str, Any], scale: Scale, _: Asked) -> Shape | None:
    return scale.box(entry["box"], number("rotation", entry.get("rotation", 0)))


def _corners(entry: dict[str, Any], scale: Scale, _: Asked) -> Shape | None:
    return scale.corners(entry["corners"])


def _center(entry: dict[str, Any], scale: Scale, _: Asked) -> Shape | None:
    x, y, width, height = numbers(entry["center"], 4)
    return scale.corners([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def _polygon(entry: dict[str, Any], scale: Scale, _: Asked) -> Shape:
    places = entry["polygon"]
    if not isinstance(places, list) or len(places) < 3:
        raise Malformed("a polygon is not a list of three or more points")
    return Polygon(tuple(_place(place, scale) for place in places))


def _point(entry: dict[str, Any], scale: Scale, _: Asked) -> Shape:
    return _place(entry["point"], scale)


def _place(place: Any, scale: Scale) -> Point:
    x, y = numbers(place, 2)
    return scale.point(x, y)


def _mask(entry: dict[str, Any], _: Scale, __: Asked) -> Shape:
    return read_mask(entry["mask"])


def _span(entry: dict[str, Any], _: Scale, one: Asked) -> Span:
    start, end = numbers(entry["span"], 2)
    return span(start, end, one)


def _text_of(entry: dict[str, Any], _: Scale, __: Asked) -> Shape:
    if not isinstance(entry["text"], str):
        raise Malformed('the "text" of a region is none')
    return Text(unicode_text("text", entry["text"]))


def _number_of(entry: dict[str, Any], _: Scale, __: Asked) -> Shape:
    return Number(number("number", entry["number"]))


def _whole(entry: dict[str, Any], _: Scale, __: Asked) -> Shape:
    if entry["whole"] is not True:
        raise Malformed('the "whole" of a region is not true')
    return Whole()


_SHAPES: Mapping[str, Callable[[dict[str, Any], Scale, Asked], Shape | None]] = MappingProxyType(
    {
        "box": _box,
        "corners": _corners,
        "center": _center,
        "polygon": _polygon,
        "point": _point,
        "mask": _mask,
        "span": _span,
        "text": _text_of,
        "number": _number_of,
        "whole": _whole,
    }
)


def read_item(item: Json, sent: Input, version: str, classes: tuple[str, ...]) -> Answer | Failure:
    """Read back what ``write_item`` wrote of one input."""
    if "error" in item:
        return Failure(one_line(str(item["error"])))
    try:
        return LabelLoopAnswers().read(item, Asked((sent,), version, classes))
    except Malformed as wrong:
        return Failure(f"the answer is wrong: {wrong}")


def write_item(answer: Answer | Failure) -> Json:
    """Write what was said of one input, as ``LabelLoop.read`` takes it; a failure as ``{"error": reason}``."""
    if isinstance(answer, Failure):
        return {"error": answer.reason}
    if isinstance(answer, Findings):
        size = {"width": answer.size[0], "height": answer.size[1]} if answer.size else {}
        tags = {"tags": list(answer.tags)} if answer.tags else {}
        score = {} if answer.score is None else {"score": answer.score}
        return {"regions": [_written(region) for region in answer.regions], **score, **size, **tags}
    return {
        "label": answer.label,
        "score": answer.score,
        "scores": dict(answer.scores),
        "model_version": answer.model_version,
        "kind": answer.choice,
        **({"thresholds": dict(answer.thresholds)} if answer.thresholds else {}),
    }


def _written(region: Region) -> Json:
    shape = region.shape
    return region_json(region, {"mask": rle_of_mask(shape)} if isinstance(shape, Mask) else None)
