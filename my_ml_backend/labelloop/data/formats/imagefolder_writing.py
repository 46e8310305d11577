"""Writes an ImageFolder: pictures become hard links where that is possible, else copies, under names that are safe."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from labelloop.data.formats.base import Hints
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.sources.urls import local_file

_UNSAFE = re.compile(r"[^\w .()+,=@&-]")
_LONGEST = 100
_KINDS = (
    (b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"),
    (b"II*\0", ".tiff"), (b"MM\0*", ".tiff"), (b"P", ".ppm"),
)  # fmt: skip
"""How files of each kind begin; a picture is named by what it is, for readers tell by the name."""


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


def _place(record: Record, folder: Path) -> None:
    source = local_file(record.uri)
    if source is None:
        raise ManifestError(f"task {record.task}: an ImageFolder is written of files on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    stem = _UNSAFE.sub("_", source.stem).strip(" .")[:_LONGEST]
    target = folder / f"{stem}-{record.task}{_suffix(source)}"
    try:
        os.link(source.resolve(), target)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)


def _suffix(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(16)
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for start, suffix in _KINDS if head.startswith(start)), source.suffix.lower()[:10])
