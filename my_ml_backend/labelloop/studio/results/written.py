"""``TextArea``, ``Rating`` and ``Number``: words and numbers for a whole task."""

import math

from labelloop.studio.control_tag import ControlTag
from labelloop.types import Json

_DIGITS = 9


def text_value(texts: list[str]) -> Json:
    """Write the texts of one ``TextArea``."""
    return {"text": texts}


def number_value(tag: ControlTag, number: float) -> Json | None:
    """Write a number as ``tag`` takes it; None when it is not finite.

    A ``Rating`` is a whole number from 1 to its ``maxRating``: its editor shows 0 as no rating. A ``Number`` is moved
    into its range and to the nearest of its steps, which its editor counts from ``min``, else from 0.
    """
    if not math.isfinite(number):
        return None
    if tag.tag == "Rating":
        return {"rating": int(min(max(1.0, number + 0.5), tag.maximum or 1.0))}
    return {"number": _stepped(tag, _bounded(tag, number))}


def _bounded(tag: ControlTag, number: float) -> float:
    at_least = number if tag.minimum is None else max(tag.minimum, number)
    return at_least if tag.maximum is None else min(tag.maximum, at_least)


def _stepped(tag: ControlTag, number: float) -> float:
    if tag.step is None or tag.step <= 0.0:
        return number
    basis = tag.minimum or 0.0
    steps = (number - basis) / tag.step
    if not math.isfinite(steps):
        return number
    nearest = basis + math.floor(steps + 0.5) * tag.step
    if tag.maximum is not None and nearest > tag.maximum:
        nearest = basis + math.floor(steps) * tag.step
    return round(nearest, _DIGITS) if math.isfinite(nearest) else number
