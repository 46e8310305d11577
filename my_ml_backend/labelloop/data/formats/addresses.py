"""Addresses in files: made whole when they are read, and short again when they are written beside the pictures."""

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from labelloop.errors import ManifestError
from labelloop.sources.urls import path_of

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:")
_LABEL_STUDIO = ("/data/upload/", "/data/local-files/")
_SHOWN = 100


def base_of(file: Path) -> str:
    """Give the base of a local file's relative addresses: its folder."""
    return folder_uri(file.absolute().parent)


def folder_uri(folder: Path) -> str:
    """Spell a folder out as a base, with a slash at its end."""
    return _file_uri(os.path.abspath(folder).rstrip("/") + "/")  # noqa: PTH100 - takes .. away, links stay


def resolve(address: str, base: str) -> str:
    """Make an address of a source whole: an URI, or a path of Label Studio's own (``/data/upload/...``).

    A relative one lies below ``base`` (an URI with a slash at its end) and cannot lead out of it; one of a local file
    may only stand in a source that is itself on this machine. Raises ManifestError.
    """
    if not address:
        raise ManifestError("the picture's address is empty")
    if address.startswith(_LABEL_STUDIO):
        return address
    local = base.startswith("file://")
    if match := _SCHEME.match(address):
        if match[0].lower() != "file://":
            return address
        address = path_of(address)
    if address.startswith("/"):
        if not local:
            raise ManifestError(f"{_cut(address)} is a file of this machine, which a list from elsewhere may not name")
        return _file_uri(posixpath.normpath(address))
    return _below(address, base, local)


def _below(address: str, base: str, local: bool) -> str:
    path = posixpath.normpath(address)
    if path == ".." or path.startswith("../"):
        raise ManifestError(f"{_cut(address)} leads out of the folder it is relative to; write an absolute address")
    if local:
        return base + quote(_bytes(path))
    return base + (quote(path) if base.startswith("http") else path)


def written(uri: str, folder: Path) -> str:
    """Spell an address for a file in ``folder``: a picture that lies below it by its relative path."""
    if not uri.startswith("file://") or not uri.startswith(base := folder_uri(folder)):
        return uri
    path = os.fsdecode(unquote_to_bytes(uri.removeprefix(base)))
    return path if path.isprintable() and path == path.strip() and resolve(path, base) == uri else uri


def _file_uri(path: str) -> str:
    return "file://" + quote(_bytes(path))


def _bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        raise ManifestError(f"{_cut(path)} cannot be the name of a file") from None


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
