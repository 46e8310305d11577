"""The interface of every answer format, what it is given, and strict reading of single values."""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from labelloop.endpoints.answers.vocabulary import numeric
from labelloop.endpoints.failures import one_line
from labelloop.types import Answer, Input, Mask, Region


@dataclass(frozen=True, slots=True)
class Asked:
    """The inputs that were sent, in order, and what is known of the model.

    An answer's version is its own ``model_version``, else ``version``, else the ``deployedModelId`` of Vertex AI, else
    ``name``; with none of them it is refused. ``classes`` are the model's, in its order, for answers that only hold
    numbers. ``media_type`` is the answer's Content-Type, where the transport tells it. ``body`` is all that was
    answered, for what has to say where in it something is.
    """

    inputs: Sequence[Input]
    version: str = ""
    classes: tuple[str, ...] = ()
    name: str = ""
    media_type: str = ""
    body: object = None

    @property
    def input(self) -> Input:
        """The first input: the only one where an item of an answer is read."""
        return self.inputs[0]

    def said(self, version: str, deployed: str = "") -> Self:
        """The same, where the answer itself names a version, or the deployment; empty where it does not."""
        if not version and not deployed:
            return self
        return replace(self, version=version or self.version, name=deployed or self.name)

    def one(self, item: Input, version: str) -> "Asked":
        """The same for one of the inputs, its version known."""
        return Asked((item,), version, self.classes, body=self.body)


MOST_PIXELS = 500_000_000
"""Of all masks of one input together, a byte of memory each."""

ROUNDING = 1e-4
"""How far beyond 0 or 1 a score may be: models that count in 16 or 32 bits round."""


class Malformed(Exception):
    """One input's answer is not what its format says; the text says how."""


def strict_json(text: str | bytes) -> Any:
    """Read JSON without NaN and Infinity; raises ValueError, RecursionError."""
    return json.loads(text, parse_constant=refuse_constant)


def refuse_constant(name: str) -> None:
    """Raise ValueError for what Python writes and JSON does not know, for ``parse_constant``."""
    raise ValueError(f"{name} is not JSON")


def path_step(key: str) -> str:
    """Write a key as JMESPath does, for errors the first of a long one."""
    return key if re.fullmatch(r"[A-Za-z_]\w{0,60}", key, re.ASCII) else json.dumps(key[:200])


def is_number(value: object) -> bool:
    """Tell numbers from all else; JSON's ``true`` is none."""
    return type(value) is float or type(value) is int  # for every coordinate: twice as fast as isinstance


def number(name: str, value: Any) -> float:
    """Read a finite number; raises Malformed."""
    if is_number(value):
        try:
            if math.isfinite(read := float(value)):
                return read
        except OverflowError:
            pass
    raise Malformed(f"{one_line(name)!r} is not a finite number")


def read_score(name: str, value: Any) -> float:
    """Read a number in [0, 1], also one that is written as text; raises Malformed."""
    return exact_score(name, numeric(value) if isinstance(value, str) else value)


def exact_score(name: str, value: Any) -> float:
    """Read a number in [0, 1]; raises Malformed."""
    if not is_number(value) or not -ROUNDING <= value <= 1 + ROUNDING:
        raise Malformed(f"{one_line(name)!r} has no score between 0 and 1")
    return min(1.0, max(0.0, float(value)))


def is_share(value: object) -> bool:
    """Whether ``read_score`` reads it."""
    plain = numeric(value) if isinstance(value, str) else value
    return is_number(plain) and -ROUNDING <= plain <= 1 + ROUNDING  # type: ignore[operator]


def optional_score(value: Any, read: Callable[[str, Any], float] = read_score) -> float | None:
    """Read a score that may be missing; raises Malformed."""
    return None if value is None else read("score", value)


def required_text(name: str, value: Any) -> str:
    """Read a text that is not empty; raises Malformed."""
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name!r} is not a text")
    return unicode_text(name, value)


def unicode_text(name: str, value: str) -> str:
    """Accept a text that can be written as UTF-8: JSON can smuggle half characters in. Raises Malformed."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{one_line(name)!r} is not valid Unicode") from None
    return value


def whole(name: str, value: Any) -> int:
    """Read a whole number, also as 3.0 or "3", which is how Google's JSON writes some; raises Malformed."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,15}", value, re.ASCII):
        return int(value)
    read = number(name, value)
    if read != int(read) or abs(read) > 1e15:
        raise Malformed(f"{one_line(name)!r} is not a whole number")
    return int(read)


def class_name(value: Any, one: Asked) -> str:
    """Read a class: a name, an index into the model's classes, or a text of one (``LABEL_3``, ``3``). Raises Malformed.

    Without any it is the model's only class.
    """
    if name := region_class(value, one):
        return name
    raise Malformed("a label is missing")


def region_class(value: Any, one: Asked, *, first: int = 0) -> str:
    """Read the class of a region, as ``class_name`` does; "" where nobody says. Raises Malformed.

    What finds things by a prompt names no class: the label config, and the prompt, then say what it is. ``first`` is
    the number of the first class.
    """
    if value is None or value == "":
        return one.classes[0] if len(one.classes) == 1 else ""
    if isinstance(value, str):
        counted = None if value in one.classes else re.fullmatch(r"(LABEL_)?(\d{1,6})", value, re.ASCII)
        if counted is None or not one.classes:
            return unicode_text("label", value)
        return _by_index(int(counted[2]), one, 0 if counted[1] else first)
    if is_number(value):
        return _by_index(whole("label", value), one, first)
    raise Malformed("a label is neither a name nor a number")


def _by_index(index: int, one: Asked, first: int = 0) -> str:
    if 0 <= index - first < len(one.classes):
        return one.classes[index - first]
    if not one.classes:
        raise Malformed(
            f"it names class {index} by its number: set the names, counted from {first}, with LABELLOOP_CLASSES, or "
            "classes in extra_params"
        )
    raise Malformed(f"it names class {index}, counted from {first}; classes lists only {len(one.classes)}")


class AnswerFormat(Protocol):
    """One way to say what was found in one input. ``item`` is JSON, except that a PNG picture is ``bytes``."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    @property
    def made_by(self) -> str:
        """Whose answers it reads, in a line."""
        ...

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether one input's answer has this shape, whatever its values; ``[]`` does where it can mean: nothing."""
        ...

    def read(self, item: Any, one: Asked) -> Answer:
        """Read one input's answer, of whatever shape; ``one`` is what was asked with that input alone.

        Raises Malformed saying what is wrong with it.
        """
        ...


def objects(item: Any, *keys: str) -> bool:
    """Whether an item is a list of objects, perhaps empty, each of which has one of the keys."""
    return isinstance(item, list) and all(
        isinstance(entry, dict) and any(key in entry for key in keys) for entry in item
    )


def entries(item: Any) -> list[dict[str, Any]]:
    """Read a list of objects, one alone as a list of one; raises Malformed."""
    listed = [item] if isinstance(item, dict) else item
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise Malformed("it is not a list of objects")
    return listed


def within_memory(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Make regions one by one as long as their masks fit the memory; raises Malformed."""
    made: list[Region] = []
    pixels = 0
    for region in regions:
        pixels += len(region.shape.inside) if isinstance(region.shape, Mask) else 0
        if pixels > MOST_PIXELS:
            raise Malformed(f"its masks have more than {MOST_PIXELS} pixels together")
        made.append(region)
    return tuple(made)
