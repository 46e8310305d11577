"""Whether an answer is right: labels are equal, and regions match (docs/kinds.md).

Truth and answer are results as Label Studio has them: regions, each with ``from_name``, ``type`` and ``value``.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from labelloop.kinds.overlap import paired
from labelloop.types import Box, Json, canonical

MATCHING_IOU = 0.5
"""The overlap from which on two boxes are of one thing (Everingham et al., IJCV 88, 2010, section 4.2)."""

_PER_TASK: Mapping[str, str] = {
    "choices": "choices",
    "taxonomy": "taxonomy",
    "rating": "rating",
    "number": "number",
    "datetime": "datetime",
    "textarea": "text",
}
"""What is answered once for a task: the type of its results, and the key of their values that says it."""

_LABELS = "labels"
"""Of parts of a text, and of what a tag beside it has drawn on a picture."""

_BOXES = ("rectanglelabels", "rectangle")
_EXACT = 2**53

Regions = Sequence[Json]


def is_right(truth: Regions, answer: Regions) -> bool | None:
    """Whether an answer says what is true, in whatever order; None where nobody can tell.

    Every control tag must be answered right. Nobody can tell of a truth with masks, polygons, ellipses or key points,
    nor of boxes that are turned in a picture of unknown size.
    """
    aspect = _aspect((*truth, *answer))
    true, given = _by_tag(truth), _by_tag(answer)
    if not all(_can_be_told(kind, regions, aspect) for (_, kind), regions in true.items()):
        return None
    tags = dict.fromkeys((*true, *given))
    found = [_matches(tag[1], true.get(tag, ()), given.get(tag, ()), aspect) for tag in tags]
    return False if False in found else None if None in found else True


def _by_tag(result: Regions) -> Mapping[tuple[str, str], list[Json]]:
    found: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for region in result:
        found[str(region.get("from_name")), str(region.get("type"))].append(region)
    return found


def _can_be_told(kind: str, regions: Regions, aspect: float | None) -> bool:
    if kind in _PER_TASK:
        return True
    if _are_spans(kind, regions):
        return True
    boxes = [_box(region) for region in regions] if kind in (*_BOXES, _LABELS) else [None]
    return all(box is not None and (aspect is not None or box.rotation % 360 == 0) for box in boxes)


def _matches(kind: str, true: Regions, given: Regions, aspect: float | None) -> bool | None:
    """Compare the results of one control tag, of which the true ones can be told."""
    if kind in _PER_TASK:
        return _said(_PER_TASK[kind], true) == _said(_PER_TASK[kind], given)
    if len(true) != len(given):
        return False
    if not _can_be_told(kind, given, aspect):
        return None
    if _are_spans(kind, (*true, *given)):
        return Counter(map(_span, true)) == Counter(map(_span, given))
    ones, others = _by_labels(kind, true), _by_labels(kind, given)
    # Without an aspect none is turned, and any will do.
    return ones.keys() == others.keys() and all(
        paired(boxes, others[labels], aspect or 1.0, MATCHING_IOU) for labels, boxes in ones.items()
    )


def _said(key: str, regions: Regions) -> Counter[str]:
    """Count what results say; of lists, each of their entries."""
    found: Counter[str] = Counter()
    for region in regions:
        value = _value(region).get(key)
        found.update(map(_spelled, value if isinstance(value, list) else [value]))
    return found


def _spelled(value: object) -> str:
    """Spell a value, equal numbers alike."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _EXACT:
        return canonical(float(value))
    return canonical(value)


def _value(region: Json) -> Json:
    value = region.get("value")
    return value if isinstance(value, dict) else {}


def _labels(kind: str, region: Json) -> tuple[str, ...]:
    labels = _value(region).get(kind)
    return tuple(sorted(map(str, labels))) if isinstance(labels, list) else ()


def _are_spans(kind: str, regions: Regions) -> bool:
    return kind == _LABELS and all(_span(region) is not None for region in regions)


def _span(region: Json) -> tuple[int, int, tuple[str, ...]] | None:
    """Give start, end and labels of a part of a text; None for a part of anything else."""
    start, end = (_value(region).get(key) for key in ("start", "end"))
    return (start, end, _labels(_LABELS, region)) if type(start) is int and type(end) is int else None


def _by_labels(kind: str, regions: Regions) -> Mapping[tuple[str, ...], list[Box]]:
    found: dict[tuple[str, ...], list[Box]] = defaultdict(list)
    for region in regions:
        box = _box(region)
        if box is not None:
            found[_labels(kind, region)].append(box)
    return found


def _box(region: Json) -> Box | None:
    """Give a box in percent; None for what is none, and where the picture was turned when it was drawn."""
    value = _value(region)
    numbers = [value.get(key) for key in ("x", "y", "width", "height")] + [value.get("rotation") or 0.0]
    turned = region.get("image_rotation") or 0
    return None if turned or not all(map(_is_number, numbers)) else Box(*numbers)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _aspect(regions: Regions) -> float | None:
    """Give a picture's height by its width, None where no region says how large it is."""
    for region in regions:
        width, height = region.get("original_width"), region.get("original_height")
        if _is_number(width) and _is_number(height) and width > 0 and height > 0:  # type: ignore[operator]
            return float(height / width)  # type: ignore[operator]
    return None
