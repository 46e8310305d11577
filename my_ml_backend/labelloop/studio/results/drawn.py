"""What results say was drawn: shapes in our own units, and the labeled regions of one control tag."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from labelloop.data.classes import Find
from labelloop.studio.control_tag import ControlTag
from labelloop.types import Box, Json, Point, Region, Span, finite

_DIGITS = 8
"""Of a fraction: those of the percentages that predictions are written with (results/shapes.py)."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The regions of one control tag, one for each label of what was drawn, in the words of today's label config.

    ``gone`` are labels that the label config has no more. ``damaged`` counts what has no extent or no label,
    ``turned`` what was drawn on a picture that somebody had turned in the editor: it lies elsewhere on the file.
    """

    regions: tuple[Region, ...] = ()
    gone: frozenset[str] = frozenset()
    damaged: int = 0
    turned: int = 0


def drawn_with(tag: ControlTag, find: Find, results: Iterable[Json]) -> Drawn:
    """Read the parts of a text, or the boxes, of a control tag; ``find`` gives the label that a name means."""
    results = list(results)
    named = _named(tag, results)
    regions: list[Region] = []
    gone: set[str] = set()
    damaged = turned = 0
    for result in results:
        if result.get("from_name") != tag.name:
            continue
        value = result.get("value")
        shape = _shape(tag, value) if isinstance(value, dict) and result.get("type") == tag.type else None
        names = list(_labels(result, tag.type)) if not tag.labels_tag else named.get(str(result.get("id")), [])
        if shape is None or not names:
            damaged += 1
        elif _is_turned(result):
            turned += 1
        else:
            labels = {name: find(name) for name in names}
            gone |= {name for name, label in labels.items() if label is None}
            score = _score(result)
            regions += [Region(label, shape, score) for label in dict.fromkeys(labels.values()) if label is not None]
    return Drawn(tuple(regions), frozenset(gone), damaged, turned)


def point_of(value: Json) -> Point | None:
    """Read a point in percent; None where there is none."""
    x, y = _fraction(value.get("x")), _fraction(value.get("y"))
    return None if x is None or y is None else Point(x, y)


def box_of(value: Json) -> Box | None:
    """Read a box in percent; None where there is none, or it has no extent."""
    corner = point_of(value)
    width, height = _fraction(value.get("width")), _fraction(value.get("height"))
    if corner is None or not width or not height or min(width, height) < 0.0:
        return None
    rotation = finite(value.get("rotation", 0)) or 0.0
    return Box(corner.x, corner.y, width, height, rotation)


def _shape(tag: ControlTag, value: Json) -> Box | Span | None:
    if tag.target.tag == "Text":
        return _span(value)
    box = box_of(value)
    return None if box is None else _rounded(box)


def _rounded(box: Box) -> Box | None:
    x, y, width, height = (round(number, _DIGITS) for number in (box.x, box.y, box.width, box.height))
    return Box(x, y, width, height, box.rotation % 360.0) if width > 0 and height > 0 else None


def _span(value: Json) -> Span | None:
    start, end = value.get("start"), value.get("end")
    return Span(start, end) if type(start) is int and type(end) is int and 0 <= start < end else None


def _named(tag: ControlTag, results: Iterable[Json]) -> Mapping[str, list[str]]:
    """Give the labels that stand in results of their own, by the ids of what they are labels of."""
    found: dict[str, list[str]] = {}
    for result in results:
        if tag.labels_tag and result.get("from_name") == tag.labels_tag and isinstance(name := result.get("id"), str):
            found.setdefault(name, []).extend(_labels(result, "labels"))
    return found


def _labels(result: Json, key: str) -> Iterator[str]:
    value = result.get("value")
    labels = value.get(key) if isinstance(value, dict) else None
    yield from (label for label in labels if isinstance(label, str)) if isinstance(labels, list) else ()


def _is_turned(result: Json) -> bool:
    return bool((finite(result.get("image_rotation")) or 0.0) % 360.0)


def _score(result: Json) -> float | None:
    score = finite(result.get("score"))
    return score if score is not None and 0.0 <= score <= 1.0 else None


def _fraction(percent: object) -> float | None:
    number = finite(percent)
    return None if number is None else number / 100.0
