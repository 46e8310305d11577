"""Spans as tags of sub-tokens, and words by the tags of theirs."""

import numpy as np
import pytest

from labelloop.kinds.texts.bio import IGNORED, of_words, tags_of
from labelloop.kinds.texts.windows import Tokens


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


PROBABILITIES = np.array([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3], [0.5, 0.1, 0.4], [0.9, 0.05, 0.05]])


def test_a_word_is_what_its_first_sub_token_is() -> None:
    found = of_words([(0, 2), (4, 9), (10, 12)], WORDS, PROBABILITIES)
    assert found.tolist() == PROBABILITIES[[0, 2, 4]].tolist()


def test_words_of_one_sub_token_begin_once_and_go_on() -> None:
    found = of_words([(0, 1), (1, 2), (4, 6)], WORDS, PROBABILITIES)
    assert found[0].tolist() == PROBABILITIES[0].tolist()
    assert found[1].tolist() == pytest.approx([0.1, 0.0, 0.9])
    assert found[2].tolist() == PROBABILITIES[2].tolist()


def test_several_sub_tokens_of_one_sign_are_read_by_the_first() -> None:
    cut = tokens((0, 1), (0, 1), (0, 1), (1, 3))
    assert of_words([(0, 1), (1, 3)], cut, PROBABILITIES[:4]).tolist() == PROBABILITIES[[0, 3]].tolist()


def test_a_word_without_any_sub_token_is_outside() -> None:
    assert of_words([(0, 2)], tokens(), np.zeros((0, 3))).tolist() == [[1, 0, 0]]
    assert of_words([(0, 1), (2, 3)], tokens((2, 3)), PROBABILITIES[:1]).tolist() == [[1, 0, 0], [0.1, 0.8, 0.1]]
