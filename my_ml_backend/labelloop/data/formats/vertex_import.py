"""Vertex AI's import files for image classification: JSON Lines of ``imageGcsUri`` and its annotations.

cloud.google.com/vertex-ai, "Prepare image training data for classification": the schemas
image_classification_single_label_io_format_1.0.0 and image_classification_multi_label_io_format_1.0.0.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import Entry, object_lines, write_lines
from labelloop.data.listing import Listing
from labelloop.types import Json, Side

_ONE, _MANY = "classificationAnnotation", "classificationAnnotations"
_USE = "aiplatform.googleapis.com/ml_use"
_USES: Mapping[Side, str] = {"train": "training", "validation": "validation", "test": "test"}


def read_vertex(path: Path, hints: Hints, base: str) -> Listing:
    """Read an import file; pictures without annotations are left out. Raises ManifestError."""
    found = Collector(path, hints)
    several = False
    for entry in object_lines(path):
        uri = entry.address(entry.text("imageGcsUri"), base)
        several = several or _MANY in entry.values
        if _ONE not in entry.values and _MANY not in entry.values:
            found.leave_out("it has no annotation", None)
            continue
        found.take(uri, _labels(entry), None, _side(entry))
    return found.listing("multiple" if several else "single")


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
    "Vertex AI's import file (JSON Lines with imageGcsUri)",
    frozenset({"sides", "names", "several labels"}),
    read_vertex,
    write_vertex,
)
