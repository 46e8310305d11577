"""Rows of a model run: what lies in them, what people said of it, and the line of an export that tells it.

Keys are those of Labelbox's documentation (export-image-annotations, export-text-annotations, label-export).
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from labelloop.types import Json
from support.labelbox.ontologies import schema_id, slug


def data_row_id(name: str) -> str:
    """Give the 25 letters that stand for a data row."""
    return "cm" + hashlib.sha256(f"row {name}".encode()).hexdigest()[:23]


@dataclass(frozen=True)
class Row:
    """One data row: a text, or a file that the stand-in serves (``1.png``, ``a.txt``) with its content.

    ``labels``: one entry per person: their annotations, objects (``box``, ``span``) and answers (``single``, ``multi``)
    mixed. A label with nothing in it is one, too: somebody looked, and found nothing.
    """

    id: str
    text: str = ""
    file: str = ""
    content: bytes = b""
    labels: tuple[tuple[Json, ...], ...] = ()
    global_key: str = ""
    sides: tuple[int, int] | None = None
    """Width and height of a picture, where its content is not to be looked at for that."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of a picture; None for what is no picture."""
        if self.sides or not self.file or self.file.endswith(".txt"):
            return self.sides
        with Image.open(io.BytesIO(self.content)) as picture:
            return picture.size

    @property
    def words(self) -> str | None:
        """The text, also of a file of text; None for pictures."""
        if self.file:
            return self.content.decode() if self.file.endswith(".txt") else None
        return self.text


class Rows(Protocol):
    """Rows in order, as often as they are asked for; a bench gives its own, which are made as they are read."""

    def __iter__(self) -> Iterator[Row]: ...

    def __len__(self) -> int: ...

    def find(self, key: str) -> Row | None:
        """Find a row by its id, or by its global key."""


@dataclass
class Held:
    """Rows that are held in memory."""

    rows: list[Row]
    _known: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = {row.global_key: row for row in self.rows if row.global_key} | {row.id: row for row in self.rows}

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, key: str) -> Row | None:
        return self._known.get(key)


def held(rows: Iterable[Row] | Rows) -> Rows:
    """Hold rows, unless they know how to be found."""
    return rows if hasattr(rows, "find") else Held(list(rows))  # type: ignore[return-value]


def box(name: str, left: float, top: float, width: float, height: float, *answers: Json) -> Json:
    """Draw a box, in pixels."""
    return {
        **_feature(name),
        "annotation_kind": "ImageBoundingBox",
        "classifications": list(answers),
        "bounding_box": {"top": top, "left": left, "height": height, "width": width},
    }


def span(name: str, text: str, start: int, end: int) -> Json:
    """Mark a text from ``start`` up to, and without, ``end``; Labelbox's own end is that of the last letter."""
    return {
        **_feature(name),
        "annotation_kind": "TextEntity",
        "classifications": [],
        "location": {"start": start, "end": end - 1, "token": text[start:end]},
    }


def single(question: str, answer: str, *below: Json) -> Json:
    """Answer a question with one answer, perhaps with answers to the questions below it."""
    return {**_feature(question), "radio_answer": _answered(question, answer, below)}


def multi(question: str, *answers: str | Json) -> Json:
    """Answer a question with any number of answers; ``answered`` makes those with questions below them."""
    told = [one if isinstance(one, dict) else _answered(question, one, ()) for one in answers]
    return {**_feature(question), "checklist_answers": told}


def answered(question: str, answer: str, *below: Json) -> Json:
    """Give one answer of ``multi``, with answers to the questions below it."""
    return _answered(question, answer, below)


def exported(row: Row, row_data: str, asked: Json, experiment: Json) -> Json:
    """Write what an export tells of a row; ``asked`` are the params of the export."""
    size = row.size
    media = {"width": size[0], "height": size[1], "mime_type": "image/png"} if size else {"mime_type": "text/plain"}
    told: Json = {
        "data_row": {
            "id": row.id,
            **({"global_key": row.global_key} if row.global_key else {}),
            "external_id": row.file or row.id,
            "row_data": row_data,
        },
        "media_attributes": media,
        "experiments": experiment,
    }
    if asked["includeDataRowDetails"]:
        told["data_row"]["details"] = {"dataset_id": schema_id("dataset"), "dataset_name": "of the tests"}
    if asked["includeAttachments"]:
        told["attachments"] = []
    if asked["includeMetadata"]:
        told["metadata_fields"] = []
    return told


def labels_of(row: Row) -> list[Json]:
    """Write the labels of a row."""
    return [_label(row, number, said) for number, said in enumerate(row.labels)]


def _label(row: Row, number: int, said: Sequence[Json]) -> Json:
    return {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": schema_id(f"label {row.id} {number}"),
        "annotations": {
            "objects": [one for one in said if "annotation_kind" in one],
            "classifications": [one for one in said if "annotation_kind" not in one],
            "relationships": [],
        },
    }


def _feature(name: str, schema: str = "") -> Json:
    return {
        "feature_id": schema_id(f"feature {name}"),
        "feature_schema_id": schema_id(schema or name),
        "name": name,
        "value": slug(name),
    }


def _answered(question: str, answer: str, below: Sequence[Json]) -> Json:
    return {**_feature(answer, f"{question} {answer}"), "classifications": list(below)}
