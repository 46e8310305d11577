"""LabelLoop's own: JSON Lines, a header and a line for each task, with addresses; and the manifest of a run without."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeGuard

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import Entry, object_lines, text_lines, write_lines
from labelloop.data.formats.spans import span_of
from labelloop.data.listing import OF_REGIONS, Listing, Record
from labelloop.data.manifest import Manifest
from labelloop.errors import ManifestError
from labelloop.regions import read_regions, write_regions
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Choice, Json, Span, canonical

_FORMAT = 1
_KINDS: tuple[Choice, ...] = ("single", "multiple")


def is_labelloop(first: Json) -> bool:
    """Tell by the first object of a file."""
    bare = "labels" in first and not {"uri", "picture", "result"}.isdisjoint(first)
    return bare or {"format", "kind", "classes"} <= first.keys()


def read_labelloop(path: Path, hints: Hints, base: str) -> Listing:
    """Read a listing, a header-less one too, or a run's manifest; raises ManifestError, StoreError for the latter."""
    entries = object_lines(path)
    first = next(entries, None)
    if first is None:
        raise ManifestError(f"{path} is empty")
    if "hash" in first.values:
        return _manifest(path, hints)
    found = Collector(path, hints)
    if "format" not in first.values:
        kind = _kind_of(first)
        return _taken(found, chain((first,), entries), base, kind).listing(kind=kind)
    choice, classes, kind = _header(first)
    listing = _taken(found, entries, base, kind).listing(choice, classes, kind)
    expected = first.values.get("records"), first.values.get("left_out")
    if expected != found.counts:
        raise ManifestError(f"{path} is cut or was changed: its header counts {expected[0]} records")
    return listing


def _header(first: Entry) -> tuple[Choice, list[str], str]:
    values = first.values
    classes = values.get("classes")
    if values.get("format") != _FORMAT or values.get("kind") not in _KINDS or not _texts(classes):
        raise first.wrong(
            'the header must have "format": 1, "kind": single or multiple, and "classes", a list of texts'
        )
    choice: Choice = values["kind"]
    return choice, list(values["classes"]), first.text("learns") if "learns" in values else IMAGES


def _kind_of(entry: Entry) -> str:
    """Tell by a line what is learned of it, where no header says it."""
    result = entry.values.get("result")
    region = next((one for one in result if isinstance(one, dict)), {}) if isinstance(result, list) else {}
    if "span" in region or "box" in region:
        return SPANS if "span" in region else BOXES
    return TEXTS if "text" in entry.values else IMAGES


def _taken(found: Collector, entries: Iterable[Entry], base: str, kind: str) -> Collector:
    for entry in entries:
        _take(found, entry, base, kind)
    return found


def _take(found: Collector, entry: Entry, base: str, kind: str) -> None:
    task = entry.task("task")
    if "left_out" in entry.values:
        found.leave_out(entry.text("left_out"), task)
        return
    labels = entry.values.get("labels")
    if not _texts(labels):
        raise entry.wrong("'labels' must be a list of texts")
    result = _regions(entry, kind) if kind in OF_REGIONS else _result(entry)
    side, size = entry.side(entry.values.get("side")), _size(entry)
    confirmed = entry.values.get("confirmed") is True
    if "text" in entry.values:
        if not entry.text("text"):
            raise entry.wrong("'text' is empty: there is nothing to learn from")
        found.take("", labels, task, side, text=entry.text("text"), result=result, confirmed=confirmed)
        return
    picture = entry.picture(entry.values.get("picture"))
    uri = entry.address(entry.text("uri"), base) if "uri" in entry.values or not picture else ""
    found.take(uri, labels, task, side, picture, result=result, confirmed=confirmed, size=size)


def _result(entry: Entry) -> str:
    if "result" not in entry.values:
        return ""
    result = entry.values["result"]
    if not isinstance(result, list) or not all(isinstance(region, dict) for region in result):
        raise entry.wrong("'result' must be a list of objects, as Label Studio writes an annotation's")
    return canonical(result)


def _regions(entry: Entry, kind: str) -> str:
    """Read what is true of a line where regions are: without them, nothing is there."""
    try:
        regions = read_regions(json.dumps(entry.values.get("result", [])))
    except ValueError as error:
        raise entry.wrong(f"'result' is wrong: {error}") from error
    if {one.label for one in regions} != set(entry.values["labels"]):
        raise entry.wrong("'labels' are not those of the regions in its 'result'")
    # A text may lie in a file: then it is no part of the line.
    text = entry.text("text") if "text" in entry.values else ""
    for one in regions:
        if isinstance(one.shape, Span) != (kind == SPANS):
            raise entry.wrong(f"'result' has a region {one.label[:60]!r} that {kind} does not learn")
        if isinstance(one.shape, Span):
            span_of(entry, text, one.shape.start, one.shape.end, one.label)
    return write_regions(regions)


def _size(entry: Entry) -> tuple[int, int] | None:
    size = entry.values.get("size")
    match size:
        case None:
            return None
        case [int() as width, int() as height] if width > 0 and height > 0:
            return width, height
    raise entry.wrong("'size' must be the picture's width and height in pixels")


def _manifest(path: Path, hints: Hints) -> Listing:
    try:
        manifest = Manifest.from_jsonl(line for _, line in text_lines(path))
    except RecursionError as error:
        raise ManifestError(f"{path} is no manifest") from error
    records = tuple(
        Record("", one.labels, one.task, None, one.content, one.text, one.result, one.confirmed)
        for one in manifest.items
    )
    choice, classes = hints.choice or manifest.choice, manifest.classes if hints.classes is None else hints.classes
    return Listing.of(records, manifest.left_out, choice, classes, hints.find, manifest.kind)


def write_labelloop(listing: Listing, target: Path, _: Hints) -> None:
    """Write a listing with its header; raises ManifestError."""
    write_lines(target, _objects(listing, target.absolute().parent))


def _objects(listing: Listing, folder: Path) -> Iterator[Json]:
    yield {
        "format": _FORMAT,
        "kind": listing.choice,
        **({} if listing.kind == IMAGES else {"learns": listing.kind}),
        "classes": listing.classes,
        "records": len(listing.records),
        "left_out": len(listing.left_out),
    }
    for record in listing.records:
        line: Json = {"task": record.task, "labels": record.labels}
        if record.uri:
            line["uri"] = written(record.uri, folder)
        if record.side:
            line["side"] = record.side
        if record.text:
            line["text"] = record.text
        elif record.content:
            line["picture"] = record.content
        if record.result:
            line["result"] = json.loads(record.result)
        if record.size:
            line["size"] = record.size
        if record.confirmed:
            line["confirmed"] = True
        yield line
    yield from ({"task": out.task, "left_out": out.reason} for out in listing.left_out)


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


LABELLOOP = Format(
    "labelloop",
    "LabelLoop's own JSON Lines, and the manifest of a run",
    frozenset({IMAGES, TEXTS, SPANS, BOXES}),
    frozenset({"sides", "names", "several labels", "task ids", "hashes", "left out", "classes", "kind"}),
    read_labelloop,
    write_labelloop,
)
