"""Spans that are probably wrong: what CRFs say with confidence of texts that they have not learned from.

As confident learning has it (Northcutt, Jiang and Chuang, 2021, section 3), a model is confident of a label where it is
at least as sure as it is on average where that label is right. A span may be missed by annotators, have another label,
begin or end elsewhere, or be nothing at all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labelloop.errors import TrainingError
from labelloop.kinds.named_entity_recognition.features import plain
from labelloop.kinds.named_entity_recognition.recipes.base import Labeled, Regions
from labelloop.kinds.named_entity_recognition.recipes.head import FOLDS, Held, calibrate, unseen
from labelloop.kinds.named_entity_recognition.tokens import ends, tokenize
from labelloop.kinds.named_entity_recognition.training import labeled
from labelloop.regions import region_json
from labelloop.types import Json, Progress, Region

if TYPE_CHECKING:
    from labelloop.kinds.named_entity_recognition import NamedEntityRecognition
    from labelloop.run.context import Context

EMPTY = 0.05
"""How likely anything is at the words of a span below which there is nothing."""

SEVERAL = 3
"""Other texts that show how a word is used."""

LEAST, ENOUGH = 0.8, 0.9
"""Between these is the score from which on a model is confident, however sure it is on average of what is right."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One span that is probably wrong, and ``what`` is: ``missed``, ``label``, ``border`` or ``empty``.

    ``given`` is the span as it is labeled, ``found`` what was found instead; None where there is none.
    """

    what: str
    given: Region | None
    found: Region | None
    score: float
    given_score: float


class Usage:
    """In how many texts each word is part of a span, and in how many it is not."""

    def __init__(self, texts: Iterable[Labeled]) -> None:
        self._inside, self._outside = Counter[str](), Counter[str]()
        for text in texts:
            inside, outside = _words(text)
            self._inside.update(inside)
            self._outside.update(outside)

    def is_known(self, text: Labeled, span: Region | None) -> bool:
        """Whether every word of a span occurs in several other texts, and in none of them within a span.

        A name that no other text has is not found either, and that says nothing against it.
        """
        inside, outside = _words(text)
        start, end = ends(span) if span is not None else (0, 0)
        words = _within(text, start, end)
        return bool(words) and all(
            self._outside[word] - (word in outside) >= SEVERAL and self._inside[word] - (word in inside) == 0
            for word in words
        )


def _within(text: Labeled, start: int, end: int) -> set[str]:
    return {plain(text.text[a:b]) for a, b in tokenize(text.text) if start <= a < end}


def _words(text: Labeled) -> tuple[set[str], set[str]]:
    """Give the words of a text that are part of a span, and those that are not."""
    inside, outside = set[str](), set[str]()
    places = [ends(one) for one in text.regions]
    for a, b in tokenize(text.text):
        (inside if any(start <= a < end for start, end in places) else outside).add(plain(text.text[a:b]))
    return inside, outside


def find_doubts(context: "Context", kind: "NamedEntityRecognition") -> Json:
    """Examine the spans of a run's items, but for confirmed ones; gives ``label_errors.json``. Raises TrainingError."""
    items = {item.content: item for item in context.manifest.distinct()}
    texts = list(labeled(kind, context, items.values()))
    if len(texts) < 2 * FOLDS:
        raise TrainingError(f"{len(texts)} texts are too few to be examined: {2 * FOLDS} are needed")
    found = examined(texts, context.settings.seed, context.progress)
    errors = [
        {"task": items[text.content].task, "picture": text.content, "text": text.text, **_told(one)}
        for text, one in found
        if not items[text.content].confirmed
    ]
    return {"examined": len(texts), "folds": FOLDS, "errors": errors}


def examined(texts: Sequence[Labeled], seed: int, progress: Progress) -> list[tuple[Labeled, Doubt]]:
    """Give all doubts about texts, the most certain first."""
    held = unseen(texts, seed, float("inf"), progress)
    slope, shift, _ = calibrate(held)
    sure = [(text, tuple(_calibrated(one, slope, shift) for one in found)) for text, found in held]
    confident = _confident(sure)
    usage = Usage(texts)
    found = [
        (text, doubt)
        for text, regions in sure
        for doubt in doubts(text.regions, regions, confident)
        if doubt.what != "empty" or usage.is_known(text, doubt.given)
    ]
    return sorted(found, key=lambda one: (one[1].given_score - one[1].score, one[0].content))


def doubts(true: Regions, found: Regions, confident: Mapping[str, float]) -> Iterator[Doubt]:
    """Compare the spans of one text with what was found in it."""
    scores = {(one.label, one.shape): one.score or 0.0 for one in found}
    sure = [one for one in found if (one.score or 0.0) >= confident[one.label]]
    for one in true:
        own = scores.get((one.label, one.shape), 0.0)
        other = max(_touching(one, sure), key=lambda region: region.score or 0.0, default=None)
        likely = sum(region.score or 0.0 for region in _touching(one, found))
        if other is not None and (other.label, other.shape) != (one.label, one.shape):
            what = "border" if other.label == one.label else "label"
            yield Doubt(what, one, other, other.score or 0.0, own)
        elif likely < EMPTY:
            yield Doubt("empty", one, None, 1 - likely, likely)
    for region in sure:
        if not any(_touching(region, true)):
            yield Doubt("missed", None, region, region.score or 0.0, 1 - (region.score or 0.0))


def _touching(one: Region, others: Iterable[Region]) -> Iterator[Region]:
    start, end = ends(one)
    return (other for other in others if ends(other)[0] < end and start < ends(other)[1])


def _confident(held: Sequence[Held]) -> Mapping[str, float]:
    """Give for each label how sure of it is enough; never of one of which nothing was found that is right."""
    right: dict[str, list[float]] = defaultdict(list)
    for text, regions in held:
        true = {(one.label, one.shape) for one in text.regions}
        for one in regions:
            if (one.label, one.shape) in true:
                right[one.label].append(one.score or 0.0)
    labels = {one.label for _, regions in held for one in regions}
    means = {name: sum(right[name]) / len(right[name]) for name in labels if right[name]}
    return {name: min(max(LEAST, means[name]), ENOUGH) if name in means else 2.0 for name in labels}


def _calibrated(region: Region, slope: float, shift: float) -> Region:
    from labelloop.kinds.named_entity_recognition.crf import calibrated

    return replace(region, score=calibrated(region.score or 0.0, slope, shift))


def _told(one: Doubt) -> Json:
    names = {"given": one.given, "suggested": one.found}
    return {
        "what": one.what,
        **{name: [] if region is None else [region.label] for name, region in names.items()},
        "score": one.score,
        "given_score": one.given_score,
        "regions": [
            region_json(replace(region, score=None)) | {"mark": mark}
            for region, mark in ((one.given, "missed"), (one.found, "border"))
            if region is not None
        ],
    }
