"""Quotations found again in the text that they are from: a model that writes copies words, and cannot count letters."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from labelloop.types import Span

_ALIKE = str.maketrans("\u2018\u2019\u201a\u201c\u201d\u201e\u2013\u2014\u2011\u00a0\u202f", "'''\"\"\"---  ")
"""What models write in place of typographic characters, one for one, so that places stay the same."""


def find_quotes(text: str, quotes: Sequence[tuple[str, str]]) -> list[Span | None]:
    """Say where in a text each quotation, with its label, stands; None for what is not in it, or no more.

    No place is given twice to one label. They are taken to be in the order of the text, as far as they are: of several
    places, a quotation has the first behind the one before it, else one inside that, else the first that is left. A
    place where no word is cut goes before one where one is. White space counts as white space, whatever it is, and
    plain quotation marks and hyphens as typographic ones, where a quotation does not stand there letter by letter.
    """
    known: dict[str, list[Span]] = {}
    taken: set[tuple[Span, str]] = set()
    found: list[Span | None] = []
    before = Span(0, 0)
    for quote, label in quotes:
        if quote not in known:
            known[quote] = _places(text, quote)
        place = _next([one for one in known[quote] if (one, label) not in taken], before)
        found.append(place)
        if place is not None:
            taken.add((place, label))
            before = place
    return found


def _next(places: Sequence[Span], before: Span) -> Span | None:
    behind = (one for one in places if one.start >= before.end)
    inside = (one for one in places if one.start >= before.start and one.end <= before.end)
    return next(behind, None) or next(inside, None) or next(iter(places), None)


def _places(text: str, quote: str) -> list[Span]:
    """List the places of a quotation in their order: those where no word is cut, if there are any."""
    wanted = quote.strip()
    places = list(_literal(text, wanted)) if wanted else []
    if not places and wanted:
        words = map(re.escape, wanted.translate(_ALIKE).split())
        alike = re.finditer("(?=(" + r"\s+".join(words) + "))", text.translate(_ALIKE))
        places = [Span(match.start(1), match.end(1)) for match in alike]
    return [one for one in places if not _cuts(text, one)] or places


def _literal(text: str, wanted: str) -> Iterator[Span]:
    at = text.find(wanted)
    while at >= 0:
        yield Span(at, at + len(wanted))
        at = text.find(wanted, at + 1)


def _cuts(text: str, place: Span) -> bool:
    """Whether a word goes on before or behind a place."""
    return any(0 < at < len(text) and _in_word(text[at - 1]) and _in_word(text[at]) for at in (place.start, place.end))


def _in_word(character: str) -> bool:
    """Whether a character is part of a word; in scripts without blanks between words, no word can be told."""
    return character.isalnum() and unicodedata.east_asian_width(character) not in ("W", "F")
