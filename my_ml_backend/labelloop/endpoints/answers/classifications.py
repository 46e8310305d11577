"""Classifications: names with scores, or scores alone."""

import math
from collections.abc import Iterable
from typing import Any

from labelloop.endpoints.answers.format import ROUNDING, Asked, Malformed, class_name, entries, is_number, read_score
from labelloop.types import Output

SUM_TOLERANCE = 0.01
"""How far the scores of a ``single`` answer may be from 1, and ``score`` from ``scores[label]``."""


def classified(pairs: Iterable[tuple[str, float]], version: str) -> Output:
    """Make a classification of classes and their scores; raises Malformed.

    Scores that sum to 1 are of classes that exclude each other (``single``). All others are taken as they are, each for
    itself (``multiple``), also the first few of many classes: what their model gave to the rest is not known, so that
    nothing is added to make a sum. A single choice still gets the best of them.
    """
    scores: dict[str, float] = {}
    for label, value in pairs:
        if label in scores:
            raise Malformed("a class comes twice")
        scores[label] = value
    if not scores:
        raise Malformed("it holds no class")
    best = max(scores, key=scores.__getitem__)
    single = abs(math.fsum(scores.values()) - 1) <= SUM_TOLERANCE
    return Output(best, scores[best], scores, version, "single" if single else "multiple")


class Labels:
    """The answer format ``labels``, Hugging Face's: ``[{"label", "score"}, ...]``, or one of them alone."""

    name = "labels"
    made_by = "Hugging Face classification"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is one or more objects with a label and a score and no place."""
        if isinstance(item, list):
            return bool(item) and all(map(_is_label, item))
        return _is_label(item)

    def read(self, item: Any, one: Asked) -> Output:
        """Read one input's classes; see ``classified`` for single and multiple. Raises Malformed."""
        pairs = [
            (class_name(entry.get("label"), one), read_score("score", entry.get("score"))) for entry in entries(item)
        ]
        return classified(pairs, one.version)


def _is_label(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and "label" in entry and "score" in entry and "box" not in entry and "mask" not in entry
    )


class Probabilities:
    """The answer format ``probabilities``: a list, one for each class, as SageMaker image classification answers.

    They must be probabilities: raw outputs of a network (logits) are refused, because whether they want a softmax or a
    sigmoid cannot be seen in them.
    """

    name = "probabilities"
    made_by = "SageMaker image classification, TensorFlow Serving"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether it is a list of several numbers, or of as many as there are classes."""
        return isinstance(item, list) and len(item) >= min(2, len(classes) or 2) and all(map(is_number, item))

    def read(self, item: Any, one: Asked) -> Output:
        """Give the numbers the names of the classes. Raises Malformed."""
        if not isinstance(item, list) or not item or not all(map(is_number, item)):
            raise Malformed("it is not a list of numbers")
        if not one.classes:
            raise Malformed(
                f"it is a list of {len(item)} numbers: set the {len(item)} classes that they are for, in the model's "
                "order, with LABELLOOP_CLASSES, or classes in extra_params"
            )
        if len(item) != len(one.classes):
            raise Malformed(f"it is a list of {len(item)} numbers, and classes lists {len(one.classes)}")
        if not all(-ROUNDING <= value <= 1 + ROUNDING for value in item):
            raise Malformed(
                "its numbers are not all between 0 and 1: let the endpoint answer probabilities, not logits"
            )
        return classified(
            ((name, read_score(name, value)) for name, value in zip(one.classes, item, strict=True)), one.version
        )
