"""The labeled inputs of a project at one moment, named by their content."""

import hashlib
import heapq
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from labelloop.data.duplicates import Twins
from labelloop.data.rows import HELD, FileRows, Gathering, LineSpan, OpenFile
from labelloop.errors import Damaged
from labelloop.files import is_sha256, whole_file
from labelloop.kinds.majority import Truth
from labelloop.types import IMAGES, Choice, Item, Json, LeftOut, ProjectKey, T, canonical

_FORMAT = 1
LEFT_OUT = b'{"left_out":'
"""How the line of a task begins that is left out."""


@dataclass(frozen=True)
class Manifest:
    """What a project's annotations said; ``of`` makes one from what was fetched, ``gathered`` while it is fetched.

    ``classes`` are in the label config's order, ``items`` and ``left_out`` sorted by task. Both may lie in a file that
    is read anew at every pass: go through them as seldom as can be, and never by index. Tasks that show the same input
    are all there, so that a change of any of them changes the manifest; ``distinct`` takes each input once.
    """

    project: ProjectKey
    choice: Choice
    classes: tuple[str, ...]
    items: Sequence[Item]
    left_out: Sequence[LeftOut] = ()
    kind: str = IMAGES

    @classmethod
    def of(
        cls,
        project: ProjectKey,
        choice: Choice,
        classes: tuple[str, ...],
        items: Iterable[Item],
        left_out: Iterable[LeftOut] = (),
        kind: str = IMAGES,
    ) -> Self:
        """Make a manifest of items in any order; the last of a task counts. Raises ValueError for a wrong picture hash.

        An item is left out when a label is no class, or when kind ``single`` has not exactly one.
        """
        kept: dict[int, Item] = {}
        outs = {out.task: out for out in left_out}
        for item in items:
            kept.pop(item.task, None)
            outs.pop(item.task, None)
            found = settled(item, choice, classes)
            if isinstance(found, LeftOut):
                outs[item.task] = found
            else:
                kept[item.task] = found
        in_order = tuple(kept[task] for task in sorted(kept))
        return cls(project, choice, classes, in_order, tuple(outs[task] for task in sorted(outs)), kind)

    @classmethod
    def gathered(
        cls,
        project: ProjectKey,
        choice: Choice,
        classes: tuple[str, ...],
        found: Iterable[Item | LeftOut],
        folder: Path,
        kind: str = IMAGES,
    ) -> Self:
        """Make a manifest of what comes in the order of tasks, each once; what is too much for memory is in ``folder``.

        Leaves out what ``of`` leaves out. Raises ValueError for another order or a wrong content hash, StoreError when
        the folder cannot be written.
        """
        hasher, before = content_hasher(choice, classes, kind), 0
        with Gathering(folder, _item_line, _item) as items, Gathering(folder, _left_out_line, _left_out) as left_out:
            for one in found:
                if one.task <= before:
                    raise ValueError(f"task {one.task} comes after task {before}: they must be in order")
                before = one.task
                kept = one if isinstance(one, LeftOut) else settled(one, choice, classes)
                if isinstance(kept, LeftOut):
                    left_out.add(kept, _left_out_line(kept))
                else:
                    line = _item_line(kept)
                    hasher.update(line.encode())
                    items.add(kept, line)
            made = cls(project, choice, classes, items.rows(), left_out.rows(), kind)
        return made._called(hasher.hexdigest())

    @cached_property
    def hash(self) -> str:
        """Name the content: sha256 (hex) over kind, choice, classes and items, whatever the order of the items."""
        hasher = content_hasher(self.choice, self.classes, self.kind)
        for line in _lines(self.items, _item_line, _by_task):
            hasher.update(line.encode())
        return hasher.hexdigest()

    @cached_property
    def twins(self) -> Twins:
        """The items that show the same input."""
        return Twins.among(self.items)

    def distinct(self) -> Iterator[Item]:
        """Give the items in order of task: each input once, none whose tasks contradict each other."""
        return self.twins.once(self.items)

    def _called(self, name: str) -> Self:
        """Know the hash, which was made on the way."""
        vars(self)["hash"] = name
        return self

    def lines(self) -> Iterator[str]:
        """Write as canonical JSON lines, one at a time: a header, the items, the tasks left out."""
        yield self._header()
        yield from _lines(self.items, _item_line, _by_task)
        yield from _lines(self.left_out, _left_out_line, lambda out: out.task)

    def _header(self) -> str:
        return _line(
            {
                "format": _FORMAT,
                "project": str(self.project),
                **_asked(self.choice, self.classes, self.kind),
                "hash": self.hash,
                "left_out": len(self.left_out),
            }
        )

    def to_jsonl(self) -> str:
        """Write as canonical JSON lines, whole."""
        return "".join(self.lines())

    def write(self, path: Path) -> None:
        """Write the lines into a file, whole or not at all; raises OSError."""
        with whole_file(path) as aside, aside.open("wb") as file:
            file.write(self._header().encode())
            file.writelines(_written(self.items, _item_line, _by_task))
            file.writelines(_written(self.left_out, _left_out_line, lambda out: out.task))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read what ``write`` wrote: whole where it is small, else as it is asked for. Raises Damaged, and OSError."""
        with path.open(encoding="ascii") as lines:
            if os.fstat(lines.fileno()).st_size <= HELD:
                return cls.from_jsonl(lines)
        with damage():
            return cls._of_spans(*_checked(path))

    @classmethod
    def of_file(cls, path: Path, header: Json, middle: int, count: int) -> Self:
        """Read what has just been written: ``count`` items up to byte ``middle``, all of it as its header says.

        Raises Damaged, and OSError.
        """
        size = path.stat().st_size
        if size <= HELD:
            return cls.from_file(path)
        file = OpenFile(os.open(path, os.O_RDONLY))
        begin = len(header_line(header))
        items, left_out = LineSpan(file, begin, middle, count), LineSpan(file, middle, size, header["left_out"])
        return cls._of_spans(header, items, left_out)

    @classmethod
    def _of_spans(cls, header: Json, items: LineSpan, left_out: LineSpan) -> Self:
        project, classes = ProjectKey.parse(header["project"]), tuple(header["classes"])
        rows = FileRows(items, _item), FileRows(left_out, _left_out)
        return cls(project, header["kind"], classes, *rows, header.get("learns", IMAGES))._called(header["hash"])

    @classmethod
    def from_jsonl(cls, text: str | Iterable[str]) -> Self:
        """Read what ``to_jsonl`` or ``lines`` wrote, line by line; raises Damaged when it is damaged or cut."""
        lines = iter(io.StringIO(text) if isinstance(text, str) else text)
        with damage():
            header = json.loads(next(lines, ""))
            manifest = cls._read(header, lines)
            whole = manifest.hash == header["hash"] and len(manifest.left_out) == header["left_out"]
        if not whole:
            raise Damaged(f"manifest {header['hash']} is not what it says: remove it, the next run writes it anew")
        return manifest

    @classmethod
    def _read(cls, header: Json, lines: Iterator[str]) -> Self:
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r} is unknown, this release reads {_FORMAT}")
        items: list[Item] = []
        left_out: list[LeftOut] = []
        for line in lines:
            raw = json.loads(line)
            if "left_out" in raw:
                left_out.append(_left_out(raw))
            else:
                items.append(_item(raw))
        project = ProjectKey.parse(header["project"])
        classes, kind = tuple(header["classes"]), header.get("learns", IMAGES)
        return cls(project, header["kind"], classes, tuple(items), tuple(left_out), kind)


def check_manifest(path: Path) -> None:
    """Read a manifest's file through; raises Damaged where it is not what its name in the first line says."""
    with damage():
        _checked(path)


