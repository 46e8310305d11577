"""The store in a bucket of Google Cloud Storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelloop.errors import Conflict, NotFound, StoreAway, StoreError
from labelloop.models.store import Sized, Versioned, checked, checked_prefix, is_confined
from labelloop.sources.cloud_storage import CloudStorage
from labelloop.sources.google_api import GoogleFailure

_NONE = "0"
"""The generation of an object that is not there."""

_UNREACHED = "check LABELLOOP_STORE, the network, HTTPS_PROXY and STORAGE_EMULATOR_HOST"


class GcsStore:
    """Objects below ``prefix`` of one bucket; the tag is the generation. Safe to share between threads.

    ``create`` and ``swap`` are writes with ``ifGenerationMatch`` (Cloud Storage, "Request preconditions"). It takes
    about one write a second of one object, and what comes sooner is repeated a little later. ``storage`` is one to
    share, else it is that of the environment.
    """

    def __init__(self, bucket: str, prefix: str = "", storage: CloudStorage | None = None) -> None:
        self._bucket = bucket
        self._prefix = checked_prefix(prefix)
        self._where = f"gs://{bucket}/{self._prefix}"
        self._storage = storage or CloudStorage.found()

    def read(self, path: str) -> Versioned:
        """Read one object; raises NotFound."""
        name = self._name(path)
        with self._translated(path, "read"):
            return Versioned(*self._storage.read(self._bucket, name))

    def write(self, path: str, content: bytes) -> None:
        """Write one object whole, or not at all."""
        name = self._name(path)
        with self._translated(path, "written"):
            self._storage.write(self._bucket, name, content)

    def download(self, path: str, target: Path) -> None:
        """Copy one object into a file, a part at a time; raises NotFound, and OSError of the file."""
        name = self._name(path)
        with self._translated(path, "read"):
            self._storage.download(self._bucket, name, target)

    def upload(self, path: str, source: Path) -> None:
        """Write one object whole, or not at all, from a file, a part at a time."""
        name = self._name(path)
        with self._translated(path, "written"):
            self._storage.upload(self._bucket, name, source)

    def file(self, path: str) -> Path | None:
        """Say that no object lies on this machine."""

    def create(self, path: str, content: bytes) -> None:
        """Write one object that must not exist yet; raises Conflict when it does."""
        self._replace(path, content, _NONE, f"{path} exists already in {self._where}")

    def swap(self, path: str, content: bytes, tag: str) -> None:
        """Replace one object if it still has ``tag``; raises Conflict when it has not, or is gone."""
        self._replace(path, content, tag, f"{path} was changed by another process in {self._where}")

    def remove(self, path: str) -> None:
        """Remove one object; a bucket that keeps versions has it still, as one of these."""
        name = self._name(path)
        with self._translated(path, "removed"):
            self._storage.delete(self._bucket, name)

    def walk(self, prefix: str) -> Iterator[str]:
        """Name the objects below ``prefix``, sorted as strings; one page of 1,000 is held in memory."""
        return (one.path for one in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[Sized]:
        """Name the objects below ``prefix`` with their sizes; one page of 1,000 is held in memory."""
        below = self._prefix + checked_prefix(prefix)
        with self._translated(prefix, "listed"):
            for page in self._storage.pages(self._bucket, below):
                for name, size in zip(page.names, page.sizes, strict=True):
                    if is_confined(path := name.removeprefix(self._prefix)):
                        yield Sized(path, size)

    def names(self, prefix: str) -> list[str]:
        """Name what lies directly below ``prefix``, sorted."""
        below = self._prefix + checked_prefix(prefix)
        with self._translated(prefix, "listed"):
            pages = list(self._storage.pages(self._bucket, below, "/"))
        found = [name[len(below) :] for page in pages for name in (*page.names, *(one[:-1] for one in page.prefixes))]
        return sorted(filter(is_confined, found))

    def _name(self, path: str) -> str:
        return self._prefix + checked(path)

    def _replace(self, path: str, content: bytes, generation: str, refused: str) -> None:
        name = self._name(path)
        with self._translated(path, "written"):
            try:
                self._storage.write(self._bucket, name, content, generation=generation)
            except GoogleFailure as failure:
                if failure.status != 412:
                    raise
                raise Conflict(refused) from None

    @contextmanager
    def _translated(self, path: str, verb: str) -> Iterator[None]:
        """Turn failures inside the block into NotFound and StoreAway."""
        try:
            yield
        except GoogleFailure as failure:
            raise self._told(failure, path, verb) from None

    def _told(self, failure: GoogleFailure, path: str, verb: str) -> StoreError:
        if failure.status == 404:
            # Only for an object that is read it may be the object that is not there.
            if verb == "read" and not ("bucket" in failure.said and "exist" in failure.said.partition(":")[0]):
                return NotFound(f"{path} is not in {self._where}")
            return StoreAway(f"bucket {self._bucket} does not exist: create it, or correct LABELLOOP_STORE")
        failed = f"{path or 'the store'} cannot be {verb} in {self._where}: {failure}"
        return StoreAway(": ".join(filter(None, (failed, self._remedy(failure)))))

    def _remedy(self, failure: GoogleFailure) -> str:
        if failure.unsent or failure.status == 401:
            return failure.remedy or _UNREACHED * failure.passing
        if failure.status == 403:
            role = f"; roles/storage.objectUser on bucket {self._bucket} has all that it needs"
            return failure.remedy + role * ("retention" not in failure.remedy)
        if failure.status == 429:
            return "too much is asked of the bucket, or of this object; try again later"
        return "try again later" if failure.passing else ""
