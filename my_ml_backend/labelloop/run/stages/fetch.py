"""fetch: from labeled pictures wherever they are to a manifest, with every picture on this machine."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import get_args

from labelloop.data.formats import FORMATS, Hints
from labelloop.data.listing import Listing
from labelloop.errors import SettingsError
from labelloop.run.context import Context, write_json, write_text
from labelloop.run.fetch import LOCAL, fetch_listing
from labelloop.run.locations import open_listing
from labelloop.run.sides import with_own_test
from labelloop.settings import Settings
from labelloop.types import ProjectKey, Side


def fetch(context: Context, parameters: Mapping[str, str]) -> None:
    """Read the locations that ``parameters`` name, write ``manifest.jsonl`` and ``sides.json``.

    Raises SettingsError without a location, StoreError or MediaError for one that cannot be read.
    """
    listing = _listing(parameters, context.settings)
    fetched = fetch_listing(listing, context.pictures, context.settings, context.progress, project=_project(parameters))
    sides = fetched.sides
    if parameters.get("test_location"):
        sides = with_own_test(fetched.manifest, sides)
    moved = [{"task": out.task, "reason": out.reason} for out in fetched.moved]
    write_json(context.folder.sides, {"sides": sides, "moved": moved})
    write_text(context.folder.manifest, fetched.manifest.to_jsonl())


def check_source(parameters: Mapping[str, str]) -> None:
    """Refuse a format or a project key that there is not: raises SettingsError."""
    name = parameters.get("format") or "auto"
    if name not in ("auto", *FORMATS):
        raise SettingsError(f"there is no format {name!r}; there are auto, {', '.join(FORMATS)}")
    _project(parameters)


def _listing(parameters: Mapping[str, str], settings: Settings) -> Listing:
    if not parameters.get("train_location"):
        raise SettingsError("say where the labeled pictures are: --train-location FOLDER, file or address")
    parts = [
        listing if side == "train" else listing.on(side)
        for side in get_args(Side)
        for location in _files(parameters.get(f"{side}_location", ""))
        for listing in [_read(location, parameters, settings)]
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


def _read(location: str, parameters: Mapping[str, str], settings: Settings) -> Listing:
    hints = Hints(label_attribute=parameters.get("label_attribute", ""))
    return open_listing(location, settings, parameters.get("format") or "auto", hints)


def _project(parameters: Mapping[str, str]) -> ProjectKey:
    text = parameters.get("project_key")
    try:
        return ProjectKey.parse(text) if text else LOCAL
    except ValueError as error:
        raise SettingsError(str(error)) from error
