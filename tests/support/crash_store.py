"""A store whose process dies at a chosen step: for finding out what is left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelloop.models.store import Sized, Store, Versioned


class Killed(BaseException):
    """What the code under test never catches, like the end of its process."""


class CrashStore:
    """Passes everything on to a real store; the step with the number ``at`` dies before or after it is done, from 0."""

    def __init__(self, store: Store, at: int, *, after: bool = False) -> None:
        self._store = store
        self._left = at
        self._after = after
        self.written: list[str] = []

    def read(self, path: str) -> Versioned:
        return self._store.read(path)

    def write(self, path: str, content: bytes) -> None:
        with self.step(path):
            self._store.write(path, content)

    def download(self, path: str, target: Path) -> None:
        self._store.download(path, target)

    def upload(self, path: str, source: Path) -> None:
        with self.step(path):
            self._store.upload(path, source)

    def file(self, path: str) -> Path | None:
        return self._store.file(path)

    def create(self, path: str, content: bytes) -> None:
        with self.step(path):
            self._store.create(path, content)

    def swap(self, path: str, content: bytes, tag: str) -> None:
        with self.step(path):
            self._store.swap(path, content, tag)

    def remove(self, path: str) -> None:
        with self.step(path):
            self._store.remove(path)

    def sizes(self, prefix: str) -> Iterator[Sized]:
        return self._store.sizes(prefix)

    def walk(self, prefix: str) -> Iterator[str]:
        return self._store.walk(prefix)

    def names(self, prefix: str) -> list[str]:
        return self._store.names(prefix)

    @contextmanager
    def step(self, path: str) -> Iterator[None]:
        """Die before or after what is done in the block, if this is the step; others than stores may count with it."""
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Killed
        yield
        self.written.append(path)
        if self._left < 0:
            raise Killed
