"""The store: objects by confined paths in a folder or a bucket, with the two atomic steps all else is built on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from labelloop.errors import StoreError


class Versioned(NamedTuple):
    """An object's content and the tag that ``swap`` compares."""

    content: bytes
    tag: str


class Sized(NamedTuple):
    """An object's path and how many bytes it has."""

    path: str
    size: int


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

    def file(self, path: str) -> Path | None:
        """Say in which file of this machine an object lies, which may be linked and read and never written.

        None where it lies elsewhere, or there is none.
        """
        ...

    def create(self, path: str, content: bytes) -> None:
        """Write one object that must not exist yet; raises Conflict when it does."""
        ...

    def swap(self, path: str, content: bytes, tag: str) -> None:
        """Replace one object if it still has ``tag``; raises Conflict when it has not, or is gone."""
        ...

    def remove(self, path: str) -> None:
        """Remove one object for good; nothing changes where there is none."""
        ...

    def walk(self, prefix: str) -> Iterator[str]:
        """Name the objects below ``prefix`` (a folder path ending in ``/``, or empty for all), sorted as strings."""
        ...

    def sizes(self, prefix: str) -> Iterator[Sized]:
        """Name the same objects in the same order, each with its size."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Name what lies directly below ``prefix`` (as for ``walk``), sorted: folders without slash."""
        ...


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_LONGEST = 800
"""Characters of a whole path; S3 takes 1,024 bytes with the store's own prefix before it."""


def is_confined(path: str) -> bool:
    """Say whether this may be the path of an object; what else lies in the folder or bucket is not the store's."""
    return len(path) <= _LONGEST and all(_NAME.fullmatch(name) for name in path.split("/"))


def checked(path: str) -> str:
    """Give the path back when it is confined; raises StoreError otherwise.

    Names of letters, digits, ``.``, ``_`` and ``-``, joined by single slashes; none begins with a dot or a dash. So
    there is no ``..``, no absolute path, no backslash, and no way to meet the hidden files of a file store.
    """
    if not is_confined(path):
        raise StoreError(
            f"store path {path[:_LONGEST]!r} is refused: expected names of letters, digits, '.', '_' and '-' "
            "joined by '/', none of them beginning with '.' or '-'"
        )
    return path


def checked_prefix(prefix: str) -> str:
    """Give a folder path back (ending in ``/``, or empty for the whole store); raises StoreError otherwise."""
    if prefix and not prefix.endswith("/"):
        raise StoreError(f"store prefix {prefix!r} is refused: a folder path ends in '/'")
    return checked(prefix[:-1]) + "/" if prefix else prefix
