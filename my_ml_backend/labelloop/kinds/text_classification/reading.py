"""A text as what a model reads of it: its characters, its words, and the n-grams of both."""

import re
from collections import Counter
from functools import lru_cache
from itertools import chain, pairwise

from labelloop.errors import Unreadable

MOST = 20_000
"""Characters of a text that are read: what comes after them has no part in its class."""

_WORDS = re.compile(r"\w+")
_SHORTEST, _LONGEST = 2, 5
"""Characters of an n-gram within a word, with the blanks around it."""


def decode(content: bytes) -> str:
    """Give the text; raises Unreadable for bytes that are no UTF-8, and for a text of nothing but white space.

    A lone surrogate, which JSON can spell, becomes a replacement character.
    """
    try:
        text = content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no text in UTF-8: byte {error.start + 1} cannot be decoded") from None
    text = text.removeprefix("\ufeff").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not text.strip():
        raise Unreadable("it is an empty text")
    return text


def words(text: str) -> list[str]:
    """Give the words of a text, in lower case: runs of letters, digits and underscores."""
    return _WORDS.findall(text[:MOST].lower())


def word_places(text: str) -> list[tuple[int, int]]:
    """Give where each word begins and ends."""
    return [found.span() for found in _WORDS.finditer(text[:MOST])]


def word_ngrams(text: str) -> Counter[str]:
    """Count words and pairs of neighbours."""
    single = words(text)
    return Counter([*single, *(f"{one} {other}" for one, other in pairwise(single))])


def character_ngrams(text: str) -> Counter[str]:
    """Count the character n-grams within words, which here are all that blanks part, with a blank on either side."""
    return Counter(chain.from_iterable(map(ngrams_within, text[:MOST].lower().split())))


def ngrams_within(word: str) -> tuple[str, ...]:
    """Give the character n-grams of a word in lower case, each as often as it is there."""
    return _remembered(word) if len(word) <= _USUAL else _ngrams(word)


def _ngrams(word: str) -> tuple[str, ...]:
    padded, found = f" {word} ", []
    for size in range(_SHORTEST, _LONGEST + 1):
        found += [padded[at : at + size] for at in range(max(1, len(padded) - size + 1))]
        if len(padded) <= size:
            break
    return tuple(found)


_remembered = lru_cache(4096)(_ngrams)
"""Most words of a text are common ones: twice as fast, for at most some 20 MB."""

_USUAL = 20
"""Characters of a word whose n-grams are remembered."""
