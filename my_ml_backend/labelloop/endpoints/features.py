"""Features that an endpoint gives with its answer, or instead of one: where they are, and what is taken for some."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.endpoints.answers.format import Asked, path_step
from labelloop.endpoints.answers.layout import layers, outline, table
from labelloop.endpoints.answers.read import NONE, mapped
from labelloop.endpoints.base import Told
from labelloop.endpoints.caller import Calls
from labelloop.endpoints.failures import WrongAnswer, WrongCount, words_of
from labelloop.endpoints.spec import EndpointSpec, endpoint_plan
from labelloop.errors import SettingsError
from labelloop.types import Answer, Failure, Target

Row = npt.NDArray[np.float32]

FEWEST, MOST = 2, 65_536
"""Numbers of one input's features."""

LARGEST = 65_504.0
"""The largest number in half precision, in which features are kept."""

_NO_ANSWER = Failure("its endpoint gives features and no prediction of its own, and there is no head on them yet")


@dataclass(frozen=True, slots=True, eq=False)
class Featured:
    """What an endpoint gives for one input: features, float32 (width,), beside its own answer, and of which model."""

    row: Row
    own: Answer | Failure
    model_version: str


class FeatureCaller(Calls[Featured]):
    """Asks an endpoint whose spec says where features are in its answer; an input without any is a Failure."""

    def read(self, told: Told, asked: Asked, target: Target) -> list[Featured | Failure]:  # noqa: ARG002 - see Calls
        """Read features and answers of each input; raises WrongAnswer where there are no features at all."""
        value = parsed(told.content, asked)
        rows = rows_in(value, len(asked.inputs), self._spec.features)
        try:
            own: Sequence[Answer | Failure] = [] if self._spec.response == NONE else self.own_answers(told, asked)
        except WrongAnswer as wrong:
            own = [Failure(str(wrong))] * len(rows)
        own = own or [_NO_ANSWER] * len(rows)
        inner, said = list(layers(value, asked))[-1]
        version, items = _version(value, asked, said), inner if isinstance(inner, list) else [inner]
        named = items if len(items) == len(rows) else [{}] * len(rows)
        return [
            row if isinstance(row, Failure) else Featured(row, answer, _named(item, answer) or version)
            for row, answer, item in zip(rows, own, named, strict=True)
        ]


def open_features(spec: EndpointSpec) -> FeatureCaller:
    """Open an endpoint that gives features; nothing is sent yet. Raises SettingsError."""
    if spec.address.lower().startswith("fake://"):
        raise SettingsError("a fake endpoint gives no features: leave LABELLOOP_FEATURES empty, or name a real one")
    if spec.request == "reference":
        raise SettingsError(
            "request format reference sends addresses, and features are asked for by files: take another"
        )
    return FeatureCaller(endpoint_plan(spec), spec)


def parsed(content: bytes, asked: Asked) -> Any:
    """Read a body of JSON or of comma-separated numbers; raises WrongAnswer.

    NaN, which Python writes, is no JSON: the row that has it is refused, and the others are taken.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        if asked.media_type.lower().startswith("text/csv"):
            return table(content.decode(errors="replace"))
        raise WrongAnswer(f"its {len(content)} bytes are not valid JSON") from None


def rows_in(value: Any, count: int, expression: str) -> list[Row | Failure]:
    """Give the features of ``count`` inputs that an expression finds in an answer; raises WrongAnswer, WrongCount.

    It may find a list of them, or of one input its features alone.
    """
    found = mapped(value, expression, "features")
    rows = [found] if count == 1 and not _is_one(found) else found
    if not isinstance(rows, list):
        raise WrongAnswer(f"where features should be ({expression[:100]}) is {outline(found)}")
    if len(rows) != count:
        # JMESPath passes over an item that has none.
        what = WrongAnswer if count == 1 else WrongCount
        raise what(f"{count} input{'' if count == 1 else 's'} sent, features of {len(rows)} came back")
    return [row_of(one) for one in rows]


def _is_one(found: Any) -> bool:
    """Whether it is a list that holds the features of one input, or why there are none."""
    return isinstance(found, list) and len(found) == 1 and isinstance(found[0], list | dict)


def row_of(value: Any) -> Row | Failure:
    """Take a value for the features of one input, or say why it is none."""
    if isinstance(value, dict) and (words := words_of(value.get("error"))):
        return Failure(words)
    if not isinstance(value, list) or not all(type(one) is float or type(one) is int for one in value):
        return Failure(f"its features are no list of numbers, but {outline(value)}")
    if not FEWEST <= len(value) <= MOST:
        return Failure(f"its features are {len(value)} numbers: {FEWEST} to {MOST:,} can be learned from")
    try:
        row = np.array(value, dtype=np.float64)
    except OverflowError:
        row = np.array([np.inf])
    if not np.isfinite(row).all():
        return Failure("its features hold a number that is not finite")
    if np.abs(row).max() > LARGEST:
        return Failure(f"its features hold a number beyond {LARGEST:,.0f}: have the endpoint scale them")
    return row.astype(np.float32)


def _named(item: Any, answer: Answer | Failure) -> str:
    """Say of which model an item of an answer is; empty where it does not say.

    A container of ours names features by what decides them, ``features_of``: many of its versions have the same.
    """
    own = "" if isinstance(answer, Failure) else answer.model_version
    return _text(item, "features_of") or own or _text(item, "model_version")


def _version(value: Any, asked: Asked, said: Asked) -> str:
    """Say of which model features are that come without an answer: what is said of it beside them, else its name.

    A cloud's ``deployedModelId`` goes before a ``model``, which names no version of it.
    """
    deployed = said.name if said.name != asked.name else ""
    told = (said.version, deployed, _text(value, "model"))
    return next(filter(None, told), said.name)


def _text(value: Any, key: str) -> str:
    text = value.get(key) if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


_DEPTH = 5
_MOST_KEYS = 40


def candidates(value: Any, count: int) -> Iterator[tuple[str, list[Row]]]:
    """Find what in an answer to ``count`` inputs looks like features: expression and rows, the widest lists first."""
    found: dict[str, list[Row]] = {}
    for expression in dict.fromkeys(_places(value, "", _DEPTH)):
        try:
            rows = rows_in(value, count, expression or "@")
        except WrongAnswer:
            continue
        kept = [row for row in rows if not isinstance(row, Failure)]
        if len(kept) == count and len({len(row) for row in kept}) == 1:
            found[expression or "@"] = kept
    yield from sorted(found.items(), key=lambda one: (-len(one[1][0]), "[]" not in one[0], len(one[0])))


def _places(value: Any, path: str, depth: int) -> Iterator[str]:
    """Name every list inside an answer, and what a list's entries have in common as one expression."""
    if isinstance(value, list) and value:
        yield path
        first = value[0]
        if depth and isinstance(first, dict | list):
            yield from _places(first, f"{path}[]" if isinstance(first, dict) else f"{path}[0]", depth - 1)
    if isinstance(value, dict) and depth:
        for key, inner in list(value.items())[:_MOST_KEYS]:
            yield from _places(inner, f"{path}.{path_step(key)}" if path else path_step(key), depth - 1)
