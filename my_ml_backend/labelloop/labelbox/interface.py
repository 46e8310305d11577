"""An ontology between data rows and an endpoint: what of a row is sent, and what of the answer Labelbox gets."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labelloop.errors import LabelConfigError, LabelMappingError, MediaError
from labelloop.labelbox.answers import to_results
from labelloop.labelbox.fitting import fitted, names_of
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.rows import Row
from labelloop.sources.media import ANY_TYPE, document_in, media_type_of, named_type
from labelloop.sources.urls import cleaned, shown
from labelloop.types import (
    NO_VERSION,
    Answer,
    Assignment,
    Input,
    Json,
    Output,
    Prompted,
    Rendering,
    Wanted,
    WantedLabel,
    canonical,
)

_REFERABLE = ("http://", "https://", "s3://", "gs://")

_FILES = ("image/", "audio/", "video/", "application/pdf")
"""Media types whose files are no text."""

_ENOUGH = 20
"""Answers of a wrong form before one that fits: by then nobody need ask for a million more."""


class Fit:
    """Notes whether an endpoint's answers fit an ontology. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fitting, self._wrong = False, 0
        self._first: LabelConfigError | None = None

    def note(self, error: LabelConfigError | None, *, surely: bool = False) -> None:
        """Note that an answer fits, or why not; ``surely`` where no other answer of the endpoint will, either."""
        with self._lock:
            if error is None:
                self._fitting = True
            elif surely:
                self._wrong += 1
                self._first = self._first or error

    def require(self) -> None:
        """Raise LabelConfigError where the endpoint is the wrong one for the ontology."""
        with self._lock:
            if self._first is not None and not self._fitting and self._wrong >= _ENOUGH:
                raise type(self._first)(str(self._first))


@dataclass(frozen=True, slots=True)
class LabelboxInterface:
    """The parts of an ontology that are answered, and what gives a data row and reads its file.

    ``row`` gives the row of a number, None where the model run has none; ``read`` reads its file by a
    ``time.monotonic()`` moment, and ``linked`` gives it a link for another machine: both raise MediaError. ``fit``
    hears of every answer.
    """

    ontologies: Sequence[Ontology]
    row: Callable[[int], Row | None]
    read: Callable[[Row, float | None], bytes]
    linked: Callable[[Row], Row]
    fit: Fit = field(default_factory=Fit)

    @property
    def text(self) -> str:
        """What of the ontology decides predictions."""
        return canonical([[one.type.feature, one.asked, names_of(one), one.classes] for one in self.ontologies])

    @property
    def assignment(self) -> Assignment:
        """What is asked in words: which answer a question has, which parts of a text are what. Boxes have no words."""
        return Assignment(tuple(map(_wanted, filter(_has_words, self.ontologies))))

    def prompts(self, context: object) -> tuple[Prompted, ...]:  # noqa: ARG002 - an Interface
        """Give none: nobody draws in Labelbox and waits."""
        return ()

    def input_of(self, task: Json, deadline: float | None, *, referable: bool) -> Input:
        """Give the text of a data row, or its file, which is a text, too, where it is of no other known type."""
        row = self.row(task["id"])
        if row is None or not row.askable:
            raise MediaError(row.reason if row and row.reason else f"row {task['id']} of the model run has no data")
        if row.text:
            return Input(text=row.text)
        address = cleaned(row.address)
        if referable and address.startswith(_REFERABLE) and "@" not in address.partition("://")[2].partition("/")[0]:
            return Input(uri=cleaned(self.linked(row).address), media_type=named_type(address))
        return self._input(self.read(row, deadline), address)

    def shows(self, task: Json) -> str:  # noqa: ARG002 - an Interface
        """Say nothing: links to a row's file are signed anew each time."""
        return ""

    def text_of(self, task: Json) -> str:  # noqa: ARG002 - an Interface
        """Say nothing: no features are taken of a model run's rows early."""
        return ""

    def render(self, answer: Answer, how: Rendering, asked: Input) -> Json:  # noqa: ARG002 - an Interface
        """Make the prediction of one data row; raises LabelConfigError where no part of the ontology takes the answer.

        Its results are the answer in the ontology's classes; lines are made of it when the row is known.
        """
        try:
            found = fitted(self.ontologies, answer, how)
        except LabelConfigError as error:
            # An answer of regions names only the classes that it has found.
            self.fit.note(error, surely=isinstance(answer, Output) or not isinstance(error, LabelMappingError))
            raise
        self.fit.note(None)
        version = answer.model_version or NO_VERSION
        return {"result": to_results(found), "score": _score(answer), "model_version": version}

    def tags_for(self, answer: Answer, how: Rendering) -> frozenset[str]:
        """Name the parts of the ontology that an answer says something of."""
        return frozenset(names_of(ontology)[0] for ontology, _ in fitted(self.ontologies, answer, how))

    def _input(self, content: bytes, address: str) -> Input:
        said, of_text = media_type_of(content, address), all(one.type.of_text for one in self.ontologies)
        other = document_in(content) if named_type(address).startswith(_FILES) else ""
        if other and not of_text:
            raise MediaError(f"{shown(address)} is {other}, where a file was to be: it was sent nowhere")
        if not of_text and said.startswith(_FILES):
            return Input(content, said)
        try:
            # Browsers show no byte order mark, so offsets count none.
            return Input(text=content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            if of_text:
                raise MediaError(f"{shown(address)} is no UTF-8 text") from None
            return Input(content, said or ANY_TYPE)


def _has_words(ontology: Ontology) -> bool:
    return ontology.question is not None or ontology.type.feature == "named-entity"


def _wanted(ontology: Ontology) -> Wanted:
    labels = tuple(WantedLabel(name, name) for name in ontology.classes)
    if ontology.question is None:
        return Wanted(names_of(ontology)[0], "spans", labels, "multiple")
    return Wanted(names_of(ontology)[0], "labels", labels, ontology.type.choice)


def _score(answer: Answer) -> float:
    """Say how sure an answer is as a whole: as sure as the least sure part of it."""
    if isinstance(answer, Output):
        return answer.score
    scores = [one.score for one in answer.regions if one.score is not None]
    return min(scores) if answer.score is None and scores else 1.0 if answer.score is None else answer.score
