"""A bundle from the store into a folder of this machine, whole and checked or not at all."""

import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from labelloop.errors import BundleError, NotFound
from labelloop.files import cannot_keep, remove_stale
from labelloop.models.bundle import (
    DESCRIPTION,
    METRICS,
    Wanted,
    bundle_digest,
    bundle_files,
    check_bundle,
    read_bundle_info,
    weights_of,
)
from labelloop.models.store import Store


def fetch(store: Store, source: str, expected: str, cache: Path, version: str, wanted: Wanted = weights_of) -> Path:
    """Give ``cache/<version>-<hash>``, downloaded from the store's folder ``source`` unless it is there already.

    Of the weight files only those that are ``wanted`` are downloaded; the others may come later, into the same folder.
    ``expected`` is the digest of the whole bundle: a file that was left out counts with the hash in ``model.json``.
    What is there is hashed again, so a cache that lost bytes heals itself. Raises BundleError when the download does
    not have the digest, StoreError when the cache cannot be written.
    """
    target = cache / f"{version}-{expected[:16]}"
    if _is_intact(target, expected, wanted):
        return target
    try:
        return _download(store, source, expected, target, wanted)
    except OSError as error:
        raise cannot_keep(version, cache, error) from error


def _download(store: Store, source: str, expected: str, target: Path, wanted: Wanted) -> Path:
    workshop = target.parent / ".fetch"
    remove_stale(workshop)
    work = workshop / uuid.uuid4().hex
    work.mkdir(parents=True)
    try:
        fresh = work / "bundle"
        fresh.mkdir()
        there = {*store.names(source)}
        try:
            _read_files(store, source, fresh, there & {DESCRIPTION})
            _read_files(store, source, fresh, there & {METRICS, *wanted(read_bundle_info(fresh))})
            info = check_bundle(fresh, wanted)
        except BundleError as error:
            raise BundleError(f"{source} is damaged in the store ({error}): roll back to another version") from error
        if bundle_digest(fresh, info.files) != expected:
            raise BundleError(f"{source} is damaged in the store (its files changed): roll back to another version")
        return _put_in_place(fresh, target, expected, wanted, work / "damaged")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_files(store: Store, source: str, folder: Path, names: Iterable[str]) -> None:
    for name in sorted(names):
        try:
            store.download(source + name, folder / name)
        except NotFound as error:
            raise BundleError(f"{name} was removed from the store while it was read") from error


def _put_in_place(fresh: Path, target: Path, expected: str, wanted: Wanted, aside: Path) -> Path:
    """Move the checked files to their place; what another process put there serves as well."""
    try:
        fresh.rename(target)
    except OSError:
        if _is_intact(target, expected, lambda _: ()):
            # Whole as far as it goes: another engine's files are there, or another process was faster.
            for name in bundle_files(fresh):
                (fresh / name).replace(target / name)
        else:
            # Damaged, not merely there: out of the way, and whoever comes first fills the place.
            with suppress(FileNotFoundError):
                target.rename(aside)
            with suppress(OSError):
                fresh.rename(target)
        if not _is_intact(target, expected, wanted):
            raise
    return target


def _is_intact(folder: Path, expected: str, wanted: Wanted) -> bool:
    with suppress(BundleError):
        info = read_bundle_info(folder)
        needed = info.files.keys() & {METRICS, *wanted(info)}
        return all((folder / name).is_file() for name in needed) and bundle_digest(folder, info.files) == expected
    return False
