"""A store in memory, for tests that go through thousands of them: it keeps what ``support/store_rules.py`` says."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from labelloop.errors import Conflict, NotFound
from labelloop.models.store import Sized, Versioned, checked, checked_prefix


class MemoryStore:
    """Objects by path, each with a tag that no other content ever has; for one thread."""

    def __init__(self) -> None:
        self._held: dict[str, Versioned] = {}
        self._tags = itertools.count()

    def read(self, path: str) -> Versioned:
        try:
            return self._held[checked(path)]
        except KeyError:
            raise NotFound(f"{path} is not in memory") from None

    def write(self, path: str, content: bytes) -> None:
        self._held[checked(path)] = Versioned(content, str(next(self._tags)))

    def download(self, path: str, target: Path) -> None:
        target.write_bytes(self.read(path).content)

    def upload(self, path: str, source: Path) -> None:
        self.write(path, source.read_bytes())

    def file(self, path: str) -> Path | None:
        checked(path)
        return None

    def create(self, path: str, content: bytes) -> None:
        if checked(path) in self._held:
            raise Conflict(f"{path} exists already in memory")
        self.write(path, content)

    def swap(self, path: str, content: bytes, tag: str) -> None:
        held = self._held.get(checked(path))
        if held is None or held.tag != tag:
            raise Conflict(f"{path} was changed in memory")
        self.write(path, content)

    def remove(self, path: str) -> None:
        self._held.pop(checked(path), None)

    def sizes(self, prefix: str) -> Iterator[Sized]:
        return iter([Sized(path, len(self._held[path].content)) for path in self.walk(prefix)])

    def walk(self, prefix: str) -> Iterator[str]:
        folder = checked_prefix(prefix)
        yield from sorted(path for path in self._held if path.startswith(folder))

    def names(self, prefix: str) -> list[str]:
        folder = checked_prefix(prefix)
        return sorted({path[len(folder) :].partition("/")[0] for path in self.walk(folder)})
