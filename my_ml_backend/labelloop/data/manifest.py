"""The labeled inputs of a project at one moment, named by their content."""

import hashlib
import heapq
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from labelloop.errors import Damaged
from labelloop.types import IMAGES, Choice, Item, Json, LeftOut, ProjectKey

_FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """What a project's annotations said; ``of`` makes one from what was fetched.

    ``classes`` are in the label config's order, ``items`` and ``left_out`` sorted by task. Tasks that show the same
    picture are all there, so that a change of any of them changes the manifest; ``splits`` takes each picture once.
    """

    project: ProjectKey
    choice: Choice
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...] = ()
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
            clean = replace(item, labels=tuple(sorted(set(item.labels))))
            kept.pop(item.task, None)
            outs.pop(item.task, None)
            if reason := _unusable(clean, choice, classes):
                outs[item.task] = LeftOut(item.task, reason)
            else:
                kept[item.task] = clean
        in_order = tuple(kept[task] for task in sorted(kept))
        return cls(project, choice, classes, in_order, tuple(outs[task] for task in sorted(outs)), kind)

    @cached_property
    def hash(self) -> str:
        """Name the content: sha256 (hex) over kind, classes and items, whatever the order of the items."""
        hasher = hashlib.sha256(_line(_asked(self.choice, self.classes, self.kind)).encode())
        for item in sorted(self.items, key=_by_task):
            hasher.update(_line(_item_json(item)).encode())
        return hasher.hexdigest()

    def lines(self) -> Iterator[str]:
        """Write as canonical JSON lines, one at a time: a header, the items, the tasks left out."""
        yield _line(
            {
                "format": _FORMAT,
                "project": str(self.project),
                **_asked(self.choice, self.classes, self.kind),
                "hash": self.hash,
                "left_out": len(self.left_out),
            }
        )
        yield from (_line(_item_json(item)) for item in sorted(self.items, key=_by_task))
        yield from (_line({"task": out.task, "left_out": out.reason}) for out in self.left_out)

    def to_jsonl(self) -> str:
        """Write as canonical JSON lines, whole."""
        return "".join(self.lines())

    @classmethod
    def from_jsonl(cls, text: str | Iterable[str]) -> Self:
        """Read what ``to_jsonl`` or ``lines`` wrote, line by line; raises Damaged when it is damaged or cut."""
        lines = iter(io.StringIO(text) if isinstance(text, str) else text)
        try:
            header = json.loads(next(lines, ""))
            manifest = cls._read(header, lines)
            whole = manifest.hash == header["hash"] and len(manifest.left_out) == header["left_out"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"the manifest is damaged ({error!r}): remove it, the next run writes it anew") from error
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
                left_out.append(LeftOut(raw["task"], raw["left_out"]))
            else:
                items.append(_item(raw))
        project = ProjectKey.parse(header["project"])
        classes, kind = tuple(header["classes"]), header.get("learns", IMAGES)
        return cls(project, header["kind"], classes, tuple(items), tuple(left_out), kind)


def labels_by_task(path: Path) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    """Yield what a manifest's file says of every task, in order of task: its labels, None for one that is left out.

    Whatever its length, a line is in memory at a time. Raises Damaged, before anything is given, where the file is not
    what its name in the first line says.
    """
    try:
        _check_file(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the manifest is damaged ({error!r}): remove it, the next run writes it anew") from error
    with path.open(encoding="ascii") as first, path.open(encoding="ascii") as second:
        items = (json.loads(line) for line in first if not _is_left_out(line))
        next(items)
        outs = (json.loads(line) for line in second if _is_left_out(line))
        yield from heapq.merge(
            ((raw["task"], tuple(raw["labels"])) for raw in items),
            ((raw["task"], None) for raw in outs),
            key=lambda entry: entry[0],
        )


def _check_file(path: Path) -> None:
    with path.open(encoding="ascii") as lines:
        header = json.loads(next(lines, ""))
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r} is unknown, this release reads {_FORMAT}")
        hasher = hashlib.sha256(_line(_asked(header["kind"], header["classes"], header.get("learns", IMAGES))).encode())
        left_out = 0
        for line in lines:
            if _is_left_out(line):
                left_out += 1
            else:
                hasher.update(line.encode())
    if (hasher.hexdigest(), left_out) != (header["hash"], header["left_out"]):
        raise ValueError("it is not what it says, or was cut")


def _is_left_out(line: str) -> bool:
    return line.startswith('{"left_out":')


def _unusable(item: Item, choice: Choice, classes: tuple[str, ...]) -> str:
    """Say why an item cannot be used, empty when it can."""
    if not _SHA256.fullmatch(item.content):
        raise ValueError(f"task {item.task}: picture {item.content!r} is no sha256")
    if item.text and item.content != Item.of_text(item.task, item.text, ()).content:
        raise ValueError(f"task {item.task}: {item.content} is not the sha256 of its text")
    unknown = [label for label in item.labels if label not in classes]
    if unknown:
        return f"label {unknown[0]!r} is not in the label config"
    if choice == "single" and len(item.labels) != 1:
        return f"{len(item.labels)} labels where exactly one is expected"
    return ""


def _by_task(item: Item) -> tuple[int, str, tuple[str, ...]]:
    return item.task, item.content, item.labels


def _item_json(item: Item) -> Json:
    held = {"text": item.text} if item.text else {"picture": item.content}
    return {"task": item.task, "labels": item.labels} | held


def _item(raw: Json) -> Item:
    labels = tuple(raw["labels"])
    return (
        Item.of_text(raw["task"], raw["text"], labels) if "text" in raw else Item(raw["task"], raw["picture"], labels)
    )


def _asked(choice: Choice, classes: Iterable[str], kind: str) -> Json:
    """Spell what was asked; the kind that was there first goes without saying, and so manifests keep their hashes."""
    return {"kind": choice, "classes": classes} | ({} if kind == IMAGES else {"learns": kind})


def _line(value: Any) -> str:
    # ASCII with escapes: a label may hold what no encoding can write, half a surrogate pair for one.
    return json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
