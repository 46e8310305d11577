"""ImageFolder: a folder for each class; above them, if need be, one for each side (train, validation, test)."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from labelloop.data.formats.base import Collector, Format, Hints, folder_uri, resolve
from labelloop.data.formats.entries import side_named
from labelloop.data.listing import Listing, Record
from labelloop.data.split import SIDES
from labelloop.errors import ManifestError
from labelloop.files import link_or_copy
from labelloop.sources.urls import local_file
from labelloop.types import Side

_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif",
    ".tiff", ".webp",
)  # fmt: skip

_UNSAFE = re.compile(r"[^\w .()+,=@&-]")
_LONGEST = 100

_KINDS = (
    (b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"),
    (b"II*\0", ".tiff"), (b"MM\0*", ".tiff"), (b"P", ".ppm"),
)  # fmt: skip
"""How files of each kind begin; a picture is named by what it is, for readers tell by the name."""

Parts = tuple[str, ...]


def read_imagefolder(path: Path, hints: Hints, _: str) -> Listing:
    """Read a folder of this machine; links to folders are not followed. Raises ManifestError (see ``by_folders``)."""
    base = folder_uri(path)
    return by_folders(str(path), _names(path), lambda name: resolve(f"./{name}", base), hints)


def by_folders(source: str, names: Iterable[str], address: Callable[[str], str], hints: Hints) -> Listing:
    """Label files by the folders they lie in; ``names`` are relative to ``source``, folders' end in a slash.

    Below a class all folders are looked into; hidden files are no part of it, files that are no pictures by their names
    are left out. Raises ManifestError where there are no classes, or sides and classes stand side by side.
    """
    found = Collector(source, hints)
    paths = sorted((PurePosixPath(name).parts, name) for name in names if not _is_hidden(name))
    sides = _sides(source, [parts if name.endswith("/") else parts[:-1] for parts, name in paths])
    classes: set[str] = set()
    for side in SIDES if sides else (None,):
        for parts, name in paths:
            if side is not None and sides.get(parts[0]) != side:
                continue
            below = parts if side is None else parts[1:]
            if len(below) > 1 or (below and name.endswith("/")):
                classes.add(below[0])
            if len(below) > 1 and not name.endswith("/"):
                _take(found, name, below[0], side, address)
    return found.listing("single", sorted(classes))


def write_imagefolder(listing: Listing, target: Path, _: Hints) -> None:
    """Write into a folder that is new or empty; raises ManifestError, also for a picture of another machine."""
    names = folder_names(listing.classes)
    try:
        if target.exists() and any(target.iterdir()):
            raise ManifestError(f"{target} is not empty; an ImageFolder is written into a folder of its own")
        for record in listing.records:
            _place(record, target / (record.side or "") / names[record.labels[0]])
    except OSError as error:
        raise ManifestError(f"{target} cannot be written: {error.strerror or error}") from error


def folder_names(classes: Iterable[str]) -> dict[str, str]:
    """Give each class a folder name of its own: safe on every system, told apart without regard to case."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for label in classes:
        plain = _UNSAFE.sub("_", label).strip(" .")[:_LONGEST].strip(" .") or "_"
        name, number = plain, 2
        while name.casefold() in taken:
            name, number = f"{plain} ({number})", number + 1
        taken.add(name.casefold())
        found[label] = name
    return found


def _take(found: Collector, name: str, label: str, side: Side | None, address: Callable[[str], str]) -> None:
    if name.lower().endswith(_SUFFIXES):
        found.take(address(name), (label,), None, side)
    else:
        found.leave_out(f"{name!a} is no picture by its name", None)


def _sides(source: str, folders: list[Parts]) -> dict[str, Side]:
    """Map the folders that are sides to them; one called test is a side only if it holds folders itself."""
    tops = dict.fromkeys(parts[0] for parts in folders if parts)
    deep = {parts[0] for parts in folders if len(parts) > 1}
    if not tops:
        raise ManifestError(f"{source} has no folders; an ImageFolder has one for each class")
    sides = {name: side for name in tops if name in deep and (side := side_named(name)) is not None}
    others = [name for name in tops if name not in sides]
    if sides and others:
        raise ManifestError(
            f"{source} has folders for sides ({', '.join(sides)}) and others beside them ({', '.join(others[:5])}): "
            "move the classes below a side, or the others away"
        )
    return sides


def _names(root: Path) -> Iterator[str]:
    """Give all files and folders below a folder, relative to it."""
    try:
        list(root.iterdir())
    except OSError as error:
        raise ManifestError(f"{root} cannot be read: {error.strerror or error}") from error
    for where, folders, files in os.walk(root):
        below = os.path.relpath(where, root)
        start = "" if below == "." else f"{below}/"
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (f"{start}{name}/" for name in folders)
        yield from (f"{start}{name}" for name in files)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _place(record: Record, folder: Path) -> None:
    source = local_file(record.uri)
    if source is None:
        raise ManifestError(f"task {record.task}: an ImageFolder is written of files on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    stem = _UNSAFE.sub("_", source.stem).strip(" .")[:_LONGEST]
    link_or_copy(source, folder / f"{stem}-{record.task}{_suffix(source)}")


def _suffix(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(16)
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for start, suffix in _KINDS if head.startswith(start)), source.suffix.lower()[:10])


IMAGEFOLDER = Format(
    "imagefolder",
    "a folder for each class, perhaps below train, validation and test",
    frozenset({"sides"}),
    read_imagefolder,
    write_imagefolder,
    "",
)
