"""ImageFolder: a folder for each class; above them, if need be, one for each side (train, validation, test)."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from labelloop.data.classes import class_finder
from labelloop.data.formats.base import Collector, Format, Hints, folder_uri, resolve
from labelloop.data.formats.entries import side_named
from labelloop.data.formats.folder_layout import FolderLayout, Parts
from labelloop.data.listing import Listing, Record
from labelloop.data.split import SIDES
from labelloop.errors import ManifestError
from labelloop.files import link_or_copy, no_file, open_file
from labelloop.sources.urls import local_file
from labelloop.types import IMAGES, Side

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

_LEFTOVERS = ("__MACOSX", "@eaDir")
"""Folders that a system or an archive adds beside those of its user."""

_LINK = "is a link to a folder, which is not followed"

_NOTHING: Mapping[str, str] = {}


def read_imagefolder(path: Path, hints: Hints, _: str) -> Listing:
    """Read a folder of this machine; links to folders are not followed. Raises ManifestError (see ``by_folders``)."""
    base = folder_uri(path)
    odd: dict[str, str] = {}
    names = list(_names(path, odd))
    return by_folders(str(path), names, lambda name: resolve(f"./{name}", base), hints, odd)


def by_folders(
    source: str,
    names: Iterable[str],
    address: Callable[[str], str],
    hints: Hints,
    odd: Mapping[str, str] = _NOTHING,
) -> Listing:
    """Label files by the folders they lie in; ``names`` are relative to ``source``, folders' end in a slash.

    Below a class all folders are looked into; hidden files are no part of it. Left out are files that are no pictures
    by their names, pictures in no class's folder, and the names that are ``odd``, with what these are. Raises
    ManifestError where there are no classes, or sides and classes stand side by side.
    """
    found = Collector(source, hints)
    paths = sorted((PurePosixPath(name).parts, name) for name in names if not _is_hidden(name))
    folders = {parts if name.endswith("/") else parts[:-1] for parts, name in paths}
    pictured = {parts[:-1] for parts, name in paths if is_picture(name)}
    layout = FolderLayout.of(source, folders, pictured, hints.finder() or class_finder(()))
    homes = layout.homes()
    classed: dict[Side | None, list[tuple[str, Parts]]] = {side: [] for side in (*SIDES, None)}
    outside: list[str] = []
    for parts, name in paths:
        home = next((home for home in homes if parts[: len(home)] == home), None)
        below = () if home is None else parts[len(home) :]
        is_folder = name.endswith("/")
        if home is not None and (len(below) > 1 or (below and is_folder)):
            classed[homes[home]].append((name, below))
        if name in odd if is_folder else len(below) < 2 and (name in odd or is_picture(name)):
            outside.append(name)
    inner = layout.are_sides_within(homes)
    for side, held in classed.items():
        for name, below in held:
            if not name.endswith("/"):
                _take(found, name, below[0], side_named(below[1]) if inner else side, address, odd)
    for name in outside:
        found.leave_out(f"{name!a} {odd.get(name, 'lies in no folder of a class')}", None)
    listing = found.listing("single", sorted({below[0] for held in classed.values() for _, below in held}))
    return replace(listing, remarks=(*layout.remarks(homes), *listing.remarks))


def write_imagefolder(listing: Listing, target: Path, _: Hints) -> None:
    """Write into a folder that is new or empty; raises ManifestError, also for a picture of another machine."""
    names = folder_names(listing.classes)
    with new_folder(target, "an ImageFolder"):
        for record in listing.records:
            place(record, target / (record.side or "") / names[record.labels[0]])


@contextmanager
def new_folder(target: Path, what: str) -> Iterator[None]:
    """Have a folder filled that is new or empty; raises ManifestError for another, and where the disk refuses."""
    try:
        if target.exists() and any(target.iterdir()):
            raise ManifestError(f"{target} is not empty; {what} is written into a folder of its own")
        target.mkdir(parents=True, exist_ok=True)
        yield
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


def _take(
    found: Collector, name: str, label: str, side: Side | None, address: Callable[[str], str], odd: Mapping[str, str]
) -> None:
    if name in odd:
        found.leave_out(f"{name!a} {odd[name]}", None)
    elif is_picture(name):
        found.take(address(name), (label,), None, side)
    else:
        found.leave_out(f"{name!a} is no picture by its name", None)


def is_picture(name: str) -> bool:
    """Tell by a file's name whether it is a picture."""
    return name.lower().endswith(_SUFFIXES)


def _names(root: Path, odd: dict[str, str]) -> Iterator[str]:
    """Give all files and folders below a folder, relative to it; of what is neither, ``odd`` then says what it is."""
    waiting = [""]
    while waiting:
        start = waiting.pop()
        try:
            with os.scandir(root / start) as entries:
                found = list(entries)
        except OSError as error:
            if not start:
                raise ManifestError(f"{root} cannot be read: {error.strerror or error}") from error
            odd[start] = f"cannot be read: {error.strerror or error}"
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield f"{start}{entry.name}/"
                if not entry.name.startswith("."):
                    waiting.append(f"{start}{entry.name}/")
                continue
            what = _what(entry)
            # A link to a folder may be meant as a class, which has no pictures then.
            name = f"{start}{entry.name}/" if what == _LINK else f"{start}{entry.name}"
            if what:
                odd[name] = what
            yield name


def _what(entry: "os.DirEntry[str]") -> str:
    """Say what an entry is that is no folder; empty for a file, or a link to one."""
    try:
        if entry.is_file():
            return ""
        found = no_file(entry.stat().st_mode)
    except OSError:
        return "is a broken link"
    return _LINK if found == "a folder" else f"is {found} and no file"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _LEFTOVERS for part in name.split("/"))


def place(record: Record, folder: Path) -> Path:
    """Put a record's picture into a folder under a name of its own, and give that. Raises ManifestError, OSError."""
    source = local_file(record.uri)
    if source is None:
        raise ManifestError(f"task {record.task}: a folder of pictures is written of files on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    stem = _UNSAFE.sub("_", source.stem).strip(" .")[:_LONGEST]
    target = folder / f"{stem}-{record.task}{_suffix(source)}"
    link_or_copy(source, target)
    return target


def _suffix(source: Path) -> str:
    try:
        with open_file(source) as file:
            head = file.read(16)
    except OSError as error:
        raise ManifestError(f"{source} cannot be read: {error.strerror or error}") from error
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for start, suffix in _KINDS if head.startswith(start)), source.suffix.lower()[:10])


IMAGEFOLDER = Format(
    "imagefolder",
    "a folder for each class, perhaps below train, validation and test",
    frozenset({IMAGES}),
    frozenset({"sides"}),
    read_imagefolder,
    write_imagefolder,
    "",
)
