"""What of an annotator's spans is learned: whole words, and of overlapping spans the longest."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from labelloop.kinds.named_entity_recognition.tokens import ends, fits, snapped, tokenize
from labelloop.kinds.regions import Learnable
from labelloop.types import Region, Span

OVERLAPPING = "it overlaps another span, and the longer one is learned"
WITHIN_WORD = "it begins or ends within a word: the whole word is learned"
BLANKS = "blanks at its ends, or beyond the text, are not learned"
NOTHING = "it holds no character but blanks"


def learnable(text: str, drawn: Sequence[Region]) -> Learnable:
    """Give the spans that are learned of those that were drawn, in the order of the text, and why others are not so.

    Of spans of the same words the first by its label is learned.
    """
    tokens = tokenize(text)
    kept: list[Region] = []
    taken: list[tuple[int, int]] = []
    aside: list[str] = []
    for region in sorted(drawn, key=lambda one: (-_length(one), ends(one), one.label)):
        start, end = ends(region)
        place = snapped(tokens, (start, end))
        if place is None:
            aside.append(NOTHING)
        elif not fits(taken, (place.start, place.end)):
            aside.append(OVERLAPPING)
        else:
            insort(taken, (place.start, place.end))
            kept.append(replace(region, shape=place))
            if place != Span(start, end):
                aside.append(BLANKS if text[start:end].strip() == text[place.start : place.end] else WITHIN_WORD)
    return Learnable(tuple(sorted(kept, key=ends)), tuple(aside))


def overlaps(ones: Sequence[Region], others: Sequence[Region]) -> npt.NDArray[np.float64]:
    """Give the share of their union that spans have in common: (ones, others), in [0, 1]."""
    first, second = (np.array([ends(one) for one in each], dtype=np.float64).reshape(-1, 2) for each in (ones, others))
    start, end = first[:, :1], first[:, 1:]
    common = np.clip(np.minimum(end, second[:, 1]) - np.maximum(start, second[:, 0]), 0, None)
    either = (end - start) + (second[:, 1] - second[:, 0]) - common
    return np.asarray(common / np.maximum(either, 1))


def _length(region: Region) -> int:
    start, end = ends(region)
    return end - start
