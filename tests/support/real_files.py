"""The files of tests/real: what stands beside each about it, whether we read it so, and their labels counted anew."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import Hints, read_listing
from labelloop.data.listing import OF_REGIONS, Record
from labelloop.errors import ManifestError
from labelloop.regions import read_regions
from labelloop.types import IMAGES, Json

ROOT = Path(__file__).parents[1] / "real"

PIXEL = bytes.fromhex("47494638376101000100800000ffffff0000002c00000000010001000002024401003b")
"""A whole picture, of one pixel."""


def expected(folder: Path) -> dict[str, Json]:
    """What is to come of each file of a folder; ``pictures`` of a row are those that lie beside it."""
    rows: dict[str, Json] = json.loads((folder / "expected.json").read_text())["files"]
    return rows


def put_pictures(folder: Path, row: Json) -> None:
    """Put a picture into an export's folder for each that its lists name, where a row says which."""
    for picture in row.get("pictures", ()):
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        (folder / picture).write_bytes(PIXEL)


def check(path: Path, row: Json) -> None:
    """Hold what is read of a file or folder to its row; one that is refused may be read by the name of its labels."""
    if "records" not in row or "refused" in row:
        kind = row.get("refused") or f" holds {row['holds']} ("
        with pytest.raises(ManifestError, match=re.escape(kind)) as caught:
            read_listing(path)
        if "holds" in row:
            assert "cannot learn from a list yet. It learns" in str(caught.value) or "is not read: write" in str(
                caught.value
            )
        if "records" not in row:
            return
    found = read_listing(path, hints=Hints(label_attribute=row.get("label_attribute", "")))
    counts = Counter(label for record in found.records for label in _labels_of(record, found.kind))
    assert (found.kind, found.choice, len(found.records)) == (row.get("kind", IMAGES), row["choice"], row["records"])
    assert {name: counts[name] for name in found.classes} == row["labels"]
    sides = Counter(record.side or "" for record in found.records)
    assert sides == row.get("sides", {"": row["records"]})
    reasons = row.get("left_out", {})
    assert len(found.left_out) == sum(reasons.values())
    for reason, count in reasons.items():
        assert sum(out.reason.startswith(reason) for out in found.left_out) == count


def _labels_of(record: Record, kind: str) -> list[str]:
    return [one.label for one in read_regions(record.result)] if kind in OF_REGIONS else list(record.labels)


def count(path: Path) -> tuple[int, Counter[str]]:
    """Count items and labels of a file or folder, by the shape of its kind alone."""
    if path.is_dir():
        return _folder(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".csv", ".tsv"}:
        return _table(path, text)
    if path.suffix == ".conll":
        sentences = text.partition("\n")[2].split("\n\n")
        return sum(bool(one.strip()) for one in sentences), Counter(re.findall(r" B-(\S+)$", text, re.MULTILINE))
    if path.suffix in {".manifest", ".jsonl"}:
        lines = [json.loads(line) for line in text.splitlines()]
        return len(lines), Counter(label for line in lines for label in _names(line))
    values = json.loads(text)
    if isinstance(values, list):
        return len({one["id"] for one in values}), Counter(_labels(values))
    names = {one["id"]: one["name"] for one in values["categories"]}
    return len(values["images"]), Counter(names[one["category_id"]] for one in values["annotations"])


def _folder(path: Path) -> tuple[int, Counter[str]]:
    lists = [one for one in path.rglob("*") if one.suffix in {".json", ".xml", ".csv"} and one.name != "notes.json"]
    if labels := sorted(path.rglob("labels/*.txt")):
        return _yolo(path, labels)
    items, found = 0, Counter[str]()
    for one in lists:
        if one.suffix == ".xml":
            more = 1, Counter(re.findall(r"<object>\s*<name>(.*?)</name>", one.read_text()))
        else:
            more = count(one)
        items, found = items + more[0], found + more[1]
    return items, found


def _yolo(path: Path, files: list[Path]) -> tuple[int, Counter[str]]:
    named = path / "data.yaml"
    if named.exists():
        names = re.findall(r"'([^']*)'", named.read_text().partition("names:")[2])
    else:
        names = (path / "classes.txt").read_text().splitlines()
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    return len(files), Counter(names[int(line.split()[0])] for line in lines)


def _table(path: Path, text: str) -> tuple[int, Counter[str]]:
    if "gs://" in text:
        rows = list(csv.reader(text.splitlines()))
        return len({row[1] for row in rows}), Counter(row[2] for row in rows)
    table = list(csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))
    if "annotation_id" in table[0]:
        cells = [_cell(cell) for row in table for name, cell in row.items() if name not in {"text", "id"}]
        return len({row["id"] for row in table}), Counter(_labels(cells))
    key = next(name for name in table[0] if name.lower() in {"filename", "image", "image_id", "imageid", "id"})
    column = next((name for name in table[0] if name in {"class", "target"}), None)
    return len({row[key] for row in table}), Counter(row[column] for row in table if column)


def _cell(cell: str) -> object:
    return json.loads(cell) if cell.startswith(("[", "{")) else {"choices": [cell]} if cell in _CHOICES else None


_CHOICES = ("Positive", "Negative", "Neutral")


def _labels(value: Any) -> Iterator[str]:
    """The labels of Label Studio's results, at any depth; those of a taxonomy by the last of their path."""
    if isinstance(value, list):
        for one in value:
            yield from _labels(one)
        return
    if not isinstance(value, dict):
        return
    for key, inside in value.items():
        of_task = key == "choices" and not value.keys() & {"start", "x"}
        if key == "sentiment" and isinstance(inside, str):
            yield inside
        elif of_task or (key.endswith("labels") and inside and isinstance(inside[0], str)):
            yield from inside
        elif key == "taxonomy" and inside and isinstance(inside[0], list):
            yield from (steps[-1] for steps in inside)
        else:
            yield from _labels(inside)


def _names(value: Any) -> Iterator[str]:
    """The labels of a line of Ground Truth or Vertex AI."""
    if isinstance(value, list):
        for one in value:
            yield from _names(one)
    if not isinstance(value, dict):
        return
    for key, inside in value.items():
        if key in {"displayName", "class-name"}:
            yield inside
        elif key == "entities":
            yield from (one["label"] for one in inside if "label" in one)
        elif key == "class-map":
            continue
        elif isinstance(classes := value.get(f"{key}-metadata", {}), dict) and "class-map" in classes:
            numbers = inside if isinstance(inside, list) else [one["class_id"] for one in inside["annotations"]]
            yield from (classes["class-map"][str(number)] for number in numbers)
        else:
            yield from _names(inside)
