"""Vertex AI's import files: JSON Lines of a picture or a text and its annotations, or CSV without a header.

cloud.google.com/vertex-ai, "Prepare image training data", "Prepare text training data": the schemas of classification
with one label and several, of bounding boxes (image_bounding_box_io_format_1.0.0) and of text_extraction. An endOffset
is the first character behind the span.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.boxes import box_of, corners, number, turned, upright_boxes
from labelloop.data.formats.entries import Entry, object_lines, text_lines, write_lines
from labelloop.data.formats.other_labels import of_object, refused
from labelloop.data.formats.spans import span_of, spans_in
from labelloop.data.formats.vertex_rows import is_vertex_row, read_rows
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Box, Json, Region, Side

_ONE, _MANY = "classificationAnnotation", "classificationAnnotations"
_REGIONS = {"textSegmentAnnotations": SPANS, "boundingBoxAnnotations": BOXES}
_USE = "aiplatform.googleapis.com/ml_use"
_USES: Mapping[Side, str] = {"train": "training", "validation": "validation", "test": "test"}


def is_vertex(first: Json) -> bool:
    """Tell by the first object of a file."""
    return not {"imageGcsUri", "textContent", "textGcsUri"}.isdisjoint(first)


def read_vertex(path: Path, hints: Hints, base: str) -> Listing:
    """Read an import file; what has no annotations is left out. Raises ManifestError."""
    _, first = next(text_lines(path), (1, ""))
    if is_vertex_row(first):
        return read_rows(path, hints, base)
    found = Collector(path, hints)
    several, kinds = False, dict[str, None]()
    for entry in object_lines(path):
        uri, text = _input(entry, base)
        several = several or _MANY in entry.values
        key = next((key for key in _REGIONS if key in entry.values), "")
        if key:
            kinds[_REGIONS[key]] = None
            found.take_regions(uri, _regions(entry, key, found), None, _side(entry), text=text)
        elif _ONE in entry.values or _MANY in entry.values:
            kinds[IMAGES if "imageGcsUri" in entry.values else TEXTS] = None
            found.take(uri, _labels(entry), None, _side(entry), text=text)
        elif other := of_object(entry.values):
            raise refused(path, other)
        else:
            found.leave_out("it has no annotation", None)
    if len(kinds) > 1:
        raise ManifestError(f"{path} has lines for {' and for '.join(kinds)}: a list is for one of them, so part it")
    return found.listing("multiple" if several else "single", kind=next(iter(kinds), IMAGES))


def _input(entry: Entry, base: str) -> tuple[str, str]:
    """Give a line's address, or the text that stands in it. Raises ManifestError."""
    if "imageGcsUri" in entry.values or not is_vertex(entry.values):
        return entry.address(entry.text("imageGcsUri"), base), ""
    if "textContent" not in entry.values:
        return entry.address(entry.text("textGcsUri"), base), ""
    text = entry.text("textContent")
    if not text.strip():
        raise entry.wrong("'textContent' is empty: there is nothing to learn from")
    return "", text


def _labels(entry: Entry) -> list[str]:
    annotations = entry.values[_MANY] if _MANY in entry.values else [entry.values[_ONE]]
    return [_name(entry, one) for one in _objects_in(entry, _MANY, annotations)]


def _objects_in(entry: Entry, key: str, annotations: object) -> Iterator[Json]:
    if not isinstance(annotations, list):
        raise entry.wrong(f"{key!r} must be a list")
    for one in annotations:
        if not isinstance(one, dict):
            raise entry.wrong("an annotation must have a displayName, which is a text")
        yield one


def _name(entry: Entry, annotation: Json) -> str:
    name = annotation.get("displayName")
    if not isinstance(name, str):
        raise entry.wrong("an annotation must have a displayName, which is a text")
    return name


def _regions(entry: Entry, key: str, found: Collector) -> Iterator[Region]:
    for one in _objects_in(entry, key, entry.values[key]):
        name = _name(entry, one)
        if key == "textSegmentAnnotations":
            text = str(entry.values.get("textContent", ""))
            segment = one["textSegment"] if isinstance(one.get("textSegment"), dict) else one
            yield span_of(entry, text, segment.get("startOffset", 0), segment.get("endOffset"), name)
            continue
        # What is 0 is not written, where it was a message of Google's before.
        left, top, right, bottom = (
            number(entry, "a box", one.get(side, 0)) for side in ("xMin", "yMin", "xMax", "yMax")
        )
        yield from found.only(box_of(entry, name, (left, top), (right - left, bottom - top)))


def _side(entry: Entry) -> Side | None:
    resource = entry.values.get("dataItemResourceLabels")
    return entry.side(resource.get(_USE)) if isinstance(resource, dict) else None


def write_vertex(listing: Listing, target: Path, _: Hints) -> Sequence[str]:
    """Write an import file; raises ManifestError. Says what of the boxes is lost."""
    write_lines(target, _lines(listing, target.absolute().parent))
    return turned(listing.records)


def _lines(listing: Listing, folder: Path) -> Iterator[Json]:
    for record in listing.records:
        line: Json = {"textContent": record.text} if record.text else {"imageGcsUri": written(record.uri, folder)}
        line |= _annotations(record, listing)
        if record.side:
            line["dataItemResourceLabels"] = {_USE: _USES[record.side]}
        yield line


def _annotations(record: Record, listing: Listing) -> Json:
    if listing.kind == SPANS:
        return {"textSegmentAnnotations": [_segment(*span) for span in spans_in(record.result)]}
    if listing.kind == BOXES:
        return {"boundingBoxAnnotations": [_corners(label, box) for label, box in upright_boxes(record)]}
    names = [{"displayName": label} for label in record.labels]
    return {_ONE: names[0]} if listing.choice == "single" else {_MANY: names}


def _segment(start: int, end: int, label: str) -> Json:
    return {"startOffset": start, "endOffset": end, "displayName": label}


def _corners(label: str, box: Box) -> Json:
    left, top, right, bottom = corners(box)
    return {"displayName": label, "xMin": left, "yMin": top, "xMax": right, "yMax": bottom}


VERTEX = Format(
    "vertex",
    "Vertex AI's import file (JSON Lines with imageGcsUri or textContent, or CSV without a header)",
    frozenset({IMAGES, TEXTS, SPANS, BOXES}),
    frozenset({"sides", "names", "several labels"}),
    read_vertex,
    write_vertex,
)
