"""The store: named objects in a folder or a bucket, with the two atomic steps everything else is built on."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from labelloop.errors import StoreError


class Versioned(NamedTuple):
    """An object's content and the tag that ``swap`` compares."""

    content: bytes
    tag: str


class Store(Protocol):
    """Objects by path (``/`` between names, no leading slash). Implementations are safe to share between threads.

    Every method raises StoreError when the store cannot be reached or the path is not confined, ``read`` NotFound where
    the object is missing.
    """

    def read(self, path: str) -> Versioned:
        """Read one object; raises NotFound."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write one object whole, or not at all."""
        ...

    def download(self, path: str, target: Path) -> None:
        """Copy one object into a file of this machine, a part at a time; raises NotFound, and OSError of the file.

        What fails half way leaves half a file.
        """
        ...

    def upload(self, path: str, source: Path) -> None:
        """Write one object whole, or not at all, from a file of this machine, a part at a time."""
        ...

    def create(self, path: str, content: bytes) -> None:
        """Write one object that must not exist yet; raises Conflict when it does."""
        ...

    def swap(self, path: str, content: bytes, tag: str) -> None:
        """Replace one object if it still has ``tag``; raises Conflict when it has not, or is gone."""
        ...

    def walk(self, prefix: str) -> Iterator[str]:
        """Name the objects below ``prefix`` (a folder path ending in ``/``, or empty for all), sorted as strings."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Name what lies directly below ``prefix`` (as for ``walk``), sorted: folders without slash."""
        ...


def open_store(address: str) -> Store:
    """Open ``file:///folder`` or ``s3://bucket/prefix``; raises StoreError naming what else it was."""
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StoreError(
            "LABELLOOP_STORE holds a user, password or options: expected file:///folder or s3://bucket/prefix. "
            "Credentials go where boto3 looks for them (AWS_ACCESS_KEY_ID, a profile, a role)."
        )
    if parts.scheme == "file":
        return _open_folder(address, parts)
    if parts.scheme == "s3":
        return _open_bucket(address, parts)
    if parts.scheme == "gs":
        raise StoreError(f"store {address}: gs:// is not supported yet; use file:///folder or s3://bucket/prefix")
    raise StoreError(f"store address {address!r} is of no known kind: use file:///folder or s3://bucket/prefix")


def _open_folder(address: str, parts: SplitResult) -> Store:
    from labelloop.models.file_store import FileStore

    if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
        raise StoreError(f"store address {address!r} names no folder: it has three slashes, as in file:///data/store")
    return FileStore(Path(unquote(parts.path)))


def _open_bucket(address: str, parts: SplitResult) -> Store:
    from labelloop.models.s3_store import S3Store

    if not parts.netloc:
        raise StoreError(f"store address {address!r} names no bucket: expected s3://bucket/prefix")
    prefix = parts.path.strip("/")
    return S3Store(parts.netloc, f"{prefix}/" if prefix else "")
