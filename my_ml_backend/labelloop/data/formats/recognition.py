"""Files and folders that hold other labels than classes of pictures, recognised by what they are.

A file is looked at, not read: the keys of its JSON, the header of its table, the first of its lines. A folder is known
by the files that lie in it.
"""

import json
import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from labelloop.data.formats import other_labels
from labelloop.data.formats.entries import table_header
from labelloop.data.formats.folder_layout import files_below
from labelloop.data.formats.other_labels import (
    CLASSES_OF_TEXTS,
    KEY_POINTS,
    MASKS,
    PARTS_OF_TEXTS,
    PLAIN_BOXES,
    POLYGONS,
    Other,
)
from labelloop.errors import ManifestError

_SAMPLE = 200_000
"""Characters looked at where a file begins, in its middle and where it ends."""

_LINES = 50
"""How many objects of JSON Lines are looked at."""

_FILES, _NAMES = 40, 20_000
"""How many files of a folder are opened, and how many of its names are looked at."""

_LISTS = (".json", ".jsonl", ".ndjson", ".manifest", ".csv", ".tsv", ".xml", ".txt", ".conll")
_LABEL_FOLDERS, _MASK_FOLDERS = frozenset({"labels"}), frozenset({"masks", "mask", "segmentationclass"})
_PICTURE_FOLDERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})

_PLACES = f"{PLAIN_BOXES}, {POLYGONS} or {KEY_POINTS}"

_TAG = re.compile(r"(O|[BIESLU]-\S+)$")


def of_file(path: Path) -> Other | None:
    """Recognise a file; None for what may be a list of pictures. Raises OSError where it cannot be read."""
    sample = _sample(path)
    start = sample.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[")):
        return _of_json(start)
    if start.startswith("<"):
        return _of_xml(start)
    lines = start[:_SAMPLE].splitlines()[:-1] or start.splitlines()
    return _of_lines(lines) if lines else None


def of_folder(path: Path) -> Other | None:
    """Recognise a folder by the lists in it, nearest first, else by its names; what cannot be read is passed over."""
    names = list(islice((name for name in files_below(path) if not _is_hidden(name)), _NAMES))
    lists = [name for name in names if name.lower().endswith(_LISTS)]
    for name in sorted(lists, key=lambda name: (name.count("/"), name))[:_FILES]:
        with suppress(OSError):
            if (path / name).is_file() and (other := of_file(path / name)):
                return Other(other.labels, f"{name}: {other.seen}", other.format)
    return of_names(names)


def lists_in(path: Path, format: str) -> list[Path]:
    """Give the files below a folder that hold lists of a format, nearest first; what cannot be read is passed over."""
    names = islice(files_below(path), _NAMES)
    lists = [name for name in names if name.lower().endswith(_LISTS) and not _is_hidden(name)]
    found = []
    for name in sorted(lists, key=lambda name: (name.count("/"), name))[:_FILES]:
        with suppress(OSError):
            if (path / name).is_file() and (other := of_file(path / name)) and other.format == format:
                found.append(path / name)
    return found


def of_names(names: Iterable[str]) -> Other | None:
    """Recognise a folder by the names of its files, relative to it, where these cannot be opened."""
    folders: dict[str, set[str]] = {}
    for name in islice(names, _NAMES):
        *parents, last = name.lower().split("/")
        for depth, parent in enumerate(parents):
            folders.setdefault("/".join(parents[:depth]), set()).add(parent)
        if last.endswith(".coco.json"):
            return Other(_PLACES, f"{name}, as COCO has them", "coco")
    for beside in folders.values():
        if beside & _MASK_FOLDERS and beside & _PICTURE_FOLDERS:
            return Other(MASKS, f"in its folder {min(beside & _MASK_FOLDERS)}")
        if beside & _LABEL_FOLDERS and beside & _PICTURE_FOLDERS:
            return Other(_PLACES, "its folders are images and labels, as YOLO has them", "yolo")
    return None


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def _of_json(text: str) -> Other | None:
    values = list(map(_value, text.split("\n", _LINES)[:_LINES]))
    if isinstance(values[0], dict):
        found = [one for value in values if isinstance(value, dict) and (one := other_labels.of_object(value))]
        # A text without spans looks like one without labels.
        return next((one for one in found if one.labels == PARTS_OF_TEXTS), found[0] if found else None)
    keys = set(re.findall(r'"([^"\\\n]{1,60})"\s*:', text))
    if not re.search(r'"segmentation"\s*:\s*(\{|\[\s*[\[\d])', text):
        keys.discard("segmentation")
    return other_labels.of_keys(keys, "by the keys of its JSON")


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_xml(text: str) -> Other | None:
    if re.search(r"<annotations?\b", text) is None:
        return None
    for tag, labels, form in (
        ("bndbox", PLAIN_BOXES, "voc"),
        ("box", PLAIN_BOXES, ""),
        ("polygon", POLYGONS, ""),
        ("mask", MASKS, ""),
        ("points", KEY_POINTS, ""),
    ):
        if re.search(rf"<{tag}\b", text):
            return Other(labels, f"it is XML with <{tag}>", form)
    return (
        Other(PLAIN_BOXES, "it is XML of annotations, as Pascal VOC has it", "voc") if "<annotation>" in text else None
    )


def _of_lines(lines: list[str]) -> Other | None:
    filled = [line.split() for line in lines if line.strip()]
    if not filled:
        return None
    if filled[0][0] == "-DOCSTART-" or _tagged(filled):
        return Other(PARTS_OF_TEXTS, "it has a word and its tag in each line, as CoNLL 2003", "conll")
    if all(len(words) >= 5 and all(map(_is_number, words)) for words in filled):
        holds = _yolo({len(words) for words in filled})
        form = "yolo" if holds == PLAIN_BOXES else ""
        return Other(holds, "it has numbers of places in each line, as YOLO", form)
    if all(words[0].startswith("__label__") for words in filled):
        return Other(CLASSES_OF_TEXTS, "each line begins with __label__, as fastText has it")
    with suppress(ManifestError):
        return other_labels.of_columns(table_header(lines[0])[1])
    return None


def _yolo(sizes: Collection[int]) -> str:
    """Tell by how many numbers a line has, the class among them: a box has 5 or 6, a turned one its four corners."""
    if set(sizes) <= {5, 6, 9}:
        return PLAIN_BOXES
    return POLYGONS if all(size % 2 for size in sizes) else KEY_POINTS


def _tagged(filled: list[list[str]]) -> bool:
    return any(words[-1] != "O" for words in filled) and all(
        len(words) > 1 and _TAG.match(words[-1]) for words in filled
    )


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", word, re.IGNORECASE) is not None


def _sample(path: Path) -> str:
    """Give where a file begins; of a long one its middle and its end, too."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        parts = []
        for at in (0,) if size <= 3 * _SAMPLE else (0, size // 2, size - _SAMPLE):
            file.seek(at)
            parts.append(file.read(3 * _SAMPLE if size <= 3 * _SAMPLE else _SAMPLE).decode("utf-8", "replace"))
    return "\n".join(parts)
