"""Vertex AI's import files for image classification: JSON Lines of ``imageGcsUri`` and its annotations, or CSV.

cloud.google.com/vertex-ai, "Prepare image training data for classification": the schemas
image_classification_single_label_io_format_1.0.0 and image_classification_multi_label_io_format_1.0.0; CSV has no
header, its rows are ``[ml_use,]gs://bucket/name[,label]*``.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import Entry, object_lines, open_text, side_named, text_lines, write_lines
from labelloop.data.formats.imagefolder import is_picture
from labelloop.data.formats.other_labels import BOXES, TEXTS, Other, of_address, of_object, refused
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import Json, Side

_ONE, _MANY = "classificationAnnotation", "classificationAnnotations"
_USE = "aiplatform.googleapis.com/ml_use"
_USES: Mapping[Side, str] = {"train": "training", "validation": "validation", "test": "test"}


_ROW = re.compile(r'"?(train(ing)?|validation|test|unassigned)"?,|([^,]*,)?"?gs://', re.IGNORECASE)
_UNASSIGNED = "unassigned"
_BOX = 8
"""Cells behind a picture's label that are a box: the corners, of which some may be empty."""


def is_vertex_row(line: str) -> bool:
    """Tell by the first line of a file that it is a table without a header."""
    return _ROW.match(line) is not None


def read_vertex(path: Path, hints: Hints, base: str) -> Listing:
    """Read an import file; pictures without annotations are left out. Raises ManifestError."""
    _, first = next(text_lines(path), (1, ""))
    if is_vertex_row(first):
        return _read_rows(path, hints, base)
    found = Collector(path, hints)
    several = False
    for entry in object_lines(path):
        uri = entry.address(entry.text("imageGcsUri"), base)
        several = several or _MANY in entry.values
        if _ONE not in entry.values and _MANY not in entry.values:
            if other := of_object(entry.values):
                raise refused(path, other)
            found.leave_out("it has no annotation", None)
            continue
        found.take(uri, _labels(entry), None, _side(entry))
    return found.listing("multiple" if several else "single")


def _read_rows(path: Path, hints: Hints, base: str) -> Listing:
    """Read rows; a picture that is named again gets the labels of all its rows."""
    found = Collector(path, hints)
    pictures: dict[str, tuple[set[str], Side | None]] = {}
    with open_text(path) as file:
        try:
            for number, row in enumerate(csv.reader(file, strict=True), 1):
                if row:
                    _add_row(pictures, Entry(path, number, {"row": [cell.strip() for cell in row]}, "row"), base)
        except csv.Error as error:
            raise ManifestError(f"{path} is no table: {error}") from error
    for uri, (labels, side) in pictures.items():
        if labels:
            found.take(uri, labels, None, side)
        else:
            found.leave_out("it has no annotation", None)
    return found.listing()


def _add_row(pictures: dict[str, tuple[set[str], Side | None]], entry: Entry, base: str) -> None:
    """Take the cells of a row, which its entry holds as ``row``."""
    cells: list[str] = entry.values["row"]
    used = cells[0].lower() == _UNASSIGNED or side_named(cells[0]) is not None or not cells[0]
    address, *labels = cells[1:] if used else cells
    if other := _other(address, labels):
        raise refused(entry.source, other)
    uri = entry.address(address, base)
    side = entry.side(cells[0]) if used and cells[0].lower() != _UNASSIGNED else None
    known, named = pictures.setdefault(uri, (set(), side))
    if named != side:
        raise entry.wrong(f"its picture is said to be on another side, {named or 'none'}, before")
    known.update(label for label in labels if label)


def _other(address: str, labels: list[str]) -> Other | None:
    if len(labels) > _BOX and not any(re.sub(r"[\d.eE-]", "", cell) for cell in labels[1:]):
        return Other(BOXES, "in the cells behind its labels")
    is_address = address.startswith("gs://") or is_picture(address)
    if holds := of_address(address) or ("" if is_address else TEXTS):
        return Other(holds, f"as in {address[:40]!r}")
    return None


def _labels(entry: Entry) -> list[str]:
    annotations = entry.values[_MANY] if _MANY in entry.values else [entry.values[_ONE]]
    if not isinstance(annotations, list):
        raise entry.wrong(f"{_MANY!r} must be a list")
    names = [one.get("displayName") if isinstance(one, dict) else None for one in annotations]
    if not all(isinstance(name, str) for name in names):
        raise entry.wrong("an annotation must have a displayName, which is a text")
    return [str(name) for name in names]


def _side(entry: Entry) -> Side | None:
    resource = entry.values.get("dataItemResourceLabels")
    return entry.side(resource.get(_USE)) if isinstance(resource, dict) else None


def write_vertex(listing: Listing, target: Path, _: Hints) -> None:
    """Write an import file; raises ManifestError."""
    write_lines(target, _objects(listing, target.absolute().parent))


def _objects(listing: Listing, folder: Path) -> Iterator[Json]:
    for record in listing.records:
        line: Json = {"imageGcsUri": written(record.uri, folder)}
        annotations = [{"displayName": label} for label in record.labels]
        line |= {_ONE: annotations[0]} if listing.choice == "single" else {_MANY: annotations}
        if record.side:
            line["dataItemResourceLabels"] = {_USE: _USES[record.side]}
        yield line


VERTEX = Format(
    "vertex",
    "Vertex AI's import file (JSON Lines with imageGcsUri, or CSV without a header)",
    frozenset({"sides", "names", "several labels"}),
    read_vertex,
    write_vertex,
)
