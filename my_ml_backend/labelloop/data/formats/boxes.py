"""Boxes as files say them: made fractions of the upright picture, checked, and counted where they are none."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelloop.data.formats.entries import Entry
from labelloop.data.listing import Record
from labelloop.errors import ManifestError, Unreadable
from labelloop.pictures import upright_size
from labelloop.regions import read_regions
from labelloop.sources.urls import local_file
from labelloop.types import Box, Region

_DIGITS = 8
"""Of a fraction, as of what annotators draw in Label Studio: so a box is spelled alike in every format."""

_FAR = 1.5
"""A fraction beyond this is none: it is in pixels."""

_SLACK = 2.0
"""Pixels by which corners may miss those of a rectangle: they are rounded."""

Size = tuple[int, int]
"""Width and height of an upright picture, in pixels."""


def box_of(entry: Entry, label: object, corner: tuple[object, object], extent: tuple[object, object]) -> Region | str:
    """Make a box of its upper left corner, width and height in fractions, cut to the picture; or say what it is.

    Raises ManifestError where they are no numbers, or in other units.
    """
    if not isinstance(label, str) or not label:
        raise entry.wrong("a box has no label")
    x, y, width, height = (number(entry, "a box", value) for value in (*corner, *extent))
    if max(map(abs, (x, y, width, height))) > _FAR:
        raise entry.wrong(f"a box {label[:60]!r} at {x:g}, {y:g} is not in fractions of its picture")
    if width <= 0 or height <= 0:
        return "boxes without area"
    left, top, right, bottom = (_rounded(min(max(one, 0.0), 1.0)) for one in (x, y, x + width, y + height))
    if left >= right or top >= bottom:
        return "boxes outside of their pictures"
    return Region(label, Box(left, top, _rounded(right - left), _rounded(bottom - top)))


def pixel_box(
    entry: Entry, label: object, corner: tuple[object, object], extent: tuple[object, object], size: Size
) -> Region | str:
    """Make a box of pixels, as ``box_of`` does; ``size`` is that of its upright picture."""
    x, y, width, height = (number(entry, "a box", value) for value in (*corner, *extent))
    if x > 2 * size[0] or y > 2 * size[1]:
        return "boxes outside of their pictures"
    within = (min(width, size[0] - x), min(height, size[1] - y))
    if min(width, height) > 0 >= min(within):
        return "boxes outside of their pictures"
    # What sticks out at the left and the top is cut here: far out, it would pass for another unit.
    left, top = max(x, 0.0), max(y, 0.0)
    wide, high = within[0] - (left - x), within[1] - (top - y)
    if min(width, height) > 0 >= min(wide, high):
        return "boxes outside of their pictures"
    return box_of(entry, label, (left / size[0], top / size[1]), (wide / size[0], high / size[1]))


def number(entry: Entry, what: str, value: object) -> float:
    """Read a number, which some write as a text; raises ManifestError."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise entry.wrong(f"{what} has {str(value)[:40]!r} where a number is expected")
    return found


def size_said(width: object, height: object) -> Size | None:
    """Read a picture's size as a file says it; None where it does not say one."""
    try:
        found = int(float(str(width))), int(float(str(height)))
    except (ValueError, OverflowError):
        return None
    return found if min(found) > 0 else None


def size_of_file(uri: str) -> Size | None:
    """Read the size of a picture of this machine from its header; None for one that is not here or none at all."""
    path = local_file(uri)
    try:
        return None if path is None else upright_size(_head(path))
    except (OSError, Unreadable):
        return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(1 << 16)
        try:
            upright_size(head)
        except Unreadable:
            # EXIF may hold a picture of its own before the size.
            return head + file.read()
        return head


def size_needed(entry: Entry, uri: str, said: Size | None) -> Size:
    """Give a picture's size, by its file where the list does not say it; raises ManifestError where neither does."""
    found = said or size_of_file(uri)
    if found is None:
        raise entry.wrong(
            "it does not say how large its picture is, and the picture is not on this machine: add width and height in "
            "pixels, or put the pictures beside the list"
        )
    return found


