"""Reads the content of any address that a list of labeled pictures may hold."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.data.formats.addresses import local_file
from labelloop.errors import MediaError, Transient
from labelloop.settings import Settings
from labelloop.sources.http import TRANSIENT
from labelloop.sources.media import Home, Media
from labelloop.sources.s3 import S3, Denied
from labelloop.sources.urls import shown
from labelloop.studio.client import Studio
from labelloop.studio.task_files import TaskFiles

if TYPE_CHECKING:
    from labelloop.run.download.google import GoogleObjects

CONNECTIONS = 16
"""How many pictures are read at a time."""


class Sources:
    """All sources together. Safe to share between threads, not between processes.

    ``max_bytes`` and ``seconds`` bound one read. ``emulator`` stands in for Google Cloud Storage, empty for none.
    """

    def __init__(self, media: Media, max_bytes: int, seconds: float, emulator: str = "") -> None:
        self._media, self._max_bytes, self._seconds = media, max_bytes, seconds
        self._s3 = S3(max_bytes, seconds, CONNECTIONS)
        self._emulator = emulator
        self._making = threading.Lock()
        self._google: GoogleObjects | None = None

    def read(self, uri: str) -> bytes:
        """Read one address whole. Raises Transient where another try may help, MediaError for all else."""
        if uri.startswith(("http://", "https://", "/data/")):
            return self._media.read(uri)
        try:
            return self._read(uri)
        except Transient as error:
            raise Transient(f"{shown(uri)} could not be read: {error}") from error
        except MediaError as error:
            raise MediaError(f"{shown(uri)} could not be read: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._media.close()
        self._s3.close()
        if self._google is not None:
            self._google.close()

    def _read(self, uri: str) -> bytes:
        deadline = time.monotonic() + self._seconds
        if uri.startswith("s3://"):
            return self._from_s3(uri, deadline)
        if uri.startswith("gs://"):
            return self._from_google(uri, deadline)
        path = local_file(uri)
        if path is None:
            raise MediaError("pictures are read from files, s3://, gs://, http(s):// and Label Studio's /data/...")
        return self._from_file(path)

    def _from_s3(self, uri: str, deadline: float) -> bytes:
        try:
            return self._s3.read(uri, deadline)
        except Denied as denied:
            if _is_transient(denied.__cause__):
                raise Transient(str(denied)) from denied
            raise MediaError(f"{denied}. Give this machine access to the bucket (AWS_... of boto3).") from denied

    def _from_google(self, uri: str, deadline: float) -> bytes:
        # Imported when asked for: google-auth takes a third of a second.
        from labelloop.run.download.google import GoogleObjects

        with self._making:
            if self._google is None:
                self._google = GoogleObjects.at(self._emulator, self._max_bytes, CONNECTIONS)
        return self._google.read(uri, deadline)

    def _from_file(self, path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > self._max_bytes:
                raise MediaError(f"it has {size} bytes; at most {self._max_bytes} are read (LABELLOOP_MEDIA_MAX_BYTES)")
            return path.read_bytes()
        except OSError as error:
            raise MediaError(error.strerror or str(error)) from error
        except ValueError as error:
            raise MediaError(f"its name is impossible ({error})") from error


@contextmanager
def open_sources(settings: Settings) -> Iterator[Sources]:
    """Open all sources as the settings say.

    S3 is configured as boto3 is; Google Cloud Storage is where STORAGE_EMULATOR_HOST says, as for Google's own client.
    """
    key = settings.label_studio_api_key
    studio = Studio(settings.label_studio_url, key) if key else None
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    home: Home | None = TaskFiles.of(studio, settings) if studio else None
    sources = Sources(Media(settings, home), settings.media_max_bytes, settings.media_timeout, emulator)
    try:
        yield sources
    finally:
        sources.close()
        if studio is not None:
            studio.close()


def _is_transient(cause: BaseException | None) -> bool:
    """Whether S3 stumbled or could not be reached, as opposed to refusing us."""
    from botocore.exceptions import ClientError, HTTPClientError

    if isinstance(cause, ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in TRANSIENT
    return isinstance(cause, HTTPClientError)
