"""A bundle from the store into a folder of this machine, whole and checked or not at all."""

import shutil
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from labelloop.errors import BundleError, NotFound
from labelloop.files import cannot_keep, remove_stale
from labelloop.kinds.base import weight_files
from labelloop.models.bundle import bundle_digest, bundle_files, check_bundle, files, read_bundle_info
from labelloop.models.store import Store


def fetch(
    store: Store, source: str, expected: str, cache: Path, version: str, weights: Collection[str] | None = None
) -> Path:
    """Give ``cache/<version>-<hash>``, downloaded from the store's folder ``source`` unless it is there already.

    Of the weight files only ``weights`` (None: all) are downloaded; the others may come later, into the same folder.
    ``expected`` is the digest of the whole bundle: a file that was left out counts with the hash in ``model.json``.
    What is there is hashed again, so a cache that lost bytes heals itself. Raises BundleError when the download does
    not have the digest, StoreError when the cache cannot be written.
    """
    target = cache / f"{version}-{expected[:16]}"
    if _is_intact(target, expected, weights):
        return target
    try:
        return _download(store, source, expected, target, weights)
    except OSError as error:
        raise cannot_keep(version, cache, error) from error


def _download(store: Store, source: str, expected: str, target: Path, weights: Collection[str] | None) -> Path:
    workshop = target.parent / ".fetch"
    remove_stale(workshop)
    work = workshop / uuid.uuid4().hex
    work.mkdir(parents=True)
    try:
        fresh = work / "bundle"
        _read_files(store, source, fresh, weights)
        _check(fresh, expected, source, weights)
        return _put_in_place(fresh, target, expected, weights, work / "damaged")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_files(store: Store, source: str, folder: Path, weights: Collection[str] | None) -> None:
    folder.mkdir()
    left_out = set() if weights is None else {*weight_files()} - {*weights}
    wanted = {*files()} - left_out
    for name in store.names(source):
        if name in wanted:
            try:
                store.download(source + name, folder / name)
            except NotFound as error:
                raise BundleError(f"{source}{name} was removed from the store while it was read") from error


def _check(folder: Path, expected: str, source: str, weights: Collection[str] | None) -> None:
    try:
        info = check_bundle(folder, weights)
    except BundleError as error:
        raise BundleError(f"{source} is damaged in the store ({error}): roll back to another version") from error
    if bundle_digest(folder, info.files) != expected:
        raise BundleError(f"{source} is damaged in the store (its files changed): roll back to another version")


def _put_in_place(fresh: Path, target: Path, expected: str, weights: Collection[str] | None, aside: Path) -> Path:
    """Move the checked files to their place; what another process put there serves as well."""
    try:
        fresh.rename(target)
    except OSError:
        if _is_intact(target, expected, ()):
            # Whole as far as it goes: another engine's files are there, or another process was faster.
            for name in bundle_files(fresh):
                (fresh / name).replace(target / name)
        else:
            # Damaged, not merely there: out of the way, and whoever comes first fills the place.
            with suppress(FileNotFoundError):
                target.rename(aside)
            with suppress(OSError):
                fresh.rename(target)
        if not _is_intact(target, expected, weights):
            raise
    return target


def _is_intact(folder: Path, expected: str, weights: Collection[str] | None) -> bool:
    with suppress(BundleError):
        stated = read_bundle_info(folder).files
        here = all((folder / name).is_file() for name in stated if weights is None or name in weights)
        return here and bundle_digest(folder, stated) == expected
    return False
