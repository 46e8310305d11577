"""A bundle from the store into a folder of this machine, whole and checked or not at all."""

import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labelloop.errors import BundleError, NotFound, UnknownForm
from labelloop.files import cannot_keep, remove_stale
from labelloop.models.backbones import SharedCache, shared_files
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
from labelloop.types import ProjectKey


def fetch(
    store: Store, project: ProjectKey, version: str, bundle: str, cache: Path, wanted: Wanted = weights_of
) -> Path:
    """Give ``cache/<project>/<version>-<hash>``, downloaded from the version's folder ``bundle`` unless it is there.

    Of the weight files only those that are ``wanted`` are downloaded; the others may come later, into the same folder.
    Those that versions share come once, and are linked. The folder is called by the digest of the whole bundle: a file
    that was left out counts with the hash in ``model.json``. What is there is hashed again, what is shared now and then
    (``kept_sha256``), so a cache that lost bytes heals itself. Raises BundleError when the download does not have the
    digest, StoreError when the cache cannot be written.
    """
    expected = bundle.removeprefix("bundle-")
    target = cache / str(project) / f"{version}-{expected[:16]}"
    if _is_intact(target, expected, wanted):
        return target
    try:
        return _Download(store, project, f"{project}/versions/{version}/{bundle}/", expected, cache).into(
            target, wanted
        )
    except OSError as error:
        raise cannot_keep(version, target.parent, error) from error


@dataclass(frozen=True, slots=True)
class _Download:
    """The bundle in the store's folder ``source``, with the digest ``expected``."""

    store: Store
    project: ProjectKey
    source: str
    expected: str
    cache: Path

    def into(self, target: Path, wanted: Wanted) -> Path:
        """Download what is wanted into a folder beside, check it, and put it in its place."""
        workshop = target.parent / ".fetch"
        remove_stale(workshop)
        work = workshop / uuid.uuid4().hex
        work.mkdir(parents=True)
        try:
            fresh = work / "bundle"
            fresh.mkdir()
            with self._damaged():
                shared = self._own(fresh, wanted)
            for name, known in shared.items():
                SharedCache(self.cache).bring(self.store, self.project, known, name, fresh)
            with self._damaged():
                info = check_bundle(fresh, wanted)
                if bundle_digest(fresh, info.files) != self.expected:
                    raise BundleError("its files changed")
            return _put_in_place(fresh, target, self.expected, wanted, work / "damaged")
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _own(self, folder: Path, wanted: Wanted) -> dict[str, str]:
        """Download the version's own files, and map the shared ones that are wanted to their hashes."""
        there = {*self.store.names(self.source)}
        self._read(folder, there & {DESCRIPTION})
        info = read_bundle_info(folder)
        shared, needed = shared_files(info), {METRICS, *wanted(info)}
        self._read(folder, (there & needed) - shared.keys())
        return {name: known for name, known in shared.items() if name in needed}

    @contextmanager
    def _damaged(self) -> Iterator[None]:
        """Say of what is wrong with a version's own files where they lie."""
        try:
            yield
        except UnknownForm as error:
            raise BundleError(
                f"{self.source} cannot be read ({error}): if a later release has made it, upgrade this process, else "
                "roll back to another version"
            ) from error
        except BundleError as error:
            raise BundleError(
                f"{self.source} is damaged in the store ({error}): roll back to another version"
            ) from error

    def _read(self, folder: Path, names: Iterable[str]) -> None:
        for name in sorted(names):
            try:
                self.store.download(self.source + name, folder / name)
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
