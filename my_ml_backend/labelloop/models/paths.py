"""Which object paths a store takes: confined, so that no name can lead out of its folder or bucket prefix."""

import re

from labelloop.errors import StoreError

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
