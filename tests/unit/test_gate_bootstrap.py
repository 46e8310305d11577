"""The paired bootstrap: what it computes is what drawing would give."""

import itertools

import numpy as np
import pytest

from labelloop.run.paired import difference_interval, gap_interval


@pytest.mark.parametrize(("lost", "gained", "items"), [(1, 0, 1), (1, 1, 3), (2, 0, 5), (1, 2, 6)])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_the_interval_is_that_of_all_resamples_there_are(lost: int, gained: int, items: int, confidence: float) -> None:
    each = [-1] * lost + [1] * gained + [0] * (items - lost - gained)
    sums = np.sort([sum(drawn) for drawn in itertools.product(each, repeat=items)])
    tail = (1 - confidence) / 2
    expected = [sums[np.ceil(share * len(sums) - 1e-9).astype(int) - 1] / items for share in (tail, 1 - tail)]

    assert difference_interval(lost, gained, items, confidence) == pytest.approx(expected)


@pytest.mark.parametrize(("lost", "gained", "items"), [(12, 5, 300), (500, 450, 20_000)])
def test_the_interval_is_that_of_many_draws(lost: int, gained: int, items: int) -> None:
    drawn = np.random.default_rng(0).multinomial(
        items, [lost / items, gained / items, 1 - (lost + gained) / items], size=20_000
    )
    expected = np.quantile((drawn[:, 1] - drawn[:, 0]) / items, [0.025, 0.975])

    assert difference_interval(lost, gained, items, 0.95) == pytest.approx(expected, abs=0.1 * np.ptp(expected))


def test_calibration_errors_are_compared_item_by_item() -> None:
    random = np.random.default_rng(1)
    old = np.zeros((200, 15))
    old[np.arange(200), random.integers(8, 15, 200)] = random.normal(0.1, 0.2, 200)
    worse = old * 2
    order = random.permutation(200)

    low, high = gap_interval(old, worse, 0.95, 500, 0)
    assert 0 < low < high
    assert gap_interval(old, old, 0.95, 500, 0) == (0.0, 0.0)
    assert gap_interval(worse, old, 0.95, 500, 0) == pytest.approx((-high, -low))
    assert gap_interval(old[order], worse[order], 0.95, 500, 0) == (low, high)
    assert gap_interval(old, worse, 0.95, 500, 1) != (low, high)
