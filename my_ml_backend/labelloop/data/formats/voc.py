"""Pascal VOC: an XML file for each picture, its boxes in pixels (Everingham et al., "The PASCAL VOC Challenge", 2010).

Corners are taken as edges, as nearly all tools write them since: not one pixel in, as the first sets had them. The
sides are those of ``ImageSets/Main``, else the folders.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from labelloop.data.formats.base import Collector, Format, Hints, base_of
from labelloop.data.formats.boxes import (
    number,
    pixel_box,
    pixels_of,
    size_known,
    size_needed,
    size_said,
    turned,
    upright_boxes,
)
from labelloop.data.formats.entries import Entry, side_named
from labelloop.data.formats.folder_layout import files_below
from labelloop.data.formats.imagefolder import new_folder, place
from labelloop.data.formats.table_folder import nearest_file
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.files import open_file
from labelloop.types import BOXES, Region, Side

_LISTS = "ImageSets/Main"
_NAMES = {"train": "train", "validation": "val", "test": "test"}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, hints: Hints, _: str) -> Listing:
    """Read a file, or all below a folder; raises ManifestError."""
    found = Collector(path, hints)
    files = [path] if not path.is_dir() else [path / name for name in sorted(files_below(path)) if _is_xml(name)]
    named = _sides(path) if path.is_dir() else {}
    for file in files:
        root = _root(file)
        if root.tag != "annotation":
            continue
        inside = file.relative_to(path).parts[:-1] if path.is_dir() else ()
        side = named.get(file.stem) or next((side for part in inside if (side := side_named(part))), None)
        _take(found, file, root, side)
    return found.listing(kind=BOXES)


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml")


def _root(file: Path) -> Any:
    try:
        with open_file(file) as content:
            return fromstring(content.read(), forbid_dtd=True)
    except OSError as error:
        raise ManifestError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise ManifestError(f"{file} is no XML that can be read: {error}") from error


def _sides(folder: Path) -> dict[str, Side]:
    """Map the names of pictures, without suffix, to the sides that the lists of a set name."""
    found: dict[str, Side] = {}
    for file in sorted(folder.rglob(f"{_LISTS}/*.txt")):
        side = side_named(file.stem)
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if side else ():
            if line.split():
                found[line.split()[0]] = side or "train"
    return found


def _take(found: Collector, file: Path, root: Any, side: Side | None) -> None:
    entry = Entry(file, 1, {}, "object")
    uri = _address(entry, root)
    objects = root.findall("object")
    size = size_said(root.findtext("size/width"), root.findtext("size/height"))
    size = size_needed(Entry(file, 1, {}, "annotation"), uri, size) if objects else size
    regions: list[Region] = []
    for at, one in enumerate(objects, 1):
        where = Entry(file, at, {}, "object")
        box = one.find("bndbox")
        if box is None or size is None:
            regions += found.only("objects without an upright box")
            continue
        left, top, right, bottom = (number(where, "a box", box.findtext(corner)) for corner in _CORNERS)
        name = (one.findtext("name") or "").strip()
        regions += found.only(pixel_box(where, name, (left, top), (right - left, bottom - top), size))
    found.take_regions(uri, regions, None, side, size=size)


def _address(entry: Entry, root: Any) -> str:
    """Give the picture's address: the file of its name, near the XML, or what its path says."""
    file = entry.source
    name, said = ((root.findtext(key) or "").strip() for key in ("filename", "path"))
    for one in (name, said, file.stem):
        if one and (near := nearest_file(file, one, base_of(file))):
            return entry.address(str(near), base_of(file))
    if not (name or said):
        raise ManifestError(f"{file} does not name its picture: <filename> is missing")
    return entry.address(said if "://" in said else name or said, base_of(file))


def write_voc(listing: Listing, target: Path, _: Hints) -> list[str]:
    """Write into a folder that is new or empty, the pictures too; raises ManifestError. Says what is lost."""
    with new_folder(target, "a set of Pascal VOC"):
        names: dict[Side, list[str]] = {}
        for record in listing.records:
            picture = place(record, target / "JPEGImages")
            file = target / "Annotations" / f"{picture.stem}.xml"
            file.parent.mkdir(exist_ok=True)
            boxes = [(label, pixels_of(box, size_known(record))) for label, box in upright_boxes(record)]
            file.write_bytes(tostring(_annotation(picture.name, size_known(record), boxes), encoding="utf-8"))
            if record.side:
                names.setdefault(record.side, []).append(picture.stem)
        for side, held in names.items():
            (target / _LISTS).mkdir(parents=True, exist_ok=True)
            (target / _LISTS / f"{_NAMES[side]}.txt").write_text("".join(f"{name}\n" for name in held))
    return turned(listing.records)


def _annotation(name: str, size: tuple[int, int], boxes: Sequence[tuple[str, Sequence[float]]]) -> Element:
    root = Element("annotation")
    for tag, text in (("folder", "JPEGImages"), ("filename", name)):
        SubElement(root, tag).text = text
    sizes = SubElement(root, "size")
    for tag, pixels in zip(("width", "height", "depth"), (*size, 3), strict=True):
        SubElement(sizes, tag).text = str(pixels)
    for label, (left, top, width, height) in boxes:
        one = SubElement(root, "object")
        SubElement(one, "name").text = label
        for tag in ("truncated", "difficult"):
            SubElement(one, tag).text = "0"
        box = SubElement(one, "bndbox")
        for tag, value in zip(_CORNERS, (left, top, left + width, top + height), strict=True):
            SubElement(box, tag).text = f"{round(value, 6):.10g}"
    return root


VOC = Format(
    "voc",
    "Pascal VOC's folder: an XML file for each picture",
    frozenset({BOXES}),
    frozenset({"sides", "names", "several labels"}),
    read_voc,
    write_voc,
    "",
)
