"""Paths of this machine are for its log: an answer over HTTP names a file or folder by its last name alone."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, current_app

_EXTENSION = "labelloop.folders"
_END = r"""[^\s'"`,;:()\[\]{}<>]*"""
_SCHEME = r"(?:(?:file|unix)://)?"
_ABSOLUTE = re.compile(rf"(?<![\w/:.%?=&~-]){_SCHEME}/{{1,2}}(?=[^\s/]){_END}")
"""An absolute path, wherever no address, version or fraction goes on."""


def hide_folders(app: Flask, folders: Iterable[Path]) -> None:
    """Tell an app of folders that its errors may name: with blanks in their names they are not known by their look."""
    told = {str(form) for folder in folders for form in (folder, folder.absolute(), folder.resolve())}
    app.extensions[_EXTENSION] = tuple(sorted((name for name in told if "/" in name.strip("/")), key=len, reverse=True))


def redact(text: str) -> str:
    """Shorten every path of this machine in a text to its last name; addresses and others' paths stay.

    Inside of a request it knows the app's folders, see ``hide_folders``.
    """
    for folder in current_app.extensions.get(_EXTENSION, ()) if current_app else ():
        text = _below(folder).sub(lambda found: _last(found[0]), text)
    return _ABSOLUTE.sub(lambda found: _last(found[0]) if _is_here(found[0]) else found[0], text)


def redact_all(value: Any) -> Any:
    """Redact every text of a JSON value; names of members stay."""
    match value:
        case str():
            return redact(value)
        case list() | tuple():
            return [redact_all(one) for one in value]
        case dict():
            return {name: redact_all(one) for name, one in value.items()}
    return value


@cache
def _below(folder: str) -> re.Pattern[str]:
    return re.compile(rf"{_SCHEME}{re.escape(folder)}(?![\w-])(?:/{_END})?")


def _last(path: str) -> str:
    """Keep the last name, and the full stop that ends a sentence."""
    return path.rstrip("/").rpartition("/")[2]


def _is_here(path: str) -> bool:
    """Whether a path begins in a folder that this machine has; Label Studio's /api/projects/7 does not."""
    first = path.partition("://")[2] or path
    names = first.strip("/").split("/")
    if names[:2] in (["data", "upload"], ["data", "local-files"]):
        return False  # Label Studio's, also where this machine has a /data
    try:
        return len(names) > 1 and Path("/", names[0]).exists()
    except (OSError, ValueError):
        return False
