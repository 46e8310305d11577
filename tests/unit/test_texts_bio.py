"""Spans as tags of sub-tokens, and spans read off what a network says of them."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.kinds.texts.bio import IGNORED, likeliest, spans_of, tag_count, tags_of
from labelloop.kinds.texts.windows import Tokens
from support.examples import examples


def tokens(*places: tuple[int, int]) -> Tokens:
    starts, ends = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return Tokens(np.zeros(len(places), dtype=np.int64), starts, ends)


WORDS = tokens((0, 2), (3, 3), (4, 6), (6, 9), (10, 12))


def test_a_span_begins_once_and_goes_on() -> None:
    assert tags_of(WORDS, [(4, 9, 1), (10, 12, 0)]).tolist() == [0, IGNORED, 3, 4, 1]


def test_a_sub_token_in_which_two_spans_meet_is_the_first_ones() -> None:
    assert tags_of(WORDS, [(6, 8, 0), (8, 12, 0)]).tolist() == [0, IGNORED, 0, 1, 1]


def test_a_span_of_blanks_alone_is_nothing() -> None:
    assert tags_of(WORDS, [(2, 4, 0)]).tolist() == [0, IGNORED, 0, 0, 0]


def certain(tags: list[int], count: int, sure: float = 0.9) -> npt.NDArray[np.float64]:
    """Give the probabilities of somebody who is ``sure`` of these tags; of what is ignored nothing is said."""
    rows = np.full((len(tags), count), (1 - sure) / (count - 1))
    for at, tag in enumerate(tags):
        rows[at, max(tag, 0)] = sure
    return rows


@st.composite
def spanned(draw: st.DrawFn) -> tuple[Tokens, list[tuple[int, int, int]]]:
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    ends = np.cumsum(lengths)
    places = [(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)]
    told = [place for place in places if place[0] < place[1]]
    spans, at = [], 0
    while at < len(told):
        size = draw(st.integers(0, 3))
        if size:
            spans.append((told[at][0], told[min(at + size, len(told)) - 1][1], draw(st.integers(0, 1))))
        at += max(size, 1)
    return tokens(*places), spans


@settings(max_examples=examples(200), deadline=None)
@given(spanned())
def test_spans_along_sub_tokens_come_back_as_they_were(case: tuple[Tokens, list[tuple[int, int, int]]]) -> None:
    cut, spans = case
    found = spans_of(cut, certain(tags_of(cut, spans).tolist(), tag_count(2)))
    assert [(one.start, one.end, one.label) for one in found] == spans
    assert all(one.score == pytest.approx(0.9) for one in found)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_likeliest_tags_are_the_best_of_all_that_follow_the_rules(count: int, seed: int) -> None:
    scores = np.log(np.random.default_rng(seed).dirichlet(np.ones(5), size=count))

    def allowed(path: tuple[int, ...]) -> bool:
        return all(
            tag % 2 or not tag or before in {tag - 1, tag} for before, tag in zip((0, *path), path, strict=False)
        )

    best = max(filter(allowed, product(range(5), repeat=count)), key=lambda path: sum(scores[range(count), path]))
    assert tuple(likeliest(scores)) == best


def test_a_span_is_as_sure_as_its_least_sure_part_or_its_end() -> None:
    rows = certain([1, 2, 0], 3, 0.9)
    rows[1] = [0.1, 0.3, 0.6]
    assert [one.score for one in spans_of(tokens((0, 1), (1, 2), (2, 3)), rows)] == pytest.approx([0.6])
    rows = certain([1, 2, 0], 3, 0.99)
    rows[2] = [0.52, 0.0, 0.48]
    assert [one.score for one in spans_of(tokens((0, 1), (1, 2), (2, 3)), rows)] == pytest.approx([0.52])
