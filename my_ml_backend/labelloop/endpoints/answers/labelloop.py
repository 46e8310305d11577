"""Our own language (docs/formats.md): a classification with every class's score, or regions."""

import math
from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.classified import SUM_TOLERANCE
from labelloop.endpoints.answers.regions import findings
from labelloop.endpoints.answers.values import Malformed, score, text
from labelloop.types import Answer, Output


class LabelLoop:
    """The answer format ``labelloop``."""

    name = "labelloop"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is an object with every class's score, or with regions."""
        return isinstance(item, dict) and (
            isinstance(item.get("scores"), dict) or isinstance(item.get("regions"), list)
        )

    def read(self, item: Any, one: One) -> Answer:
        """Read one input's classification or regions. Raises Malformed."""
        if not isinstance(item, dict):
            raise Malformed("it is not an object")
        return findings(item, one) if "regions" in item else _output(item, one.version)


def _output(item: dict[str, Any], version: str) -> Output:
    scores = item.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise Malformed('"scores" is not a map from class to score')
    read = {text("class", name): score(name, value) for name, value in scores.items()}
    label = text("label", item.get("label"))
    if label not in read:
        raise Malformed(f'the label {label[:60]!r} is not in "scores"')
    best = score("score", item.get("score"))
    if abs(best - read[label]) > SUM_TOLERANCE or read[label] < max(read.values()):
        raise Malformed('"label" and "score" are not the best of "scores"')
    match item.get("kind", "single"):
        case "single":
            if abs(math.fsum(read.values()) - 1) > SUM_TOLERANCE:
                raise Malformed("the scores of a single choice do not sum to 1")
            return Output(label, best, read, version, "single")
        case "multiple":
            return Output(label, best, read, version, "multiple")
    raise Malformed('"kind" is neither single nor multiple')
