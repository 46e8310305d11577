"""Regions in Label Studio's values: parts of a text and boxes, with their labels; and values of regions, to be written.

A region of a JSON export, an element of JSON_MIN and a cell of a table all say the same under the same keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from labelloop.data.formats.boxes import Size, rounded_box, size_said
from labelloop.data.formats.other_labels import PARTS_OF_TEXTS, PLAIN_BOXES, of_region
from labelloop.types import Box, Json, Region, Span

_LABELS = ("rectanglelabels", "labels")
_OTHER_SHAPES = frozenset({"points", "vertices", "rle", "radiusX", "startOffset", "channel", "ranges", "sequence"})


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a value marks: the ``regions`` of its labels, and what ``kind`` of labels they are (other_labels.py).

    ``turned``: it was drawn on a picture that was turned in the editor, so that nobody can tell where on the file.
    ``size`` is the picture's, where it is said.
    """

    kind: str
    regions: tuple[Region, ...] = ()
    turned: bool = False
    size: Size | None = None


def drawn_in(value: Json, about: Json) -> Drawn | None:
    """Read a value; None for one that marks nothing. What is said ``about`` it may stand in the value itself."""
    shape = _shape(value)
    labels = tuple(label for key in _LABELS if isinstance(value.get(key), list) for label in value[key])
    names = tuple(dict.fromkeys(label for label in labels if isinstance(label, str) and label))
    if shape is not None and any(key in value for key in _LABELS):
        kind = PARTS_OF_TEXTS if isinstance(shape, Span) else PLAIN_BOXES
        size = size_said(about.get("original_width"), about.get("original_height"))
        return Drawn(kind, tuple(Region(name, shape) for name in names), bool(about.get("image_rotation")), size)
    kind = _kind_of(tuple(value))
    return Drawn(kind) if kind else None


@lru_cache(maxsize=256)
def _kind_of(keys: tuple[str, ...]) -> str:
    return of_region(dict.fromkeys(keys))


def _shape(value: Json) -> Span | Box | None:
    if not _OTHER_SHAPES.isdisjoint(value):
        return None
    start, end = value.get("start"), value.get("end")
    if type(start) is int and type(end) is int:
        return Span(start, end) if 0 <= start < end else None
    numbers = [_number(value.get(key)) for key in ("x", "y", "width", "height")]
    if None in numbers:
        return None
    x, y, width, height = (number / 100 for number in numbers if number is not None)
    return rounded_box(Box(x, y, width, height, (_number(value.get("rotation")) or 0.0) % 360.0))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 else None


def results_of(
    text: str, regions: Iterable[Region], control: str, about: str, size: tuple[int, int] | None
) -> list[Json]:
    """Write regions as the results of an annotation, with the names of the control tag and of what it is about."""
    sizes = {"original_width": size[0], "original_height": size[1], "image_rotation": 0} if size else {}
    found: list[Json] = []
    for region in regions:
        base = {"from_name": control, "to_name": about}
        match region.shape:
            case Span(start, end):
                value: Json = {"start": start, "end": end, "text": text[start:end], "labels": [region.label]}
                found.append(base | {"type": "labels", "value": value})
            case Box(x, y, width, height, rotation):
                places = zip(("x", "y", "width", "height"), (x, y, width, height), strict=True)
                value = {key: round(100 * place, 6) for key, place in places}
                value |= {"rotation": rotation, "rectanglelabels": [region.label]}
                found.append(base | {"type": "rectanglelabels", "value": value, **sizes})
    return found
