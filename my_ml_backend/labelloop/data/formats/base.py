"""What a format is, how its reader makes a listing, and how the addresses in its files are meant.

Addresses are made whole when they are read, and short again when they are written beside the pictures.
"""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from labelloop.data.classes import Find, class_finder
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.regions import write_regions
from labelloop.sources.urls import cleaned, path_of
from labelloop.types import IMAGES, Choice, LeftOut, Region, Side

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://|data:")
_LABEL_STUDIO = ("/data/upload/", "/data/local-files/")
_SHOWN = 100

Carried = Literal["sides", "several labels", "task ids", "hashes", "left out", "classes", "names", "kind"]
"""What a format may be able to carry beside an address and a label."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a source from elsewhere; all of it may be left to the source.

    ``label_attribute`` names what holds the labels: an augmented manifest's attribute, a control tag, a column;
    ``picture_field`` the field or column of the address or the text. ``separator`` parts the labels in one cell of a
    table.
    ``choice`` and ``classes`` are believed where they are given; ``find`` says which of the classes a label means, by
    default the one of that name in any letter case.
    """

    label_attribute: str = ""
    picture_field: str = ""
    separator: str = ""
    choice: Choice | None = None
    classes: tuple[str, ...] | None = None
    find: Find | None = None

    def finder(self) -> Find | None:
        """Give what says which class a label means, None where every label is a class."""
        return self.find or (None if self.classes is None else class_finder(self.classes))


@dataclass(frozen=True, slots=True)
class Format:
    """One format. ``kinds`` are those whose truth it can hold; one that carries ``kind`` holds any.

    ``read`` takes a local path, hints, and the base that relative addresses are relative to. ``write`` takes a listing
    of one of the kinds that holds only what the format carries, and says what of the regions it could not carry. Both
    raise ManifestError, whatever they find. ``suffix`` ends the names of its files; of folders it is empty. For kinds
    in ``pixels`` it needs to know how large pictures are.
    """

    name: str
    about: str
    kinds: Set[str]
    carries: Set[Carried]
    read: Callable[[Path, Hints, str], Listing]
    write: Callable[[Listing, Path, Hints], Sequence[str] | None]
    suffix: str = ".jsonl"
    pixels: Set[str] = frozenset()


class Collector:
    """Takes records as they come: shares equal labels, numbers tasks where the source does not.

    Either all entries of a source have a task id or none has.
    """

    def __init__(self, source: Path | str, hints: Hints) -> None:
        self._source, self._hints = source, hints
        self._records: list[Record] = []
        self._left_out: list[LeftOut] = []
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._dropped = Counter[str]()
        self._numbered: bool | None = None

    def take(
        self,
        uri: str,
        labels: Iterable[str],
        task: int | None,
        side: Side | None = None,
        picture: str = "",
        text: str = "",
        result: str = "",
        *,
        confirmed: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Add a record; raises ManifestError when only some entries have task ids."""
        found = tuple(sorted(set(labels)))
        shared = self._shared.setdefault(found, found)
        self._records.append(Record(uri, shared, self._number(task), side, picture, text, result, confirmed, size))

    def take_regions(
        self,
        uri: str,
        regions: Iterable[Region],
        task: int | None,
        side: Side | None = None,
        *,
        text: str = "",
        size: tuple[int, int] | None = None,
    ) -> None:
        """Add a record whose truth is regions, perhaps none; raises as ``take``."""
        found = tuple(regions)
        labels, result = (one.label for one in found), write_regions(found)
        self.take(uri, labels, task, side, text=text, result=result, size=size)

    def only(self, region: Region | str) -> Iterator[Region]:
        """Give a region; one that is none, as the words say, is counted and said among the remarks."""
        if isinstance(region, str):
            self._dropped[region] += 1
        else:
            yield region

    def leave_out(self, reason: str, task: int | None) -> None:
        """Note an entry that cannot be used; raises ManifestError when only some entries have task ids."""
        self._left_out.append(LeftOut(self._number(task), reason))

    @property
    def counts(self) -> tuple[int, int]:
        """How many records were taken, and how many were left out."""
        return len(self._records), len(self._left_out)

    def listing(
        self, choice: Choice | None = None, classes: Iterable[str] | None = None, kind: str = IMAGES
    ) -> Listing:
        """Make the listing; ``choice`` and ``classes`` are what the source says, hints go before.

        Raises ManifestError for a source that names a task twice, or nothing at all.
        """
        if not self._records and not self._left_out:
            raise ManifestError(f"{self._source} lists nothing that is labeled")
        hints = self._hints
        given = classes if hints.classes is None else hints.classes
        listing = Listing.of(self._records, self._left_out, hints.choice or choice, given, hints.find, kind)
        if self._numbered:
            self._refuse_twins(listing)
        dropped = (f"{count} {what} were left out" for what, count in sorted(self._dropped.items()))
        return replace(listing, remarks=(*listing.remarks, *dropped))

    def _refuse_twins(self, listing: Listing) -> None:
        seen: set[int] = set()
        for task in listing.tasks():
            if task in seen:
                raise ManifestError(f"{self._source}: task {task} is there twice")
            seen.add(task)

    def _number(self, task: int | None) -> int:
        count = len(self._records) + len(self._left_out) + 1
        if self._numbered is None:
            self._numbered = task is not None
        if self._numbered != (task is not None):
            raise ManifestError(f"{self._source}: some entries have a task id and some have none (entry {count})")
        return count if task is None else task


def base_of(file: Path) -> str:
    """Give the base of a local file's relative addresses: its folder."""
    return folder_uri(file.absolute().parent)


def folder_uri(folder: Path) -> str:
    """Spell a folder out as a base, with a slash at its end."""
    return _file_uri(os.path.abspath(folder).rstrip("/") + "/")  # noqa: PTH100 - takes .. away, links stay


def resolve(address: str, base: str) -> str:
    """Make an address of a source whole: an URI, or a path of Label Studio's own (``/data/upload/...``).

    A relative one lies below ``base`` (an URI with a slash at its end) and cannot lead out of it; one of a local file
    may only stand in a source that is itself on this machine. Raises ManifestError.
    """
    if not address:
        raise ManifestError("the picture's address is empty")
    bare = cleaned(address)  # a path is taken as it is: a file's name may begin or end in blanks
    if bare.startswith(_LABEL_STUDIO):
        return bare
    local = base.startswith("file://")
    if match := _SCHEME.match(bare):
        if match[0] != "file://":
            return bare
        address = path_of(bare)
    if address.startswith("/"):
        if not local:
            raise ManifestError(f"{_cut(address)} is a file of this machine, which a list from elsewhere may not name")
        return _file_uri(posixpath.normpath(address))
    return _below(address, base, local)


def _below(address: str, base: str, local: bool) -> str:
    path = posixpath.normpath(address)
    if path == ".." or path.startswith("../"):
        raise ManifestError(f"{_cut(address)} leads out of the folder it is relative to; write an absolute address")
    if local:
        return base + quote(_bytes(path))
    return base + (quote(path) if base.startswith("http") else path)


def written(uri: str, folder: Path) -> str:
    """Spell an address for a file in ``folder``: a picture that lies below it by its relative path."""
    if not uri.startswith("file://") or not uri.startswith(base := folder_uri(folder)):
        return uri
    path = os.fsdecode(unquote_to_bytes(uri.removeprefix(base)))
    return path if path.isprintable() and path == path.strip() and resolve(path, base) == uri else uri


def _file_uri(path: str) -> str:
    return "file://" + quote(_bytes(path))


def _bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        raise ManifestError(f"{_cut(path)} cannot be the name of a file") from None


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
