"""Lists of labeled pictures wherever they lie: on this machine, in S3, in Google Cloud Storage, on a web server."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from labelloop.data.formats import Hints, read_listing
from labelloop.data.formats.addresses import local_file
from labelloop.data.formats.imagefolder import by_folders
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.run.download.folders import names_below
from labelloop.run.download.patience import patiently
from labelloop.run.download.sources import open_sources
from labelloop.settings import Settings
from labelloop.sources.urls import shown

_REMOTE = re.compile(r"(s3|gs|https?)://", re.IGNORECASE)
_FOLDER = re.compile(r"(s3|gs)://.*/")

_MOST_BYTES, _SECONDS = 2_000_000_000, 600.0
"""A list of some millions of pictures, over a slow line."""


def open_listing(location: str, settings: Settings, format: str = "auto", hints: Hints | None = None) -> Listing:
    """Read a folder, a file, or what is at an address; its relative addresses are relative to where it lies.

    What ends in a slash in S3 or Google Cloud Storage is a folder of class folders, which is listed. Raises
    ManifestError for what is no list of pictures, MediaError when it cannot be read.
    """
    hints = hints or Hints()
    if _FOLDER.fullmatch(location) and format in ("auto", "imagefolder"):
        return by_folders(location, names_below(location), lambda name: location + name, hints)
    if not _REMOTE.match(location):
        return read_listing(local_file(location) or location, format, hints)
    with open_sources(replace(settings, media_max_bytes=_MOST_BYTES, media_timeout=_SECONDS)) as sources:
        content = patiently(lambda: sources.read(location))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "list"
        copy.write_bytes(content)
        try:
            return read_listing(copy, format, hints, _base(location))
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(copy), shown(location))) from error


def _base(location: str) -> str:
    """Give an address up to its last slash, without query and user's secrets behind it."""
    if not location.lower().startswith("http"):
        return location.rpartition("/")[0] + "/"
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/"
