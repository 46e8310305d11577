"""Text files: read line by line, never held as a whole; written whole or not at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from labelloop.data.formats.entry import Entry
from labelloop.errors import ManifestError
from labelloop.types import Json

MOST_CHARACTERS = 16_000_000
"""Longest line, or element of a JSON array; beyond it a file is no list of pictures."""


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a text file (UTF-8, with or without its mark) for reading; raises ManifestError, also while it is read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise ManifestError(f"{path} is no UTF-8 text ({short(error)})") from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines that are not empty, with their numbers; raises ManifestError."""
    with opened(path) as file:
        number = 0
        while line := file.readline(MOST_CHARACTERS):
            number += 1
            if len(line) == MOST_CHARACTERS:
                raise ManifestError(f"{path}, line {number} is longer than {MOST_CHARACTERS} characters")
            if line.strip():
                yield number, line


def object_lines(path: Path) -> Iterator[Entry]:
    """Give the objects of a JSON Lines file; raises ManifestError."""
    for number, line in text_lines(path):
        yield Entry(path, number, _object(path, number, line))


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
    write_text(path, (json.dumps(value, separators=(",", ":")) + "\n" for value in objects))


def write_text(path: Path, parts: Iterator[str]) -> None:
    """Write a text file part by part, whole or not at all; raises ManifestError when the disk refuses."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(parts)
        aside.replace(path)
    except (OSError, UnicodeError) as error:
        with suppress(OSError):
            aside.unlink()
        raise ManifestError(f"{path} cannot be written: {short(error)}") from error


def short(error: Exception) -> str:
    """Give an error's text for a message, its kind where it has none."""
    return str(error)[:200] or type(error).__name__