def truth_by_task(path: Path) -> Iterator[tuple[int, Truth | None]]:
    """Give what a manifest's file says of every task, in order of task: its truth, None for one that is left out.

    Whatever its length, a line is in memory at a time; the file may be removed meanwhile. Raises Damaged where it is
    not what its name in the first line says.
    """
    with damage():
        _, items, left_out = _checked(path)
    return heapq.merge(
        FileRows[tuple[int, Truth | None]](
            items,
            lambda raw: (raw["task"], truth_in(raw)),
        ),
        FileRows[tuple[int, Truth | None]](left_out, lambda raw: (raw["task"], None)),
        key=lambda entry: entry[0],
    )


def truth_in(raw: Json) -> Truth:
    """Read what the line of an item says is true of its task."""
    return Truth(tuple(raw["labels"]), "", _result(raw), raw.get("confirmed") is True)


def _checked(path: Path) -> tuple[Json, LineSpan, LineSpan]:
    """Read a file through, to see that it is what its first line says; gives that, the items, the tasks left out."""
    kept = OpenFile(os.open(path, os.O_RDONLY))
    with os.fdopen(kept.descriptor, "rb", closefd=False) as lines:
        first = next(lines, b"")
        header = json.loads(first)
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r} is unknown, this release reads {_FORMAT}")
        hasher = content_hasher(header["kind"], header["classes"], header.get("learns", IMAGES))
        items = left_out = 0
        begin = at = end = len(first)
        for line in lines:
            at += len(line)
            is_left_out = line.startswith(LEFT_OUT)
            if not line.endswith(b"\n") or (left_out and not is_left_out):
                raise ValueError("a line was cut, or is not where it belongs")
            if is_left_out:
                left_out += 1
            else:
                hasher.update(line)
                items, end = items + 1, at
    if (hasher.hexdigest(), left_out) != (header["hash"], header["left_out"]):
        raise ValueError("it is not what it says, or was cut")
    return header, LineSpan(kept, begin, end, items), LineSpan(kept, end, at, left_out)


