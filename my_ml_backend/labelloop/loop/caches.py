"""The files below MODEL_DIR that may go at any time, for they are made or fetched anew: which belong to what."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from labelloop.data.manifest import Manifest
from labelloop.errors import Damaged, NotFound
from labelloop.files import is_sha256
from labelloop.loop.hub import Hub
from labelloop.loop.project_labels import kept_at, manifest_file
from labelloop.models.backbones import SharedCache
from labelloop.models.features import features_of
from labelloop.models.row_shard import KEY_BYTES, read_shard
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_UNUSED_SECONDS = 7 * 24 * 3600.0
"""Nobody needs a picture that is in no project's newest labels and came so long ago; a run's folder likewise."""


class Cached(NamedTuple):
    """A file or folder of this machine, what it is (``bundles``, ``pictures``, ...), and its bytes."""

    path: Path
    what: str
    size: int


class Caches:
    """What lies below one MODEL_DIR. Other workers' machines have their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bundles = directory / "cache" / "bundles"
        self._pictures = directory / "cache" / "pictures" / "pictures"
        self._addresses = directory / "cache" / "pictures" / "urls"
        self._whole = directory / "cache" / "pictures" / "whole"
        self._train = directory / "cache" / "train"

    def size_of(self, project: ProjectKey) -> int:
        """Say how many bytes lie here for one project alone: bundles, runs in the making, copies of features.

        Without the backbones of bundles, which other projects may have, too.
        """
        folders = (self._bundles, self._directory / "runs", self._directory / "cache" / "features")
        return sum(size_below(folder / str(project)) for folder in folders)

    def bundles(self, project: ProjectKey, versions: Collection[str]) -> Iterator[Cached]:
        """Give the bundles of these versions of a project."""
        for folder in _entries(self._bundles / str(project)):
            if folder.name.partition("-")[0] in versions:
                yield Cached(folder, "bundles", size_below(folder))

    def backbones(self) -> Iterator[Cached]:
        """Give what no version on this machine shares any more and came more than a week ago.

        And what training has exported of networks and has not used for so long: each finetune has its own.
        """
        unused = filter(_is_old, [*SharedCache(self._bundles).unused(), *_entries(self._train / "backbones")])
        yield from (Cached(folder, "backbones", size_below(folder)) for folder in unused)

    def features(self, project: ProjectKey, backbones: Collection[str]) -> Iterator[Cached]:
        """Give a project's copies of features by others than these backbones (hashes): the store has none of them."""
        for folder in _entries(self._directory / "cache" / "features" / features_of(project)):
            # The store may have got the first of a new one just now.
            if is_sha256(folder.name) and folder.name not in backbones and _is_old(folder):
                yield Cached(folder, "features", size_below(folder))

    def runs(self, project: ProjectKey, keys: Collection[str]) -> Iterator[Cached]:
        """Give the folders of runs in the making, but for those of these keys, that nobody has touched for a week."""
        for folder in _entries(self._directory / "runs" / str(project)):
            if folder.is_dir() and folder.name not in keys and _is_old(folder):
                yield Cached(folder, "runs", size_below(folder))

    def labels(self, project: ProjectKey, manifests: Iterable[str]) -> Iterator[Cached]:
        """Give what is kept of a project's manifests (hashes), whether it is there or not."""
        for name in manifests:
            path = kept_at(self._directory, project, name)
            # Releases before this one have named it by its hash alone; it goes after a day.
            for one in (path, path.with_name(f"{name}.jsonl")):
                yield Cached(one, "labels", _size(one))

    def unneeded(self, needed: Callable[[str], bool]) -> Iterator[Cached]:
        """Give what is kept of pictures that are not ``needed`` (sha256) and came more than a week ago."""
        found = self._of_pictures(lambda sha: not needed(sha), every=True)
        yield from self._notes_first(one for one in found if _is_old(one.path))

    def of(self, contents: Collection[str]) -> Iterator[Cached]:
        """Give all that is kept of these pictures (sha256); a file of many features where any of them may be in it.

        And what was chosen for heads (train/refitted_head.py), which names pictures: choosing again takes seconds.
        """
        yield from self._notes_first(self._of_pictures(contents.__contains__, every=False))
        yield from (Cached(path, "choices", _size(path)) for path in _files(self._train / "choices"))

    def _notes_first(self, found: Iterable[Cached]) -> Iterator[Cached]:
        """Put before the first picture what says of projects' that all are here (data/picture_cache.py)."""
        noted = False
        for one in found:
            if one.what == "pictures" and not noted:
                noted = True
                yield from (Cached(path, "notes", _size(path)) for path in _files(self._whole))
            yield one

    def _of_pictures(self, asked: Callable[[str], bool], *, every: bool) -> Iterator[Cached]:
        """Give the files of pictures that are ``asked`` for; of a file of many, whether ``every`` one must be."""
        for path in _files(self._pictures):
            if asked(path.name):
                yield Cached(path, "pictures", _size(path))
        for path in _files(self._addresses):
            if asked(_first_word(path)):
                yield Cached(path, "addresses", _size(path))
        for path in _files(self._train / "pixels"):
            if asked(path.stem):
                yield Cached(path, "pixels", _size(path))
        for folder in ("features", "opened"):
            for path in _files(self._train / folder):
                names = _shard(path)
                # Releases before this one kept them in another form, which nobody reads any more. Who they are of is
                # not known, but for what is no file of features: locks, and files in the making.
                unknown = not names and not path.name.startswith(".")
                if unknown or (all if every else any)(map(asked, names)):
                    yield Cached(path, "features", _size(path))


