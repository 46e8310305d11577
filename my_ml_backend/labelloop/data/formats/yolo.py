"""YOLO: a text file for each picture, a line for each box; data.yaml or classes.txt in its folder names the classes.

docs.ultralytics.com, "Object detection datasets": a line is the class's number, then middle, width and height in
fractions of the picture; with four corners it is a turned box ("Oriented bounding boxes"). Pictures lie in ``images``
and their files in ``labels``, or side by side; a picture without a file has nothing in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from labelloop.data.formats.base import Collector, Format, Hints, folder_uri, resolve
from labelloop.data.formats.boxes import Size, box_of, corners, number, size_of_file, turned, turned_box, upright_boxes
from labelloop.data.formats.entries import Entry, open_text, side_named, write_parts
from labelloop.data.formats.folder_layout import files_below
from labelloop.data.formats.imagefolder import is_picture, new_folder, place
from labelloop.data.formats.other_labels import KEY_POINTS, POLYGONS, Other, refused
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import BOXES, Region, Side

_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "classes.txt", "obj.names", "classes.names")
_SIDES: Mapping[str, Side] = {"train": "train", "val": "validation", "test": "test"}
_NO_LABELS = ("classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt")
_PICTURES, _LABELS = "images", "labels"


def read_yolo(path: Path, hints: Hints, _: str) -> Listing:
    """Read a folder; raises ManifestError."""
    if not path.is_dir():
        raise ManifestError(f"{path}: name the folder that its pictures and its data.yaml or classes.txt lie in")
    files = sorted(files_below(path))
    names, sides = _names(path, files, hints)
    pictures = {_label_file(name): name for name in files if is_picture(name)}
    labels = [name for name in files if name.endswith(".txt") and _is_of_labels(name, pictures)]
    found, base = Collector(path, hints), folder_uri(path)
    for name in dict.fromkeys(
        (*labels, *(one for one, of in pictures.items() if labels and _LABELS in one.split("/")))
    ):
        picture = pictures.get(name)
        if picture is None:
            found.leave_out(f"no picture beside {name!a} is named {PurePosixPath(name).stem!a}", None)
            continue
        uri = resolve(f"./{picture}", base)
        regions = list(_regions(path / name, names, uri, found)) if name in labels else []
        found.take_regions(uri, regions, None, _side(picture, sides))
    return found.listing(classes=names, kind=BOXES)


def _label_file(picture: str) -> str:
    """Name the file of a picture's boxes: beside it, or in ``labels`` where it lies in ``images``."""
    parts = list(PurePosixPath(picture).with_suffix(".txt").parts)
    at = max((at for at, part in enumerate(parts[:-1]) if part.lower() == _PICTURES), default=None)
    if at is not None:
        parts[at] = _LABELS
    return "/".join(parts)


def _is_of_labels(name: str, pictures: Mapping[str, str]) -> bool:
    return name in pictures or (_LABELS in name.split("/")[:-1] and PurePosixPath(name).name not in _NO_LABELS)


def _names(path: Path, files: Sequence[str], hints: Hints) -> tuple[tuple[str, ...], dict[str, Side]]:
    """Give the classes by their numbers, and the sides of folders; raises ManifestError where nothing names them."""
    at_hand = [name for name in files if PurePosixPath(name).name in _NAMES or name.endswith((".yaml", ".yml"))]
    for name in sorted(at_hand, key=lambda name: (name.count("/"), name.endswith(".txt"))):
        if name.endswith((".yaml", ".yml")):
            config = _config(path / name)
            if classes := _classes(config.get("names")):
                return classes, _sides(path, config)
            continue
        with open_text(path / name) as file:
            if lines := tuple(line.strip() for line in file if line.strip()):
                return lines, {}
    if hints.classes:
        return hints.classes, {}
    raise ManifestError(
        f"{path}: nothing names the classes. Put a data.yaml with names or a classes.txt there, with a class in each "
        "line, or name them (--classes)"
    )


def _config(file: Path) -> dict[str, Any]:
    import yaml

    try:
        with open_text(file) as content:
            values = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ManifestError(f"{file} is no YAML that can be read: {str(error)[:200]}") from error
    return values if isinstance(values, dict) else {}


def _classes(names: object) -> tuple[str, ...]:
    """Read the classes: a list, or a map of numbers to them."""
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _sides(path: Path, config: Mapping[str, Any]) -> dict[str, Side]:
    """Map folders of pictures, and pictures, to the sides that a data.yaml gives them; none that is given two."""
    found: dict[str, set[Side]] = {}
    for key, side in _SIDES.items():
        said = config.get(key)
        for one in said if isinstance(said, list) else [said]:
            for place_ in _places(path, one) if isinstance(one, str) else ():
                found.setdefault(place_, set()).add(side)
    return {place_: min(sides) for place_, sides in found.items() if len(sides) == 1}


