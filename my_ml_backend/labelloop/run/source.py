"""Where a run's labels come from: a site's annotations, or lists of labeled pictures wherever they lie."""

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from labelloop.data.formats import FORMATS, Hints, read_listing
from labelloop.data.formats.imagefolder import by_folders
from labelloop.data.formats.other_labels import AS_FOLDERS, refused
from labelloop.data.formats.recognition import of_names
from labelloop.data.listing import OF_TEXTS, Listing, Record
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import ManifestError, SettingsError, Unreadable
from labelloop.kinds.base import find
from labelloop.run.context import Labeled, Missing
from labelloop.run.fetch import InputFetcher, patiently
from labelloop.run.parameters import is_hidden
from labelloop.setting_values import names
from labelloop.settings import Settings
from labelloop.sources.media import document_in
from labelloop.sources.reader import Reader
from labelloop.sources.urls import local_file, shown
from labelloop.training_parameters import LOCATIONS
from labelloop.types import Item, LeftOut, Progress, ProjectKey, Side, side

_REMOTE = re.compile(r"(s3|gs|https?)://", re.IGNORECASE)

_FOLDER = re.compile(r"(s3|gs)://.*/")


_MOST_BYTES, _SECONDS = 2_000_000_000, 600.0
"""A list of some millions of pictures, over a slow line."""

_PAGE_SECONDS = 60.0
"""For one page of the names in a folder."""

_FIRST: tuple[Side, ...] = ("test", "validation", "train")
"""Which side wins: what is tested on may never have been learned from."""

LOCAL = ProjectKey("local", 1)
"""The project of manifests that belong to no Label Studio."""

Source = Callable[[Progress], Labeled]
"""Reads all that is labeled, and sees to it that every picture is on this machine.

Raises SettingsError, StoreError, StudioError or ManifestError for what cannot be read, and MediaError when so many
pictures are missing that the place they come from must be out of order.
"""

Opener = Callable[[Settings], Reader]
"""Opens what reads addresses, as the settings say; whoever opens it closes it."""


def _checked(kind: str) -> Callable[[bytes], None]:
    """Make the check of a kind say what stands in the place of a picture that could not be had."""

    def check(content: bytes) -> None:
        try:
            find(kind).check(content)
        except Unreadable as error:
            if other := document_in(content):
                raise Unreadable(f"it is {other}: {error}") from None
            raise

    return check


def fetch_listing(
    listing: Listing,
    cache: PictureCache,
    settings: Settings,
    progress: Progress,
    project: ProjectKey = LOCAL,
    wait: Callable[[float], None] = time.sleep,
    opens: Opener = Reader,
) -> Labeled:
    """Fetch the files of a listing; ``wait`` passes the seconds between two tries of one. Raises as a Source."""
    missing, item = Missing(), find(listing.kind).item
    with closing(opens(settings)) as reader:
        check, texts = _checked(listing.kind), listing.kind in OF_TEXTS
        fetcher = InputFetcher(lambda record: reader.read(record.uri), cache, project, check, wait, texts, item)
        fetched = list(fetcher.fetch(listing.records, len(listing.records), progress, missing))
    items = [found for _, found in fetched if isinstance(found, Item)]
    left_out = [*listing.left_out, *(found for _, found in fetched if isinstance(found, LeftOut))]
    sides, moved = named_sides(
        (record, found.content) for record, found in fetched if isinstance(record, Record) and isinstance(found, Item)
    )
    manifest = Manifest.of(project, listing.choice, listing.classes, items, left_out, listing.kind)
    return Labeled(manifest, sides, moved, missing, listing.warnings)


def read_locations(
    parameters: Mapping[str, str], settings: Settings, cache: PictureCache, opens: Opener, report: Progress
) -> Labeled:
    """Read the locations that a run's parameters name. Raises SettingsError without a whole one, else as a Source."""
    for name in LOCATIONS:
        if is_hidden(parameters.get(name, "")):
            raise SettingsError(
                f"{name} is {parameters[name]}: user and query of an address are not kept, for they may be secrets. "
                f"Give --{name.replace('_', '-')} again"
            )
    listing, project = _listing(parameters, settings, opens), _project(parameters)
    labeled = fetch_listing(listing, cache, settings, report, project, opens=opens)
    if not parameters.get("test_location"):
        return labeled
    return replace(labeled, sides=with_own_test(labeled.manifest, labeled.sides))


def check_locations(parameters: Mapping[str, str]) -> None:
    """Refuse a format or a project key that there is not: raises SettingsError."""
    name = parameters.get("format") or "auto"
    if name not in ("auto", *FORMATS):
        raise SettingsError(f"there is no format {name!r}; there are auto, {', '.join(FORMATS)}")
    _project(parameters)


