"""The objects of JSON Lines and JSON arrays, read one at a time and checked; and files of them, whole or not at all."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from labelloop.data.formats.base import resolve
from labelloop.errors import ManifestError
from labelloop.files import is_sha256, open_file, whole_file
from labelloop.types import Json, Side

MOST_CHARACTERS = 16_000_000
"""Longest line, or element of a JSON array; beyond it a file is no list of pictures."""


_SIDES: dict[str, Side] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

FILLERS = (
    "set", "sets", "data", "dataset", "datasets", "image", "images", "img", "imgs", "picture", "pictures", "photo",
    "photos", "split", "folder",
)  # fmt: skip
"""What people add to the name of a side without meaning anything by it."""

_WORD = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+")
_JOINED = re.compile(f"({'|'.join(sorted(_SIDES, key=len, reverse=True))})(?:{'|'.join(FILLERS)})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a file; ``number`` counts its lines or elements from 1."""

    source: Path
    number: int
    values: Json
    unit: str = "line"

    def wrong(self, what: str) -> ManifestError:
        """Make an error that says where it is."""
        return ManifestError(f"{self.source}, {self.unit} {self.number}: {what}")

    def text(self, key: str) -> str:
        """Take a text that must be there; raises ManifestError."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.wrong(f"{key!r} must be a text")
        return value

    def task(self, key: str) -> int | None:
        """Take a task id, None where there is none; raises ManifestError for anything but a number from 1 on."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
            raise self.wrong(f"{key!r} must be a whole number from 1 on")
        return value

    def address(self, address: str, base: str) -> str:
        """Make an address whole; raises ManifestError (see ``resolve``)."""
        try:
            return resolve(address, base)
        except ManifestError as error:
            raise self.wrong(str(error)) from error

    def picture(self, value: object) -> str:
        """Read the sha256 of a picture, empty for none; raises ManifestError."""
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or not is_sha256(value):
            raise self.wrong(f"{str(value)[:80]!r} is no sha256 in hexadecimal small letters")
        return value

    def side(self, text: object) -> Side | None:
        """Read the name of a side, None for none; raises ManifestError for one that is unknown."""
        if text is None or text == "":
            return None
        found = side_named(text) if isinstance(text, str) else None
        if found is None:
            raise self.wrong(f"{str(text)[:60]!r} is no side; expected train, validation or test")
        return found


def side_named(text: str) -> Side | None:
    """Give the side that a word means, in any of its usual spellings; None for a word that means none."""
    found = side_and_rest(text)
    return None if found is None or found[1] else found[0]


@lru_cache(maxsize=256)
def side_and_rest(text: str) -> tuple[Side, frozenset[str]] | None:
    """Give the side that a name holds, and its other words, such as ``cats`` of ``cats_train``; None for no side.

    Numbers and words such as ``set`` are no words: ``training_set``, ``TestImages``, ``val2017`` are sides and no more.
    A name that holds two sides means none.
    """
    sides: list[Side] = []
    rest: set[str] = set()
    for word in map(str.lower, _WORD.findall(text)):
        if joined := _JOINED.fullmatch(word):
            sides.append(_SIDES[joined[1]])
        elif word not in FILLERS:
            rest.add(word)
    return (sides[0], frozenset(rest)) if len(sides) == 1 else None


_CHUNK = _FIRST_LINE = 1_000_000
_DELIMITERS = ",;\t"

# A cell may hold all masks of a picture; whatever is too long for a line is refused there.
csv.field_size_limit(MOST_CHARACTERS)
_SPACE = " \t\r\n"


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text file (UTF-8, with or without its mark) for reading; raises ManifestError, also while it is read."""
    try:
        # Lists are read more than once: a pipe would be empty by then, or keep us waiting.
        with open_file(path) as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise ManifestError(f"{path} is no UTF-8 text ({short(error)})") from error


def object_lines(path: Path) -> Iterator[Entry]:
    """Give the objects of a JSON Lines file; raises ManifestError."""
    for number, line in text_lines(path):
        yield Entry(path, number, _object(path, number, line))


def array_objects(path: Path) -> Iterator[Entry]:
    """Give the objects of a file that is one JSON array; raises ManifestError."""
    with open_text(path) as file:
        yield from (Entry(path, number, value, "element") for number, value in _Array(path, file).objects())


def json_object(path: Path) -> Json:
    """Read a file that is one JSON object; raises ManifestError."""
    with open_text(path) as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path} is no JSON: {short(error)}") from error
    if not isinstance(value, dict):
        raise ManifestError(f"{path} must be a JSON object")
    return value


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines that are not empty, with their numbers; raises ManifestError."""
    with open_text(path) as file:
        number = 0
        while line := file.readline(MOST_CHARACTERS):
            number += 1
            if len(line) == MOST_CHARACTERS:
                raise ManifestError(f"{path}, line {number} is longer than {MOST_CHARACTERS} characters")
            if line.strip():
                yield number, line


def first_line(path: Path) -> str:
    """Give the first line that is not empty, or as much of it as tells a format; raises ManifestError."""
    with open_text(path) as file:
        first = file.readline(_FIRST_LINE).strip()
        while not first and (line := file.readline(_FIRST_LINE)):
            first = line.strip()
    return first


def table_header(line: str) -> tuple[str, list[str]]:
    """Give what stands between a table's cells, and the names of its columns; raises ManifestError."""
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        return delimiter, [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise ManifestError(f"its first line is no header of a table ({error})") from error


def table_rows(path: Path) -> Iterator[Entry]:
    """Give the rows of a table with a header, by the columns' names; raises ManifestError."""
    with open_text(path) as file:
        start, line = 0, file.readline(_FIRST_LINE)
        while line and not line.strip():
            start, line = file.tell(), file.readline(_FIRST_LINE)
        try:
            delimiter, _ = table_header(line.strip())
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error
        file.seek(start)
        table = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = [name.strip() for name in next(table, [])]
            for cells in filter(None, table):
                entry = Entry(path, table.line_num, dict(zip(names, cells, strict=False)))
                if len(cells) != len(names):
                    raise entry.wrong("it has not as many cells as the header; quote cells that hold the separator")
                yield entry
        except csv.Error as error:
            raise ManifestError(f"{path} is no table: {error}") from error


def _object(path: Path, number: int, text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}, line {number} is no JSON: {short(error)}") from error
    if not isinstance(value, dict):
        raise ManifestError(f"{path}, line {number} must be a JSON object")
    return value


def write_lines(path: Path, objects: Iterator[Any]) -> None:
    """Write JSON Lines, whole or not at all; raises ManifestError when the disk refuses."""
    # ASCII with escapes: a label may hold what no encoding can write, half a surrogate pair for one.
    write_parts(path, (json.dumps(value, separators=(",", ":")) + "\n" for value in objects))


def write_parts(path: Path, parts: Iterator[str]) -> None:
    """Write a text file part by part, whole or not at all; raises ManifestError when the disk refuses."""
    try:
        with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(parts)
    except (OSError, UnicodeError) as error:
        raise ManifestError(f"{path} cannot be written: {short(error)}") from error


def short(error: Exception) -> str:
    """Give an error's text for a message, its kind where it has none."""
    return str(error)[:200] or type(error).__name__


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
