"""How often a version that is as good is found worse, however often one looks; and how soon one that is worse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.watch.comparison import LEAST, Compared, Met, kept_less
from labelloop.watch.evidence import at_least, chances
from support.examples import examples

TRIALS, TASKS, ERROR = 400, 300, 0.05


def ever(differences: np.ndarray, error: float = ERROR) -> float:  # type: ignore[type-arg]
    """The share of trials (trials, tasks) that are found worse at any moment."""
    return float((chances(differences).min(axis=-1) <= error).mean())


@pytest.mark.parametrize("discordant", [0.1, 0.5, 1.0])
def test_one_that_is_as_good_is_hardly_ever_found_worse_whenever_one_looks(discordant: float) -> None:
    random = np.random.default_rng(1)
    drawn = random.choice([-1.0, 0.0, 1.0], p=[discordant / 2, 1 - discordant, discordant / 2], size=(TRIALS, TASKS))
    assert ever(drawn) <= ERROR + 2 * math.sqrt(ERROR * (1 - ERROR) / TRIALS)


def test_figures_between_are_no_more_often_wrong() -> None:
    # Expected to be 0, and as skewed as can be: a small gain mostly, a large loss now and then.
    random = np.random.default_rng(2)
    drawn = np.where(random.random((TRIALS, TASKS)) < 0.1, -0.9, 0.1)
    assert ever(drawn) <= ERROR + 2 * math.sqrt(ERROR * (1 - ERROR) / TRIALS)


def test_one_that_is_worse_is_found() -> None:
    random = np.random.default_rng(3)
    drawn = random.choice([-1.0, 0.0, 1.0], p=[0.05, 0.7, 0.25], size=(TRIALS, TASKS))
    assert ever(drawn, 0.01) > 0.95


@settings(max_examples=examples(100))
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=200), st.randoms())
def test_any_figures_give_a_chance_that_their_order_does_not_change(values: list[float], random) -> None:  # type: ignore[no-untyped-def]
    found = chances(values)
    assert ((found >= 0) & (found <= 1)).all()
    mixed = values.copy()
    random.shuffle(mixed)
    assert chances(mixed)[-1] == pytest.approx(found[-1], rel=1e-6, abs=1e-300)
    assert chances([*values, 1.0])[-1] <= found[-1]
    assert chances([*values, -1.0])[-1] >= found[-1]


@pytest.mark.parametrize("wrong", [1.1, -1.1, math.nan, math.inf])
def test_what_is_no_difference_of_two_shares_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        chances([0.0, wrong])


def test_thousands_of_figures_fill_no_number() -> None:
    assert chances([1.0] * 5000)[-1] == 0.0
    assert chances([-1.0] * 5000)[-1] == 1.0


def test_a_share_is_bounded_from_below() -> None:
    # 10 of 10: q ** 10 = .01; and what is certain to be lower is never said.
    assert at_least(10, 10, 0.01) == pytest.approx(0.01**0.1)
    assert 0.65 < at_least(80, 100, 0.01) < 0.71
    assert at_least(0, 100, 0.01) == at_least(0, 0, 0.01) == 0.0
    random = np.random.default_rng(4)
    drawn = random.binomial(50, 0.9, 2000)
    assert np.mean([at_least(int(kept), 50, 0.05) > 0.9 for kept in drawn]) <= 0.05


def test_what_was_kept_of_other_tasks_tells_large_differences_alone() -> None:
    assert kept_less((60, 20), (55, 50), 0.01)
    assert not kept_less((60, 48), (55, 50), 0.01)
    assert not kept_less((LEAST - 1, 0), (55, 50), 0.01)
    assert not kept_less((60, 0), (0, 0), 0.01)


def test_it_is_told_in_figures() -> None:
    found = Compared("v1", tuple(Met(task, 0.25, 1.0) for task in range(20)))
    assert found.told("v2") == (
        "on 20 randomly served tasks annotators agree with v2 by 25.0% and with v1, asked about the same tasks, by "
        "100.0% (v1 is closer on 20, v2 on 0); a version as good as v1 ever looks so with a chance of at most "
        f"{found.chance():.2g}"
    )
    assert Compared().chance() == 1.0
