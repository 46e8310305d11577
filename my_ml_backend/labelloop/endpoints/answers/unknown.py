"""Saying what is wrong with an answer as a whole, and how to have it read."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from labelloop.endpoints.answers.arrange import is_error, layers
from labelloop.endpoints.answers.format import AnswerFormat
from labelloop.endpoints.answers.shape import describe
from labelloop.endpoints.answers.values import is_number
from labelloop.endpoints.failures import WrongAnswer


def wrong_count(sent: int, came: int) -> WrongAnswer:
    """There are more or fewer predictions than inputs."""
    return WrongAnswer(
        f"{sent} input{'' if sent == 1 else 's'} sent, {came} prediction{'' if came == 1 else 's'} came back"
    )


def unknown(value: Any, count: int, formats: Sequence[AnswerFormat], classes: tuple[str, ...]) -> WrongAnswer:
    """Say that the number of predictions is wrong, if that is all; else show the shape and how to map it."""
    for layer in layers(value):
        items = layer.value
        if isinstance(items, list) and len(items) != count and any(_fit_all(items, form, classes) for form in formats):
            return wrong_count(count, len(items))
    wanted = f"no {formats[0].name}" if len(formats) == 1 else "of no known format"
    return WrongAnswer(
        f"it is {wanted}, but {describe(value)}. Settings response and mapping (docs/formats.md) say how to read it, "
        f"for example {_example(value)}; try them with `labelloop probe --endpoint ... --file ...`"
    )


def _fit_all(items: list[Any], form: AnswerFormat, classes: tuple[str, ...]) -> bool:
    return all(form.fits(item, classes) or is_error(item) for item in items)


def _example(value: Any) -> str:
    """Guess at a mapping: a list of objects of which each has a text and a number looks like a classification."""
    for path, entry in _objects(value, ""):
        label = next((key for key in entry if isinstance(entry[key], str)), None)
        score = next((key for key in entry if is_number(entry[key])), None)
        if label is not None and score is not None:
            return f"response=labels mapping={path}.{{label: {_key(label)}, score: {_key(score)}}}"
    return "response=labels mapping=results[].{label: name, score: confidence}"


def _objects(value: Any, path: str, depth: int = 3) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the first object of each list of objects, with the JMESPath to the list."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        yield f"{path}[]", value[0]
    if isinstance(value, dict) and depth:
        for key, inner in list(value.items())[:12]:
            yield from _objects(inner, f"{path}.{_key(key)}" if path else _key(key), depth - 1)


def _key(name: str) -> str:
    """Write a key as JMESPath does."""
    return name if re.fullmatch(r"[A-Za-z_]\w{0,60}", name, re.ASCII) else json.dumps(name[:60])
