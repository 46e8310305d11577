"""A text as words with their places: what the labels of spans are learned by.

Every character that is no blank lies in exactly one token, and a token is what stands between its offsets, so nothing
of a text is lost or moved. Offsets are Unicode characters, as Label Studio counts them.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from labelloop.types import Region, Span

_ASCII = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9\s]")
_JOINER = "\u200d"
"""Joins emoji to one, and letters of some scripts."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]"
)
"""Scripts without blanks between words, and Korean, whose particles are written on to nouns: each letter is a token."""

LONGEST = 256
"""Tokens of a piece that is learned from as one chain: a sentence, most often a paragraph."""

_ENDS = frozenset(".!?;:\u3002\uff01\uff1f\u061f\u0964")

Places = Sequence[tuple[int, int]]


def tokenize(text: str) -> list[tuple[int, int]]:
    """Give start and end of each token: a run of letters, a run of digits, or one other sign, with its marks."""
    if text.isascii():
        return [match.span() for match in _ASCII.finditer(text)]
    found: list[tuple[int, int]] = []
    before, joined = "", False
    for at, character in enumerate(text):
        sort = _sort(character)
        goes_on = before and sort and (joined or sort == "mark" or (sort == before and sort != "sign"))
        if goes_on:
            found[-1] = (found[-1][0], at + 1)
        elif sort:
            found.append((at, at + 1))
        # A mark leaves its token what it was; a flag is two letters, and what follows begins anew.
        before = (before or "sign") if sort == "mark" else "sign" if goes_on and sort == "flag" else sort
        joined = character == _JOINER
    return found


@lru_cache(4096)
def _sort(character: str) -> str:
    """Say what a character is; "" for a blank."""
    if character.isspace():
        return ""
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf" or "\U0001f3fb" <= character <= "\U0001f3ff":
        return "mark"
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return "flag"
    if category[0] == "L":
        return "sign" if _UNSPACED.match(character) else "letter"
    return "digit" if category == "Nd" else "sign"


def ends(region: Region) -> tuple[int, int]:
    """Give a span's first character, and the one after its last; nothing for what is no span."""
    return (region.shape.start, region.shape.end) if isinstance(region.shape, Span) else (0, 0)


def inside(tokens: Places, place: tuple[int, int]) -> tuple[int, int]:
    """Give the first token that shares a character with a span, and the one after the last; equal where none does."""
    first = bisect_right(tokens, place[0], key=lambda token: token[1])
    last = first
    while last < len(tokens) and tokens[last][0] < place[1]:
        last += 1
    return first, last


def snapped(tokens: Places, place: tuple[int, int]) -> Span | None:
    """Widen or narrow a span to whole tokens: to all that it shares a character with; None where it holds none."""
    first, last = inside(tokens, place)
    return None if first == last else Span(tokens[first][0], tokens[last - 1][1])


def fits(taken: Places, place: tuple[int, int]) -> bool:
    """Tell whether a span shares no character with those ``taken``, which are in order; all hold some."""
    at = bisect_left(taken, place)
    return (at == 0 or taken[at - 1][1] <= place[0]) and (at == len(taken) or place[1] <= taken[at][0])


def pieces(text: str, tokens: Places, held: Iterable[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """Cut a text into pieces, each from one token to another: at blank lines, and where one would be too long.

    A long piece is cut behind the last sign that ends a sentence, or at the last line break, of its second half; else
    where it must be. ``held`` (first, last) stay whole.
    """
    joined = {at for first, last in held for at in range(first + 1, last)}
    found: list[tuple[int, int]] = []
    begin = good = 0
    for at in range(1, len(tokens)):
        if at in joined:
            continue
        gap = text[tokens[at - 1][1] : tokens[at][0]]
        if gap.count("\n") > 1:
            found.append((begin, at))
            begin = good = at
            continue
        if "\n" in gap or (gap and text[tokens[at - 1][1] - 1] in _ENDS):
            good = at
        if at - begin >= LONGEST:
            cut = good if good - begin >= LONGEST // 2 else at
            found.append((begin, cut))
            begin = cut
    return [*found, (begin, len(tokens))] if tokens else []
