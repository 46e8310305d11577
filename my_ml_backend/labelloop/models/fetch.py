"""A bundle from the store into a folder of this machine, whole and checked or not at all."""

import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from labelloop.errors import BundleError, NotFound, StoreError
from labelloop.models.bundle import FILES, check_bundle, digest
from labelloop.models.stale import remove_stale
from labelloop.models.store import Store


def fetch(store: Store, source: str, expected: str, cache: Path, version: str) -> Path:
    """Give ``cache/<version>-<hash>``, downloaded from the store's folder ``source`` unless it is there already.

    ``expected`` is the bundle's digest. What is there is hashed again, so a cache that lost bytes heals itself. Raises
    BundleError when the download does not have the digest, StoreError when the cache cannot be written.
    """
    target = cache / f"{version}-{expected[:16]}"
    if _is_intact(target, expected):
        return target
    try:
        return _download(store, source, expected, target)
    except OSError as error:
        raise StoreError(
            f"{version} cannot be kept in {cache}: {error.strerror or error}. "
            "Check the folder's rights and free space, or correct MODEL_DIR."
        ) from error


def _download(store: Store, source: str, expected: str, target: Path) -> Path:
    workshop = target.parent / ".fetch"
    remove_stale(workshop)
    work = workshop / uuid.uuid4().hex
    work.mkdir(parents=True)
    try:
        fresh = work / "bundle"
        _read_files(store, source, fresh)
        _check(fresh, expected, source)
        return _put_in_place(fresh, target, expected, work / "damaged")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_files(store: Store, source: str, folder: Path) -> None:
    folder.mkdir()
    for name in store.names(source):
        if name in FILES:
            try:
                (folder / name).write_bytes(store.read(source + name).content)
            except NotFound as error:
                raise BundleError(f"{source}{name} was removed from the store while it was read") from error


def _check(folder: Path, expected: str, source: str) -> None:
    try:
        check_bundle(folder)
    except BundleError as error:
        raise BundleError(f"{source} is damaged in the store ({error}): roll back to another version") from error
    if digest(folder) != expected:
        raise BundleError(f"{source} is damaged in the store (its files changed): roll back to another version")


def _put_in_place(fresh: Path, target: Path, expected: str, aside: Path) -> Path:
    """Rename the checked folder to its place; where another process was faster, its folder serves as well."""
    try:
        fresh.rename(target)
    except OSError:
        if not _is_intact(target, expected):
            # Damaged, not merely there: out of the way, and whoever comes first fills the place.
            with suppress(FileNotFoundError):
                target.rename(aside)
            with suppress(OSError):
                fresh.rename(target)
        if not _is_intact(target, expected):
            raise
    return target


def _is_intact(folder: Path, expected: str) -> bool:
    with suppress(BundleError):
        return folder.is_dir() and digest(folder) == expected
    return False
