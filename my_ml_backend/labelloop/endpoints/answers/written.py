"""What a model wrote, part by part: where its answer begins, the JSON in it, and how probable a part of it was."""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from labelloop.endpoints.answers.format import Malformed, is_number, refuse_constant


@dataclass(frozen=True, slots=True)
class Place:
    """A value, and where in the content it is written; ``plain``: in words of its own, not as JSON."""

    value: Any
    start: int
    end: int
    plain: bool = False


def behind_reasoning(content: str) -> int:
    """Say where the answer begins, for models that write what they think in front of it. Raises Malformed."""
    end = content.rfind("</think>")
    start = end + len("</think>") if end >= 0 else 0
    if not content[start:].strip() or (end < 0 and content.lstrip().startswith("<think>")):
        raise Malformed("the model wrote its reasoning alone, and no answer")
    return start


_BLANK = re.compile(r"\s*")
_FENCED = re.compile(r"```\w*[ \t]*\n(.*?)```", re.DOTALL)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key comes twice")
    return made


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=_unique)


def _decoded(content: str, at: int) -> Place | None:
    """Read the JSON value that begins at a place, behind blanks."""
    start = _skip(content, at)
    try:
        value, end = _DECODER.raw_decode(content, start)
    except (ValueError, RecursionError):
        return None
    return Place(value, start, end)


def _skip(content: str, at: int) -> int:
    blank = _BLANK.match(content, at)
    return at if blank is None else blank.end()


def find_json(content: str, start: int) -> Place | None:
    """Find the JSON in an answer: all of it, else what is fenced off, else the only object among words without braces.

    What stands in a larger object that is broken is never taken for the answer.
    """
    fences = list(_FENCED.finditer(content, start))
    for first, last in [(start, len(content)), *((one.start(1), one.end(1)) for one in fences if len(fences) == 1)]:
        found = _decoded(content, first)
        if found is not None and _skip(content, found.end) >= last:
            return found
    first = content.find("{", start)
    found = _decoded(content, first) if first >= 0 else None
    return found if found is not None and content.find("{", found.end) < 0 else None


def members(content: str, start: int) -> Iterator[tuple[str, Place]]:
    """Yield the members of the object that begins at a place, each with the place of its value."""
    at = _skip(content, start + 1)
    while content[at] != "}":
        key = _decoded(content, at if content[at] == '"' else at + 1)
        value = None if key is None else _decoded(content, _skip(content, key.end) + 1)
        if key is None or value is None:
            return
        yield key.value, value
        at = _skip(content, value.end)


def probabilities(content: str, listed: Any) -> Callable[[int, int], float | None]:
    """Make what gives the probability of the tokens between two places of the content; None where nobody says.

    It is the product of the probabilities of all tokens that hold a character of it.
    """
    tokens = [(_bytes(one), _logprob(one)) for one in listed] if isinstance(listed, list) else []
    written = content.encode()
    first = b"".join(spelled for spelled, _ in tokens).rfind(written)  # reasoning may be told before it

    def between(start: int, end: int) -> float | None:
        if first < 0 or not tokens:
            return None
        begins, ends = (first + len(content[:at].encode()) for at in (start, end))
        at, total = 0, 0.0
        for spelled, logprob in tokens:
            if at < ends and at + len(spelled) > begins:
                total += math.nan if logprob is None else logprob
            at += len(spelled)
        return None if math.isnan(total) else math.exp(total)

    return between


def _logprob(token: Any) -> float | None:
    value: Any = token.get("logprob") if isinstance(token, dict) else None
    return min(0.0, float(value)) if is_number(value) else None


def _bytes(token: Any) -> bytes:
    """Spell a token: its bytes, where they are told, for one may be a part of a character only."""
    if not isinstance(token, dict):
        return b""
    told = token.get("bytes")
    if isinstance(told, list) and all(isinstance(one, int) and 0 <= one < 256 for one in told):
        return bytes(told)
    return str(token.get("token")).encode(errors="replace")
