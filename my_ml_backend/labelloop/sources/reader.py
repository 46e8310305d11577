"""Reads, and lists, any address that a list of one's own may hold: files, S3, Google Cloud Storage, HTTP."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelloop.errors import MediaError, Transient
from labelloop.settings import Settings
from labelloop.sources.google import GoogleObjects
from labelloop.sources.media import Home, Media
from labelloop.sources.s3 import S3, S3Error
from labelloop.sources.urls import local_file, shown

CONNECTIONS = 16
"""How many pictures are read at a time."""


class Reader:
    """All sources together. Safe to share between threads, not between processes.

    S3 is configured as boto3 is; Google Cloud Storage is where STORAGE_EMULATOR_HOST says, as for Google's own client,
    else asked with application default credentials. ``home`` is Label Studio, whose files a list may name; without it
    none that needs Label Studio's token. The settings bound one read by bytes and seconds.
    """

    def __init__(self, settings: Settings, home: Home | None = None) -> None:
        self._max_bytes, self._seconds = settings.media_max_bytes, settings.media_timeout
        self._media = Media(settings, home)
        self._s3 = S3(self._max_bytes, self._seconds, CONNECTIONS)
        self._emulator = settings.storage_emulator
        self._making = threading.Lock()
        self._objects: GoogleObjects | None = None

    def read(self, uri: str) -> bytes:
        """Read one address whole. Raises Transient where another try may help, MediaError for all else."""
        if uri.startswith(("http://", "https://", "/data/")):
            return self._media.read(uri)
        with _told(f"{shown(uri)} could not be read"):
            if uri.startswith("s3://"):
                return self._s3.read(uri, self._deadline)
            if uri.startswith("gs://"):
                return self._google.read(uri, self._deadline)
            path = local_file(uri)
            if path is None:
                raise MediaError("pictures are read from files, s3://, gs://, http(s):// and Label Studio's /data/...")
            return self._from_file(path)

    def names(self, folder: str, page: str) -> tuple[list[str], str | None]:
        """List one page of what lies below ``s3://bucket/folder/`` or ``gs://...``, and say which is next, or None.

        The names are relative to the folder; ``page`` is empty for the first. Raises as ``read``.
        """
        scheme, _, rest = folder.partition("://")
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise MediaError(f"{shown(folder)} is not of the form {scheme}://bucket/folder/")
        with _told(f"{shown(folder)} could not be listed"):
            if scheme == "s3":
                names, following = self._s3.names(bucket, prefix, page)
            else:
                names, following = self._google.names(bucket, prefix, page, self._deadline)
        # The folder's own marker has no name.
        return [name.removeprefix(prefix) for name in names if name != prefix], following

    def close(self) -> None:
        """Close the connections."""
        self._media.close()
        self._s3.close()
        if self._objects is not None:
            self._objects.close()

    @property
    def _deadline(self) -> float:
        return time.monotonic() + self._seconds

    @property
    def _google(self) -> GoogleObjects:
        with self._making:
            if self._objects is None:
                self._objects = GoogleObjects.at(self._emulator, self._max_bytes, CONNECTIONS)
            return self._objects

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
def _told(what: str) -> Iterator[None]:
    """Say what an error inside the block was about, and whether another try may help."""
    try:
        yield
    except S3Error as denied:
        if denied.passing:
            raise Transient(f"{what}: {denied}") from denied
        raise MediaError(f"{what}: {denied}. Give this machine access to the bucket (AWS_... of boto3).") from denied
    except Transient as error:
        raise Transient(f"{what}: {error}") from error
    except MediaError as error:
        raise MediaError(f"{what}: {error}") from error
