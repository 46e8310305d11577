"""The objects of one JSON array, however long it is: only one of them is held at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from labelloop.data.formats.entry import Entry
from labelloop.data.formats.lines import MOST_CHARACTERS, opened, short
from labelloop.errors import ManifestError
from labelloop.types import Json

_CHUNK = 1_000_000
_SPACE = " \t\r\n"


def array_objects(path: Path) -> Iterator[Entry]:
    """Give the objects of a file that is one JSON array; raises ManifestError."""
    with opened(path) as file:
        yield from (Entry(path, number, value, "element") for number, value in _Array(path, file).objects())


class _Array:
    """Reads the objects of one JSON array out of a buffer that grows only as far as one of them needs."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file, self._buffer, self._at = path, file, "", 0
        self._decoder = json.JSONDecoder()

    def objects(self) -> Iterator[tuple[int, Json]]:
        if self._next() != "[":
            raise ManifestError(f"{self._path} must be a JSON array of tasks")
        self._at += 1
        number = 0
        while (found := self._next()) != "]":
            if number:
                if found != ",":
                    raise self._wrong(number, "a comma is missing behind it")
                self._at += 1
            number += 1
            if self._next() != "{":
                raise self._wrong(number, "it is no JSON object")
            yield number, self._decode(number)

    def _next(self) -> str:
        """Go to the next character that is no space, and give it; empty at the file's end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more(_CHUNK):
                return ""

    def _decode(self, number: int) -> Json:
        size = _CHUNK
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError as error:
                raise self._wrong(number, short(error)) from error
            except ValueError as error:
                # Cut off or wrong: that is known when there is no more to read. Doubled, so that all is read once.
                if len(self._buffer) - self._at > MOST_CHARACTERS or not self._more(size):
                    raise self._wrong(number, short(error)) from error
                size *= 2
            else:
                result: Json = value
                return result

    def _more(self, size: int) -> bool:
        chunk = self._file.read(size)
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        return bool(chunk)

    def _wrong(self, number: int, what: str) -> ManifestError:
        return ManifestError(f"{self._path}, element {number}: {what}")
