"""Classifications: what makes one of classes and scores, and the formats of scores alone."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    class_name,
    is_number,
    is_share,
    read_score,
)
from labelloop.endpoints.answers.vocabulary import IDS, folded, label_key, numeric
from labelloop.types import Output

SUM_TOLERANCE = 0.01
"""How far the scores of a ``single`` answer may be from 1, and ``score`` from ``scores[label]``."""


def classified(pairs: Iterable[tuple[str, float]], version: str, *, listed: bool = False) -> Output:
    """Make a classification of classes and their scores; raises Malformed.

    Scores that sum to 1 are of classes that exclude each other (``single``). All others are taken as they are, each for
    itself (``multiple``), also the first few of many classes: what their model gave to the rest is not known, so that
    nothing is added to make a sum. A single choice still gets the best of them.

    A name that comes twice is an error, but in a list of all the model's classes (``listed``): ImageNet has two cranes,
    the bird and the machine. There scores that exclude each other are added up, of others the larger counts.
    """
    found = list(pairs)
    single = abs(math.fsum(score for _, score in found) - 1) <= SUM_TOLERANCE
    scores: dict[str, float] = {}
    for label, value in found:
        if label in scores and not listed:
            raise Malformed(f"a class comes twice: {label[:60]!r}")
        before = scores.get(label, 0.0)
        scores[label] = min(1.0, before + value) if single else max(before, value)
    if not scores:
        raise Malformed("it holds no class")
    best = max(scores, key=scores.__getitem__)
    return Output(best, scores[best], scores, version, "single" if single else "multiple")


def class_of(key: str | None, value: Any, one: Asked) -> str:
    """Read a class as ``class_name`` does; the text of a field of ids may be a number. Raises Malformed."""
    if key is not None and folded(key) in IDS and isinstance(value, str) and (index := numeric(value)) is not None:
        return class_name(index, one)
    return class_name(value, one)


def require_best(output: Output, label: str) -> None:
    """Raise Malformed where the class that an answer names is not the best by its own scores."""
    if output.scores.get(label, 0.0) < output.score - SUM_TOLERANCE:
        raise Malformed(
            f"it names the class {label[:60]!r}, and by its scores {output.label[:60]!r} is the best: a mapping says "
            "which of them counts"
        )


class Probabilities:
    """The answer format ``probabilities``: a list, one for each class, as SageMaker image classification answers.

    They must be probabilities: raw outputs of a network (logits) are refused, because whether they want a softmax or a
    sigmoid cannot be seen in them.
    """

    name = "probabilities"
    made_by = "SageMaker image classification and XGBoost, TensorFlow Serving"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether it is a list of several numbers, or of as many as there are classes."""
        return isinstance(item, list) and len(item) >= min(2, len(classes) or 2) and all(map(is_number, item))

    def read(self, item: Any, one: Asked) -> Output:
        """Give the numbers the names of the classes. Raises Malformed."""
        if not isinstance(item, list) or not item or not all(map(is_number, item)):
            raise Malformed("it is not a list of numbers")
        return of_classes(item, one)


def of_classes(values: Sequence[Any], one: Asked) -> Output:
    """Give scores, one for each of the model's classes, their names. Raises Malformed."""
    if not one.classes:
        raise Malformed(
            f"it is a list of {len(values)} numbers: set the {len(values)} classes that they are for, in the model's "
            "order, with LABELLOOP_CLASSES, or classes in extra_params"
        )
    if len(values) != len(one.classes):
        raise Malformed(f"it is a list of {len(values)} numbers, and classes lists {len(one.classes)}")
    if not all(map(is_share, values)):
        raise Malformed("its numbers are not all between 0 and 1: let the endpoint answer probabilities, not logits")
    pairs = ((name, read_score(name, value)) for name, value in zip(one.classes, values, strict=True))
    return classified(pairs, one.version, listed=True)


class Binary:
    """The answer format ``binary``: the probability of the second of two classes, alone or with its label.

    ``{"score": 0.4, "predicted_label": 0}`` (linear learner), ``0.4`` (XGBoost with ``binary:logistic``). ``auto``
    takes a number alone for a number.
    """

    name = "binary"
    made_by = "SageMaker linear learner and XGBoost, of two classes"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - what is missing is said on reading
        """Whether it is a number, alone, as a score, or as a score with the number of a class."""
        return is_number(_positive(item))

    def read(self, item: Any, one: Asked) -> Output:
        """Give the number, and what it leaves of 1, to the two classes. Raises Malformed."""
        score = read_score("score", _positive(item))
        if len(one.classes) != 2 or len(set(one.classes)) != 2:
            raise Malformed(
                f"it is the score of the second of two classes, and classes lists {len(one.classes)}: set both, the "
                "negative one first, with LABELLOOP_CLASSES, or classes in extra_params"
            )
        output = classified(zip(one.classes, (1 - score, score), strict=True), one.version)
        if isinstance(item, dict) and (said := label_key(item)) is not None:
            require_best(output, class_of(said, item[said], one))
        return output


def _positive(item: Any) -> Any:
    if isinstance(item, list) and len(item) == 1:
        return item[0]
    if not isinstance(item, dict):
        return item
    return item["score"] if item.keys() == {"score"} or is_binary(item) else None


def is_binary(item: Any) -> bool:
    """Whether it is what linear learner answers: a score, which is the second class's, and a label that is 0 or 1."""
    return isinstance(item, dict) and item.keys() == {"score", "predicted_label"} and item["predicted_label"] in (0, 1)
