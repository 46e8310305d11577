"""What is told of a word and of those around it: the attributes that a CRF weighs.

Words, shapes and affixes in a window of two are what is usual (Ratinov and Roth, "Design Challenges and Misconceptions
in Named Entity Recognition", 2009, section 4); affixes and shapes of the middle word are told in more detail.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

Told = Callable[[str], tuple[str, ...]]

_LONGEST = 40
"""Letters of a word that tell it from others."""

_SHAPED = 8
_REPEATED = re.compile(r"(.)\1+")


def plain(word: str) -> str:
    """Give what is the same of words in another letter case, width or composition."""
    return unicodedata.normalize("NFKC", word).casefold()[:_LONGEST]


def shape(word: str) -> str:
    """Give a word's shape: X for a capital, x for another letter, 0 for a digit, the sign itself for the rest."""
    return "".join(map(_shape_of, word[:_LONGEST]))


def _shape_of(letter: str) -> str:
    if letter.isdigit():
        return "0"
    if letter.isalpha():
        return "X" if letter.isupper() else "x"
    return letter


def _outline(word: str) -> str:
    return _REPEATED.sub(r"\1", shape(word))


@lru_cache(1 << 15)
def _middle(word: str) -> tuple[str, ...]:
    """Tell all there is of a word."""
    bare = plain(word)
    affixes = (f"{size}<{bare[:size]}" for size in (2, 3, 4))
    endings = (f"{size}>{bare[-size:]}" for size in (1, 2, 3, 4))
    return (f"w{bare}", f"W{word[:_LONGEST]}", f"s{shape(word)[:_SHAPED]}", f"o{_outline(word)}", *affixes, *endings)


@lru_cache(1 << 15)
def _beside(word: str) -> tuple[str, ...]:
    bare = plain(word)
    return f"w{bare}", f"o{_outline(word)}", f"3>{bare[-3:]}"


@lru_cache(1 << 15)
def _near(word: str) -> tuple[str, ...]:
    return f"w{plain(word)}", f"o{_outline(word)}"


WINDOW: Mapping[int, Told] = {-2: _near, -1: _beside, 0: _middle, 1: _beside, 2: _near}
"""What is told of the word so many places further on."""

EDGE = "#"
"""Stands for the word before the first, and for the one after the last."""


def attributes(words: Sequence[str]) -> Iterator[list[str]]:
    """Name the attributes of every word of a text, in order: each with the place of the word that has it."""
    count = len(words)
    for at in range(count):
        told: list[str] = []
        for place in WINDOW:
            if 0 <= at + place < count:
                told += _told(place, words[at + place])
            elif abs(place) == 1:
                told.append(f"{place}{EDGE}")
        yield told


@lru_cache(1 << 16)
def _told(place: int, word: str) -> tuple[str, ...]:
    """Name what a word tells of the one that it is so many places from; a head learns several times in a row."""
    return tuple(f"{place}{one}" for one in WINDOW[place](word))
