"""Texts as an encoder reads them: where each sub-token stands, and how long texts are parted and put together again."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.kinds.texts.windows import EncoderSpec, Tokens, batches, cutter, merged, padded, spread
from support import tiny_encoder
from support.examples import examples


@pytest.fixture(scope="module", params=["wordpiece", "bytes"])
def cut(request: pytest.FixtureRequest) -> Any:
    return cutter(tiny_encoder.tokenizer(request.param), "tiny", length=12, pad=0)


WRITTEN = (
    "Paris is near Rome",
    "  two\n\nlines\tand blanks ",
    "a 😀 and a 👨‍👩‍👧 family",
    "e\u0301tude, nai\u0308ve",
    "東京は日本の首都",
    "שלום near עולם",
    "\ud800 alone",
    "\u3000wide blank",
    "",
    "   ",
)


@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_sub_tokens_have_their_places_in_the_text_as_it_is(cut: Any, text: str) -> None:
    tokens = cut.tokens(text)
    assert len(tokens.ids) == len(tokens.starts) == len(tokens.ends)
    covered: set[int] = set()
    for start, end in zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True):
        assert 0 <= start <= end <= len(text)
        assert text[start:end] == text[start:end].strip()
        covered.update(range(start, end))
    # Combining marks may be taken off a letter, by BERT's normaliser.
    assert {at for at, one in enumerate(text) if one.isalnum()} <= covered


def test_words_stand_where_they_are_whatever_blanks_a_tokenizer_counts_to_them(cut: Any) -> None:
    text = "😀 near Paris"
    tokens = cut.tokens(text)
    places = [(start, end) for start, end in zip(tokens.starts, tokens.ends, strict=True) if start >= 7]
    assert places[0][0] == 7
    assert places[-1][1] == 12


def test_every_window_has_the_special_sub_tokens_at_its_ends(cut: Any) -> None:
    spec, tokens = cut.spec, cut.tokens("the old house is near the river " * 4)
    assert len(spec.before) == len(spec.after) == 1
    places = cut.places(tokens)
    assert len(places) > 1
    for first, last in places:
        row = cut.window(tokens, first, last)
        assert len(row) <= spec.length
        assert (row[0], row[-1]) == (*spec.before, *spec.after)
        assert (row[1:-1] == tokens.ids[first:last]).all()
    assert (cut.beginning("the old house is near the river " * 4) == cut.window(tokens, *places[0])).all()


def test_a_text_of_nothing_is_a_window_still(cut: Any) -> None:
    assert cut.beginning("").tolist() == [*cut.spec.before, *cut.spec.after]
    bare = EncoderSpec("bare", 12, 3, (), (), 7)
    nothing = Tokens(*(np.zeros(0, dtype=np.int64),) * 3)
    assert type(cut)(cut.tokenizer, bare).window(nothing, 0, 0).tolist() == [7]


@settings(max_examples=examples(200), deadline=None)
@given(count=st.integers(0, 200), room=st.integers(2, 40), data=st.data())
def test_windows_cover_a_text_and_share_enough(count: int, room: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, room - 1))
    places = spread(count, room, overlap)
    assert places[0][0] == 0
    assert places[-1][1] == count
    assert all(last - first <= room for first, last in places)
    for one, other in pairwise(places):
        assert one[0] < other[0]
        assert one[1] - other[0] >= overlap


def test_windows_of_one_opinion_are_merged_to_it_and_the_one_that_sees_more_counts_more() -> None:
    places = [(0, 4), (2, 6)]
    same = np.tile([[0.25, 0.75]], (4, 1))
    assert merged(6, places, [same, same]) == pytest.approx(np.tile([[0.25, 0.75]], (6, 1)))
    other = np.tile([[1.0, 0.0]], (4, 1))
    found = merged(6, places, [same, other])[:, 0]
    assert found[:2] == pytest.approx(0.25)
    assert found[4:] == pytest.approx(1.0)
    assert found[2] == pytest.approx((2 * 0.25 + 1 * 1.0) / 3)
    assert found[3] == pytest.approx((1 * 0.25 + 2 * 1.0) / 3)


def test_batches_hold_every_row_once_and_are_not_too_large() -> None:
    rows = [np.zeros(length, dtype=np.int64) for length in (3, 9, 1, 4, 30, 4)]
    found = list(batches(rows, 12))
    assert sorted(np.concatenate(found).tolist()) == list(range(6))
    assert all(len(one) == 1 or len(one) * max(len(rows[at]) for at in one) <= 12 for one in found)
    ids, mask = padded([np.array([5, 6]), np.array([7])], 9)
    assert ids.tolist() == [[5, 6], [7, 9]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_what_cuts_no_text_is_refused() -> None:
    good = {"name": "x", "length": 12, "overlap": 2, "before": [1], "after": [2], "pad": 0}
    assert EncoderSpec.read(good).before == (1,)
    for bad in ({"length": 2}, {"overlap": 10}, {"pad": -1}, {"before": ["x"]}):
        with pytest.raises(ValueError, match="windows must be"):
            EncoderSpec.read(good | bad)
