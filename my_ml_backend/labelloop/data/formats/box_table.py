"""Tables of boxes: a row for each, with its picture, its label and its corners, as TensorFlow's tools and Kaggle do.

Corners are ``xmin, ymin, xmax, ymax`` in any of their spellings, or a cell ``bbox`` with x, y, width and height. They
are in pixels, unless none in the whole table is above 1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.data.formats.base import Collector, Hints
from labelloop.data.formats.boxes import Size, box_of, number, pixel_box, size_needed, size_said
from labelloop.data.formats.entries import Entry, table_rows
from labelloop.data.formats.table_columns import LABELS, PICTURES, SIDES, column
from labelloop.data.formats.table_folder import PicturesBeside
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import BOXES, Region, Side

_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"))
_BOX = "bbox"

Place = tuple[float, float, float, float]
"""Left, top, width and height, in whatever unit."""


@dataclass(slots=True)
class _Picture:
    """The rows of one picture: its first row, its side, and its boxes with their labels."""

    entry: Entry
    side: Side | None
    size: Size | None
    boxes: list[tuple[Entry, str, Place]] = field(default_factory=list)


def read_boxes(path: Path, hints: Hints, base: str) -> Listing:
    """Read a table; a row without corners says that nothing is in its picture. Raises ManifestError."""
    found, beside = Collector(path, hints), PicturesBeside(path, base)
    pictures: dict[str, _Picture] = {}
    names: Mapping[str, str] = {}
    for entry in table_rows(path):
        names = names or _columns(entry, hints)
        cell = entry.values[names["picture"]].strip()
        uri = beside.address(entry, cell)
        if uri is None:
            found.leave_out(f"no picture beside the table is named {cell[:60]!a}", None)
            continue
        row = entry.values
        side = entry.side(row[names["side"]].strip()) if names["side"] else None
        size = size_said(row.get(names["width"]), row.get(names["height"]))
        picture = pictures.setdefault(uri, _Picture(entry, side, size))
        if place := _place(entry, names):
            label = row[names["label"]].strip() if names["label"] else (hints.classes or ("",))[0]
            picture.boxes.append((entry, label, place))
    beyond = [max(place) > 1 for one in pictures.values() for *_, place in one.boxes]
    # A fraction above 1 here and there is a box that leads out of its picture.
    in_pixels = 2 * sum(beyond) > len(beyond)
    for uri, one in pictures.items():
        _take(found, uri, one, in_pixels=in_pixels)
    return found.listing(kind=BOXES)


def _take(found: Collector, uri: str, picture: _Picture, *, in_pixels: bool) -> None:
    size = size_needed(picture.entry, uri, picture.size) if in_pixels and picture.boxes else picture.size
    regions: list[Region] = []
    for entry, label, (left, top, width, height) in picture.boxes:
        corner, extent = (left, top), (width, height)
        box = (
            pixel_box(entry, label, corner, extent, size)
            if in_pixels and size
            else box_of(entry, label, corner, extent)
        )
        regions += found.only(box)
    found.take_regions(uri, regions, None, picture.side, size=size)


def _columns(entry: Entry, hints: Hints) -> Mapping[str, str]:
    """Say which column is what, by its name; raises ManifestError where one lacks."""
    names = list(entry.values)
    found = {
        "picture": column(names, (hints.picture_field,) if hints.picture_field else PICTURES),
        "label": column(names, LABELS),
        "side": column(names, SIDES),
        "width": column(names, ("width", "image_width")),
        "height": column(names, ("height", "image_height")),
        _BOX: column(names, (_BOX,)),
    }
    for corners in _CORNERS:
        if all(column(names, (one,)) for one in corners):
            found |= {wanted: column(names, (one,)) for wanted, one in zip(_CORNERS[0], corners, strict=True)}
    if not found["picture"]:
        raise entry.wrong("no column names the pictures. Name the one that does (--picture-field)")
    if not found["label"] and len(hints.classes or ()) != 1:
        raise ManifestError(
            f"{entry.source} has boxes and no column of their labels ({', '.join(LABELS[:3])}): call the column so, "
            "or name the only class that there is (--classes)"
        )
    return found


def _place(entry: Entry, names: Mapping[str, str]) -> Place | None:
    """Read where a row's box is; None for a row without one."""
    row = entry.values
    if "xmin" in names:
        cells = [row[names[corner]].strip() for corner in _CORNERS[0]]
        if not any(cells):
            return None
        left, top, right, bottom = (number(entry, "a box", cell) for cell in cells)
        return left, top, right - left, bottom - top
    numbers = _numbers(row[names[_BOX]])
    if not numbers:
        return None
    if len(numbers) != 4:
        raise entry.wrong(f"{row[names[_BOX]][:60]!r} is no box: x, y, width and height are expected")
    left, top, width, height = numbers
    return left, top, width, height


def _numbers(cell: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", cell)]
