"""What every result has, and what a family of control tags makes of an answer."""

import math
import uuid
from dataclasses import dataclass
from typing import Any

from labelloop.studio.control_tag import ControlTag
from labelloop.types import Json


@dataclass(frozen=True, slots=True)
class Drawn:
    """The results of one prediction, none where nothing is sure enough, and how sure the model is, in [0, 1]."""

    result: list[Json]
    score: float


def result_of(tag: ControlTag, value: Json, score: float | None = None) -> Json:
    """Make one result of a control tag, with a new id."""
    made: Json = {
        "id": uuid.uuid4().hex[:10],
        "from_name": tag.name,
        "to_name": tag.to_name,
        "type": tag.type,
        "value": value,
    }
    return made if score is None else made | {"score": score}


def probability(value: Any) -> float | None:
    """Read a score, whatever an endpoint made of it; None when it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if 0.0 <= number <= 1.0:
        return number
    return (0.0 if number < 0.0 else 1.0) if math.isfinite(number) else None
