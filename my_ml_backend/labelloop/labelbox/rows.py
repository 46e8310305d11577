"""Rows of a model run as Labelbox exports them: their input, side of the split, and what each label says.

A row that cannot be used is a row with a reason. Nothing that an export may hold raises.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from labelloop.kinds.majority import Vote
from labelloop.labelbox.labels import vote_of
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.shapes import cut, in_fractions, usable_size
from labelloop.regions import read_regions, write_regions
from labelloop.types import BOXES, Box, Json, Side

UNASSIGNED = "UNASSIGNED"
SPLITS: Mapping[str, Side | None] = {"TRAINING": "train", "VALIDATION": "validation", "TEST": "test", UNASSIGNED: None}
"""A model run's splits, and our sides; what is in none of them we split ourselves."""

_SPELLED = {"TRAIN": "TRAINING", "VALID": "VALIDATION", "VAL": "VALIDATION", "TESTING": "TEST"}
_SPLIT_KEYS = ("split", "datasplit")
_ADDRESS = re.compile(r"(https?|gs|s3)://\S+", re.IGNORECASE)
_NUMBER_BITS = 59
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One data row of a model run; ``number`` stands for its id wherever a task has a number.

    ``address`` is a link to its file, which may be signed and expire, or it is a ``text`` itself. ``split`` is one of
    ``SPLITS``, empty where the export does not tell. ``votes`` are one a label; ``reason`` says why the row cannot be
    learned from, whatever its votes. ``size`` is the picture's width and height in pixels: where it is not known, the
    boxes of votes are in pixels, until ``sized``. ``aside`` counts what labels say that is not learned, by what it is.
    """

    number: int
    data_row: str
    address: str = ""
    text: str = ""
    split: str = ""
    votes: tuple[Vote, ...] = ()
    reason: str = ""
    size: tuple[int, int] | None = None
    aside: Mapping[str, int] = field(default_factory=dict)

    @property
    def side(self) -> Side | None:
        """Which side it is on by the model run; None where that leaves it to us."""
        return SPLITS.get(self.split)

    @property
    def askable(self) -> bool:
        """Whether it has an input that a model can be asked about, labeled or not."""
        return bool(self.data_row and (self.address or self.text))

    def sized(self, size: tuple[int, int]) -> Self:
        """Give the row of a picture of this size, upright, with boxes in its fractions; the same where it has one."""
        if self.size is not None:
            return self
        return replace(self, size=size, votes=tuple(_sized(vote, size) for vote in self.votes))


def row_number(data_row: str) -> int:
    """Give the number that stands for a data row: the first 59 bits of its id's sha256, never 0.

    Among a million rows two have the same one with a probability of 1e-6.
    """
    digest = hashlib.sha256(data_row.encode(errors="replace")).digest()
    return int.from_bytes(digest[:8]) >> (64 - _NUMBER_BITS) or 1


def read_row(exported: object, model_run: str, ontology: Ontology | None = None) -> Row:
    """Read one line of a model run's export; without an ontology only what a model is asked about is read."""
    if not isinstance(exported, dict):
        return Row(0, "", reason="the exported line is no object")
    data_row = _object(exported.get("data_row"))
    name = _text(data_row.get("id"))
    if not name:
        return Row(0, "", reason="the exported row names no data row")
    row = _with_input(Row(row_number(name), name), data_row.get("row_data"), ontology)
    told = _run(exported, model_run)
    if told is None:
        return replace(row, reason=row.reason or "the exported row tells nothing of this model run")
    row = replace(row, split=_split(told))
    media = _object(exported.get("media_attributes"))
    if ontology is None:
        return replace(row, size=usable_size(media))
    return _with_votes(row, told.get("labels"), media, ontology)


def write_votes(votes: Iterable[Vote]) -> str:
    """Spell the votes of a row as JSON."""
    return json.dumps([_vote_json(vote) for vote in votes], ensure_ascii=True)


def read_votes(text: str) -> tuple[Vote, ...]:
    """Read back what ``write_votes`` wrote."""
    return tuple(
        Vote(frozenset(one.get("labels", ())), one.get("reason", ""), result=one.get("result", ""))
        for one in json.loads(text)
    )


def _vote_json(vote: Vote) -> Json:
    told = {"labels": sorted(vote.labels), "reason": vote.reason, "result": vote.result}
    return {key: value for key, value in told.items() if value}


def _with_input(row: Row, row_data: object, ontology: Ontology | None) -> Row:
    """Tell a link from a text that stands in the row itself; where pictures are learned, only a link is an input."""
    told = _text(row_data)
    if not told.strip():
        return replace(row, reason="the data row is empty")
    if _ADDRESS.fullmatch(told.strip()):
        return replace(row, address=told.strip())
    if ontology is not None and not ontology.type.of_text:
        return replace(row, reason="the data row is no link to a picture")
    return replace(row, text=told)


def _with_votes(row: Row, labels: object, media: Json, ontology: Ontology) -> Row:
    said = labels if isinstance(labels, list) else []
    boxes = ontology.type.kind == BOXES
    size = usable_size(media, said if boxes else ()) if not ontology.type.of_text else None
    aside: Counter[str] = Counter()
    votes = tuple(vote_of(label, ontology, row.text, size, aside) for label in said)
    reason = row.reason or ("" if votes else "it has no label in this model run")
    return replace(row, votes=votes, reason=reason, size=size, aside=dict(+aside))


def _run(exported: Json, model_run: str) -> Json | None:
    """Give what an exported row tells of a model run, whichever model that is of."""
    for experiment in _object(exported.get("experiments")).values():
        told = _object(_object(experiment).get("runs")).get(model_run)
        if isinstance(told, dict):
            return told
    return None


def _split(told: Json) -> str:
    """Read the split; Labelbox documents neither the name of the key nor how its values are spelled."""
    for key, value in told.items():
        if isinstance(value, str) and key.replace("_", "").lower() in _SPLIT_KEYS:
            name = value.strip().upper()
            name = _SPELLED.get(name, name)
            return name if name in SPLITS else ""
    return ""


def _sized(vote: Vote, size: tuple[int, int]) -> Vote:
    if vote.reason:
        return vote
    drawn = read_regions(vote.result or "[]")
    placed = [(one, cut(in_fractions(one.shape, size))) for one in drawn if isinstance(one.shape, Box)]
    inside = [replace(one, shape=box) for one, box in placed if box is not None]
    if drawn and not inside:
        return Vote(reason="nothing that is drawn there lies in the picture")
    return replace(vote, labels=frozenset(one.label for one in inside), result=write_regions(inside))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """Read a text; what is no character, as half of one, is replaced, for nothing could keep it."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""
