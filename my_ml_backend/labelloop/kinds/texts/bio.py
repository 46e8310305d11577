"""Labeled spans as tags of sub-tokens: B begins a span, I goes on, O is outside (Ramshaw and Marcus, 1995).

Tag 0 is O; label ``k`` has the tags ``1 + 2 * k`` (B) and ``2 + 2 * k`` (I).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from labelloop.kinds.texts.windows import Tokens

Tags = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

IGNORED = -100
"""The tag of what has none: special sub-tokens, and blanks."""

_OUTSIDE = 0


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


def of_words(words: Sequence[tuple[int, int]], tokens: Tokens, probabilities: Floats) -> Floats:
    """Give each word (start, end) of a text the probabilities of its first sub-token's tags: (words, tags).

    Where a sub-token holds several words, what begins in the first one goes on in the others.
    """
    found = np.zeros((len(words), probabilities.shape[1]))
    found[:, _OUTSIDE] = 1.0
    told = np.flatnonzero(tokens.told)
    if not len(told) or not len(words):
        return found
    starts = np.array([start for start, _ in words])
    place = np.searchsorted(tokens.starts[told], starts, side="right") - 1
    first = np.searchsorted(tokens.starts[told], tokens.starts[told][np.maximum(place, 0)], side="left")
    found[place >= 0] = probabilities[told[first[place >= 0]]]
    shared = np.flatnonzero((place[1:] == place[:-1]) & (place[1:] >= 0)) + 1
    found[shared, 2::2] += found[shared, 1::2]
    found[shared, 1::2] = 0.0
    return found
