"""Finding one item for each input in an answer, whatever wraps them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labelloop.endpoints.answers.format import AnswerFormat

_WRAPPERS = ("predictions", "prediction", "outputs", "output")
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Layer:
    """What is left of an answer after some wrappers; ``version`` and ``deployed`` are what these said of the model."""

    value: Any
    version: str = ""
    deployed: str = ""


@dataclass(frozen=True, slots=True)
class Arranged:
    """One item for each input, and the format that reads them."""

    format: AnswerFormat
    items: Sequence[Any]
    layer: Layer


def layers(value: Any) -> Iterator[Layer]:
    """Peel wrappers off, the outermost first: ``{"predictions": ...}`` and the like."""
    layer = Layer(value)
    yield layer
    for _ in range(_DEEPEST):
        value = layer.value
        key = next((name for name in _WRAPPERS if name in value), None) if isinstance(value, dict) else None
        if key is None:
            return
        version, deployed = _text(value, "model_version"), _text(value, "deployedModelId")
        layer = Layer(value[key], version or layer.version, deployed or layer.deployed)
        yield layer


def arrange(value: Any, count: int, formats: Sequence[AnswerFormat], classes: tuple[str, ...]) -> Arranged | None:
    """Find the first format, and in it one item for each of ``count`` inputs; None when there is none.

    An outer layer goes before an inner one, and a format that fits every item before one that fits some: the others
    are then wrong by themselves. Errors and empty lists fit beside anything. An empty list by itself is one input's
    answer: nothing was found.
    """
    peeled = [(layer, splits) for layer in layers(value) if (splits := list(_splits(layer.value, count)))]
    for enough in (all, any):
        for layer, splits in peeled:
            for form in formats:
                for items in splits:
                    telling = [item for item in items if _tells(item)]
                    if telling and enough(form.fits(item, classes) for item in telling):
                        return Arranged(form, items, layer)
    return _neutral(value, count, formats)


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


def _neutral(value: Any, count: int, formats: Sequence[AnswerFormat]) -> Arranged | None:
    """Arrange errors and empty lists among themselves."""
    form = next((form for form in formats if form.fits([], ())), formats[0])
    for depth, layer in enumerate(layers(value)):
        if layer.value == [] and depth:
            continue  # an empty list by itself is an answer, inside a wrapper it is one too few
        for items in _splits(layer.value, count):
            if not any(map(_tells, items)):
                return Arranged(form, items, layer)
    return None


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""
