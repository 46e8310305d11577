"""Many objects of a folder in a cloud: several at a time, and none that leads out of where they are copied to."""

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from labelloop.errors import CloudError, SettingsError

_AT_ONCE = 8
"""Objects that travel at a time, fewer than a client has connections."""


def for_each(do: Callable[[str], object], names: Iterable[str], tell: Callable[[int], None] = lambda _: None) -> None:
    """Do something with each of some names, several at a time; ``tell`` hears how many are done.

    Where one fails, or ``tell`` raises, those that have not begun are left out, and the error is raised.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            for done, _ in enumerate(threads.map(do, names), 1):
                tell(done)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def copy_all(names: Iterable[str], place: str, folder: Path, copy: Callable[[str, Path], None]) -> list[str]:
    """Copy objects of a place into a folder on this machine by ``copy``, which is given a name and a file; names them.

    What would lead out of the folder is refused: raises CloudError.
    """
    found = [name for name in names if name and not name.endswith("/")]  # those are folders' own marks
    for name in found:
        _require_confined(name, place)

    def copy_one(name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(name, folder / name)

    for_each(copy_one, found)
    return found


def location_below(store: str, scheme: str, setting: str, named: str) -> str:
    """Name the folder to hand files over in: the ``named`` one, else one below a store of the same ``scheme``.

    Below a store it is a folder of its own, which no project is called. Raises SettingsError where there is none.
    """
    found = named or f"{store.rstrip('/')}/cloud"
    if not re.match(rf"{scheme}://[^/]+", found):
        where = storage_of(f"{scheme}://")
        raise SettingsError(
            f"there is no folder in {where} to hand files over in: set {setting} to {scheme}://bucket/prefix, or let "
            f"LABELLOOP_STORE be in {where}"
        )
    return found.rstrip("/")


def _require_confined(name: str, place: str) -> None:
    """Raise CloudError for the name of an object that would be a file outside the folder it is copied to."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not parts or "\\" in name or "\0" in name:
        raise CloudError(
            f"{place} holds an object called {name[:80]!r}, which leads out of its folder: nothing is taken"
        )


def storage_of(uri: str) -> str:
    """Say in words where an address lies: S3 or Cloud Storage."""
    return "Cloud Storage" if uri.startswith("gs://") else "S3"
