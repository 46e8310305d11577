"""What every prediction has, whatever it is of: results with a score of their own, and how sure the model is of all.

By that score Label Studio serves the least sure task first. Each measure is a confidence in [0, 1], 1 for certainty, so
it is one minus what B. Settles, "Active Learning Literature Survey" (University of Wisconsin-Madison, 2009), section
3.1, calls the uncertainty, scaled to that range.
"""

import math
import uuid
from collections.abc import Sequence
from typing import Any

from labelloop.studio.control_tag import ControlTag
from labelloop.types import NO_VERSION, Json, Rendering, Uncertainty

_KNOWN = 1e-6
"""What is missing of a sum of 1 below this is rounding, not another class."""


def least_score(how: Rendering, tag: ControlTag) -> float | None:
    """The score from which on something is shown for a control tag; None where nobody says."""
    return how.threshold if tag.threshold is None else tag.threshold


def of_one(scores: Sequence[float], measure: Uncertainty) -> float:
    """Measure a choice of one label. ``scores``: the labels' probabilities in [0, 1], one or more, in any order.

    What they leave of 1 belongs to classes that are no labels, and counts as one more answer.
    """
    best = max(scores)
    if measure == "least_confidence":
        return best
    total = math.fsum(scores)
    rest = 1.0 - total
    if measure == "margin":
        return _clipped(best - max(sorted(scores)[-2] if len(scores) > 1 else 0.0, rest))
    parts = [*scores, rest] if rest > _KNOWN else [score / total for score in scores]
    return 1.0 - _entropy(parts)


def of_each(scores: Sequence[float], measure: Uncertainty) -> float:
    """Measure several independent yes or no answers: the least sure of them. ``scores`` as for ``of_one``."""
    if measure == "least_confidence":
        return min(max(score, 1.0 - score) for score in scores)
    if measure == "margin":
        return min(abs(2.0 * score - 1.0) for score in scores)
    return min(1.0 - _entropy((score, 1.0 - score)) for score in scores)


def of_regions(shown: Sequence[float], left_out: Sequence[float]) -> float:
    """Measure regions by their scores: the least sure one that is shown.

    Where none is shown, how sure it is that there is nothing: one minus the best score that was left out.
    """
    if shown:
        return min(shown)
    return 1.0 - max(left_out, default=0.0)


def _entropy(parts: Sequence[float]) -> float:
    """Shannon entropy of a distribution, divided by its largest value, the logarithm of the number of answers."""
    if len(parts) < 2:
        return 0.0
    return _clipped(math.fsum(-part * math.log(part) for part in parts if part > 0.0) / math.log(len(parts)))


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))


def prediction_of(results: list[Json], score: float, version: str) -> Json:
    """Put a prediction together, of no results where nothing is sure enough; ``score``: how sure the model is.

    Label Studio refuses one without a version (contract, "Predictions").
    """
    return {"result": results, "score": score, "model_version": str(version or NO_VERSION)}


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


def labels_value(tag: ControlTag, labels: Sequence[str]) -> Json:
    """Write labels as a result of the tag has them."""
    if tag.tag == "Taxonomy":
        paths = {label.name: list(label.path) for label in tag.labels}
        return {tag.type: [paths[name] for name in labels]}
    return {tag.type: list(labels)}


def probability(value: Any) -> float | None:
    """Read a score, whatever an endpoint made of it; None when it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if 0.0 <= number <= 1.0:
        return number
    return (0.0 if number < 0.0 else 1.0) if math.isfinite(number) else None
