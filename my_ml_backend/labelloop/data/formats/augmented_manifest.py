"""SageMaker's augmented manifest: JSON Lines of an input, a label attribute and its metadata (Ground Truth).

docs.aws.amazon.com, SageMaker Developer Guide, "Labeling job output data": jobs of classification and multi-label
classification of images and of texts, of bounding boxes, and of named entity recognition. Inputs are ``source-ref``,
an address, or ``source``, a text.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.boxes import (
    Size,
    pixel_box,
    pixels_of,
    size_known,
    size_needed,
    size_said,
    turned,
    upright_boxes,
)
from labelloop.data.formats.entries import Entry, object_lines, write_lines
from labelloop.data.formats.other_labels import Other, of_job, refused
from labelloop.data.formats.spans import span_of, spans_in
from labelloop.data.listing import OF_REGIONS, Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Box, Json, Region

_SOURCE, _TEXT, _METADATA = "source-ref", "source", "-metadata"
_JOBS = {IMAGES: "image-classification", TEXTS: "text-classification", SPANS: "text-span", BOXES: "object-detection"}
"""What the type of a job that gives a kind's labels holds."""

_ATTRIBUTE = "label"
"""What we call the attribute where nobody names it."""


def read_augmented(path: Path, hints: Hints, base: str) -> Listing:
    """Read a manifest; objects that a labeling job failed on are left out. Raises ManifestError."""
    found = Collector(path, hints)
    attribute, several, kind = hints.label_attribute, False, ""
    for entry in object_lines(path):
        text = entry.values.get(_TEXT)
        text = text if isinstance(text, str) and _SOURCE not in entry.values else ""
        uri = "" if text else entry.address(entry.text(_SOURCE), base)
        attribute = attribute or _attribute(entry)
        if reason := _left_out(entry, attribute):
            found.leave_out(reason, None)
            continue
        said = _kind(entry, attribute, text)
        kind = kind or said
        if kind != said:
            raise entry.wrong(f"{attribute!r} is for {said}, and for {kind} in the lines before: a list is for one")
        if kind in OF_REGIONS:
            read = _spans(entry, attribute, text) if kind == SPANS else _boxes(entry, attribute, uri, found)
            found.take_regions(uri, read, None, text=text, size=_size(entry, attribute))
        else:
            several = several or isinstance(entry.values[attribute], list)
            found.take(uri, _labels(entry, attribute), None, text=text)
    return found.listing("multiple" if several else "single", kind=kind or IMAGES)


def _attribute(entry: Entry) -> str:
    """Find the attribute that has metadata, else the only one that is no address. Raises ManifestError."""
    keys = entry.values.keys()
    candidates = [key.removesuffix(_METADATA) for key in keys if key.endswith(_METADATA)]
    candidates = candidates or [key for key in keys if not key.endswith("-ref")]
    # A chain of jobs may have drawn boxes or masks, too: classes go before boxes, and boxes before the rest.
    for learned in ({"", IMAGES, TEXTS}, {SPANS, BOXES}):
        candidates = [key for key in candidates if _job(entry, key) in learned] or candidates
    if len(candidates) != 1:
        seen = ", ".join(candidates) or "none"
        raise entry.wrong(
            f"one label attribute is expected beside {_SOURCE} or {_TEXT}, found: {seen}. Name it (--label-attribute)"
        )
    return candidates[0]


def _job(entry: Entry, attribute: str) -> str:
    """Give the kind of the job that gave an attribute; empty where nothing says it, and what it is for any other."""
    metadata = entry.values.get(attribute + _METADATA)
    said = metadata.get("type") if isinstance(metadata, dict) else None
    if not isinstance(said, str):
        return ""
    return next((kind for kind, job in _JOBS.items() if job in said), of_job(metadata))


def _metadata(entry: Entry, attribute: str) -> Json:
    metadata = entry.values.get(attribute + _METADATA)
    return metadata if isinstance(metadata, dict) else {}


def _left_out(entry: Entry, attribute: str) -> str:
    """Say why an object has no labels; empty where it has some."""
    if "failure-reason" in (known := _metadata(entry, attribute)):
        return f"its labeling job failed: {str(known['failure-reason'])[:200]}"
    return "" if entry.values.get(attribute) is not None else f"it has no {attribute!r}"


def _kind(entry: Entry, attribute: str, text: str) -> str:
    """Say what an attribute is for; raises ManifestError where that is not learned."""
    job = _job(entry, attribute)
    if job and job not in _JOBS:
        where = f"{entry.source}, line {entry.number}: {attribute!r}"
        raise refused(where, Other(job, f"its type is {str(_metadata(entry, attribute)['type'])[:60]!r}"))
    return job or (TEXTS if text else IMAGES)


