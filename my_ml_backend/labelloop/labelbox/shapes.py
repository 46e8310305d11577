"""Boxes and parts of texts in Labelbox's units and in ours.

Labelbox draws in pixels of the upright picture; we in fractions of it. Its part of a text ends with its last character;
ours before the first one after it.
"""

import math
from collections.abc import Iterable, Iterator

from labelloop.types import Box, Json, Span, finite

Size = tuple[int, int]

_DIGITS = 8
"""Of a fraction, as of all that people draw (studio/results/drawn.py)."""

_PIXEL_DIGITS = 3
_SLACK = 1.5
"""Pixels by which a box may lie outside before it is doubted that the size is that of the picture."""

_LONGEST = 2**31

_TURNED = ("5", "6", "7", "8")
"""EXIF orientations of pictures that lie on their side: whether their size is told upright, nobody knows."""


def usable_size(media: Json, labels: Iterable[object] = ()) -> Size | None:
    """Read a picture's width and height; None where there is none that is certainly the upright picture's.

    Boxes that lie outside, and would not with the sides changed, tell that it was measured lying on its side.
    """
    width, height = media.get("width"), media.get("height")
    if type(width) is not int or type(height) is not int or not (0 < width < _LONGEST and 0 < height < _LONGEST):
        return None
    if str(media.get("exif_rotation")) in _TURNED:
        return None
    drawn = [box for entry in objects_of(labels) if (box := read_box(entry)) is not None]
    if drawn and not _fit(drawn, (width, height)) and _fit(drawn, (height, width)):
        return None
    return width, height


def objects_of(labels: Iterable[object]) -> Iterator[Json]:
    """Give all that was marked by labels, whatever else may stand there."""
    for label in labels:
        annotations = label.get("annotations") if isinstance(label, dict) else None
        objects = annotations.get("objects") if isinstance(annotations, dict) else None
        yield from (one for one in objects if isinstance(one, dict)) if isinstance(objects, list) else ()


def read_box(entry: Json) -> Box | None:
    """Read a box in pixels; None where there is none, or it has no extent."""
    told = entry.get("bounding_box")
    if not isinstance(told, dict):
        return None
    numbers = [finite(told.get(key)) for key in ("left", "top", "width", "height")]
    left, top, width, height = (math.nan if one is None else one for one in numbers)
    box = Box(left, top, width, height)
    return box if width > 0.0 and height > 0.0 and not math.isnan(left + top) else None


def in_fractions(box: Box, size: Size) -> Box:
    """Turn pixels into fractions of the picture."""
    width, height = size
    return Box(box.x / width, box.y / height, box.width / width, box.height / height)


def cut(box: Box) -> Box | None:
    """Give what of a box lies in the picture; None for nothing."""
    left, top = (min(1.0, max(0.0, number)) for number in (box.x, box.y))
    right, bottom = (min(1.0, max(0.0, number)) for number in (box.x + box.width, box.y + box.height))
    x, y, width, height = (round(number, _DIGITS) for number in (left, top, right - left, bottom - top))
    return Box(x, y, width, height) if width > 0.0 and height > 0.0 else None


def box_json(box: Box, size: Size) -> Json | None:
    """Write a box in pixels, cut at the picture's edges; None where nothing of it is inside.

    What is turned is written as the upright box around it.
    """
    if not all(map(math.isfinite, (box.x, box.y, box.width, box.height, box.rotation))):
        return None
    inside = cut(_upright(box, size))
    if inside is None:
        return None
    left, right = (round(share * size[0], _PIXEL_DIGITS) for share in (inside.x, min(1.0, inside.x + inside.width)))
    top, bottom = (round(share * size[1], _PIXEL_DIGITS) for share in (inside.y, min(1.0, inside.y + inside.height)))
    width, height = round(right - left, _PIXEL_DIGITS), round(bottom - top, _PIXEL_DIGITS)
    return {"top": top, "left": left, "height": height, "width": width} if width > 0.0 and height > 0.0 else None


def read_span(entry: Json, text: str) -> Span | None:
    """Read a part of a text, in characters; None where there is none. ``text`` is empty where it lies in a file.

    Labelbox does not say what it counts. Where the ``token`` that it shows stands there only by UTF-16, as browsers
    count, that is what was counted.
    """
    told = entry.get("location")
    if not isinstance(told, dict):
        return None
    start, end = told.get("start"), told.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start <= end < _LONGEST:
        return None
    token = told.get("token")
    if text and isinstance(token, str) and token and text[start : end + 1] != token:
        shifted = _of_units(text, start, end)
        if shifted is not None and text[shifted.start : shifted.end] == token:
            return shifted
    return Span(start, end + 1) if not text or end < len(text) else None


def span_json(span: Span, text: str) -> Json | None:
    """Write a part of a text, cut at its end where the text is known; None where nothing is left."""
    start, end = max(0, span.start), min(span.end, len(text)) if text else span.end
    return {"start": start, "end": end - 1} if start < end else None


def _of_units(text: str, start: int, end: int) -> Span | None:
    """Turn a part in UTF-16's units, its end included, into one in characters."""
    units = text.encode("utf-16-le", errors="surrogatepass")
    if 2 * end >= len(units):
        return None
    before, within = (
        units[2 * a : 2 * b].decode("utf-16-le", errors="replace") for a, b in ((0, start), (start, end + 1))
    )
    return Span(len(before), len(before) + len(within))


def _fit(boxes: Iterable[Box], size: Size) -> bool:
    width, height = size
    return all(box.x + box.width <= width + _SLACK and box.y + box.height <= height + _SLACK for box in boxes)


def _upright(box: Box, size: Size) -> Box:
    if box.rotation % 360.0 == 0.0:
        return box
    width, height = size
    angle = math.radians(box.rotation)
    right = box.width * width * math.cos(angle), box.width * width * math.sin(angle)
    down = -box.height * height * math.sin(angle), box.height * height * math.cos(angle)
    xs = [0.0, right[0], down[0], right[0] + down[0]]
    ys = [0.0, right[1], down[1], right[1] + down[1]]
    return Box(
        box.x + min(xs) / width, box.y + min(ys) / height, (max(xs) - min(xs)) / width, (max(ys) - min(ys)) / height
    )
