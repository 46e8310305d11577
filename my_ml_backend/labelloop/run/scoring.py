"""The scores that a version gives to items, as an endpoint that serves it would."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from labelloop.kinds.majority import chosen
from labelloop.types import Answer, Choice, Failure, NotAsked, Output, Shown

Rename = Callable[[str], str | None]
"""Gives the name that a class has today; None for one that there is no more."""


class Scores(NamedTuple):
    """Probabilities, float64 (items, classes), nan where there is no answer; ``asked`` (items,) where one was due."""

    scores: npt.NDArray[np.float64]
    asked: npt.NDArray[np.bool_]


def scores_of(
    answers: Iterable[Answer | Shown | Failure],
    count: int,
    classes: Sequence[str],
    rename: Rename = str,
    choice: Choice = "single",
) -> Scores:
    """Arrange what was answered to ``count`` items.

    An item whose best class is none of ``classes`` has no answer either: a model may be older than the label config.
    Of an answer as annotators see it each label counts as sure. Raises what answering does.
    """
    scores, asked = np.full((count, len(classes)), np.nan), np.ones(count, dtype=bool)
    places: dict[str | None, int] = {name: at for at, name in enumerate(classes)}
    column = cache(lambda name: places.get(rename(name)))
    for row, answer in enumerate(answers):
        output = _named(answer, classes, choice) if isinstance(answer, Shown) else answer
        asked[row] = not isinstance(output, NotAsked)
        if isinstance(output, Output) and column(output.label) is not None:
            scores[row] = 0.0
            for name, score in output.scores.items():
                if (at := column(name)) is not None:
                    scores[row, at] = score
    return Scores(scores, asked)


def _named(shown: Shown, classes: Sequence[str], choice: Choice) -> Output | Failure:
    labels = dict.fromkeys(chosen(result.get("value") for result in shown.results), 1.0)
    if not labels.keys() <= set(classes) or not (labels or choice == "multiple"):
        return Failure("it names no label, or one that is asked for elsewhere")
    scores = labels or {classes[0]: 0.0}
    label = next(iter(scores))
    return Output(label, scores[label], scores, "", choice)