def _labels(entry: Entry, attribute: str) -> list[str]:
    """Give the classes of one object; raises ManifestError."""
    value, known = entry.values[attribute], _metadata(entry, attribute)
    if isinstance(value, list):
        return [_name(entry, one, _class_map(known)) for one in value]
    name = known.get("class-name")
    return [name if isinstance(name, str) else _name(entry, value, {})]


def _class_map(metadata: Json) -> Json:
    classes = metadata.get("class-map")
    return classes if isinstance(classes, dict) else {}


def _spans(entry: Entry, attribute: str, text: str) -> Iterator[Region]:
    match entry.values[attribute]:
        case {"annotations": {"entities": [*entities]}} if all(isinstance(one, dict) for one in entities):
            for one in entities:
                yield span_of(entry, text, one.get("startOffset"), one.get("endOffset"), one.get("label"))
        case _:
            raise entry.wrong(f"{attribute!r} must hold annotations with entities, as a labeling job writes them")


def _size(entry: Entry, attribute: str) -> Size | None:
    match entry.values[attribute]:
        case {"image_size": [{"width": width, "height": height}, *_]}:
            return size_said(width, height)
    return None


def _boxes(entry: Entry, attribute: str, uri: str, found: Collector) -> Iterator[Region]:
    classes = _class_map(_metadata(entry, attribute))
    match entry.values[attribute]:
        case {"annotations": [*boxes]} if all(isinstance(one, dict) for one in boxes):
            for one in boxes:
                size = size_needed(entry, uri, _size(entry, attribute))
                name, sides = _name(entry, one.get("class_id"), classes), ("left", "top", "width", "height")
                left, top, width, height = map(one.get, sides)
                yield from found.only(pixel_box(entry, name, (left, top), (width, height), size))
        case _:
            raise entry.wrong(f"{attribute!r} must hold annotations, as a labeling job writes boxes")


def _name(entry: Entry, value: object, classes: Json) -> str:
    """Name a class by its number, if there is a map that knows it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise entry.wrong("a label must be the number or the name of a class")
    name = classes.get(str(value), str(value))
    if not isinstance(name, str):
        raise entry.wrong("its class-map must map to names")
    return name


def write_augmented(listing: Listing, target: Path, hints: Hints) -> Sequence[str]:
    """Write a manifest as a labeling job's output would be; raises ManifestError. Says what of the boxes is lost."""
    write_lines(target, _objects(listing, target.absolute().parent, hints.label_attribute or _ATTRIBUTE))
    return turned(listing.records)


def _objects(listing: Listing, folder: Path, attribute: str) -> Iterator[Json]:
    if attribute.endswith((_METADATA, "-ref")):
        raise ManifestError(f"a label attribute must not end with -ref or {_METADATA}, as {attribute!r} does")
    numbers = {name: at for at, name in enumerate(listing.classes)}
    job = _JOBS[listing.kind]
    several = listing.kind not in OF_REGIONS and listing.choice == "multiple"
    for record in listing.records:
        line: Json = {_TEXT: record.text} if record.text else {_SOURCE: written(record.uri, folder)}
        line[attribute], about = _answer(record, listing, numbers)
        name = f"groundtruth/{job}{'-multilabel' if several else ''}"
        yield line | {attribute + _METADATA: about | {"type": name, "human-annotated": "yes", "job-name": "labelloop"}}


def _answer(record: Record, listing: Listing, numbers: Mapping[str, int]) -> tuple[object, Json]:
    """Give what a labeling job says of a record, and its metadata; raises ManifestError."""
    if listing.kind == SPANS:
        spans = [
            {"startOffset": start, "endOffset": end, "label": label} for start, end, label in spans_in(record.result)
        ]
        labels = [{"label": name} for name in listing.classes]
        return {"annotations": {"entities": spans, "labels": labels}}, {"entities": [{"confidence": 1.0}] * len(spans)}
    named = {str(numbers[label]): label for label in record.labels}
    if listing.kind == BOXES:
        width, height = size_known(record)
        boxes = [_pixels(numbers[label], box, (width, height)) for label, box in upright_boxes(record)]
        sizes = [{"width": width, "height": height, "depth": 3}]
        return (
            {"image_size": sizes, "annotations": boxes},
            {"objects": [{"confidence": 1.0}] * len(boxes), "class-map": named},
        )
    if listing.choice == "single":
        return numbers[record.labels[0]], {"class-name": record.labels[0]}
    return [numbers[label] for label in record.labels], {"class-map": named}


def _pixels(number: int, box: Box, size: Size) -> Json:
    left, top, width, height = pixels_of(box, size)
    return {"class_id": number, "left": left, "top": top, "width": width, "height": height}


AUGMENTED = Format(
    "augmented",
    "SageMaker's augmented manifest (JSON Lines with source-ref or source)",
    frozenset({IMAGES, TEXTS, SPANS, BOXES}),
    frozenset({"names", "several labels"}),
    read_augmented,
    write_augmented,
    pixels=frozenset({BOXES}),
)
