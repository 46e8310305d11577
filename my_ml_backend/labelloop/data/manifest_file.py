"""A manifest's file, of which a few lines are looked up or replaced: what that costs hangs on those lines.

Lines are found by bisection, for items and tasks left out are each in order of task. The file is taken to be what its
name says (``check_manifest``), and may be removed while it is open.
"""

import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from labelloop.data.manifest import (
    LEFT_OUT,
    Manifest,
    content_hasher,
    damage,
    header_line,
    line_of,
    settled,
    truth_in,
)
from labelloop.files import whole_file
from labelloop.kinds.majority import Truth
from labelloop.types import IMAGES, Item, Json, LeftOut

_AT_ONCE = 1 << 20
"""Bytes that are copied and hashed at a time."""

_Edit = tuple[int, int, bytes]
"""Begin and end of what is replaced, and the line that comes in its place; empty for none."""


class ManifestFile:
    """One file that ``Manifest.write`` wrote. Its methods raise Damaged."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file, damage():
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._start, self._end = self._bytes.find(b"\n") + 1, len(self._bytes)
            if not self._start:
                raise ValueError("it has no line")
            self._middle = self._first_left_out()

    def find(self, task: int) -> tuple[bool, Truth | None]:
        """Say whether the manifest names a task, and what its truth is: None where it is left out, or not named."""
        with damage():
            begin, end = self._span_of(task, self._start, self._middle)
            if begin < end:
                return True, truth_in(json.loads(self._bytes[begin:end]))
            begin, end = self._span_of(task, self._middle, self._end)
            return begin < end, None

    def changed(self, found: Mapping[int, Item | LeftOut | None], target: Path) -> Manifest:
        """Write the same manifest with some tasks as they are now, None for what is labeled no more, and read it.

        All that was asked is the same. Lines of other tasks are copied as they are, and hashed on the way: Damaged is
        raised where they are not what the manifest's hash says. Raises OSError when the target cannot be written.
        """
        with damage():
            header: Json = json.loads(self._bytes[: self._start])
            items, left_out = self._edits(header, found)
            gone = sum(end > begin for begin, end, _ in left_out)
            header |= {"left_out": header["left_out"] + sum(bool(line) for *_, line in left_out) - gone}
            kind = header.get("learns", IMAGES)
            old, new = (content_hasher(header["kind"], header["classes"], kind) for _ in range(2))
            with whole_file(target) as aside, aside.open("wb") as file:
                # As long as it will be: the hash is known when all is written.
                file.write(header_line(header))

                def write(part: bytes) -> None:
                    new.update(part)
                    file.write(part)

                count = self._splice(self._start, self._middle, items, old.update, write)
                middle = file.tell()
                self._splice(self._middle, self._end, left_out, lambda _: None, file.write)
                if old.hexdigest() != header["hash"]:
                    raise ValueError("it is not what it says")
                header |= {"hash": new.hexdigest()}
                file.seek(0)
                file.write(header_line(header))
        return Manifest.of_file(target, header, middle, count)

    def _edits(self, header: Json, found: Mapping[int, Item | LeftOut | None]) -> tuple[list[_Edit], list[_Edit]]:
        """Say what is put in the place of which bytes, among the items and among the tasks that are left out."""
        choice, classes = header["kind"], tuple(header["classes"])
        items: list[_Edit] = []
        left_out: list[_Edit] = []
        item_at, out_at = self._start, self._middle
        for task in sorted(found):
            one = found[task]
            now = settled(one, choice, classes) if isinstance(one, Item) else one
            line = b"" if now is None else line_of(now).encode()
            begin, item_at = self._span_of(task, item_at, self._middle)
            items.append((begin, item_at, line if isinstance(now, Item) else b""))
            begin, out_at = self._span_of(task, out_at, self._end)
            left_out.append((begin, out_at, line if isinstance(now, LeftOut) else b""))
        return items, left_out

    def _splice(
        self,
        low: int,
        high: int,
        edits: Iterable[_Edit],
        read: Callable[[bytes], object],
        write: Callable[[bytes], object],
    ) -> int:
        """Read what lies between two places, and write it with its edits; gives the number of lines written."""
        at, count = low, 0
        for begin, end, line in (*edits, (high, high, b"")):
            for part in self._parts(at, begin):
                read(part)
                write(part)
                count += part.count(b"\n")
            read(self._bytes[begin:end])
            write(line)
            count += bool(line)
            at = end
        return count

    def _parts(self, low: int, high: int) -> Iterator[bytes]:
        return (self._bytes[at : min(at + _AT_ONCE, high)] for at in range(low, high, _AT_ONCE))

    def _line_at(self, middle: int, low: int) -> tuple[int, int]:
        """Give begin and end of the line that holds a byte, and begins no earlier than ``low``."""
        before, after = self._bytes.rfind(b"\n", low, middle), self._bytes.find(b"\n", middle)
        return (low if before < 0 else before + 1), (self._end if after < 0 else after + 1)

    def _first_left_out(self) -> int:
        low, high = self._start, self._end
        while low < high:
            begin, end = self._line_at((low + high) // 2, low)
            if self._bytes[begin : begin + len(LEFT_OUT)] == LEFT_OUT:
                high = begin
            else:
                low = end
        return low

    def _span_of(self, task: int, low: int, high: int) -> tuple[int, int]:
        """Give begin and end of a task's line between two places; both where it would be, when it has none."""
        while low < high:
            begin, end = self._line_at((low + high) // 2, low)
            number = json.loads(self._bytes[begin:end])["task"]
            if number == task:
                return begin, end
            low, high = (end, high) if number < task else (low, begin)
        return low, low
