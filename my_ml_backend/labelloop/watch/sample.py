"""A bounded random sample of what was predicted: the same, however often a picture is asked for and by which process.

Every picture has a rank, which is random as its hash is, and the sample is the lowest ranks. So two samples of one
stream together are a sample of it, nothing has to be counted, and a picture that is predicted twice is in it once
(bottom-k sampling; Cohen and Kaplan, 2007).
"""

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from labelloop.types import ProjectKey

SIZE = 500
"""Predictions of a sample."""

MOST_CLASSES = 100
"""Classes whose scores are kept of a prediction: the most likely ones, where a model has more."""


class Predicted(NamedTuple):
    """One prediction of a project's version: the hash of what was asked, its task if it has one, the scores, when.

    ``at`` is in Unix seconds.
    """

    project: ProjectKey
    version: str
    key: bytes
    task: int | None
    scores: Mapping[str, float]
    at: float

    @property
    def rank(self) -> int:
        """Its rank: 48 bits of the hash, which a double of Redis holds exactly."""
        return int.from_bytes(self.key[:6], "big")


def sampled(predicted: Iterable[Predicted], size: int = SIZE) -> list[Predicted]:
    """Give the ``size`` lowest ranks, in their order; of a picture that is there twice, what was said last."""
    last = {one.key: one for one in predicted}
    return heapq.nsmallest(size, last.values(), key=lambda one: one.rank)


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Give scores as they are kept: the most likely classes, to four digits."""
    most = (
        scores if len(scores) <= MOST_CLASSES else heapq.nlargest(MOST_CLASSES, scores, key=lambda name: scores[name])
    )
    return {name: round(scores[name], 4) for name in most}
