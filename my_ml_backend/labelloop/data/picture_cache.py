"""The pictures on this machine, each once, by the hash of its bytes. All of it may be deleted at any time."""

import hashlib
from pathlib import Path
from typing import IO

from labelloop.errors import Damaged
from labelloop.files import cannot_keep, is_sha256, whole_file
from labelloop.types import ProjectKey

_PART_BYTES = 1 << 20
"""Of a picture that comes from a file, this much is in memory."""


class PictureCache:
    """Files in a folder, safe for many threads and processes: each is written aside and renamed when whole.

    An address is remembered by its hash, per project, so that no signed URL comes to lie on the disk.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, content: bytes) -> str:
        """Keep a picture and give the sha256 of its bytes (hex); raises StoreError when the disk refuses."""
        sha = hashlib.sha256(content).hexdigest()
        if _size(self.path(sha)) != len(content):
            self._write(self.path(sha), content)
        return sha

    def take(self, sha: str, size: int, content: IO[bytes]) -> None:
        """Keep a picture of so many bytes, a part of it in memory at a time, unless it is here.

        Raises Damaged where its bytes are not those of its name, StoreError when the disk refuses.
        """
        if _size(self.path(sha)) == size:
            return
        whole = hashlib.sha256()
        try:
            with whole_file(self.path(sha), shared=True) as aside, aside.open("wb") as file:
                while part := content.read(_PART_BYTES):
                    whole.update(part)
                    file.write(part)
                if whole.hexdigest() != sha:
                    raise Damaged(f"picture {sha} is not what its name says")
        except OSError as error:
            raise cannot_keep("a picture", self._directory, error) from error

    def has(self, sha: str) -> bool:
        """Whether a picture is here; raises ValueError for what is no sha256."""
        return _size(self.path(sha)) is not None

    def path(self, sha: str) -> Path:
        """Say where a picture lies, or would lie; raises ValueError for what is no sha256."""
        if not is_sha256(sha):
            raise ValueError(f"{sha!r} is no sha256 of a picture")
        return self._directory / "pictures" / sha[:2] / sha

    def find(self, project: ProjectKey, url: str) -> str | None:
        """Give the hash of the picture a URL showed, None when it was never read or its file is no longer whole."""
        try:
            sha, _, size = self._note(project, url).read_text().partition(" ")
            return sha if _size(self.path(sha)) == int(size) else None
        except (OSError, ValueError):
            return None

    def remember(self, project: ProjectKey, url: str, sha: str) -> None:
        """Note which picture a URL showed, if the picture is here; raises StoreError when the disk refuses."""
        size = _size(self.path(sha))
        if size is not None:
            self._write(self._note(project, url), f"{sha} {size}".encode())

    def note_whole(self, project: ProjectKey, manifest: str) -> None:
        """Note that all pictures of a manifest (hash) are here; raises StoreError when the disk refuses."""
        self._write(self._whole(project), manifest.encode())

    def is_whole(self, project: ProjectKey, manifest: str) -> bool:
        """Whether it was noted last that all pictures of this manifest are here."""
        try:
            return self._whole(project).read_text() == manifest
        except (OSError, ValueError):
            return False

    def forget_whole(self, project: ProjectKey) -> None:
        """Take that note back; raises StoreError when the disk refuses."""
        try:
            self._whole(project).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_keep("a picture", self._directory, error) from error

    def _whole(self, project: ProjectKey) -> Path:
        return self._directory / "whole" / str(project)

    def _note(self, project: ProjectKey, url: str) -> Path:
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self._directory / "urls" / str(project) / name[:2] / name

    def _write(self, target: Path, content: bytes) -> None:
        try:
            with whole_file(target, shared=True) as aside:
                aside.write_bytes(content)
        except OSError as error:
            raise cannot_keep("a picture", self._directory, error) from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
