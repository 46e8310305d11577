"""The store: named objects in a folder or a bucket, with the two atomic steps everything else is built on."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from labelloop.errors import StoreError


class Versioned(NamedTuple):
    """An object's content and the tag that ``swap`` compares."""

    content: bytes
    tag: str


class Store(Protocol):
    """Objects by path (``/`` between names, no leading slash). Implementations are safe to share between threads.

    Every method raises StoreError when the store cannot be reached, and NotFound where an object is missing.
    """

    def read(self, path: str) -> Versioned:
        """Read one object."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write one object whole, or not at all."""
        ...

    def create(self, path: str, content: bytes) -> None:
        """Write one object that must not exist yet; raises Conflict when it does."""
        ...

    def swap(self, path: str, content: bytes, tag: str) -> None:
        """Replace one object if it still has ``tag``; raises Conflict when it has not."""
        ...

    def walk(self, prefix: str) -> Iterator[str]:
        """Name the objects below ``prefix`` (a folder path, ending in ``/``), sorted as strings."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Name what lies directly below ``prefix`` (a folder path, ending in ``/``), sorted: folders without slash."""
        ...


def open_store(address: str) -> Store:
    """Open ``file:///folder`` or ``s3://bucket/prefix``; raises StoreError naming what else it was."""
    raise StoreError(f"store address {address!r} is of no known kind")
