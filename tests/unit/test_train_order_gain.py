"""What labels that the order chose are worth against random ones."""

import numpy as np
import pytest

from labelloop.train.crossvalidation import Problem
from labelloop.train.order_gain import FEWEST, OrderGain, order_gain

pytestmark = pytest.mark.train

RANDOM, CHOSEN = np.arange(20, 120), np.arange(120, 260)


def problem(chosen: str) -> Problem:
    """Make eighty classes, two of which are frequent; ``chosen`` says which ones the order chose."""
    chance, each = np.random.default_rng(0), np.arange(260)
    frequent, rare = each % 2, 2 + each % 78
    mixed = np.where(chance.random(260) < 0.5, frequent, rare)
    classes = np.where(each < 120, mixed, rare if chosen == "rare" else mixed)
    rows = np.eye(80)[classes] + chance.normal(scale=0.1, size=(260, 80))
    shown = np.where((each >= 120) & (chosen == "wrong"), (classes + 1) % 80, classes)
    return Problem(rows.astype(np.float32), np.eye(80, dtype=bool)[shown], "single")


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("rare", "the order helps"),
        ("both", "what the order saves cannot be told from these labels"),
        ("wrong", "the order costs"),
    ],
)
def test_labels_that_teach_more_or_less_than_random_ones_are_told_from_those_that_teach_as_much(
    chosen: str, told: str
) -> None:
    found = order_gain(problem(chosen), RANDOM, CHOSEN, seed=0)
    assert found is not None
    assert (found.labels, found.besides, found.items) == (80, 20, 100)
    assert found.low < found.value < found.high
    assert found.told == told


def test_of_several_labels_an_item_needs_all() -> None:
    """Both classes go by a feature of their own; the order chose labels of which the second is always wrong."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(260, 2)).astype(np.float32)
    shown = rows > 0
    shown[CHOSEN, 1] ^= True
    found = order_gain(Problem(rows, shown, "multiple"), RANDOM, CHOSEN, seed=0)
    assert found is not None
    assert found.value < -0.8


def test_random_items_are_measured_by_heads_that_have_not_seen_them() -> None:
    """Features without any meaning: heads that had seen an item would know it, and those of the order would lose."""
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(260, 400)).astype(np.float32)
    nothing = Problem(rows, np.eye(2, dtype=bool)[chance.integers(2, size=260)], "single")
    found = order_gain(nothing, RANDOM, CHOSEN, seed=0)
    assert found is not None
    assert abs(found.value) < 0.15


@pytest.mark.parametrize(("random", "chosen"), [(FEWEST - 1, 140), (100, FEWEST - 1)])
def test_of_a_few_labels_nothing_is_said(random: int, chosen: int) -> None:
    assert order_gain(problem("both"), RANDOM[:random], CHOSEN[:chosen], seed=0) is None


def test_no_more_labels_are_exchanged_than_the_order_chose() -> None:
    found = order_gain(problem("both"), RANDOM, CHOSEN[:30], seed=0)
    assert found is not None
    assert (found.labels, found.besides) == (30, 130)


def test_the_sentence_has_every_figure() -> None:
    told = OrderGain(64, 32, 80, 0.0125, -0.04, 0.065).to_json()["sentence"]
    assert told == (
        "what the order saves cannot be told from these labels: 64 labels that it chose give +1.2 points against as "
        "many random ones (95 % interval -4.0 to +6.5, 80 random items)"
    )
