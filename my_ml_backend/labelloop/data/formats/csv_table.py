"""Tables as CSV, with a header: a column of addresses or texts, one of labels, perhaps sides, task ids and hashes.

Labels may also be columns of their own, 1 where a picture has that label and 0 where not (Roboflow's ``_classes.csv``).
A folder is one where it holds a table beside folders of pictures (Kaggle), or a table in each folder of a side.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import islice
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, base_of, written
from labelloop.data.formats.box_table import read_boxes
from labelloop.data.formats.entries import Entry, table_header, table_rows, text_lines, write_parts
from labelloop.data.formats.other_labels import CLASSES_OF_TEXTS, PLAIN_BOXES, Other, of_columns, of_words, refused
from labelloop.data.formats.table_columns import LABELS, Columns, column, columns_of, said_by
from labelloop.data.formats.table_folder import PicturesBeside, is_sample, tables_in
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import IMAGES, TEXTS, Choice, Side

_SEVERAL = "labels"
"""The column whose cells may hold several labels; of any other, a cell is one label as it stands."""

_ONCE = 10
"""From so many on, cells of which no two are the same are no classes."""

_DECIMAL = re.compile(r"[+-]?\d*\.(?!0*$)\d+(e[+-]?\d+)?", re.IGNORECASE)
"""A number that is no whole one."""

_NAMED = "If one column has classes of the pictures, name it (--label-attribute)"

_SEPARATOR = "|"


def read_csv(path: Path, hints: Hints, base: str) -> Listing:
    """Read a table, or the tables of a folder; raises ManifestError.

    Rows without a label are left out where each has at most one.
    """
    if not path.is_dir():
        return _read_table(path, hints, base)
    tables = tables_in(path, is_table)
    if not tables:
        raise ManifestError(f"{path} has no table of pictures that lie in its folders")
    parts = [(side, _read_table(table, hints, base_of(table))) for table, side in tables]
    return reduce(Listing.joined, (part.on(side) if side else part for side, part in parts))


def is_table(path: Path) -> bool:
    """Tell whether a file is a table of labeled pictures, by its first lines."""
    try:
        header, row = _head(path)
        other = of_columns(table_header(header)[1])
        if other is None:
            columns_of(header, row)
    except ManifestError:
        return False
    return other is None or (other.labels == PLAIN_BOXES and other.format == CSV.name)


def holds_boxes(path: Path) -> bool:
    """Tell whether a table has a box in each row; raises ManifestError."""
    try:
        other = of_columns(table_header(_head(path)[0])[1])
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error
    return other is not None and other.labels == PLAIN_BOXES and other.format == CSV.name


def _head(path: Path) -> tuple[str, str]:
    header, row, *_ = [*(line.rstrip("\r\n") for _, line in islice(text_lines(path), 2)), "", ""]
    return header, row


def _read_table(path: Path, hints: Hints, base: str) -> Listing:
    if is_sample(path) and not hints.label_attribute:
        raise ManifestError(
            f"{path} is a sample of the answers to a contest, by its name: its labels stand for nothing. "
            "If they do, name their column (--label-attribute)"
        )
    if not hints.label_attribute and holds_boxes(path):
        return read_boxes(path, hints, base)
    found, columns = Collector(path, hints), _columns(path, hints)
    pictures = PicturesBeside(path, base)
    table = _Table(columns, hints.separator, pictures)
    for entry in table_rows(path):
        table.take(found, entry)
    table.check(path)
    kind = TEXTS if columns.text else IMAGES
    choice: Choice | None = None
    if columns.classes:
        choice = "multiple" if any(size != 1 for size in table.sizes) else "single"
    listing = found.listing(choice, list(columns.classes) or None, kind)
    if columns.guessed and not hints.label_attribute:
        _check_guess(path, columns.labels, [label for record in listing.records for label in record.labels])
    return replace(listing, remarks=(*listing.remarks, *pictures.remarks()))


def _columns(path: Path, hints: Hints) -> Columns:
    header, row = _head(path)
    try:
        other = None if hints.label_attribute else of_columns(table_header(header)[1])
        if other is None or other.labels == CLASSES_OF_TEXTS:
            return columns_of(header, row, hints)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error
    named = column(table_header(header)[1], LABELS)
    raise refused(path, other, f"{_NAMED[:-1]} {named})" if named else _NAMED)


def _check_guess(path: Path, column: str, labels: list[str]) -> None:
    """Refuse a column of labels that is known by nothing but its place, where its cells are no classes."""
    if holds := of_words(labels, set(labels)):
        raise refused(path, Other(holds, f"no two are the same in its column {column!r}"), _NAMED)
    if any(map(_DECIMAL.fullmatch, labels)):
        raise ManifestError(f"{path}: its column {column!r} holds measured numbers, which are no classes. {_NAMED}")
    if len(labels) >= _ONCE and len(set(labels)) == len(labels):
        raise ManifestError(f"{path}: no two cells of its column {column!r} are the same, as classes are. {_NAMED}")


class _Table:
    """Takes the rows of one table; ``sizes`` are how many labels its rows have, where labels are columns."""

    def __init__(self, columns: Columns, separator: str, pictures: PicturesBeside) -> None:
        self._columns, self._separator, self._pictures = columns, separator, pictures
        self._missing = 0
        self._taken = False
        self.sizes: set[int] = set()

    def take(self, found: Collector, entry: Entry) -> None:
        columns, row = self._columns, entry.values
        task = _task(entry, row[columns.task]) if columns.task else None
        side = entry.side(row[columns.side].strip()) if columns.side else None
        if columns.text:
            self._take_text(found, entry, task, side)
            return
        picture = entry.picture(row[columns.sha].strip()) if columns.sha else ""
        address = row[columns.picture].strip()
        uri = "" if picture and not address else self._pictures.address(entry, address)
        if uri is None:
            self._missing += 1
            found.leave_out(f"no picture beside the table is named {address[:60]!a}", task)
            return
        self._taken = True
        found.take(uri, self._labels(entry), task, side, picture)

    def _take_text(self, found: Collector, entry: Entry, task: int | None, side: Side | None) -> None:
        text: str = entry.values[self._columns.text]
        if text.strip():
            found.take("", self._labels(entry), task, side, text=text)
        else:
            found.leave_out("it has no text", task)

    def check(self, path: Path) -> None:
        """Raise ManifestError where no row names a picture: the table is of something else."""
        if self._missing and not self._taken:
            raise ManifestError(
                f"{path}: no picture that lies beside it is named as its column {self._columns.picture!r} says. "
                "Put it beside the folder of its pictures, or name the column of addresses (--picture-field)"
            )

    def _labels(self, entry: Entry) -> list[str]:
        columns, row = self._columns, entry.values
        if not columns.classes:
            return _labels(row[columns.labels], columns.labels, self._separator)
        said = {name: said_by(row[name]) for name in columns.classes}
        if None in said.values():
            wrong = next(name for name, has in said.items() if has is None)
            raise entry.wrong(
                f"{row[wrong][:60]!r} in the column {wrong!r} is neither 0 nor 1. If another column has the "
                "labels in its cells, name it (--label-attribute)"
            )
        labels = [name for name, has in said.items() if has]
        self.sizes.add(len(labels))
        return labels


def _labels(cell: str, column: str, separator: str) -> list[str]:
    if not separator and column.lower() == _SEVERAL:
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
    hashes = any(record.content and not record.text for record in listing.records)
    inputs = "text" if listing.kind == TEXTS else "uri"
    yield _line([inputs, label, "task", *(["split"] if sides else []), *(["sha256"] if hashes else [])])
    for record in listing.records:
        yield _line(_cells(record, folder, separator, sides=sides, hashes=hashes))


def _cells(record: Record, folder: Path, separator: str, *, sides: bool, hashes: bool) -> list[str]:
    cells = [record.text or written(record.uri, folder), separator.join(record.labels), str(record.task)]
    return [*cells, *([record.side or ""] if sides else []), *([record.content] if hashes else [])]


def _line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


CSV = Format(
    "csv",
    "a table with a header: uri or text, label or labels, perhaps split, task and sha256",
    frozenset({IMAGES, TEXTS}),
    frozenset({"sides", "names", "several labels", "task ids", "hashes"}),
    read_csv,
    write_csv,
    ".csv",
)
