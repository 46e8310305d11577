"""Reading an endpoint's answer, strictly: what is not exactly as agreed never becomes a prediction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from labelloop.endpoints.answers.boxes import AutoMl, Boxes, Detections
from labelloop.endpoints.answers.chat import Chat, model_of
from labelloop.endpoints.answers.classifications import Binary, Probabilities
from labelloop.endpoints.answers.distributions import ClassScores, Columns
from labelloop.endpoints.answers.format import AnswerFormat, Asked, Malformed, required_text, strict_json
from labelloop.endpoints.answers.labelloop import LabelLoopAnswers
from labelloop.endpoints.answers.labels import Labels, Rekognition
from labelloop.endpoints.answers.layout import (
    Arranged,
    arrange,
    is_error,
    miscounted,
    outline,
    table,
    unpacked,
    wrong_count,
)
from labelloop.endpoints.answers.masks import SIGNATURE, Masks
from labelloop.endpoints.answers.objects import Objects
from labelloop.endpoints.answers.proposal import Proposal, propose
from labelloop.endpoints.answers.tensors import without_tensors
from labelloop.endpoints.answers.texts import Numbers, Texts, Tokens
from labelloop.endpoints.failures import WrongAnswer, one_line, words_of
from labelloop.errors import SettingsError
from labelloop.types import Answer, Failure, Input

_OURS = LabelLoopAnswers()

ANSWER_FORMATS: tuple[AnswerFormat, ...] = (
    _OURS,
    Detections(),
    AutoMl(),
    Boxes(),
    Objects(),
    Masks(),
    Chat(),
    Tokens(),
    Rekognition(),
    Labels(),
    Columns(),
    ClassScores(),
    Probabilities(),
    Texts(),
    Numbers(),
    Binary(),
)
"""In the order in which ``auto`` tries them: the first that fits reads the answer."""

RESPONSES = ("auto", *(form.name for form in ANSWER_FORMATS))

NONE = "none"
"""The response of an endpoint that gives features and answers nothing itself."""


def answer_formats(response: str) -> Sequence[AnswerFormat]:
    """Find a format by its name, all of them for ``auto``; raises SettingsError, listing the names, for any other."""
    if response == "auto":
        return ANSWER_FORMATS
    for form in ANSWER_FORMATS:
        if form.name == response:
            return (form,)
    raise SettingsError(f"the response format {response[:50]!r} is not known. Possible are {', '.join(RESPONSES)}.")


def check_response(response: str, mapping: str, features: str = "") -> None:
    """Raise SettingsError when there is no such format or an expression is none in JMESPath."""
    if response != NONE:
        answer_formats(response)
    elif not features:
        raise SettingsError(
            "the response format none is for an endpoint that gives features alone: let features say where they are in "
            "its answer (docs/endpoint-features.md)"
        )
    for name, expression in (("mapping", mapping), ("features", features)):
        if expression:
            check_mapping(expression, name)


def parse_answer(content: bytes) -> Any:
    """Read a body of JSON; raises WrongAnswer."""
    try:
        return strict_json(content)
    except (ValueError, RecursionError):
        raise WrongAnswer(f"its {len(content)} bytes are not valid JSON") from None


def check_mapping(mapping: str, name: str = "mapping") -> None:
    """Raise SettingsError, by the ``name`` of what it is, when an expression is none."""
    try:
        jmespath.compile(mapping)
    except (JMESPathError, ValueError, RecursionError) as error:
        raise SettingsError(f"{name}: {mapping[:100]!r} is no JMESPath expression: {one_line(str(error))}") from None


def mapped(value: Any, mapping: str, name: str = "mapping") -> Any:
    """Evaluate an expression; the library keeps it compiled. Raises SettingsError, WrongAnswer if it finds nothing.

    ``name`` is what errors call it.
    """
    check_mapping(mapping, name)
    try:
        found = jmespath.search(mapping, value)
    except (
        JMESPathError,
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        reason = one_line(str(error)) or type(error).__name__
        raise WrongAnswer(f"the {name} failed on {outline(value)}: {reason}") from None
    if found is None:
        raise WrongAnswer(f"the {name} {mapping[:100]!r} found nothing in {outline(value)}")
    return found


def read_answer(content: bytes, asked: Asked, *, response: str = "auto", mapping: str = "") -> list[Answer | Failure]:
    """Read one answer per input, in order, in the format ``response`` after ``mapping`` (docs/formats.md).

    One item that is wrong becomes a Failure. Raises WrongAnswer when all of it is wrong or of unknown shape, and
    SettingsError for a format or mapping that is none.
    """
    formats = answer_formats(response)
    value = _value(content, asked, response)
    if mapping:
        value = mapped(value, mapping)
    if response == "labelloop" and not mapping:
        return _answers((_OURS, _our_items(value, len(asked.inputs)), asked), asked)
    found = _arranged(value, asked, formats, response)
    if found is None:
        raise miscounted(value, asked, formats) or _unknown(value, asked, formats)
    return _answers(found, asked)


def propose_mapping(content: bytes, asked: Asked) -> Proposal | None:
    """Find settings that read an answer of unknown shape; None where its shape is known, or none do."""
    try:
        value = _value(content, asked, "auto")
        known = _arranged(value, asked, ANSWER_FORMATS, "auto")
    except WrongAnswer:
        return None
    return None if known else _proposed(value, asked)


def _proposed(value: Any, asked: Asked) -> Proposal | None:
    def reads(response: str, mapping: str) -> list[Answer | Failure] | None:
        try:
            found = _arranged(mapped(value, mapping), asked, answer_formats(response), response)
        except WrongAnswer:
            return None
        return None if found is None else _answers(found, asked)

    return propose(value, reads)


def _unknown(value: Any, asked: Asked, formats: Sequence[AnswerFormat]) -> WrongAnswer:
    """Show the shape, and how to map it where a mapping was found that reads this answer."""
    wanted = f"no {formats[0].name}" if len(formats) == 1 else "of no known format"
    proposal = _proposed(value, asked)
    example = "as the examples there" if proposal is None else f"for example {proposal.settings}"
    return WrongAnswer(
        f"it is {wanted}, but {outline(value)}. Settings response and mapping (docs/formats.md) say how to read it, "
        f"{example}; try them with `labelloop probe --endpoint ... --file ...`"
    )


def _answers(found: Arranged, asked: Asked) -> list[Answer | Failure]:
    form, items, said = found
    return [_answer(item, sent, form, said) for item, sent in zip(items, asked.inputs, strict=True)]


def _arranged(value: Any, asked: Asked, formats: Sequence[AnswerFormat], response: str) -> Arranged | None:
    """Arrange an answer; JSON inside a text counts where it makes sense, and is the text else."""
    value = without_tensors(value, len(asked.inputs))
    plain = value if response == "text" else unpacked(value)
    same = plain == value
    found = arrange(plain, replace(asked, body=plain if same else None), formats)
    return found if found is not None or same else arrange(value, asked, formats)


def _value(content: bytes, asked: Asked, response: str) -> Any:
    """Parse the body; one that is a picture or plain text stands for itself."""
    if content.startswith(SIGNATURE) and response in ("auto", "masks"):
        return content
    said = asked.media_type.lower()
    plain = (response == "text" and "json" not in said) or (response == "auto" and said.startswith("text/plain"))
    try:
        value = parse_answer(content)
    except WrongAnswer as wrong:
        words = _decoded(content)
        if words and said.startswith("text/csv") and response != "text" and (rows := table(words)) is not None:
            return rows
        if words and plain:
            return words
        if said and "json" not in said:
            raise WrongAnswer(f"{wrong}, but {one_line(said.partition(';')[0])[:60]}") from None
        raise
    return value if response != "text" or isinstance(value, str | list | dict) else _decoded(content)


def _decoded(content: bytes) -> str:
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return ""


def _our_items(value: Any, count: int) -> list[Any]:
    """Take our own container at its word: nothing is peeled or guessed."""
    items = value.get("predictions") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise WrongAnswer('expected a JSON object with a list "predictions"')
    if len(items) != count:
        raise wrong_count(count, len(items))
    return items


def _answer(item: Any, sent: Input, form: AnswerFormat, asked: Asked) -> Answer | Failure:
    if is_error(item):
        return Failure(words_of(item["error"]) or "the endpoint gave no reason")
    try:
        return form.read(item, asked.one(sent, _version(item, asked, model_of(item) if isinstance(form, Chat) else "")))
    except Malformed as wrong:
        return Failure(f"the endpoint's prediction is wrong: {wrong}")


def _version(item: Any, asked: Asked, model: str) -> str:
    first = item[0] if isinstance(item, list) and item else item
    own = first.get("model_version") if isinstance(first, dict) else None
    return required_text("model_version", asked.version or model or asked.name if own is None else own)
