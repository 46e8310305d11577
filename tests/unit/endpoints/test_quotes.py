"""Quotations found again in the text that a model was given."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.endpoints.answers.quotes import find_quotes
from labelloop.types import Span
from support.examples import examples

WILD = st.text(
    st.sampled_from("aab .-'\"")
    | st.sampled_from("\u00e9e\u0301\u201c\u2019\u00a0\n\u4eac\U0001f600\u0130\u00df")
    | st.characters(codec="utf-8"),
    max_size=40,
)


def places(text: str, *quotes: str) -> list[tuple[int, int] | None]:
    found = find_quotes(text, [(quote, "a label") for quote in quotes])
    return [None if place is None else (place.start, place.end) for place in found]


@pytest.mark.parametrize(
    ("text", "quotes", "found"),
    [
        ("Ada flew to Paris", ["Ada", "Paris"], [(0, 3), (12, 17)]),
        ("Paris loves Paris", ["Paris", "Paris"], [(0, 5), (12, 17)]),
        ("Paris loves Paris", ["Paris", "Paris", "Paris"], [(0, 5), (12, 17), None]),
        ("Paris Hilton saw Paris", ["Paris Hilton", "Paris"], [(0, 12), (17, 22)]),
        ("New York University", ["New York University", "New York"], [(0, 19), (0, 8)]),
        ("Ada flew to Paris", ["Paris", "Ada"], [(12, 17), (0, 3)]),
        ("Ada flew to Paris", ["Bob", "", "  ", "Ada"], [None, None, None, (0, 3)]),
        ("start of art", ["art"], [(9, 12)]),
        ("start", ["art"], [(2, 5)]),
        ("\u5317\u4eac\u5927\u5b66\u5728\u5317\u4eac\u3002", ["\u5317\u4eac", "\u5317\u4eac"], [(0, 2), (5, 7)]),
        ("a\U0001f600b \U0001f600", ["b", "\U0001f600"], [(2, 3), (4, 5)]),
        ("the  Bank\n of  England", ["the Bank of England"], [(0, 22)]),
        ("he said \u201cno\u201d \u2013 it\u2019s", ['"no" - it\'s'], [(8, 19)]),
        ('a "b" and \u201cb\u201d', ['"b"'], [(2, 5)]),
        (" Ada ", [" Ada "], [(1, 4)]),
        ("A.C.", ["A.C.", "a.c."], [(0, 4), None]),
    ],
)
def test_where_quotations_stand(text: str, quotes: list[str], found: list[tuple[int, int] | None]) -> None:
    assert places(text, *quotes) == found


def test_a_word_that_is_quoted_too_often_is_not_found_within_others() -> None:
    assert places("start of art", "art", "art") == [(9, 12), None]


def test_one_place_may_have_two_labels_and_none_twice() -> None:
    found = find_quotes("Paris", [("Paris", "LOC"), ("Paris", "PER"), ("Paris", "LOC")])
    assert found == [Span(0, 5), Span(0, 5), None]


@settings(max_examples=examples(300))
@given(text=WILD, data=st.data())
def test_what_is_copied_from_any_text_in_its_order_is_found_letter_by_letter(text: str, data: st.DataObject) -> None:
    edges = [at for at in range(len(text) + 1) if not (text[at - 1 : at].isalnum() and text[at : at + 1].isalnum())]
    cuts = sorted(data.draw(st.lists(st.sampled_from(edges), max_size=8)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    quotes = [(text[start:end], "a label") for start, end in pairs]
    found = find_quotes(text, quotes)
    assert len(found) == len(quotes)
    for (quote, _), place in zip(quotes, found, strict=True):
        assert (place is None) == (not quote.strip())
        assert place is None or text[place.start : place.end] == quote.strip()
    given_places = [place for place in found if place is not None]
    assert len(set(given_places)) == len(given_places)


@settings(max_examples=examples(300))
@given(text=WILD, quotes=st.lists(WILD, max_size=5))
def test_a_place_is_always_within_the_text_and_says_the_same(text: str, quotes: list[str]) -> None:
    for quote, place in zip(quotes, places(text, *quotes), strict=True):
        if place is not None:
            assert 0 <= place[0] < place[1] <= len(text)
            alike = str.maketrans("\u201c\u2019", "\"'")
            spelled = [" ".join(words.translate(alike).split()) for words in (text[slice(*place)], quote)]
            assert spelled[0] == spelled[1] or any(ord(letter) > 127 for letter in text + quote)


def test_many_quotations_of_a_long_text_take_no_time() -> None:
    text = "Ada flew to Paris. " * 5_000
    found = find_quotes(text, [("Paris", "LOC"), ("nowhere at all", "LOC")] * 500)
    assert sum(place is not None for place in found) == 500
