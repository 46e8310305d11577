"""Tokens keep every character where it is, whatever the script, and spans become whole tokens."""

from bisect import insort

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.kinds.named_entity_recognition.spans import BLANKS, NOTHING, OVERLAPPING, WITHIN_WORD, learnable
from labelloop.kinds.named_entity_recognition.tokens import LONGEST, fits, inside, pieces, snapped, tokenize
from labelloop.types import Region, Span
from support.examples import examples

WILD = st.text(st.one_of(st.characters(), st.sampled_from("aZ9.\n \t\u200d\u0301\U0001f468\U0001f1e9\u4e2d\u05d0")))


@settings(max_examples=examples(300))
@given(WILD)
def test_every_character_but_blanks_is_in_one_token(text: str) -> None:
    tokens = tokenize(text)
    covered = [at for start, end in tokens for at in range(start, end)]
    assert covered == [at for at, character in enumerate(text) if not character.isspace()]
    assert all(start < end for start, end in tokens)


@settings(max_examples=examples(100))
@given(st.text(st.characters(max_codepoint=127)))
def test_what_is_ascii_is_cut_the_same_in_a_longer_text(text: str) -> None:
    assert tokenize(text) == tokenize(f"{text} \u00e9")[:-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dr. Smith's 3rd e-mail", ["Dr", ".", "Smith", "'", "s", "3", "rd", "e", "-", "mail"]),
        ("Ne\u0301e \u00c5ngstro\u0308m", ["Ne\u0301e", "\u00c5ngstro\u0308m"]),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd!",
            ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "!"],
        ),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"]),
        ("\u6771\u4eac\u3067Ada", ["\u6771", "\u4eac", "\u3067", "Ada"]),
        ("\uc11c\uc6b8\uc5d0\uc11c", ["\uc11c", "\uc6b8", "\uc5d0", "\uc11c"]),
        ("\u0e01\u0e38\u0e07", ["\u0e01\u0e38", "\u0e07"]),
        (
            "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd, \u0645\u0650\u0635\u0631",
            ["\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", ",", "\u0645\u0650\u0635\u0631"],
        ),
        ("a\r\nb\u2028c", ["a", "b", "c"]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in tokenize(text)] == words


@settings(max_examples=examples(200))
@given(WILD, st.data())
def test_a_span_becomes_all_tokens_that_it_touches(text: str, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.lists(st.integers(0, len(text) + 2), min_size=2, max_size=2)))
    tokens = tokenize(text)
    first, last = inside(tokens, (start, end))
    assert list(range(first, last)) == [at for at, (a, b) in enumerate(tokens) if a < end and start < b]
    place = snapped(tokens, (start, end))
    assert (place is None) == (first == last)
    if place is not None:
        assert text[start:end].strip() in text[place.start : place.end]
        assert snapped(tokens, (place.start, place.end)) == place


def spans(*places: tuple[int, int], label: str = "x") -> list[Region]:
    return [Region(label, Span(*place)) for place in places]


def test_the_longest_of_overlapping_spans_is_learned_and_the_others_are_told() -> None:
    text = "New York City Hall \U0001f600 is  here"
    found = learnable(text, spans((0, 8), (4, 18), (0, 18), (19, 20)))
    assert (found.regions, found.aside) == (tuple(spans((0, 18), (19, 20))), (OVERLAPPING, OVERLAPPING))


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=12))
def test_a_span_fits_where_it_shares_no_character(drawn: list[tuple[int, int]]) -> None:
    taken: list[tuple[int, int]] = []
    for start, length in drawn:
        place = (start, start + length)
        alone = {*range(*place)}.isdisjoint(at for one in taken for at in range(*one))
        assert fits(taken, place) == alone
        if alone:
            insort(taken, place)


def test_borders_within_words_and_beside_them_are_told() -> None:
    text = "  New York  is"
    found = learnable(text, spans((2, 8), (12, 40), (0, 2)))
    assert (found.regions, found.aside) == (tuple(spans((2, 10), (12, 14))), (BLANKS, WITHIN_WORD, NOTHING))


def test_of_two_labels_on_the_same_words_one_is_learned() -> None:
    found = learnable("Ada", [*spans((0, 3), label="b"), *spans((0, 3), label="a")])
    assert ([one.label for one in found.regions], found.aside) == (["a"], (OVERLAPPING,))


@settings(max_examples=examples(100))
@given(st.lists(st.sampled_from(["word", "word.", "word\n", "\n\n"]), max_size=3 * LONGEST), st.data())
def test_pieces_hold_every_token_once_and_cut_no_held_span(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    tokens = tokenize(text)
    first, last = sorted(data.draw(st.lists(st.integers(0, len(tokens)), min_size=2, max_size=2)))
    found = pieces(text, tokens, [(first, last)])
    assert [at for begin, end in found for at in range(begin, end)] == list(range(len(tokens)))
    assert all(begin < end for begin, end in found)
    assert not any(first < begin < last for begin, _ in found)
    assert all(end - begin <= LONGEST for begin, end in pieces(text, tokens))


def test_a_text_is_cut_at_blank_lines_and_a_long_one_behind_a_sentence() -> None:
    text = "one two\n\nthree"
    assert pieces(text, tokenize(text)) == [(0, 2), (2, 3)]
    long = " ".join(["word"] * 200 + ["end."] + ["word"] * 200)
    assert pieces(long, tokenize(long)) == [(0, 202), (202, 402)]
