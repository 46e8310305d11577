"""Places in a text."""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.values import Malformed, whole
from labelloop.types import Span


def span(start: Any, end: Any, one: One) -> Span:
    """Read the characters from ``start`` up to, and without, ``end``, within the text sent. Raises Malformed."""
    if start is None or end is None:
        raise Malformed("a token has no character offsets: its model needs a fast tokenizer")
    read = Span(whole("start", start), whole("end", end))
    if not 0 <= read.start < read.end:
        raise Malformed(f"a span from character {read.start} to {read.end} is none")
    if one.input.text is not None and read.end > len(one.input.text):
        raise Malformed(f"a span ends at character {read.end} of a text of {len(one.input.text)}")
    return read
