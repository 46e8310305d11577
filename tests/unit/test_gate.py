"""The gate: who may replace whom, and what the verdict says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.loop.gate import Labels, judge, judge_first

A, B = ("a",), ("b",)


def test_the_first_version_must_beat_the_majority_class() -> None:
    truth, learned_from = [A, A, A, B], [A, A, B]

    assert judge_first(truth, [A, A, A, B], learned_from, "v1").passed
    verdict = judge_first(truth, [A, A, A, A], learned_from, "v1")
    assert not verdict.passed
    assert verdict.sentence == (
        "v1 is rejected: 3 of 4 test items right (0.750), no better than the majority class with 0.750"
    )


def test_an_equal_challenger_replaces_the_champion() -> None:
    verdict = judge([A, B], [A, A], [B, B], ("v1", "v2"), 0.1)

    assert verdict.passed
    assert verdict.sentence.startswith("v2 replaces v1: 1 of 2 test items right (0.500) against 1 (0.500) of v1")
    assert verdict.numbers == {"test_items": 2, "champion": 0.5, "challenger": 0.5}


def test_a_lower_accuracy_is_rejected() -> None:
    verdict = judge([A, B], [A, B], [A, A], ("v1", "v2"), 1.0)

    assert not verdict.passed
    assert "v2 is rejected: 1 of 2 test items right (0.500) against 2 (1.000) of v1" in verdict.sentence


def test_a_class_with_ten_items_may_not_fall_by_more_than_the_margin() -> None:
    truth = [A] * 10 + [B] * 10
    champion = [A] * 10 + [A] * 10
    challenger = [A] * 8 + [B] * 12

    fallen = judge(truth, champion, challenger, ("v1", "v2"), 0.1)
    assert not fallen.passed
    assert "but class a falls from 1.000 to 0.800 on 10 items" in fallen.sentence
    assert judge(truth, champion, challenger, ("v1", "v2"), 0.2).passed


def test_a_class_with_nine_items_does_not_decide() -> None:
    truth = [A] * 9 + [B] * 10

    assert judge(truth, [A] * 19, [B] * 9 + [B] * 10, ("v1", "v2"), 0.1).passed


def test_an_item_with_several_labels_is_right_only_as_a_whole() -> None:
    truth: list[Labels] = [("a", "b"), ("a",)]

    assert judge_first(truth, [("b", "a"), ("a",)], [A], "v1").numbers["challenger"] == 1.0
    assert judge_first(truth, [("a",), ("a",)], [A], "v1").numbers["challenger"] == 0.5


def test_the_majority_is_that_of_the_training_items() -> None:
    verdict = judge_first([B], [B], [A, A, B], "v1")

    assert verdict.passed
    assert verdict.numbers == {"test_items": 1, "challenger": 1.0, "majority": 0.0}


items = st.lists(st.tuples(*[st.sampled_from([A, B, ("a", "b"), ()])] * 3), min_size=1, max_size=60)


@given(items, st.floats(0, 1))
def test_a_promoted_challenger_is_never_less_accurate(rows: list[tuple[Labels, Labels, Labels]], margin: float) -> None:
    truth, champion, challenger = (list(column) for column in zip(*rows, strict=True))
    verdict = judge(truth, champion, challenger, ("v1", "v2"), margin)

    if verdict.passed:
        assert verdict.numbers["challenger"] >= verdict.numbers["champion"]
    assert judge(truth, champion, champion, ("v1", "v2"), margin).passed


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_no_loss_is_no_fall(margin: float) -> None:
    truth = [A] * 30

    assert judge(truth, [A] * 29 + [B], [A] * 29 + [B], ("v1", "v2"), margin).passed
