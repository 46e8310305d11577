"""Tables as CSV, with a header: a column of addresses, one of labels, perhaps sides, task ids and hashes."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import Entry, open_text, write_parts
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError

_PICTURES = (
    "uri", "url", "image", "image_url", "image_uri", "image_path", "path", "filename", "file_name", "file", "filepath",
    "file_path", "picture", "source-ref", "imagegcsuri",
)  # fmt: skip
_LABELS = ("labels", "label", "class", "class_name", "classname", "category", "target", "choice")
_SIDES = ("side", "split", "set", "subset", "ml_use")
_TASKS = ("task", "task_id")
_HASHES = ("sha256",)
_SEVERAL = "labels"
"""The column whose cells may hold several labels; of any other, a cell is one label as it stands."""

_SEPARATOR = "|"
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what, by its name; empty for none. ``delimiter`` stands between the cells."""

    delimiter: str
    picture: str
    labels: str
    side: str = ""
    task: str = ""
    sha: str = ""


def columns_of(header: str, hints: Hints = Hints()) -> Columns:  # noqa: B008 - immutable
    """Find the columns in a header line; raises ManifestError naming what was found when pictures or labels lack."""
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        names = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error as error:
        raise ManifestError(f"its first line is no header of a table ({error})") from error
    picture = _column(names, (hints.picture_field,) if hints.picture_field else _PICTURES)
    labels = _column(names, (hints.label_attribute,) if hints.label_attribute else _LABELS)
    if not picture or not labels:
        wanted = hints.picture_field or "uri, path, filename, image"
        raise ManifestError(
            f"its first line must be a header with a column of addresses ({wanted}, ...) and one of labels "
            f"({hints.label_attribute or 'label, labels, class'}, ...); found: {', '.join(names)[:200]!r}"
        )
    return Columns(delimiter, picture, labels, _column(names, _SIDES), _column(names, _TASKS), _column(names, _HASHES))


def _column(names: Sequence[str], wanted: Sequence[str]) -> str:
    """Give the first of the wanted columns, as the table spells it; empty for none."""
    found = {name.strip().lower(): name for name in reversed(names)}
    return next((found[name.lower()] for name in wanted if name.lower() in found), "")


def read_csv(path: Path, hints: Hints, base: str) -> Listing:
    """Read a table; rows without a label are left out where each has at most one. Raises ManifestError."""
    found = Collector(path, hints)
    with open_text(path) as file:
        try:
            columns = columns_of(file.readline().rstrip("\r\n"), hints)
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error
        file.seek(0)
        try:
            for entry in _rows(path, file, columns.delimiter):
                _take(found, entry, columns, hints.separator, base)
        except csv.Error as error:
            raise ManifestError(f"{path} is no table: {error}") from error
    return found.listing()


def _rows(path: Path, file: Any, delimiter: str) -> Iterator[Entry]:
    table = csv.DictReader(file, delimiter=delimiter, strict=True)
    for row in table:
        entry = Entry(path, table.line_num, row)
        if None in row or None in row.values():
            raise entry.wrong("it has not as many cells as the header; quote cells that hold the separator")
        yield entry


def _take(found: Collector, entry: Entry, columns: Columns, separator: str, base: str) -> None:
    row = entry.values
    task = _task(entry, row[columns.task]) if columns.task else None
    picture = entry.picture(row[columns.sha].strip()) if columns.sha else ""
    address = row[columns.picture].strip()
    uri = "" if picture and not address else entry.address(address, base)
    side = entry.side(row[columns.side].strip()) if columns.side else None
    found.take(uri, _labels(row[columns.labels], columns.labels, separator), task, side, picture)


def _labels(cell: str, column: str, separator: str) -> list[str]:
    if not separator and column.strip().lower() == _SEVERAL:
        separator = _SEPARATOR
    parts = cell.split(separator) if separator else [cell]
    return [part.strip() for part in parts if part.strip()]


def _task(entry: Entry, cell: str) -> int:
    text = cell.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text)):
        raise entry.wrong(f"task {text[:60]!r} is no whole number from 1 on")
    return int(text)


def write_csv(listing: Listing, target: Path, hints: Hints) -> None:
    """Write a table with the columns that the listing fills; raises ManifestError for a label that cannot be told."""
    separator = hints.separator or _SEPARATOR
    _check_labels(listing, separator)
    write_parts(target, _text(listing, target.absolute().parent, separator))


def _check_labels(listing: Listing, separator: str) -> None:
    for label in listing.classes:
        if label != label.strip() or not label:
            raise ManifestError(f"a table cannot carry the label {label[:60]!r}, which is empty or has space around it")
        if listing.choice == "multiple" and separator in label:
            raise ManifestError(
                f"the label {label[:60]!r} holds the separator {separator!r}: choose another (--separator)"
            )


def _text(listing: Listing, folder: Path, separator: str) -> Iterator[str]:
    label = _SEVERAL if listing.choice == "multiple" else "label"
    sides = any(record.side for record in listing.records)
    hashes = any(record.content for record in listing.records)
    yield _line(["uri", label, "task", *(["split"] if sides else []), *(["sha256"] if hashes else [])])
    for record in listing.records:
        yield _line(_cells(record, folder, separator, sides=sides, hashes=hashes))


def _cells(record: Record, folder: Path, separator: str, *, sides: bool, hashes: bool) -> list[str]:
    cells = [written(record.uri, folder), separator.join(record.labels), str(record.task)]
    return [*cells, *([record.side or ""] if sides else []), *([record.content] if hashes else [])]


def _line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


CSV = Format(
    "csv",
    "a table with a header: uri, label or labels, perhaps split, task and sha256",
    frozenset({"sides", "names", "several labels", "task ids", "hashes"}),
    read_csv,
    write_csv,
    ".csv",
)
