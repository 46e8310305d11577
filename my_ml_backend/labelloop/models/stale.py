"""Removing what killed processes left half done."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

_STALE_SECONDS = 86_400
"""Nothing is written or fetched for a day, so what is older belongs to nobody."""


def remove_stale(folder: Path) -> None:
    """Remove the entries of a folder of temporaries that are older than a day; never raises for the file system."""
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                if entry.lstat().st_mtime < time.time() - _STALE_SECONDS:
                    _remove(entry)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink()
