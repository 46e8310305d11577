"""All formats by name: read a source of any of them, write a listing in one and say what that one cannot carry."""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

from labelloop.data.formats.addresses import base_of
from labelloop.data.formats.augmented import AUGMENTED
from labelloop.data.formats.base import Carried, Format, Hints
from labelloop.data.formats.csv_table import CSV
from labelloop.data.formats.detect import detect
from labelloop.data.formats.imagefolder import IMAGEFOLDER
from labelloop.data.formats.imagefolder_writing import folder_names
from labelloop.data.formats.label_studio import LABEL_STUDIO
from labelloop.data.formats.labelloop import LABELLOOP
from labelloop.data.formats.vertex import VERTEX
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import IMAGES

FORMATS: Mapping[str, Format] = {
    one.name: one for one in (LABELLOOP, IMAGEFOLDER, AUGMENTED, VERTEX, LABEL_STUDIO, CSV)
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
        name = detect(path, {one.name: one.about for one in FORMATS.values()}) if format == "auto" else format
        found = _named(name)
        return found.read(path, hints, base_of(path) if base is None else base)
    except (OSError, ValueError) as error:  # an impossible path
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{str(location)[:200]!r} cannot be read: {reason}") from error


def write_listing(listing: Listing, target: Path, format: str, hints: Hints = _NO_HINTS) -> list[str]:
    """Write a listing in a format and say what of it that could not carry; raises ManifestError, the target untouched.

    Refused when nothing would be left.
    """
    found = _named(format)
    lost = [what for name, what in _extras(listing).items() if name not in found.carries and what]
    kept = _carried(listing, found)
    if not kept.records:
        raise ManifestError(
            f"there is nothing to write: format {format} can carry none of the {len(listing.records)} records"
        )
    found.write(kept, target, hints)
    return lost


def _named(format: str) -> Format:
    if format not in FORMATS:
        raise ManifestError(f"there is no format {format[:60]!r}; there are {', '.join(FORMATS)}")
    return FORMATS[format]


def _carried(listing: Listing, format: Format) -> Listing:
    """Give what a format can carry: where it takes one label a picture, only records with exactly one."""
    texts = sum(bool(record.text) for record in listing.records)
    if texts and "texts" not in format.carries:
        raise ManifestError(
            f"{texts} of its records are texts, which format {format.name} cannot carry: write it as labelloop"
        )
    bare = sum(not record.uri and not record.text for record in listing.records)
    if bare and "hashes" not in format.carries:
        raise ManifestError(
            f"{bare} of its pictures have no address, only a hash, which format {format.name} cannot carry"
        )
    if "several labels" in format.carries:
        return listing
    return replace(listing, choice="single", records=tuple(one for one in listing.records if len(one.labels) == 1))


def _extras(listing: Listing) -> dict[Carried, str]:
    """Say what a listing has beside addresses and single labels, by the name of what carries it; empty for nothing."""
    records = listing.records
    sides = sum(record.side is not None for record in records)
    several = sum(len(record.labels) != 1 for record in records)
    hashes = sum(bool(record.content) and not record.text for record in records)
    results = sum(bool(record.result) for record in records)
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
        "results": f"all but the labels of what annotators said of {results} inputs" if results else "",
        "kind": "" if listing.kind == IMAGES else f"that it is for {listing.kind}",
    }


def _renamed(labels: set[str]) -> str:
    names = folder_names(sorted(labels))
    renamed = [f"{label!r} becomes {name!r}" for label, name in names.items() if name != label]
    return f"labels that are no names of folders: {', '.join(renamed)[:200]}" if renamed else ""


def _classes(classes: tuple[str, ...], bare: list[str]) -> str:
    if bare:
        return f"classes without a record: {', '.join(bare)[:200]}"
    return "" if list(classes) == sorted(classes) else "the order of the classes"
