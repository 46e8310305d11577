"""Reads, and lists, any address that a list of one's own may hold: files, S3, Google Cloud Storage, HTTP."""

import os
import threading
import time
from pathlib import Path

from labelloop.errors import MediaError, TooLarge
from labelloop.files import open_file
from labelloop.settings import Settings
from labelloop.sources.google import GoogleObjects
from labelloop.sources.media import Media, saying
from labelloop.sources.urls import Home, local_file, shown
from labelloop.types import TaskKey

READERS = 16
"""How many pictures of a list are read at a time."""


class Reader(Media):
    """Reads, and lists, any address that a list of one's own may hold: files and Google Cloud Storage, too.

    Google Cloud Storage is where STORAGE_EMULATOR_HOST says, as for Google's own client, else asked with application
    default credentials.
    """

    def __init__(self, settings: Settings, home: Home | None = None) -> None:
        super().__init__(settings, home)
        self._emulator = settings.storage_emulator
        self._making = threading.Lock()
        self._objects: GoogleObjects | None = None

    def names(self, folder: str, page: str) -> tuple[list[str], str | None]:
        """List one page of what lies below ``s3://bucket/folder/`` or ``gs://...``, and say which is next, or None.

        The names are relative to the folder; ``page`` is empty for the first. Raises as ``read``.
        """
        scheme, _, rest = folder.partition("://")
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise MediaError(f"{shown(folder)} is not of the form {scheme}://bucket/folder/")
        with saying(f"{shown(folder)} could not be listed"):
            if scheme == "s3":
                names, following = self._s3.names(bucket, prefix, page)
            else:
                deadline = time.monotonic() + self._seconds
                names, following = self._google.names(bucket, prefix, page, deadline)
        # The folder's own marker has no name.
        return [name.removeprefix(prefix) for name in names if name != prefix], following

    def close(self) -> None:
        """Close the connections."""
        super().close()
        if self._objects is not None:
            self._objects.close()

    @property
    def _google(self) -> GoogleObjects:
        with self._making:
            if self._objects is None:
                self._objects = GoogleObjects(self._emulator, self._max_bytes, READERS)
            return self._objects

    def _read(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
        if url.startswith("gs://"):
            return self._google.read(url, deadline)
        if (path := local_file(url)) is not None:
            return self._from_file(path)
        if not url.startswith(("http://", "https://", "s3://", "data:", "/data/")):
            raise MediaError(
                "pictures are read from files, s3://, gs://, http(s)://, data: and Label Studio's /data/..."
            )
        return super()._read(url, task, deadline)

    def _from_file(self, path: Path) -> bytes:
        try:
            with open_file(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size > self._max_bytes:
                    raise TooLarge(self._max_bytes, size)
                return file.read()
        except OSError as error:
            raise MediaError(error.strerror or str(error)) from error
        except ValueError as error:
            raise MediaError(f"its name is impossible ({error})") from error