def upright_boxes(record: Record) -> list[tuple[str, Box]]:
    """Give a record's boxes with their labels, of turned ones the upright hulls, for formats without rotation.

    Raises ManifestError for a turned one in a picture of unknown size.
    """
    found = [(one.label, one.shape) for one in read_regions(record.result) if isinstance(one.shape, Box)]
    return [(label, hull(box, size_known(record)) if box.rotation else box) for label, box in found]


def turned(records: Iterable[Record]) -> list[str]:
    """Say how many turned boxes a format without rotation writes as their hulls."""
    count = sum(
        isinstance(one.shape, Box) and bool(one.shape.rotation)
        for record in records
        if '"rotation"' in record.result
        for one in read_regions(record.result)
    )
    return [f"the rotation of {count} boxes: their upright hulls are written"] if count else []


def hull(box: Box, size: Size) -> Box:
    """Give the upright box around one that is turned about its upper left corner, clockwise, in pixels."""
    cosine, sine = math.cos(math.radians(box.rotation)), math.sin(math.radians(box.rotation))
    wide, high = box.width * size[0], box.height * size[1]
    across = [x * cosine - y * sine for x in (0.0, wide) for y in (0.0, high)]
    down = [x * sine + y * cosine for x in (0.0, wide) for y in (0.0, high)]
    left, right = (box.x + one / size[0] for one in (min(across), max(across)))
    top, bottom = (box.y + one / size[1] for one in (min(down), max(down)))
    left, top, right, bottom = (_rounded(min(max(one, 0.0), 1.0)) for one in (left, top, right, bottom))
    return Box(left, top, _rounded(right - left), _rounded(bottom - top))


def corners(box: Box) -> tuple[float, float, float, float]:
    """Give left, top, right and bottom of an upright box."""
    return box.x, box.y, _rounded(box.x + box.width), _rounded(box.y + box.height)


def rounded_box(box: Box) -> Box | None:
    """Spell a box's fractions as in every format; None for one without extent."""
    found = Box(*map(_rounded, (box.x, box.y, box.width, box.height, box.rotation)))
    return found if found.width > 0 and found.height > 0 else None


def turned_box(label: str, points: Sequence[tuple[float, float]], size: Size) -> Region | None:
    """Make a box of its four corners, in fractions and in order around it; None where they are of no rectangle."""
    (x, y), second, third, fourth = ((one[0] * size[0], one[1] * size[1]) for one in points)
    across, down = (second[0] - x, second[1] - y), (fourth[0] - x, fourth[1] - y)
    wide, high = math.hypot(*across), math.hypot(*down)
    if across[0] * down[1] - across[1] * down[0] < 0:
        # Counter-clockwise: the same box from the same corner, the other way round.
        across, wide, high = down, high, wide
        down = (second[0] - x, second[1] - y)
    off = math.hypot(x + across[0] + down[0] - third[0], y + across[1] + down[1] - third[1])
    skew = abs(across[0] * down[0] + across[1] * down[1])
    if min(wide, high) <= 0 or off > _SLACK or skew > _SLACK * max(wide, high):
        return None
    rotation = math.degrees(math.atan2(across[1], across[0])) % 360
    places = (x / size[0], y / size[1], wide / size[0], high / size[1], rotation)
    return Region(label, Box(*map(_rounded, places)))


def pixels_of(box: Box, size: Size) -> list[float]:
    """Give an upright box in pixels: x, y, width and height, whole numbers where those are meant."""
    left, top, right, bottom = (_in_pixels(one, whole) for one, whole in zip(corners(box), (*size, *size), strict=True))
    return [left, top, round(right - left, _DIGITS), round(bottom - top, _DIGITS)]


def _in_pixels(fraction: float, whole: int) -> float:
    """Give the shortest number of pixels that is read as this fraction."""
    for digits in range(_DIGITS):
        found = round(fraction * whole, digits)
        if _rounded(found / whole) == fraction:
            return found if digits else int(found)
    return round(fraction * whole, _DIGITS)


def size_known(record: Record) -> Size:
    """Give the size of a record's picture; raises ManifestError where nothing says it."""
    found = record.size or size_of_file(record.uri)
    if found is None:
        raise ManifestError(
            f"task {record.task}: how large its picture is is not known, which this format needs: put the pictures "
            "beside the list, or write it as labelloop or yolo"
        )
    return found


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
