"""Where a run's labels come from: a site's annotations, or lists of labeled pictures wherever they lie."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import get_args

from labelloop.data.formats import FORMATS, Hints
from labelloop.data.listing import Listing, Record
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import SettingsError
from labelloop.kinds.base import find
from labelloop.run.context import Labeled, Missing
from labelloop.run.fetch import InputFetcher
from labelloop.run.locations import Opener, open_listing, open_reader
from labelloop.run.parameters import LOCATIONS, is_hidden
from labelloop.run.sides import named_sides, with_own_test
from labelloop.settings import Settings
from labelloop.types import Item, LeftOut, Progress, ProjectKey, Side

LOCAL = ProjectKey("local", 1)
"""The project of manifests that belong to no Label Studio."""


Source = Callable[[Progress], Labeled]
"""Reads all that is labeled, and sees to it that every picture is on this machine.

Raises SettingsError, StoreError, StudioError or ManifestError for what cannot be read, and MediaError when so many
pictures are missing that the place they come from must be out of order.
"""


def fetch_listing(
    listing: Listing,
    cache: PictureCache,
    settings: Settings,
    progress: Progress,
    project: ProjectKey = LOCAL,
    wait: Callable[[float], None] = time.sleep,
    opens: Opener = open_reader,
) -> Labeled:
    """Fetch the pictures of a listing; ``wait`` passes the seconds between two tries of one. Raises as a Source."""
    missing = Missing()
    with closing(opens(settings)) as reader:
        fetcher = InputFetcher(lambda record: reader.read(record.uri), cache, project, find(listing.kind).check, wait)
        fetched = list(fetcher.fetch(listing.records, len(listing.records), progress, missing))
    items = [found for _, found in fetched if isinstance(found, Item)]
    left_out = [*listing.left_out, *(found for _, found in fetched if isinstance(found, LeftOut))]
    sides, moved = named_sides(
        (record, found.content) for record, found in fetched if isinstance(record, Record) and isinstance(found, Item)
    )
    manifest = Manifest.of(project, listing.choice, listing.classes, items, left_out, listing.kind)
    return Labeled(manifest, sides, moved, missing)


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
        raise SettingsError("say where the labeled pictures are: --train-location FOLDER, file or address")
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
    hints = Hints(label_attribute=parameters.get("label_attribute", ""))
    return open_listing(location, settings, parameters.get("format") or "auto", hints, opens)


def _project(parameters: Mapping[str, str]) -> ProjectKey:
    text = parameters.get("project_key")
    try:
        return ProjectKey.parse(text) if text else LOCAL
    except ValueError as error:
        raise SettingsError(str(error)) from error