def remove(cached: Iterable[Cached]) -> int:
    """Remove files and folders, and say how many bytes that were; one that is gone already counts for nothing."""
    freed = 0
    for path, _, size in cached:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("%s cannot be removed: %s", path, error.strerror or error)
            continue
        freed += size
    return freed


def needed_pictures(hub: Hub, projects: Iterable[ProjectKey]) -> Callable[[str], bool]:
    """Say of a picture (sha256) whether it is in the newest labels of any of these projects, or in an open run's.

    16 bytes of each are in memory. Raises StoreError, for a picture that cannot be told from others is needed.
    """
    needed: set[bytes] = set()
    for project in projects:
        opened = [hub.open_runs(project, challenger=challenger).read() for challenger in (False, True)]
        for name in {one.manifest for one in (hub.runs(project).latest(), *opened) if one is not None}:
            # Without it, or where it is damaged, the next run fetches all anew in any case.
            with suppress(NotFound, Damaged), manifest_file(hub, project, name) as file:
                needed |= {bytes.fromhex(item.content[:32]) for item in Manifest.from_file(file).items}
    return lambda sha: bytes.fromhex(sha[:32]) in needed


def size_below(folder: Path) -> int:
    """Count the bytes that would be free without a folder: what is linked from elsewhere, too, counts for nothing.

    Neither does what vanishes meanwhile, or cannot be read.
    """
    return sum(map(_own_size, _files(folder)))


def _files(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder):
        yield from (Path(at, name) for name in names)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _own_size(path: Path) -> int:
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_size if found.st_nlink == 1 else 0


def _is_old(path: Path) -> bool:
    try:
        return path.lstat().st_mtime < time.time() - _UNUSED_SECONDS
    except OSError:
        return False


def _first_word(path: Path) -> str:
    """Read which picture an address showed (data/picture_cache.py)."""
    try:
        return path.read_text().partition(" ")[0]
    except (OSError, ValueError):
        return ""


def _shard(path: Path) -> list[str]:
    """Name the pictures whose features a file has (models/row_shard.py); none where it is no such file."""
    shard = read_shard(path, None)
    return [] if shard is None else [bytes(key).ljust(KEY_BYTES, b"\0").hex() for key in shard.keys]
