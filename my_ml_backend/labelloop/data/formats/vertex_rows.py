"""Vertex AI's import files without a header: rows of ``[ml_use,]address or text[,label]*``, or a box behind a label.

cloud.google.com/vertex-ai, "Prepare image training data": a box is four corners in fractions of the picture, of which
two suffice: ``x_min,y_min,,,x_max,y_max,,``.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.data.formats.base import Collector, Hints
from labelloop.data.formats.boxes import box_of, number
from labelloop.data.formats.entries import Entry, open_text, side_named
from labelloop.data.formats.imagefolder import is_picture
from labelloop.data.formats.other_labels import Other, of_address, refused
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import BOXES, IMAGES, TEXTS, Region, Side

_ROW = re.compile(r'"?(train(ing)?|validation|test|unassigned)"?,|([^,]*,)?"?gs://', re.IGNORECASE)
_UNASSIGNED = "unassigned"
_BOX = 8
"""Cells behind a picture's label that are a box: the corners, of which some may be empty."""


def is_vertex_row(line: str) -> bool:
    """Tell by the first line of a file that it is a table without a header."""
    return _ROW.match(line) is not None


@dataclass(slots=True)
class _Input:
    """What the rows of one input say."""

    side: Side | None
    text: str = ""
    labels: set[str] = field(default_factory=set)
    boxes: list[Region] = field(default_factory=list)


def read_rows(path: Path, hints: Hints, base: str) -> Listing:
    """Read rows; an input that is named again gets the labels of all its rows. Raises ManifestError."""
    found = Collector(path, hints)
    inputs: dict[str, _Input] = {}
    kinds: dict[str, None] = {}
    with open_text(path) as file:
        try:
            for count, row in enumerate(csv.reader(file, strict=True), 1):
                if row:
                    kinds |= dict.fromkeys(_add_row(inputs, Entry(path, count, {"row": row}, "row"), base, found))
        except csv.Error as error:
            raise ManifestError(f"{path} is no table: {error}") from error
    if len(kinds) > 1:
        raise ManifestError(f"{path} has rows for {' and for '.join(kinds)}: a list is for one of them, so part it")
    kind = next(iter(kinds), IMAGES)
    for uri, one in inputs.items():
        if kind == BOXES and one.boxes:
            found.take_regions(uri, one.boxes, None, one.side)
        elif one.labels:
            found.take("" if one.text else uri, one.labels, None, one.side, text=one.text)
        else:
            found.leave_out("it has no annotation", None)
    return found.listing(kind=kind)


def _add_row(inputs: dict[str, _Input], entry: Entry, base: str, found: Collector) -> Iterator[str]:
    """Take the cells of a row, which its entry holds as ``row``; give the kind that it is for, if it has labels."""
    first, *others = entry.values["row"]
    used = first.strip().lower() == _UNASSIGNED or side_named(first.strip()) is not None or not first.strip()
    side = entry.side(first.strip()) if used and first.strip().lower() != _UNASSIGNED else None
    shown, *cells = (others or [""]) if used else (first, *others)
    address, labels = shown.strip(), [cell.strip() for cell in cells]
    if not address:
        raise entry.wrong("it names neither a picture nor a text")
    text = "" if _is_address(address) else shown
    if (holds := of_address(address)) and not text and not address.lower().endswith(".txt"):
        raise refused(entry.source, Other(holds, f"as in {address[:40]!r}"))
    one = inputs.setdefault(text or entry.address(address, base), _Input(side, text))
    if one.side != side:
        raise entry.wrong(f"its picture is said to be on another side, {one.side or 'none'}, before")
    if _is_box(labels):
        one.boxes += found.only(_box(entry, labels))
        yield BOXES
    elif any(labels):
        one.labels.update(filter(None, labels))
        yield TEXTS if text or holds else IMAGES


def _is_address(cell: str) -> bool:
    return cell.startswith("gs://") or is_picture(cell)


def _is_box(labels: list[str]) -> bool:
    """Tell corners behind a label from more labels."""
    cells = labels[1:]
    return len(cells) >= _BOX and any(cells) and not any(re.sub(r"[\d.eE-]", "", cell) for cell in cells)


def _box(entry: Entry, labels: list[str]) -> Region | str:
    left, top, right, bottom = (number(entry, "a box", labels[at]) for at in (1, 2, 5, 6))
    return box_of(entry, labels[0], (left, top), (right - left, bottom - top))
