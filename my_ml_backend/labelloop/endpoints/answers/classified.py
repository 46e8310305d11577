"""From scores to a classification."""

import math
from collections.abc import Iterable

from labelloop.endpoints.answers.values import Malformed
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
