"""Listings of any format: a source read by its name or by what it is, a listing written, and what that cannot carry."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import IO

from labelloop.data.formats.augmented_manifest import AUGMENTED
from labelloop.data.formats.base import Carried, Format, Hints, base_of
from labelloop.data.formats.coco import COCO
from labelloop.data.formats.conll import CONLL
from labelloop.data.formats.csv_table import CSV, is_table
from labelloop.data.formats.entries import first_line, open_text, side_named
from labelloop.data.formats.imagefolder import IMAGEFOLDER, folder_names
from labelloop.data.formats.label_studio_export import LABEL_STUDIO, is_table_of_label_studio
from labelloop.data.formats.labelloop_jsonl import LABELLOOP, is_labelloop
from labelloop.data.formats.other_labels import AS_FOLDERS, Other, refused
from labelloop.data.formats.recognition import lists_in, of_file, of_folder
from labelloop.data.formats.spacy_jsonl import SPACY
from labelloop.data.formats.table_columns import columns_of
from labelloop.data.formats.table_folder import tables_in
from labelloop.data.formats.texts_jsonl import JSONL
from labelloop.data.formats.vertex_import import VERTEX, is_vertex
from labelloop.data.formats.vertex_rows import is_vertex_row
from labelloop.data.formats.voc import VOC
from labelloop.data.formats.yolo import YOLO
from labelloop.data.listing import OF_REGIONS, Listing
from labelloop.errors import ManifestError
from labelloop.types import IMAGES, TEXTS, Json, Side

_FIRST_LINE, _LINES = 1_000_000, 100
"""Characters of a line, and how many lines, by which a file is known."""

_SHOWN = 5
"""How many files of a folder are named."""

_CHECKED = ("vertex", "augmented", "labelloop", "csv")
"""Formats whose readers look at every line for labels of other kinds, or whose files hold none."""

FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (LABELLOOP, IMAGEFOLDER, AUGMENTED, VERTEX, LABEL_STUDIO, CSV, JSONL, CONLL, SPACY, COCO, VOC, YOLO)
}

_NO_HINTS = Hints()


def read_listing(
    location: str | PathLike[str], format: str = "auto", hints: Hints = _NO_HINTS, base: str | None = None
) -> Listing:
    """Read a file or folder on this machine; raises ManifestError, or StoreError for a damaged manifest of a run.

    Relative addresses are relative to the file, or to ``base`` where it was copied from elsewhere: an address with a
    slash at its end.
    """
    path = Path(location)
    try:
        found = _named(_format(path, format, hints))
        if path.is_dir() and found.suffix and not _is_folder_of_tables(path, found):
            return _read_folder(path, found, hints)
        return found.read(path, hints, base_of(path) if base is None else base)
    except (OSError, ValueError) as error:  # an impossible path
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{str(location)[:200]!r} cannot be read: {reason}") from error


def _is_folder_of_tables(path: Path, format: Format) -> bool:
    """Whether tables lie there beside folders of pictures, or no table of texts does."""
    return format is CSV and (bool(tables_in(path, is_table)) or not lists_in(path, CSV.name))


def _read_folder(path: Path, format: Format, hints: Hints) -> Listing:
    """Read the lists of a folder, of several each as the side that it or its folder is called; raises ManifestError."""
    files = lists_in(path, format.name)
    if not files:
        raise ManifestError(f"{path} has no file of format {format.name}: name the file itself")
    sides = [_side_of(file, path) for file in files]
    if len(files) > 1 and (None in sides or len(set(sides)) < len(sides)):
        shown = ", ".join(str(file.relative_to(path)) for file in files[:_SHOWN])
        raise ManifestError(
            f"{path} has several lists, and their names do not say which side each is: {shown}. Name one"
        )
    parts = [format.read(file, hints, base_of(file)) for file in files]
    return reduce(Listing.joined, (part.on(side) if side else part for part, side in zip(parts, sides, strict=True)))


def _side_of(file: Path, folder: Path) -> Side | None:
    """Give the side that a list is for: by its name, or by that of a folder above it."""
    words = file.stem.replace(".", "_").split("_")
    inside = file.relative_to(folder).parts[:-1]
    return next((side for name in (file.stem, *words, *inside) if (side := side_named(name))), None)


def write_listing(listing: Listing, target: Path, format: str, hints: Hints = _NO_HINTS) -> list[str]:
    """Write a listing in a format and say what of it that could not carry; raises ManifestError, the target untouched.

    Refused when nothing would be left.
    """
    found = _named(format)
    kept = _carried(listing, found)
    lost = [what for name, what in _extras(listing).items() if name not in found.carries and what]
    if kept.kind != listing.kind:
        lost += _other_kind(listing)
    if not kept.records:
        raise ManifestError(
            f"there is nothing to write: format {format} can carry none of the {len(listing.records)} records"
        )
    return [*lost, *(found.write(kept, target, hints) or ())]


def _format(path: Path, format: str, hints: Hints) -> str:
    """Name the format of a source, which Label Studio's tables have whoever calls them CSV; raises ManifestError."""
    if format == "auto":
        return detect(path, {one.name: one.about for one in FORMATS.values()}, hints)
    is_export = format == "csv" and not path.is_dir() and is_table_of_label_studio(first_line(path))
    return LABEL_STUDIO.name if is_export else format


