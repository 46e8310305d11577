"""COCO's annotations of boxes: images, categories and annotations in one JSON object (cocodataset.org, "Data format").

Pixels are those of the upright picture. Boxes of crowds and boxes without area are left out and counted. An image
without annotations has nothing of the categories in it, and that is truth.
"""

from collections.abc import Iterator, Mapping
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
from labelloop.data.formats.entries import Entry, json_object, write_parts
from labelloop.data.formats.spans import whole_number
from labelloop.data.formats.table_folder import nearest_file
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import BOXES, Json, Region

_ADDRESSES = ("coco_url", "flickr_url")


def read_coco(path: Path, hints: Hints, base: str) -> Listing:
    """Read a file; raises ManifestError."""
    values = json_object(path)
    names = _names(path, values)
    boxes: dict[int, list[Entry]] = {}
    for entry in _objects(path, values, "annotations"):
        boxes.setdefault(_id(entry, "image_id"), []).append(entry)
    images = {_id(entry, "id"): entry for entry in _objects(path, values, "images")}
    if strange := boxes.keys() - images.keys():
        entry = boxes[min(strange)][0]
        raise entry.wrong(f"its image {min(strange)} is not among the images")
    found = Collector(path, hints)
    numbered = all(number > 0 for number in images)
    for number, entry in images.items():
        uri, size = _address(entry, path, base), size_said(entry.values.get("width"), entry.values.get("height"))
        own = boxes.get(number, [])
        size = size_needed(entry, uri, size) if own else size
        regions = [region for one in own if size for region in _boxes(one, names, size, found)]
        found.take_regions(uri, regions, number if numbered else None, entry.side(entry.values.get("split")), size=size)
    return found.listing(classes=names.values(), kind=BOXES)


def _names(path: Path, values: Json) -> dict[int, str]:
    """Map the numbers of categories to their names, without one that is no more than a heading of others."""
    used = {one.get("category_id") for one in values.get("annotations", []) if isinstance(one, dict)}
    entries = list(_objects(path, values, "categories"))
    headings = {entry.values.get("supercategory") for entry in entries}
    named = {_id(entry, "id"): entry.text("name") for entry in entries}
    return {number: name for number, name in named.items() if number in used or name not in headings - {""}}


def _objects(path: Path, values: Json, key: str) -> Iterator[Entry]:
    entries = values.get(key)
    if not isinstance(entries, list):
        raise ManifestError(f"{path}: {key!r} must be a list, as COCO's files of boxes have it")
    for number, one in enumerate(entries, 1):
        entry = Entry(path, number, one, f"element of {key}")
        if not isinstance(one, dict):
            raise entry.wrong("it is no JSON object")
        yield entry


def _id(entry: Entry, key: str) -> int:
    number = whole_number(entry.values.get(key))
    if number is None:
        raise entry.wrong(f"{key!r} must be a whole number")
    return number


def _address(entry: Entry, path: Path, base: str) -> str:
    """Give an image's address: the file of its name, beside the list or where COCO's folders have it, else its URL."""
    name = entry.text("file_name")
    near = nearest_file(path, name, base)
    if near is None and (url := next((url for key in _ADDRESSES if (url := entry.values.get(key))), None)):
        return entry.address(str(url), base)
    return entry.address(name if near is None else str(near), base)


def _boxes(entry: Entry, names: Mapping[int, str], size: Size, found: Collector) -> Iterator[Region]:
    number = _id(entry, "category_id")
    if number not in names:
        raise entry.wrong(f"its category {number} is not among the categories")
    if entry.values.get("iscrowd") == 1 or entry.values.get("ignore") == 1:
        yield from found.only("boxes of crowds")
        return
    match entry.values.get("bbox"):
        case [left, top, width, height]:
            yield from found.only(pixel_box(entry, names[number], (left, top), (width, height), size))
        case None | []:
            yield from found.only("annotations without a box")
        case _:
            raise entry.wrong("'bbox' must be x, y, width and height in pixels")


def write_coco(listing: Listing, target: Path, _: Hints) -> list[str]:
    """Write one file; raises ManifestError, also for a picture whose size nothing says. Says what is lost."""
    import json

    folder = target.absolute().parent
    numbers = {name: number for number, name in enumerate(listing.classes, 1)}
    images: list[Json] = []
    annotations: list[Json] = []
    for record in listing.records:
        width, height = size_known(record)
        side = {"split": record.side} if record.side else {}
        name = written(record.uri, folder)
        images.append({"id": record.task, "file_name": name, "width": width, "height": height, **side})
        for label, box in upright_boxes(record):
            pixels = pixels_of(box, (width, height))
            annotation = {"id": len(annotations) + 1, "image_id": record.task, "category_id": numbers[label]}
            area = round(pixels[2] * pixels[3], 2)
            annotations.append(annotation | {"bbox": pixels, "area": area, "iscrowd": 0, "segmentation": []})
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    values = {"images": images, "annotations": annotations, "categories": categories}
    write_parts(target, iter((json.dumps(values), "\n")))
    return turned(listing.records)


COCO = Format(
    "coco",
    "COCO's JSON of boxes in pictures",
    frozenset({BOXES}),
    frozenset({"sides", "names", "several labels", "task ids", "classes"}),
    read_coco,
    write_coco,
    ".json",
    frozenset({BOXES}),
)
