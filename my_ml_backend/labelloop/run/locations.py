"""Lists of labeled pictures wherever they lie: on this machine, in S3, in Google Cloud Storage, on a web server."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from labelloop.data.formats import Hints, read_listing
from labelloop.data.formats.imagefolder import by_folders
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.run.patience import patiently
from labelloop.settings import Settings
from labelloop.sources.google import Token
from labelloop.sources.media import Home
from labelloop.sources.reader import Reader
from labelloop.sources.urls import local_file, shown

_REMOTE = re.compile(r"(s3|gs|https?)://", re.IGNORECASE)
_FOLDER = re.compile(r"(s3|gs)://.*/")

_MOST_BYTES, _SECONDS = 2_000_000_000, 600.0
"""A list of some millions of pictures, over a slow line."""
_PAGE_SECONDS = 60.0
"""For one page of the names in a folder."""

Opener = Callable[[Settings], Reader]
"""Opens what reads addresses, as the settings say; whoever opens it closes it."""


def open_reader(settings: Settings, home: Home | None = None) -> Reader:
    """Open what reads addresses; without ``home`` lists can name no file that needs Label Studio's token."""
    return Reader(settings, home, _google)


def _google() -> Token:
    # Imported when asked for: google-auth takes a third of a second.
    from labelloop.endpoints.credentials import GoogleToken

    return GoogleToken()


def open_listing(
    location: str,
    settings: Settings,
    format: str = "auto",
    hints: Hints | None = None,
    opens: Opener = open_reader,
) -> Listing:
    """Read a folder, a file, or what is at an address; its relative addresses are relative to where it lies.

    What ends in a slash in S3 or Google Cloud Storage is a folder of class folders, which is listed. Raises
    ManifestError for what is no list of pictures, MediaError when it cannot be read.
    """
    hints = hints or Hints()
    if _FOLDER.fullmatch(location) and format in ("auto", "imagefolder"):
        with closing(opens(replace(settings, media_timeout=_PAGE_SECONDS))) as reader:
            return by_folders(location, _names(reader, location), lambda name: location + name, hints)
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
