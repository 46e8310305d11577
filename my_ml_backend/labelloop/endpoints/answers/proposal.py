"""The mapping that is proposed for an answer of unknown shape: tried on that answer, and shown with what it gives.

An error goes into logs, so that it names fields and no values. What a proposal reads is for the person who probes.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from labelloop.endpoints.answers.format import is_share, path_step
from labelloop.endpoints.answers.vocabulary import IDS, LABELS, SCORES, field, has_place, is_reserved, is_word
from labelloop.types import Answer, Failure, Findings, Number, Output, Text

Reads = Callable[[str, str], list[Answer | Failure] | None]
"""Reads the answer in a format, after a mapping; None where it is not of that format."""

_DEPTH = 3
_MOST_KEYS = 12
_MOST_PATHS = 60
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Proposal:
    """A response format, a mapping before it, and what they read of the first input."""

    response: str
    mapping: str
    answer: Answer

    @property
    def settings(self) -> str:
        """What is to be set."""
        form = "" if self.response == "auto" else f"response={self.response} "
        return f"{form}mapping={self.mapping}"

    @property
    def gives(self) -> str:
        """What it reads: ``cat 0.9, dog 0.1``."""
        if isinstance(self.answer, Output):
            named = sorted(self.answer.scores.items(), key=lambda pair: -pair[1])
            shown = [f"{name} {score:.4g}" for name, score in named[:_SHOWN]]
        else:
            regions = self.answer.regions[:_SHOWN]
            shown = [f"{one.label} {'-' if one.score is None else f'{one.score:.4g}'}: {one.shape}" for one in regions]
        all_of_it = len(self.answer.scores if isinstance(self.answer, Output) else self.answer.regions)
        return ", ".join(shown) + (f" and {all_of_it - _SHOWN} more" if all_of_it > _SHOWN else "")


def propose(value: Any, reads: Reads) -> Proposal | None:
    """Find a mapping that turns an answer into a valid reading; None where none is found, or several that differ.

    First whatever lies inside it and is of a known format, then objects whose fields have other names than the usual.
    """
    for candidates in (_inside(value), _renamed(value)):
        found: list[Proposal] = []
        for response, mapping in candidates:
            if any(mapping.startswith(f"{other.mapping}.") for other in found):
                continue  # what lies inside of what is read already
            answers = reads(response, mapping)
            if answers and all(map(_is_sound, answers)) and not isinstance(answers[0], Failure):
                found.append(Proposal(response, mapping, answers[0]))
        if found:
            return found[0] if all(one.answer == found[0].answer for one in found) else None
    return None


def _is_sound(answer: Answer | Failure) -> bool:
    """Whether something was found that can be told from a text or a number that stands there for another reason."""
    if isinstance(answer, Findings):
        return bool(answer.regions) and not any(isinstance(one.shape, Text | Number) for one in answer.regions)
    return isinstance(answer, Output)


def _inside(value: Any) -> Iterator[tuple[str, str]]:
    for path, inner in _paths(value):
        if path and isinstance(inner, dict | list) and inner:
            yield "auto", path


def _renamed(value: Any) -> Iterator[tuple[str, str]]:
    for path, inner in _paths(value):
        if isinstance(inner, list) and inner and all(map(_is_pair, inner)):
            yield "labels", f"{path}[*].{{label: [0], score: [1]}}"
        listed = isinstance(inner, list) and bool(inner) and isinstance(inner[0], dict)
        entry = inner[0] if listed else inner
        if not isinstance(entry, dict) or has_place(entry):
            continue
        label = _named(entry, LABELS, is_word)
        score = _named(entry, SCORES, is_share)
        if label is not None and score is not None and label != score:
            one = f"{{label: {path_step(label)}, score: {path_step(score)}}}"
            where = f"{path}[]" if listed else path
            yield "labels", f"{where}.{one}" if where else one


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and is_word(entry[0]) and is_share(entry[1])


def _named(entry: dict[str, Any], names: Collection[str], accepts: Callable[[Any], bool]) -> str | None:
    """Take the field that the vocabulary names, else the only one that has such a value and no other meaning."""
    if (known := field(entry, names, accepts)) is not None:
        return known
    found = [key for key, value in entry.items() if accepts(value) and not is_reserved(key)]
    if not found and names is LABELS:
        return field(entry, IDS, accepts)
    return found[0] if len(found) == 1 else None


def _paths(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what lies inside an answer's objects with the JMESPath to it, the first few."""
    return islice(_within(value, "", _DEPTH), _MOST_PATHS)


def _within(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict) and depth:
        for key, inner in list(value.items())[:_MOST_KEYS]:
            yield from _within(inner, f"{path}.{path_step(key)}" if path else path_step(key), depth - 1)
