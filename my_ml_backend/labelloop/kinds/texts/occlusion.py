"""Which words a prediction hangs on: each in turn is made unreadable, and the score is asked for again.

Occlusion (Zeiler and Fergus, ECCV 2014, section 4.2), word by word.
"""

from collections.abc import Callable, Sequence

from labelloop.types import Json

_UNREADABLE = "\u2588"

Places = Sequence[tuple[int, int]]


def hidden(text: str, place: tuple[int, int]) -> str:
    """Make a part of a text unreadable, as long as it was."""
    start, end = place
    return text[:start] + _UNREADABLE * (end - start) + text[end:]


def weights(text: str, words: Places, score: Callable[[Sequence[str]], Sequence[float]]) -> list[Json]:
    """Give each word's ``span`` and ``weight``: by how much the score is lower without it.

    ``score`` scores texts: what is explained, in each of them.
    """
    whole, *without = score([text, *(hidden(text, place) for place in words)])
    return [{"span": list(place), "weight": whole - one} for place, one in zip(words, without, strict=True)]
