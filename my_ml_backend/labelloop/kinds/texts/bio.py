"""Labeled spans as tags of sub-tokens, and back: B begins a span, I goes on, O is outside (Ramshaw and Marcus, 1995).

Tag 0 is O; label ``k`` has the tags ``1 + 2 * k`` (B) and ``2 + 2 * k`` (I).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.kinds.texts.windows import Tokens

Tags = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

IGNORED = -100
"""The tag of what has none: special sub-tokens, and blanks."""

_OUTSIDE = 0
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Found:
    """One span: characters from ``start`` to ``end``, the number of its label, and how sure, in [0, 1]."""

    start: int
    end: int
    label: int
    score: float = 1.0


def tag_count(labels: int) -> int:
    """Give the number of tags of so many labels."""
    return 1 + 2 * labels


def tags_of(tokens: Tokens, spans: Iterable[tuple[int, int, int]]) -> Tags:
    """Tag the sub-tokens that share a character with a span (start, end, label); no two spans may overlap.

    A sub-token in which two spans meet is the first one's.
    """
    tags = np.where(tokens.told, _OUTSIDE, IGNORED)
    for start, end, label in sorted(spans):
        inside = np.flatnonzero((tokens.starts < end) & (tokens.ends > start) & (tags == _OUTSIDE))
        tags[inside] = 2 + 2 * label
        tags[inside[:1]] = 1 + 2 * label
    return tags


def spans_of(tokens: Tokens, probabilities: Floats) -> list[Found]:
    """Read spans off the tags' probabilities (sub-tokens, tags): those of the likeliest tags that follow the rules.

    A span's score is that of its least sure sub-token, or of its end, if that is less sure: what is said of the
    sub-tokens of one name goes together, so that their product would be far too low.
    """
    at = np.flatnonzero(tokens.told)
    rows = probabilities[at]
    path = likeliest(np.log(np.maximum(rows, _SMALLEST)))
    return [
        Found(int(tokens.starts[at[first]]), int(tokens.ends[at[last]]), label, _score(rows, first, last, label))
        for first, last, label in _runs(path)
    ]


def likeliest(scores: Floats) -> Tags:
    """Find the best sequence of tags for log-probabilities (n, tags), where I only follows B or I of its label.

    By Viterbi's algorithm.
    """
    count, tags = scores.shape
    begins, goes_on = np.arange(1, tags, 2), np.arange(2, tags, 2)
    best = np.zeros((count, tags))
    came = np.zeros((count, tags), dtype=np.int64)
    for at in range(count):
        best[at] = scores[at]
        if not at:
            best[at, goes_on] = -np.inf
            continue
        before = best[at - 1]
        came[at] = before.argmax()
        came[at, goes_on] = np.where(before[begins] >= before[goes_on], begins, goes_on)
        best[at] += before[came[at]]
    path = np.zeros(count, dtype=np.int64)
    for at in range(count - 1, -1, -1):
        path[at] = best[at].argmax() if at == count - 1 else came[at + 1, path[at + 1]]
    return path


def _runs(path: Tags) -> Iterator[tuple[int, int, int]]:
    """Yield first and last place of each span, and its label."""
    first = None
    for at, tag in enumerate(path.tolist()):
        begins, goes_on = tag % 2 == 1, tag > _OUTSIDE and tag % 2 == 0
        if first is not None and not goes_on:
            yield first, at - 1, (int(path[first]) - 1) // 2
            first = None
        if begins:
            first = at
    if first is not None:
        yield first, len(path) - 1, (int(path[first]) - 1) // 2


def _score(rows: Floats, first: int, last: int, label: int) -> float:
    begin, inside = 1 + 2 * label, 2 + 2 * label
    sure = [rows[first, begin], *rows[first + 1 : last + 1, inside]]
    if last + 1 < len(rows):
        sure.append(1 - rows[last + 1, inside])
    return float(np.clip(min(sure), 0.0, 1.0))
