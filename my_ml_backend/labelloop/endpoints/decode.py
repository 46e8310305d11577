"""Reading an endpoint's answer, strictly: what is not exactly as agreed never becomes a prediction."""

import json
import math
from typing import Any

from labelloop.endpoints.failures import WrongAnswer
from labelloop.types import Failure, Output

SUM_TOLERANCE = 0.01
"""How far the scores of a ``single`` answer may be from 1, and ``score`` from ``scores[label]``."""

_LONGEST_REASON = 300


def decode(content: bytes, count: int) -> list[Output | Failure]:
    """Read ``{"predictions": [...]}`` holding ``count`` items (docs/endpoints.md).

    One item that is wrong becomes a Failure; an answer that is wrong as a whole raises WrongAnswer.
    """
    items = _parse(content)
    if not isinstance(items, dict) or not isinstance(items.get("predictions"), list):
        raise WrongAnswer('expected a JSON object with a list "predictions"')
    predictions = items["predictions"]
    if len(predictions) != count:
        raise WrongAnswer(f"{count} pictures were sent, {len(predictions)} predictions came back")
    return [_item(item) for item in predictions]


def reason_of(content: bytes) -> str:
    """What an error answer says in ``{"error": ...}``, as one short printable line; empty when it says nothing."""
    try:
        answer = _parse(content)
    except WrongAnswer:
        return ""
    return _line(answer.get("error")) if isinstance(answer, dict) else ""


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise WrongAnswer(f"its {len(content)} bytes are not valid JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _item(item: object) -> Output | Failure:
    if not isinstance(item, dict):
        return Failure("the endpoint's prediction is not an object")
    if "error" in item:
        return Failure(_line(item["error"]) or "the endpoint gave no reason")
    try:
        return _output(item)
    except ValueError as error:
        return Failure(f"the endpoint's prediction is wrong: {error}")


def _output(item: dict[str, Any]) -> Output:
    scores = item.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise ValueError('"scores" is not a map from class to score')
    read = {_text("class", name): _score(name, value) for name, value in scores.items()}
    label = _text("label", item.get("label"))
    if label not in read:
        raise ValueError(f'the label {label!r} is not in "scores"')
    score = _score("score", item.get("score"))
    if abs(score - read[label]) > SUM_TOLERANCE or read[label] < max(read.values()):
        raise ValueError('"label" and "score" are not the best of "scores"')
    version = _text("model_version", item.get("model_version"))
    match item.get("kind", "single"):
        case "single":
            if abs(math.fsum(read.values()) - 1) > SUM_TOLERANCE:
                raise ValueError("the scores of a single choice do not sum to 1")
            return Output(label, score, read, version, "single")
        case "multiple":
            return Output(label, score, read, version, "multiple")
    raise ValueError('"kind" is neither single nor multiple')


def _score(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{_line(name)!r} has no score between 0 and 1")
    return float(value)


def _text(name: str, value: object) -> str:
    """Accept a text that is not empty and can be written as UTF-8: JSON can smuggle half characters in."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name!r} is not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} is not valid Unicode") from None
    return value


def _line(text: object) -> str:
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST_REASON]).strip()
