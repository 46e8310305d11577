"""What is a text, and what is read of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import Unreadable
from labelloop.kinds.base import find
from labelloop.kinds.text_classification.reading import MOST, character_ngrams, decode, word_ngrams
from support.examples import examples


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is an empty text"),
        (" \n\t\N{NO-BREAK SPACE}".encode(), "it is an empty text"),
        (b"\xef\xbb\xbf", "it is an empty text"),
        (b"caf\xe9", "it is no text in UTF-8: byte 4 cannot be decoded"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        find("text-classification").check(content)


def test_a_mark_of_the_encoding_and_half_a_character_do_no_harm() -> None:
    assert decode(b"\xef\xbb\xbfcard") == "card"
    assert decode("half \ud83d".encode(errors="surrogatepass")) == "half \N{REPLACEMENT CHARACTER}"


def test_words_and_pairs_of_them_are_counted() -> None:
    assert word_ngrams("My card, my CARD!") == {"my": 2, "card": 2, "my card": 2, "card my": 1}


def test_characters_are_counted_within_words() -> None:
    assert character_ngrams("a b") == {" a": 1, "a ": 1, " a ": 1, " b": 1, "b ": 1, " b ": 1}
    assert "d ma" not in character_ngrams("card machine")
    assert character_ngrams("\N{SLIGHTLY SMILING FACE}")[" \N{SLIGHTLY SMILING FACE} "] == 1
    assert {"東京", "京都"} <= character_ngrams("東京都").keys()


@settings(max_examples=examples(100))
@given(st.text(max_size=40))
def test_any_text_can_be_read(text: str) -> None:
    if text.strip().strip("\ufeff").strip():
        assert decode(text.encode()) == text.removeprefix("\ufeff")
    assert all(2 <= len(gram) <= 5 for gram in character_ngrams(text))


def test_what_comes_after_the_limit_has_no_part() -> None:
    text = "card " * (MOST // 5)
    assert word_ngrams(text + "transfer") == word_ngrams(text)
