"""Spans that contradict models which have not seen them, and texts made worse on purpose."""

import random
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.kinds.named_entity_recognition.recipes.base import Labeled
from labelloop.kinds.named_entity_recognition.recipes.doubts import Usage, doubts, examined
from labelloop.kinds.texts.corruptions import CORRUPTIONS, typos
from labelloop.kinds.texts.occlusion import hidden, weights
from labelloop.types import Region, Span
from support.examples import examples

from .test_head import TEXTS

SURE = {"a": 0.8, "b": 0.8}


def span(start: int, end: int, label: str = "a", score: float | None = None) -> Region:
    return Region(label, Span(start, end), score)


@pytest.mark.parametrize(
    ("true", "found", "what"),
    [
        ((span(0, 3),), (span(0, 3, score=0.9),), []),
        ((), (span(0, 3, score=0.9),), ["missed"]),
        ((), (span(0, 3, score=0.7),), []),
        ((span(0, 3),), (span(0, 3, "b", 0.9), span(0, 3, score=0.1)), ["label"]),
        ((span(0, 3),), (span(0, 6, score=0.9),), ["border"]),
        ((span(0, 3),), (span(0, 6, score=0.7),), []),
        ((span(0, 3),), (), ["empty"]),
        ((span(0, 3),), (span(0, 3, score=0.04),), ["empty"]),
        ((span(0, 3),), (span(0, 3, score=0.04), span(4, 6, score=0.9)), ["empty", "missed"]),
    ],
)
def test_what_is_doubted(true: tuple[Region, ...], found: tuple[Region, ...], what: list[str]) -> None:
    assert [one.what for one in doubts(true, found, SURE)] == what


def test_wrong_labels_are_found_by_models_that_have_not_seen_them() -> None:
    person, place = TEXTS[1].regions[0], replace(TEXTS[2].regions[0], label="place")
    texts = [
        replace(one, regions=()) if at == 1 else replace(one, regions=(place,)) if at == 2 else one
        for at, one in enumerate(TEXTS)
    ]
    found = {text.content: doubt for text, doubt in examined(texts, 0, lambda *_: None)}
    assert set(found) == {TEXTS[1].content, TEXTS[2].content}
    missed, label = found[TEXTS[1].content], found[TEXTS[2].content]
    assert (missed.what, missed.given) == ("missed", None)
    assert missed.found is not None
    assert (missed.found.label, missed.found.shape) == (person.label, person.shape)
    assert (label.what, label.given, label.score > label.given_score) == ("label", place, True)


def test_a_name_that_no_other_text_has_is_not_called_empty() -> None:
    texts = [Labeled(str(at), f"the day {at}", ()) for at in range(5)]
    odd = Labeled("odd", "the Zed day", (span(0, 3), span(4, 7)))
    usage = Usage([*texts, odd])
    assert usage.is_known(odd, odd.regions[0])
    assert not usage.is_known(odd, odd.regions[1])
    assert not Usage([*texts, odd, replace(odd, content="twice")]).is_known(odd, odd.regions[0])


@settings(max_examples=examples(100))
@given(st.text(), st.sampled_from(sorted(CORRUPTIONS)))
def test_a_worse_text_is_as_long_and_blanks_stay_where_they_are(text: str, name: str) -> None:
    for change in CORRUPTIONS[name]:
        worse = change(text, random.Random(0))
        assert [letter.isspace() for letter in worse] == [letter.isspace() for letter in text]


def test_texts_are_made_worse() -> None:
    text, chance = "\u00c9l\u00e8ve Stra\u00dfe " * 40, random.Random(1)
    lower, upper, bare = (
        CORRUPTIONS[name][0](text, chance) for name in ("lower case", "upper case", "missing accents")
    )
    assert lower == text.lower()
    assert upper.startswith("\u00c9L\u00c8VE STRA\u00dfE ")
    assert bare.startswith("Eleve Stra\u00dfe ")
    assert all(unicodedata.category(letter) != "Mn" for letter in bare)
    changed = [
        sum(a != b for a, b in zip(text, typos(share)(text, random.Random(1)), strict=True)) for share in (0, 0.1)
    ]
    assert changed[0] == 0 < changed[1] < len(text) / 3


def test_a_word_weighs_what_the_score_loses_without_it() -> None:
    assert hidden("one two", (4, 7)) == "one \u2588\u2588\u2588"
    found = weights("one two", [(0, 3), (4, 7)], lambda texts: [0.5 + 0.4 * ("two" in text) for text in texts])
    assert [one["span"] for one in found] == [[0, 3], [4, 7]]
    assert [one["weight"] for one in found] == pytest.approx([0.0, 0.4])
