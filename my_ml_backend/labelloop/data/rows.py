"""Rows of JSON Lines that may be more than memory should hold: few are kept in it, many are read anew at every pass."""

import json
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Generic, Self, overload

from labelloop.errors import Damaged
from labelloop.files import cannot_keep
from labelloop.types import Json, T

HELD = 4_000_000
"""Bytes of JSON Lines that are held in memory as the rows they say."""

_AT_ONCE = 1 << 18
"""Bytes of a file that are read at a time."""


class OpenFile:
    """A file that is open as long as somebody has rows of it, whatever becomes of its name."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


@dataclass(frozen=True, slots=True)
class LineSpan:
    """Whole lines of a file: ``count`` of them, from byte ``start`` up to, not including, ``end``."""

    file: OpenFile
    start: int
    end: int
    count: int

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes, many at a time. Threads and processes may read at the same time; raises Damaged."""
        at = self.start
        while at < self.end:
            # Not read(): all that read this file would share one position.
            chunk = os.pread(self.file.descriptor, min(_AT_ONCE, self.end - at), at)
            if not chunk:
                raise Damaged("the manifest was cut while it was read: remove it, the next run writes it anew")
            at += len(chunk)
            yield chunk

    def lines(self) -> Iterator[bytes]:
        """Give the lines, without their ends; as ``chunks``."""
        rest = b""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


class FileRows(Sequence[T]):
    """The rows of a span, each made when it is asked for. To pick one is to read all before it: go through them."""

    def __init__(self, span: LineSpan, read: Callable[[Json], T]) -> None:
        self.span, self._read = span, read

    def __len__(self) -> int:
        return self.span.count

    def __iter__(self) -> Iterator[T]:
        for line in self.span.lines():
            yield self._read(json.loads(line.decode("ascii")))

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        wanted = range(len(self))[at]
        if isinstance(wanted, int):
            return next(islice(self, wanted, None))
        held = set(wanted)
        found = {place: row for place, row in enumerate(self) if place in held}
        return tuple(found[place] for place in wanted)


class Gathering(Generic[T]):
    """Takes rows one by one, with the lines that say them, and gives all of them.

    Where they are many, they lie in a file of ``folder`` that has no name: it is gone with the last who reads it,
    however that ends. ``line`` spells a row, ``read`` reads what it spelled.
    """

    def __init__(self, folder: Path, line: Callable[[T], str], read: Callable[[Json], T]) -> None:
        self._folder, self._line, self._read = folder, line, read
        self._held: list[T] = []
        self._size = self._count = 0
        self._file: IO[bytes] | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, row: T, line: str) -> None:
        """Take a row. Raises StoreError when the folder cannot be written."""
        self._count += 1
        self._size += len(line)
        try:
            if self._file is not None:
                self._file.write(line.encode("ascii"))
                return
            self._held.append(row)
            if self._size > HELD:
                self._file = self._spilled()
        except OSError as error:
            raise cannot_keep("labels", self._folder, error) from error

    def rows(self) -> Sequence[T]:
        """Give all rows. Raises StoreError when the folder cannot be written."""
        if self._file is None:
            return tuple(self._held)
        try:
            self._file.flush()
            kept = OpenFile(os.dup(self._file.fileno()))
        except OSError as error:
            raise cannot_keep("labels", self._folder, error) from error
        return FileRows(LineSpan(kept, 0, self._size, self._count), self._read)

    def _spilled(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._open.enter_context(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 - closed on exit
        file.writelines(self._line(row).encode("ascii") for row in self._held)
        self._held.clear()
        return file