def detect(path: Path, formats: Mapping[str, str], hints: Hints = _NO_HINTS) -> str:
    """Name the format of a source; raises ManifestError listing the formats (name to what it is) and what was seen.

    Also where what it holds is labels of a kind that is not learned.
    """
    if path.is_dir():
        if other := of_folder(path):
            return _of_other(path, other, AS_FOLDERS)
        return "csv" if tables_in(path, is_table) else "imagefolder"
    with open_text(path) as file:
        lines = [line.strip() for line in islice(_short_lines(file), _LINES)]
    first, second, *_ = [*filter(None, lines), "", ""]
    if is_vertex_row(first):
        return "vertex"
    found, seen = _by_line(first, second, hints)
    if found not in _CHECKED and (other := of_file(path)):
        return _of_other(path, other)
    if not found:
        known = "; ".join(f"{name}: {about}" for name, about in formats.items())
        raise ManifestError(f"{path} is of no known format: {seen}. Name the format, one of {known}")
    return found


def _of_other(path: Path, other: Other, instead: str = "") -> str:
    """Name what reads other labels than classes of pictures; raises ManifestError where nothing does."""
    if not other.format:
        raise refused(path, other, instead)
    return other.format


def _short_lines(file: IO[str]) -> Iterator[str]:
    while line := file.readline(_FIRST_LINE):
        yield line


def _by_line(first: str, second: str, hints: Hints) -> tuple[str, str]:
    """Give the format, or what was seen instead."""
    if first.startswith("["):
        return "label-studio", ""
    if first.startswith("{"):
        return _by_object(first)
    if is_table_of_label_studio(first):
        return "label-studio", ""
    try:
        columns_of(first, second, hints)
    except ManifestError as error:
        return "", str(error) if first else "it is empty"
    return "csv", ""


def _by_object(first: str) -> tuple[str, str]:
    try:
        value: Json = json.loads(first)
    except (ValueError, RecursionError):
        return "", "it begins like JSON, but its first line is none"
    if is_vertex(value):
        return "vertex", ""
    if "source-ref" in value or ("source" in value and any(key.endswith("-metadata") for key in value)):
        return "augmented", ""
    if is_labelloop(value):
        return "labelloop", ""
    if "data" in value and not {"annotations", "completions", "predictions"}.isdisjoint(value):
        return "label-studio", ""
    return "", f"its first line has the keys {', '.join(value)[:200]!r}"


def _named(format: str) -> Format:
    if format not in FORMATS:
        raise ManifestError(f"there is no format {format[:60]!r}; there are {', '.join(FORMATS)}")
    return FORMATS[format]


def _carried(listing: Listing, format: Format) -> Listing:
    """Give what a format can carry: where it takes one label a picture, only records with exactly one.

    What has no place for a kind may have one for its labels: then the listing is one of classes. Raises ManifestError.
    """
    texts = sum(bool(record.text) for record in listing.records)
    if "kind" not in format.carries and listing.kind not in format.kinds:
        classes = TEXTS if texts else IMAGES
        if classes not in format.kinds:
            fit = [one.name for one in FORMATS.values() if "kind" in one.carries or listing.kind in one.kinds]
            raise ManifestError(
                f"{len(listing.records)} of its records are for {listing.kind}, which format {format.name} cannot "
                f"carry: write it as {', '.join(fit)}"
            )
        listing = replace(listing, kind=classes)
    if 0 < texts < len(listing.records) and "kind" not in format.carries:
        raise ManifestError(
            f"{texts} of its records are texts and the others files, which format {format.name} cannot carry together: "
            "write it as labelloop"
        )
    bare = sum(not record.uri and not record.text for record in listing.records)
    if bare and "hashes" not in format.carries:
        raise ManifestError(
            f"{bare} of its pictures have no address, only a hash, which format {format.name} cannot carry"
        )
    if listing.kind in OF_REGIONS or "several labels" in format.carries:
        return listing
    return replace(listing, choice="single", records=tuple(one for one in listing.records if len(one.labels) == 1))


def _extras(listing: Listing) -> dict[Carried, str]:
    """Say what a listing has beside addresses and single labels, by the name of what carries it; empty for nothing."""
    records, regions = listing.records, listing.kind in OF_REGIONS
    sides = sum(record.side is not None for record in records)
    several = 0 if regions else sum(len(record.labels) != 1 for record in records)
    hashes = sum(bool(record.content) and not record.text for record in records)
    used = {label for record in records for label in record.labels}
    bare = [name for name in listing.classes if name not in used]
    numbered = [record.task for record in records] == list(range(1, len(records) + 1))
    return {
        "sides": f"the sides of {sides} records" if sides else "",
        "several labels": f"{several} records that have not exactly one label" if several else "",
        "task ids": "" if numbered else "task ids",
        "hashes": f"the hashes of {hashes} pictures" if hashes else "",
        "left out": f"{len(listing.left_out)} tasks that are left out, and why" if listing.left_out else "",
        "classes": _classes(listing.classes, bare),
        "names": _renamed(used),
    }


def _other_kind(listing: Listing) -> Iterator[str]:
    """Say what of a listing is lost where no more than its labels can be written."""
    if results := sum(bool(record.result) for record in listing.records):
        yield f"all but the labels of what annotators said of {results} inputs"
    yield f"that it is for {listing.kind}"


def _renamed(labels: set[str]) -> str:
    names = folder_names(sorted(labels))
    renamed = [f"{label!r} becomes {name!r}" for label, name in names.items() if name != label]
    return f"labels that are no names of folders: {', '.join(renamed)[:200]}" if renamed else ""


def _classes(classes: tuple[str, ...], bare: list[str]) -> str:
    if bare:
        return f"classes without a record: {', '.join(bare)[:200]}"
    return "" if list(classes) == sorted(classes) else "the order of the classes"
