"""The store in a folder of this machine, or of one its containers share."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from labelloop.errors import Conflict, NotFound, StoreAway, StoreError
from labelloop.files import file_lock, remove_stale
from labelloop.models.store import Sized, Versioned, checked, checked_prefix, is_confined


class FileStore:
    """Objects are files below ``root``; the tag is the sha256 of the content. Safe for threads and processes.

    What is written is first complete and on disk under ``root/.tmp``, then renamed: an object is whole or absent. The
    rename happens under a lock of the kernel (``root/.lock``), which a dying process gives up: ``create`` and ``swap``
    are atomic between all processes of the machine. Symbolic links below ``root`` are refused.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        remove_stale(self._root / ".tmp")

    def read(self, path: str) -> Versioned:
        """Read one object; raises NotFound."""
        with self._opened(path) as file, self._translated(path, "read"):
            content = file.read()
        return Versioned(content, _tag(content))

    def write(self, path: str, content: bytes) -> None:
        """Write one object whole, or not at all."""
        with self._replacing(path, content):
            pass

    def download(self, path: str, target: Path) -> None:
        """Copy one object into a file, a part at a time; raises NotFound, and OSError of the file."""
        with self._opened(path) as held, target.open("wb") as file:
            shutil.copyfileobj(held, file)

    def upload(self, path: str, source: Path) -> None:
        """Write one object whole, or not at all, from a file, a part at a time."""
        with source.open("rb") as file, self._replacing(path, file):
            pass

    def file(self, path: str) -> Path | None:
        """Say in which file of this machine an object lies: what is written anew is another file."""
        target = self._target(path)
        return target if target.is_file() else None

    def create(self, path: str, content: bytes) -> None:
        """Write one object that must not exist yet; raises Conflict when it does."""
        with self._replacing(path, content) as target:
            if target.exists():
                raise Conflict(f"{path} exists already in the store {self._root}")

    def swap(self, path: str, content: bytes, tag: str) -> None:
        """Replace one object if it still has ``tag``; raises Conflict when it has not, or is gone."""
        with self._replacing(path, content) as target:
            if not target.is_file() or _tag(target.read_bytes()) != tag:
                raise Conflict(f"{path} was changed by another process in the store {self._root}")

    def remove(self, path: str) -> None:
        """Remove one object for good, and folders that are empty then; nothing changes where there is none."""
        target = self._target(path)
        with self._translated(path, "removed"), file_lock(self._locked()):
            target.unlink(missing_ok=True)
            # Under the lock nobody puts anything into a folder.
            for folder in target.parents:
                if folder == self._root or any(folder.iterdir() if folder.is_dir() else ()):
                    break
                with suppress(FileNotFoundError):
                    folder.rmdir()

    def walk(self, prefix: str) -> Iterator[str]:
        """Name the objects below ``prefix``, sorted as strings; one folder at a time is held in memory."""
        folder = checked_prefix(prefix)
        with self._translated(folder, "listed"):
            for name in _children(self._root / folder):
                if name.endswith("/"):
                    yield from self.walk(folder + name)
                else:
                    yield folder + name

    def sizes(self, prefix: str) -> Iterator[Sized]:
        """Name the objects below ``prefix`` with their sizes; what is removed meanwhile may be left out."""
        with self._translated(prefix, "listed"):
            for path in self.walk(prefix):
                with suppress(FileNotFoundError):
                    yield Sized(path, (self._root / path).stat().st_size)

    def names(self, prefix: str) -> list[str]:
        """Name what lies directly below ``prefix``, sorted; a folder without any object is not there."""
        folder = checked_prefix(prefix)
        with self._translated(folder, "listed"):
            found = _children(self._root / folder)
            return sorted(name.rstrip("/") for name in found if not name.endswith("/") or any(self.walk(folder + name)))

    def _opened(self, path: str) -> BinaryIO:
        target = self._target(path)
        with self._translated(path, "read"):
            try:
                return target.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(f"{path} is not in the store {self._root}") from None

    def _target(self, path: str) -> Path:
        target = self._root / checked(path)
        if os.path.realpath(target) != str(target):
            raise StoreError(f"{path} leads through a symbolic link in the store {self._root}: remove the link")
        return target

    def _locked(self) -> Path:
        """Name the file that the kernel locks."""
        self._root.mkdir(parents=True, exist_ok=True)
        return self._root / ".lock"

    @contextmanager
    def _replacing(self, path: str, content: bytes | BinaryIO) -> Iterator[Path]:
        """Stage the content, let the caller look at the target under the lock, then move the content there."""
        target = self._target(path)
        with self._translated(path, "written"), self._staged(content) as staged, file_lock(self._locked()):
            yield target
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            _sync(target.parent)

    @contextmanager
    def _staged(self, content: bytes | BinaryIO) -> Iterator[Path]:
        staged = self._root / ".tmp" / uuid.uuid4().hex
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("xb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    @contextmanager
    def _translated(self, path: str, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreAway(
                f"{path} cannot be {verb} in the store {self._root}: {error.strerror or error}. "
                "Check the folder's rights and free space, or correct LABELLOOP_STORE."
            ) from error


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _children(folder: Path) -> list[str]:
    """Name files, and folders with a slash at the end, so that sorting them sorts whole paths.

    Left out: the store's own hidden files, links, and foreign things that no object can be named (``lost+found``).
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for entry in entries
                if is_confined(entry.name) and not entry.is_symlink()
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync(folder: Path) -> None:
    """Put the rename itself on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
