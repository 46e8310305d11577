"""Hugging Face token classification: ``[{"entity" or "entity_group", "score", "word", "start", "end"}]``."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.format import entries, objects
from labelloop.endpoints.answers.spans import span
from labelloop.endpoints.answers.values import Malformed, class_name, score
from labelloop.types import Findings, Region, Span

_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
"""Begin, inside, end or last of several tokens; single or unit of one (IOB2, BIOES, BILOU)."""


class Tokens:
    """The answer format ``tokens``."""

    name = "tokens"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is a list of entities, or empty."""
        return objects(item, "entity", "entity_group")

    def read(self, item: Any, one: One) -> Findings:
        """Read one text's entities; tokens that belong together become one, with their mean score. Raises Malformed."""
        groups: list[list[_Token]] = []
        for entry in entries(item):
            token = _token(entry, one)
            if token is None:
                continue
            if groups and token.goes_on(groups[-1][-1], one.input.text):
                groups[-1].append(token)
            else:
                groups.append([token])
        return Findings(tuple(map(_region, groups)), one.version)


@dataclass(frozen=True, slots=True)
class _Token:
    """``place`` is its tag's letter, empty when the endpoint has put tokens together already."""

    label: str
    place: str
    span: Span
    score: float
    index: int | None

    def goes_on(self, before: "_Token", text: str | None) -> bool:
        """Whether it belongs to the same entity as the token before it."""
        if self.place not in ("I", "E", "L") or before.place in ("", "E", "L", "S", "U") or self.label != before.label:
            return False
        if self.index is not None and before.index is not None:
            return self.index == before.index + 1
        if text is not None:
            return not text[before.span.end : self.span.start].strip()
        return self.span.start <= before.span.end + 1


def _token(entry: dict[str, Any], one: One) -> _Token | None:
    """Read one entry; None for ``O``, a token outside all entities."""
    name = entry.get("entity_group", entry.get("entity"))
    if name == "O":
        return None
    tag = _TAG.fullmatch(name) if isinstance(name, str) and "entity_group" not in entry else None
    if name is None:
        raise Malformed("an entity has no name")
    return _Token(
        class_name(name if tag is None else tag[2], one),
        "" if tag is None else tag[1],
        span(entry.get("start"), entry.get("end"), one),
        score("score", entry.get("score")),
        index if isinstance(index := entry.get("index"), int) else None,
    )


def _region(group: list[_Token]) -> Region:
    whole = replace(group[0].span, end=max(token.span.end for token in group))
    return Region(group[0].label, whole, math.fsum(token.score for token in group) / len(group))
