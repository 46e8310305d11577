"""A folder in Cloud Storage in which this machine and Google Cloud hand each other files (LABELLOOP_GOOGLE_FOLDER)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from labelloop.cloud.google.client import Google, refused
from labelloop.cloud.objects import copy_all, for_each, location_below
from labelloop.errors import CloudMissing
from labelloop.settings import Settings
from labelloop.sources.cloud_storage import CloudStorage, bucket_and_name
from labelloop.sources.google_api import GoogleFailure

_CHECK = "labelloop-check.txt"


def location_of(settings: Settings) -> str:
    """Name the settings' folder in Cloud Storage, ``gs://bucket/prefix``; raises SettingsError where there is none."""
    return location_below(settings.store_address, "gs", "LABELLOOP_GOOGLE_FOLDER", settings.google_folder)


class Folder:
    """All objects below ``uri`` (``gs://bucket/prefix``). Every method raises CloudError or one of its kinds."""

    def __init__(self, google: Google, uri: str) -> None:
        self.google, self.uri = google, uri.rstrip("/")
        self._bucket, self._prefix = bucket_and_name(self.uri)
        self._storage = CloudStorage(google.api("storage"))

    def below(self, name: str) -> Self:
        """Give a folder in it."""
        return type(self)(self.google, f"{self.uri}/{name}")

    def check(self) -> None:
        """Write an object in it, replace it, and read it: a bucket with a retention policy takes no second one."""
        try:
            for _ in range(2):
                self.put(_CHECK, b"labelloop can write here\n")
        except CloudMissing as error:
            raise CloudMissing(f"{error}: make the bucket, or correct LABELLOOP_GOOGLE_FOLDER") from error
        self.read(_CHECK)

    def put(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> str:
        """Write an object, and give its address."""
        with self._asking(name, " to be written"):
            self._storage.write(self._bucket, self._name(name), content, media_type)
        return f"{self.uri}/{name}"

    def put_file(self, name: str, path: Path) -> str:
        """Write a file's content, a part at a time, and give its address."""
        with self._asking(name, " to be written"):
            self._storage.upload(self._bucket, self._name(name), path)
        return f"{self.uri}/{name}"

    def read(self, name: str) -> bytes:
        """Read an object; raises CloudMissing."""
        with self._asking(name):
            return self._storage.read(self._bucket, self._name(name)).content

    def has(self, name: str) -> bool:
        """Whether there is such an object."""
        try:
            with self._asking(name):
                self._storage.look(self._bucket, self._name(name))
        except CloudMissing:
            return False
        return True

    def names(self) -> Iterator[str]:
        """Name all objects, as they are called in this folder."""
        beginning = self._name("")
        with self._asking("", " to be listed"):
            for page in self._storage.pages(self._bucket, beginning):
                yield from (name[len(beginning) :] for name in page.names)

    def fetch(self, folder: Path, wanted: Iterable[str] | None = None) -> list[str]:
        """Copy objects into a folder on this machine, all of them or those ``wanted``; names them.

        What would lead out of the folder is refused: raises CloudError.
        """
        return copy_all(self.names() if wanted is None else wanted, self.uri, folder, self._fetch_one)

    def remove(self) -> None:
        """Remove all objects in it."""
        for_each(self._remove_one, list(self.names()))

    def _fetch_one(self, name: str, target: Path) -> None:
        with self._asking(name):
            self._storage.download(self._bucket, self._name(name), target)

    def _remove_one(self, name: str) -> None:
        with self._asking(name, " to be removed"):
            self._storage.delete(self._bucket, self._name(name))

    def _name(self, name: str) -> str:
        return f"{self._prefix}/{name}".lstrip("/")

    @contextmanager
    def _asking(self, name: str, verb: str = "") -> Iterator[None]:
        """Translate what fails in the block."""
        try:
            yield
        except GoogleFailure as failure:
            raise refused(f"{self.uri}/{name}{verb}", failure) from None