def _unusable(item: Item, choice: Choice, classes: tuple[str, ...]) -> str:
    """Say why an item cannot be used, empty when it can."""
    if not is_sha256(item.content):
        raise ValueError(f"task {item.task}: picture {item.content!r} is no sha256")
    if item.text and item.content != Item.of_text(item.task, item.text, ()).content:
        raise ValueError(f"task {item.task}: {item.content} is not the sha256 of its text")
    unknown = [label for label in item.labels if label not in classes]
    if unknown:
        return f"label {unknown[0]!r} is not in the label config"
    if choice == "single" and len(item.labels) != 1:
        return f"{len(item.labels)} labels where exactly one is expected"
    return ""


def settled(item: Item, choice: Choice, classes: tuple[str, ...]) -> Item | LeftOut:
    """Give an item with its labels sorted, each once; or say why it cannot be used."""
    labels = tuple(sorted(set(item.labels)))
    clean = item if labels == item.labels else replace(item, labels=labels)
    reason = _unusable(clean, choice, classes)
    return LeftOut(item.task, reason) if reason else clean


def _by_task(item: Item) -> tuple[int, str, tuple[str, ...], str, bool]:
    return item.task, item.content, item.labels, item.result, item.confirmed


@contextmanager
def damage() -> Iterator[None]:
    """Turn what comes of reading a damaged manifest into Damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the manifest is damaged ({error!r}): remove it, the next run writes it anew") from error


def _lines(rows: Sequence[T], line: Callable[[T], str], key: Callable[[T], Any]) -> Iterator[str]:
    """Spell rows, in order of task: as they are in their file, or each by itself."""
    if isinstance(rows, FileRows):
        yield from (written.decode("ascii") + "\n" for written in rows.span.lines())
    else:
        yield from map(line, sorted(rows, key=key))


def _written(rows: Sequence[T], line: Callable[[T], str], key: Callable[[T], Any]) -> Iterator[bytes]:
    """Spell rows as ``_lines`` does, many of a file at a time."""
    return rows.span.chunks() if isinstance(rows, FileRows) else (one.encode() for one in _lines(rows, line, key))


def line_of(one: Item | LeftOut) -> str:
    """Spell the line of a task."""
    return _left_out_line(one) if isinstance(one, LeftOut) else _item_line(one)


def header_line(header: Json) -> bytes:
    """Spell the first line."""
    return _line(header).encode()


def _item_line(item: Item) -> str:
    held = {"text": item.text} if item.text else {"picture": item.content}
    said = {"result": json.loads(item.result)} if item.result else {}
    looked = {"confirmed": True} if item.confirmed else {}
    return _line({"task": item.task, "labels": item.labels} | held | said | looked)


def _left_out_line(out: LeftOut) -> str:
    return _line({"task": out.task, "left_out": out.reason})


def _left_out(raw: Json) -> LeftOut:
    return LeftOut(raw["task"], raw["left_out"])


def _item(raw: Json) -> Item:
    task, labels, result = raw["task"], tuple(raw["labels"]), _result(raw)
    confirmed = raw.get("confirmed") is True
    if "text" in raw:
        return Item.of_text(task, raw["text"], labels, result, confirmed=confirmed)
    return Item(task, raw["picture"], labels, result=result, confirmed=confirmed)


def _result(raw: Json) -> str:
    return canonical(raw["result"]) if "result" in raw else ""


def content_hasher(choice: Choice, classes: Iterable[str], kind: str) -> "hashlib._Hash":
    """Begin to hash what names a manifest: what was asked, then the lines of its items."""
    return hashlib.sha256(_line(_asked(choice, classes, kind)).encode())


def _asked(choice: Choice, classes: Iterable[str], kind: str) -> Json:
    """Spell what was asked; the kind that was there first goes without saying, and so manifests keep their hashes."""
    return {"kind": choice, "classes": classes} | ({} if kind == IMAGES else {"learns": kind})


def _line(value: Any) -> str:
    # ASCII with escapes: a label may hold what no encoding can write, half a surrogate pair for one.
    return canonical(value) + "\n"
