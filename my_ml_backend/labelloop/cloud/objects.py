"""Many objects of a folder in a cloud: several at a time, and none that leads out of where they are copied to."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from labelloop.errors import CloudError

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


def require_confined(name: str, place: str) -> None:
    """Raise CloudError for the name of an object that would be a file outside the folder it is copied to."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not parts or "\\" in name or "\0" in name:
        raise CloudError(
            f"{place} holds an object called {name[:80]!r}, which leads out of its folder: nothing is taken"
        )


def storage_of(uri: str) -> str:
    """Say in words where an address lies: S3 or Cloud Storage."""
    return "Cloud Storage" if uri.startswith("gs://") else "S3"
