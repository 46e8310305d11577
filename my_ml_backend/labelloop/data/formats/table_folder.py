"""Tables and the folders of pictures beside them: which tables a folder has, and which file a cell means.

So Kaggle hands out its sets (``train.csv`` beside ``train/``), and Roboflow its own (a table in each of ``train``,
``valid`` and ``test``).
"""

import os
import re
from collections.abc import Callable
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from labelloop.data.formats.entries import Entry, side_named
from labelloop.data.formats.folder_layout import files_below
from labelloop.data.formats.imagefolder import is_picture
from labelloop.sources.urls import path_of
from labelloop.types import Side

_TABLES = (".csv", ".tsv")
_ANSWERS = re.compile(r"submission", re.IGNORECASE)
"""Kaggle's samples of an answer: their labels are placeholders."""

_OF_PICTURES = re.compile(
    r"((train|training|test|testing|val|valid|validation|dev|all)([ _-]?set)?[ _-]?)?"
    r"(images?|imgs?|pictures?|photos?|jpe?gs?|pngs?|jpegimages)?",
    re.IGNORECASE,
)
"""Names of folders that hold pictures of all classes."""

_BESIDE, _SUFFIXES = ("images", "JPEGImages"), (".jpg", ".jpeg", ".png", ".JPG", ".bmp", ".webp")
"""Folders of pictures beside lists of what is in them, and suffixes that are left away there."""

_MOST = 2_000_000
"""Names looked at below a table's folder."""

Readable = Callable[[Path], bool]


def tables_in(folder: Path, readable: Readable) -> list[tuple[Path, Side | None]]:
    """Give the tables that label a folder's pictures, with the side that each is for; none of an ImageFolder.

    ``readable`` tells whether a file is a table of labeled pictures. Raises OSError.
    """
    inside = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in inside if entry.is_dir()]
    below = (name for entry in folders for name in _folders_of(entry))
    if not all(map(_OF_PICTURES.fullmatch, chain((entry.name for entry in folders), below))):
        return []
    if own := _tables(inside, readable):
        sides = [side_named(table.stem) for table in own]
        return list(zip(own, sides if len(own) > 1 else [None], strict=True)) if _apart(sides) else []
    of_sides = [
        (table, side_named(entry.name)) for entry in folders for table in _tables(sorted(entry.iterdir()), readable)
    ]
    return of_sides if _apart([side for _, side in of_sides]) else []


def _folders_of(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _tables(entries: list[Path], readable: Readable) -> list[Path]:
    tables = [entry for entry in entries if entry.name.lower().endswith(_TABLES) and not is_sample(entry)]
    return [table for table in tables if table.is_file() and readable(table)]


def _apart(sides: list[Side | None]) -> bool:
    """Tell whether several tables are for one side each."""
    return len(sides) < 2 or (None not in sides and len(set(sides)) == len(sides))


def is_sample(table: Path) -> bool:
    """Tell whether a table is a sample of the answers that a contest wants, by its name."""
    return _ANSWERS.search(table.name) is not None


def nearest_file(source: Path, name: str, base: str) -> Path | None:
    """Find a picture by what a file on this machine calls it: beside it, in a folder of pictures near it, or above it.

    A name without a suffix may be any picture's. None where there is none, and for addresses and absolute paths.
    """
    if not base.startswith("file://") or "://" in name or name.startswith("/") or ".." in Path(name).parts:
        return None
    here = source.parent
    # COCO's annotations/instances_train2017.json is about train2017/ beside annotations/.
    own = source.stem.rpartition("_")[2]
    folders = [above / inside for above in (here, here.parent) for inside in ("", *_BESIDE, own)]
    names = dict.fromkeys((name, Path(name).name))
    bare = [] if is_picture(name) else [f"{one}{suffix}" for one in names for suffix in _SUFFIXES]
    candidates = (folder / one for one in (*names, *bare) for folder in folders)
    return next((one for one in candidates if is_picture(one.name) and os.path.isfile(one)), None)  # noqa: PTH113


class PicturesBeside:
    """Finds the picture that a cell of a table means: by its address, or by its name in a folder beside the table.

    The first cell decides: where its file is there, all are addresses.
    """

    def __init__(self, table: Path, base: str) -> None:
        self._table, self._base = table, base
        self._direct: bool | None = None
        self._strange: dict[str, None] = {}

    def remarks(self) -> tuple[str, ...]:
        """Say in which folders pictures were found whose names do not tell that they belong to the table."""
        return tuple(
            f"pictures of {self._table.name} were found by no more than their names in its folder {name!a}"
            for name in self._strange
        )

    def address(self, entry: Entry, cell: str) -> str | None:
        """Give the address of the picture; None for a name without a suffix that no file has. Raises ManifestError."""
        uri = entry.address(cell, self._base)
        if self._direct or "/" in cell or not uri.startswith("file://"):
            return uri
        if self._direct is None:
            self._direct = os.path.isfile(path_of(uri))  # noqa: PTH113 - a name may be longer than any can be
        if self._direct:
            return uri
        found = self._nearest(self._names.get(cell, []))
        if len(found) > 1:
            first, second = (str(path.relative_to(self._table.parent)) for path in found[:2])
            raise entry.wrong(f"{cell[:60]!r} may be {first!a} or {second!a}: write which, with its folder")
        if found:
            top = next(iter(self._folders(found[0])), "")
            if not (_OF_PICTURES.fullmatch(top) or top.startswith(self._table.stem)):
                self._strange[top] = None
            return entry.address(str(found[0].absolute()), self._base)
        return uri if is_picture(cell) else None

    @cached_property
    def _names(self) -> dict[str, list[Path]]:
        """The pictures below the table's folder, by their names with and without the suffix."""
        names: dict[str, list[Path]] = {}
        for path in map(
            self._table.parent.joinpath, filter(is_picture, islice(files_below(self._table.parent), _MOST))
        ):
            for name in {path.name, path.stem}:
                names.setdefault(name, []).append(path)
        return names

    def _nearest(self, paths: list[Path]) -> list[Path]:
        """Of several, give those in a folder that is named as the table: ``train.csv`` is about ``train``."""
        own = [path for path in paths if any(part.startswith(self._table.stem) for part in self._folders(path))]
        return own or paths

    def _folders(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self._table.parent).parts[:-1]