def _places(path: Path, said: str) -> Iterator[str]:
    plain = "/".join(part for part in PurePosixPath(said).parts if part not in ("..", ".", "/"))
    if plain.endswith(".txt") and (path / plain).is_file():
        with open_text(path / plain) as file:
            yield from ("/".join(part for part in PurePosixPath(line.strip()).parts if part != ".") for line in file)
    else:
        yield plain


def _side(picture: str, sides: Mapping[str, Side]) -> Side | None:
    """Give a picture's side: what data.yaml says of it or of its folder, else the folder that is called like one."""
    parts = picture.split("/")
    above = ("/".join(parts[:depth]) for depth in range(len(parts), 0, -1))
    said = next((sides[one] for one in above if one in sides), None)
    return said or next((side for part in parts[:-1] if (side := side_named(part))), None)


def _regions(file: Path, names: Sequence[str], uri: str, found: Collector) -> Iterator[Region]:
    with open_text(file) as lines:
        for at, line in enumerate(lines, 1):
            cells = line.split()
            if not cells:
                continue
            entry = Entry(file, at, {})
            label = _label(entry, cells[0], names)
            places = [number(entry, "a box", cell) for cell in cells[1:]]
            if len(places) in (4, 5):
                x, y, width, height = places[:4]
                yield from found.only(box_of(entry, label, (x - width / 2, y - height / 2), (width, height)))
            elif len(places) == 8:
                yield from found.only(_of_corners(entry, label, places, size_of_file(uri)))
            else:
                holds = POLYGONS if len(places) % 2 == 0 else KEY_POINTS
                raise refused(file, Other(holds, f"line {at} has {len(cells)} numbers"))


def _label(entry: Entry, cell: str, names: Sequence[str]) -> str:
    at = int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 9 else -1
    if not 0 <= at < len(names):
        raise entry.wrong(f"its class {cell[:20]!r} is none of the {len(names)} that are named, counted from 0")
    return names[at]


def _of_corners(entry: Entry, label: str, places: Sequence[float], size: Size | None) -> Region | str:
    """Make a box of its four corners; raises ManifestError where they are a polygon."""
    points = list(zip(places[::2], places[1::2], strict=True))
    left, top = (min(values) for values in zip(*points, strict=True))
    right, bottom = (max(values) for values in zip(*points, strict=True))
    if all(min(abs(x - left), abs(x - right)) < 1e-4 and min(abs(y - top), abs(y - bottom)) < 1e-4 for x, y in points):
        return box_of(entry, label, (left, top), (right - left, bottom - top))
    if size is None:
        return "turned boxes in pictures of unknown size"
    found = turned_box(label, points, size)
    if found is None:
        raise refused(entry.source, Other(POLYGONS, f"line {entry.number} has four corners of no rectangle"))
    return found


def write_yolo(listing: Listing, target: Path, _: Hints) -> list[str]:
    """Write into a folder that is new or empty, the pictures too; raises ManifestError. Says what is lost."""
    import yaml

    numbers = {name: number for number, name in enumerate(listing.classes)}
    places: dict[str, str] = {}
    with new_folder(target, "a set of YOLO"):
        for record in listing.records:
            where = record.side or "all"
            picture = place(record, target / _PICTURES / where)
            write_parts(target / _LABELS / where / f"{picture.stem}.txt", _lines(record, numbers))
        sides = {record.side for record in listing.records}
        for key, side in _SIDES.items():
            if side in sides or (sides == {None} and side != "test"):
                places[key] = f"{_PICTURES}/{side if side in sides else 'all'}"
        config = {"path": ".", **places, "names": dict(enumerate(listing.classes))}
        write_parts(target / "data.yaml", iter((yaml.safe_dump(config, sort_keys=False, allow_unicode=False),)))
    return turned(listing.records)


def _lines(record: Record, numbers: Mapping[str, int]) -> Iterator[str]:
    for label, box in upright_boxes(record):
        left, top, right, bottom = corners(box)
        middle = ((left + right) / 2, (top + bottom) / 2, box.width, box.height)
        yield f"{numbers[label]} {' '.join(f'{round(one, 9):.12g}' for one in middle)}\n"


YOLO = Format(
    "yolo",
    "YOLO's folder: data.yaml or classes.txt, images, and a text file of boxes for each",
    frozenset({BOXES}),
    frozenset({"sides", "names", "several labels", "classes"}),
    read_yolo,
    write_yolo,
    "",
)