def _listing(parameters: Mapping[str, str], settings: Settings, opens: Opener) -> Listing:
    if not parameters.get("train_location"):
        raise SettingsError("say where the labeled data are: --train-location FOLDER, file or address")
    parts = [
        listing if side == "train" else listing.on(side)
        for side in get_args(Side)
        for location in _files(parameters.get(f"{side}_location", ""))
        for listing in [_read(location, parameters, settings, opens)]
    ]
    return reduce(Listing.joined, parts)


def _files(location: str) -> list[str]:
    """Name the files of a location; Vertex AI writes a data set in parts and names them all by a pattern."""
    if "*" not in location or "://" in location:
        return [location] if location else []
    found = sorted(str(path) for path in Path(location).parent.glob(Path(location).name))
    if not found:
        raise SettingsError(f"no file is called {location}")
    return found


def _read(location: str, parameters: Mapping[str, str], settings: Settings, opens: Opener) -> Listing:
    hints = Hints(
        label_attribute=parameters.get("label_attribute", ""),
        picture_field=parameters.get("picture_field", ""),
        separator=parameters.get("separator", ""),
        classes=names(parameters.get("classes", "")) or None,
    )
    return open_listing(location, settings, parameters.get("format") or "auto", hints, opens)


def _project(parameters: Mapping[str, str]) -> ProjectKey:
    text = parameters.get("project_key")
    try:
        return ProjectKey.parse(text) if text else LOCAL
    except ValueError as error:
        raise SettingsError(str(error)) from error


def with_own_test(manifest: Manifest, named: Mapping[str, Side]) -> dict[str, Side]:
    """Name sides where the test pictures are a set of their own: what the split would test on is learned from too."""
    given = dict(named)
    for item in manifest.items:
        if item.content not in given and side(item.content) == "test":
            given[item.content] = "train"
    return given


def named_sides(pictures: Iterable[tuple[Record, str]]) -> tuple[dict[str, Side], tuple[LeftOut, ...]]:
    """Map pictures (sha256) to the sides that their records name; the second value lists records that lost theirs.

    Of a picture on two sides the test side wins, then validation.
    """
    named = [(record.task, record.side, picture) for record, picture in pictures if record.side]
    sides: dict[str, Side] = {}
    for _, given, picture in named:
        sides[picture] = min(given, sides.get(picture, given), key=_FIRST.index)
    moved = tuple(
        LeftOut(task, f"what it shows is on the {sides[picture]} side, too: it is taken for that one, not for {given}")
        for task, given, picture in named
        if given != sides[picture]
    )
    return sides, moved


def open_listing(
    location: str,
    settings: Settings,
    format: str = "auto",
    hints: Hints | None = None,
    opens: Opener = Reader,
) -> Listing:
    """Read a folder, a file, or what is at an address; its relative addresses are relative to where it lies.

    What ends in a slash in S3 or Google Cloud Storage is a folder of class folders, which is listed. Raises
    ManifestError for what is no list of pictures, MediaError when it cannot be read.
    """
    hints = hints or Hints()
    if _FOLDER.fullmatch(location) and format in ("auto", "imagefolder"):
        with closing(opens(replace(settings, media_timeout=_PAGE_SECONDS))) as reader:
            found = list(_names(reader, location))
        if format == "auto" and (other := of_names(found)):
            if other.format:
                raise ManifestError(
                    f"{location} holds {other.labels} ({other.seen}): such a folder is read from this machine alone. "
                    f"Copy it here, or name the list in it. {AS_FOLDERS}"
                )
            raise refused(location, other, AS_FOLDERS)
        return by_folders(location, found, lambda name: location + name, hints)
    if not _REMOTE.match(location):
        return read_listing(local_file(location) or location, format, hints)
    with closing(opens(replace(settings, media_max_bytes=_MOST_BYTES, media_timeout=_SECONDS))) as reader:
        content = patiently(lambda: reader.read(location))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "list"
        copy.write_bytes(content)
        try:
            return read_listing(copy, format, hints, _base(location))
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(copy), shown(location))) from error


def _names(reader: Reader, folder: str) -> Iterator[str]:
    page: str | None = ""
    while page is not None:
        names, page = patiently(partial(reader.names, folder, page))
        yield from names


def _base(location: str) -> str:
    """Give an address up to its last slash, without query and user's secrets behind it."""
    if not location.lower().startswith("http"):
        return location.rpartition("/")[0] + "/"
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/"
