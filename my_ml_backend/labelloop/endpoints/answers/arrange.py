"""Finding one item for each input in an answer, whatever wraps them."""

from collections.abc import Iterator, Sequence
from typing import Any

from labelloop.endpoints.answers.format import AnswerFormat, Asked

_WRAPPERS = ("predictions", "prediction", "outputs", "output")
_DEEPEST = 3


Arranged = tuple[AnswerFormat, Sequence[Any], Asked]
"""The format that reads an answer, one item for each input, and what was asked, with the version that wrappers name."""


def layers(value: Any, asked: Asked) -> Iterator[tuple[Any, Asked]]:
    """Peel wrappers off, the outermost first: ``{"predictions": ...}`` and the like.

    With what is left comes what was asked, and in it what the wrappers said of the model.
    """
    yield value, asked
    for _ in range(_DEEPEST):
        key = next((name for name in _WRAPPERS if name in value), None) if isinstance(value, dict) else None
        if key is None:
            return
        asked = asked.said(_text(value, "model_version"), _text(value, "deployedModelId"))
        value = value[key]
        yield value, asked


def arrange(value: Any, asked: Asked, formats: Sequence[AnswerFormat]) -> Arranged | None:
    """Find the first format, and in it one item for each input; None when there is none.

    An outer layer goes before an inner one, and a format that fits every item before one that fits some: the others
    are then wrong by themselves. Errors and empty lists fit beside anything. An empty list by itself is one input's
    answer: nothing was found.
    """
    count = len(asked.inputs)
    peeled = [(said, splits) for inner, said in layers(value, asked) if (splits := list(_splits(inner, count)))]
    for enough in (all, any):
        for said, splits in peeled:
            for form in formats:
                for items in splits:
                    telling = [item for item in items if _tells(item)]
                    if telling and enough(form.fits(item, asked.classes) for item in telling):
                        return form, items, said
    return _neutral(value, asked, formats)


def is_error(item: Any) -> bool:
    """Whether an item says why there is no prediction; ``"error": null`` beside one does not."""
    return isinstance(item, dict) and "error" in item and (len(item) == 1 or _text(item, "error") != "")


def _splits(value: Any, count: int) -> Iterator[Sequence[Any]]:
    """Yield the ways in which a value may hold one item for each input."""
    if count == 1:
        yield [value]
    if isinstance(value, list) and len(value) == count:
        yield value


def _tells(item: Any) -> bool:
    """Whether the shape of an item tells its format."""
    return item != [] and not is_error(item)


def _neutral(value: Any, asked: Asked, formats: Sequence[AnswerFormat]) -> Arranged | None:
    """Arrange errors and empty lists among themselves."""
    form = next((form for form in formats if form.fits([], ())), formats[0])
    for depth, (inner, said) in enumerate(layers(value, asked)):
        if inner == [] and depth:
            continue  # an empty list by itself is an answer, inside a wrapper it is one too few
        for items in _splits(inner, len(asked.inputs)):
            if not any(map(_tells, items)):
                return form, items, said
    return None


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""
