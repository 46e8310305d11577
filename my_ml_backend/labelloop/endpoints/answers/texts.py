"""What is said of a text, and in words and numbers: entities, written words, one number."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    class_name,
    entries,
    is_number,
    is_share,
    number,
    objects,
    optional_score,
    read_score,
    unicode_text,
    whole,
)
from labelloop.endpoints.answers.vocabulary import (
    CHOSEN,
    WRITTEN,
    field,
    folded,
    has_place,
    is_scalar,
    is_word,
    label_key,
    score_key,
)
from labelloop.types import Findings, Number, Region, Span, Text


def span(start: Any, end: Any, one: Asked) -> Span:
    """Read the characters from ``start`` up to, and without, ``end``, within the text sent. Raises Malformed."""
    if start is None or end is None:
        raise Malformed("a token has no character offsets: its model needs a fast tokenizer")
    read = Span(whole("start", start), whole("end", end))
    if not 0 <= read.start < read.end:
        raise Malformed(f"a span from character {read.start} to {read.end} is none")
    if one.input.text is not None and read.end > len(one.input.text):
        raise Malformed(f"a span ends at character {read.end} of a text of {len(one.input.text)}")
    return read


_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
"""Begin, inside, end or last of several tokens; single or unit of one (IOB2, BIOES, BILOU)."""


class Tokens:
    """The answer format ``tokens``: Hugging Face token classification.

    ``[{"entity" or "entity_group", "score", "word", "start", "end"}]``.
    """

    name = "tokens"
    made_by = "Hugging Face token classification"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is a list of entities, or empty."""
        return objects(item, "entity", "entity_group")

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one text's entities; tokens that belong together become one, with their mean score. Raises Malformed."""
        groups: list[list[_Token]] = []
        for entry in entries(item):
            token = _token(entry, one)
            if token is None:
                continue
            if groups and token.goes_on(groups[-1][-1], one.input.text):
                groups[-1].append(token)
            else:
                groups.append([token])
        return Findings(tuple(map(_entity, groups)), one.version)


@dataclass(frozen=True, slots=True)
class _Token:
    """``place`` is its tag's letter, empty when the endpoint has put tokens together already."""

    label: str
    place: str
    span: Span
    score: float
    index: int | None

    def goes_on(self, before: "_Token", text: str | None) -> bool:
        """Whether it belongs to the same entity as the token before it."""
        if self.place not in ("I", "E", "L") or before.place in ("", "E", "L", "S", "U") or self.label != before.label:
            return False
        if self.index is not None and before.index is not None:
            return self.index == before.index + 1
        if text is not None:
            return not text[before.span.end : self.span.start].strip()
        return self.span.start <= before.span.end + 1


def _token(entry: dict[str, Any], one: Asked) -> _Token | None:
    """Read one entry; None for ``O``, a token outside all entities."""
    name = entry.get("entity_group", entry.get("entity"))
    if name == "O":
        return None
    tag = _TAG.fullmatch(name) if isinstance(name, str) and "entity_group" not in entry else None
    if name is None:
        raise Malformed("an entity has no name")
    return _Token(
        class_name(name if tag is None else tag[2], one),
        "" if tag is None else tag[1],
        span(entry.get("start"), entry.get("end"), one),
        read_score("score", entry.get("score")),
        index if isinstance(index := entry.get("index"), int) else None,
    )


def _entity(group: list[_Token]) -> Region:
    place = replace(group[0].span, end=max(token.span.end for token in group))
    return Region(group[0].label, place, math.fsum(token.score for token in group) / len(group))


_WORDS = ("generated_text", "text", "translation_text", "summary_text", "answer")


class Texts:
    """The answer format ``text``: written words, which may be the name of a class.

    A text, ``{"generated_text": "..."}`` (Hugging Face), ``{"text": "..."}`` (speech recognition),
    ``{"label": "cat"}``, ``{"prediction": "cat", "confidence": 0.9}``.
    """

    name = "text"
    made_by = "captions, transcripts, answers of an LLM; a label alone (MLflow, scikit-learn)"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - there are no classes
        """Whether it is a text, an object that holds one, or a list of such objects."""
        if isinstance(item, list):
            return bool(item) and all(map(_is_written, item))
        return _said(item) is not None

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one input's text, the first of several. Raises Malformed."""
        said = _said(item[0] if isinstance(item, list) and item else item)
        if said is None:
            raise Malformed("it holds no text")
        words, score = said
        if isinstance(item, dict) and words == one.input.text and not all(map(is_scalar, item.values())):
            raise Malformed("its text is the one that was sent, and it does not tell what it says of that")
        return Findings((Region("", Text(unicode_text("text", words)), optional_score(score)),), one.version)


def _said(item: Any) -> tuple[str, Any] | None:
    """Find the words, and how sure the model is of them, where it says so."""
    if not isinstance(item, dict):
        return (item, None) if isinstance(item, str) else None
    if (written := _written(item)) is not None:
        return None if has_place(item) and label_key(item) is not None else (written, item.get("score"))
    key, sure = _alone(item, is_word), score_key(item)
    if key is None or sure is None:
        return None if key is None else (item[key], None)
    return (item[key], item[sure]) if folded(key) in WRITTEN and is_share(item[sure]) else None


def _is_written(entry: Any) -> bool:
    """Whether an entry of a list is words alone: what says where they stand is found in the input."""
    return isinstance(entry, dict) and _written(entry) is not None and not has_place(entry)


def _written(item: dict[str, Any]) -> str | None:
    return next((item[key] for key in _WORDS if isinstance(item.get(key), str)), None)


def _alone(item: dict[str, Any], accepts: Callable[[Any], bool]) -> str | None:
    """Find the field of an object that says nothing but one class, perhaps with a score; None where there is more."""
    if has_place(item) or not all(map(is_scalar, item.values())):
        return None
    return field(item, CHOSEN, accepts)


class Numbers:
    """The answer format ``numbers``: one number for each input, which may be that of a class.

    ``3.5``, ``{"value": 3.5}`` (Vertex AI), ``{"score": 3.5}`` (SageMaker linear learner), ``{"predicted_label": 2.0}``
    (SageMaker k-NN).
    """

    name = "numbers"
    made_by = "ratings, counts, regression; the number of a class (SageMaker k-NN, scikit-learn)"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - what it means is for the tags to say
        """Whether it is a number, or an object that holds one and nothing that could be a class."""
        return is_number(_number(item))

    def read(self, item: Any, one: Asked) -> Findings:
        """Read one input's number; where several classes are known, with the class that it counts. Raises Malformed."""
        value = _number(item)
        if value is None:
            raise Malformed("it holds no number")
        read = number("value", value)
        counts = read == int(read) and not (isinstance(item, dict) and ("value" in item or "score" in item))
        index = int(read) if counts else -1
        label = one.classes[index] if 0 <= index < len(one.classes) and len(one.classes) > 1 else ""
        return Findings((Region(label, Number(read)),), one.version)


def _number(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    if "value" in item or item.keys() == {"score"}:
        return item["value"] if "value" in item else item["score"]
    key = _alone(item, is_number) if score_key(item) is None else None
    return None if key is None else item[key]
