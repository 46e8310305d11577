"""Spans of a text as files say them, checked, and written as tags of its words."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from labelloop.data.formats.entries import Entry
from labelloop.regions import read_regions
from labelloop.types import Region, Span

_WORD = re.compile(r"\w+|[^\w\s]")


def whole_number(value: object) -> int | None:
    """Read a whole number, which some write as a text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def span_of(entry: Entry, text: str, start: object, end: object, label: object) -> Region:
    """Make a span of a text from its first character to the one behind its last; raises ManifestError.

    A text that lies in a file is empty here: whether it is that long is seen when it is fetched.
    """
    first, behind = whole_number(start), whole_number(end)
    if not isinstance(label, str) or not label:
        raise entry.wrong(f"the span from {str(start)[:20]} to {str(end)[:20]} has no label")
    if first is None or behind is None or not 0 <= first < behind <= (len(text) or behind):
        raise entry.wrong(
            f"a span {label[:60]!r} from {str(start)[:20]} to {str(end)[:20]} is no part of its text, which has "
            f"{len(text)} characters: a span begins at 0 or later, and ends behind its last character"
        )
    return Region(label, Span(first, behind))


def spans_in(result: str) -> list[tuple[int, int, str]]:
    """Give the spans of a record's result, as start, end and label."""
    return [(one.shape.start, one.shape.end, one.label) for one in read_regions(result) if isinstance(one.shape, Span)]


def apart(spans: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Leave out spans until no two overlap: of those that do, the longest stays, then the first."""
    kept: list[tuple[int, int, str]] = []
    for one in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        at = bisect_left(kept, one)
        if (at == 0 or kept[at - 1][1] <= one[0]) and (at == len(kept) or one[1] <= kept[at][0]):
            kept.insert(at, one)
    return kept


def tagged_words(text: str, spans: Sequence[tuple[int, int, str]]) -> Iterator[tuple[str, str]]:
    """Give the words of a text with their tags (BIO) by spans that do not overlap; borders of spans part words, too.

    A word is what Unicode calls one, or one other sign; blanks are none.
    """
    at = 0
    for start, end, label in spans:
        yield from ((word, "O") for word in _WORD.findall(text[at:start]))
        for number, word in enumerate(_WORD.findall(text[start:end])):
            yield word, f"{'I' if number else 'B'}-{label}"
        at = end
    yield from ((word, "O") for word in _WORD.findall(text[at:]))
