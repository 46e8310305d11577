"""Reading an endpoint's answer, strictly: what is not exactly as agreed never becomes a prediction."""

from typing import Any

from labelloop.endpoints.answers.arrange import Arranged, Layer, arrange, is_error
from labelloop.endpoints.answers.asked import Asked, One
from labelloop.endpoints.answers.formats import answer_formats, check_response
from labelloop.endpoints.answers.labelloop import LabelLoop
from labelloop.endpoints.answers.mapping import mapped
from labelloop.endpoints.answers.parse import parse
from labelloop.endpoints.answers.png import SIGNATURE
from labelloop.endpoints.answers.unknown import unknown, wrong_count
from labelloop.endpoints.answers.values import Malformed, text
from labelloop.endpoints.failures import WrongAnswer
from labelloop.endpoints.reason import one_line
from labelloop.types import Answer, Failure, Input

__all__ = ["Asked", "check_response", "read_answer"]


def read_answer(content: bytes, asked: Asked, *, response: str = "auto", mapping: str = "") -> list[Answer | Failure]:
    """Read one answer per input, in order, in the format ``response`` after ``mapping`` (docs/formats.md).

    One item that is wrong becomes a Failure. Raises WrongAnswer when all of it is wrong or of unknown shape, and
    SettingsError for a format or mapping that is none.
    """
    formats = answer_formats(response)
    value = _value(content, asked, response)
    if mapping:
        value = mapped(value, mapping)
    count = len(asked.inputs)
    if response == "labelloop" and not mapping:
        arranged: Arranged | None = _ours(value, count)
    else:
        arranged = arrange(value, count, formats, asked.classes)
    if arranged is None:
        raise unknown(value, count, formats, asked.classes)
    return [_answer(item, sent, arranged, asked) for item, sent in zip(arranged.items, asked.inputs, strict=True)]


def _value(content: bytes, asked: Asked, response: str) -> Any:
    """Parse the body; one that is a picture or plain text stands for itself."""
    if content.startswith(SIGNATURE) and response in ("auto", "masks"):
        return content
    said = asked.media_type.lower()
    plain = (response == "text" and "json" not in said) or (response == "auto" and said.startswith("text/plain"))
    try:
        value = parse(content)
    except WrongAnswer:
        if plain and (words := _decoded(content)):
            return words
        raise
    return value if response != "text" or isinstance(value, str | list | dict) else _decoded(content)


def _decoded(content: bytes) -> str:
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return ""


def _ours(value: Any, count: int) -> Arranged:
    """Take our own container at its word: nothing is peeled or guessed."""
    items = value.get("predictions") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise WrongAnswer('expected a JSON object with a list "predictions"')
    if len(items) != count:
        raise wrong_count(count, len(items))
    return Arranged(LabelLoop(), items, Layer(items))


def _answer(item: Any, sent: Input, arranged: Arranged, asked: Asked) -> Answer | Failure:
    if is_error(item):
        return Failure(one_line(item["error"]) or "the endpoint gave no reason")
    try:
        return arranged.format.read(item, One(sent, _version(item, arranged.layer, asked), asked.classes))
    except Malformed as wrong:
        return Failure(f"the endpoint's prediction is wrong: {wrong}")


def _version(item: Any, layer: Layer, asked: Asked) -> str:
    first = item[0] if isinstance(item, list) and item else item
    own = first.get("model_version") if isinstance(first, dict) else None
    version = layer.version or asked.version or layer.deployed or asked.name if own is None else own
    return text("model_version", version)
