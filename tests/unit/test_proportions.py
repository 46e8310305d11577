"""Intervals of counts: what others compute, what defines them, and that they hold the truth as often as they say."""

import itertools
import math

import numpy as np
import pytest

from labelloop.train.intervals import paired_difference, wilson, worse

Z = 1.959963984540054


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_wilson_is_that_of_scipy(confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for items in (1, 2, 4, 19, 20, 204, 997):
        for hits in sorted({0, 1, items // 2, items - 1, items}):
            expected = stats.binomtest(hits, items).proportion_ci(confidence, method="wilson")
            assert wilson(hits, items, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_worse_is_the_binomial_test_with_half_of_what_was_seen() -> None:
    stats = pytest.importorskip("scipy.stats")
    pairs = list(itertools.product(range(12), repeat=2))
    losts, counts = np.array(pairs)[:, 0], np.array(pairs).sum(axis=1)
    expected = stats.binom.sf(losts, counts, 0.5) + stats.binom.pmf(losts, counts, 0.5) / 2
    for (lost, gained), probability in zip(pairs, expected, strict=True):
        assert worse(lost, gained) == pytest.approx(probability, abs=1e-12)
        assert worse(lost, gained) + worse(gained, lost) == pytest.approx(1, abs=1e-12)
    assert worse(5200, 5000) == pytest.approx(stats.norm.sf(200 / math.sqrt(10200)), rel=0.01)


@pytest.mark.parametrize("items", [1, 4, 40, 4000])
def test_versions_that_never_differ_have_the_width_that_their_number_gives(items: int) -> None:
    end = Z**2 / (items + Z**2)
    assert paired_difference(0, 0, items) == pytest.approx((-end, end), abs=1e-9)


@pytest.mark.parametrize(("lost", "gained", "items"), [(2, 12, 50), (9, 5, 44), (1, 0, 4), (0, 3, 30), (60, 30, 2000)])
def test_the_ends_are_where_the_score_test_turns(lost: int, gained: int, items: int) -> None:
    """The definition: estimate the rest by likelihood under the difference, and compare with its standard error."""
    optimize = pytest.importorskip("scipy.optimize")
    for end in paired_difference(lost, gained, items):

        def unlikely(only_first: float, end: float = end) -> float:
            only_second, both = only_first + end, 1 - 2 * only_first - end
            parts = ((lost, only_first), (gained, only_second), (items - lost - gained, both))
            return -sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

        bounds = (max(0.0, -end), (1 - end) / 2)
        only_first = optimize.minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        variance = (2 * only_first + end - end * end) / items
        assert abs((gained - lost) / items - end) / math.sqrt(variance) == pytest.approx(Z, rel=1e-3)


def test_they_exclude_zero_where_mcnemars_test_does() -> None:
    for lost, gained in itertools.product(range(15), repeat=2):
        low, high = paired_difference(lost, gained, 60)
        differs = lost + gained > 0 and (lost - gained) ** 2 / (lost + gained) > Z**2
        assert (low > 0 or high < 0) is differs, (lost, gained)
        assert paired_difference(gained, lost, 60) == pytest.approx((-high, -low), abs=1e-9)
        assert -1 <= low <= (gained - lost) / 60 <= high <= 1


@pytest.mark.parametrize(("lost", "gained", "items"), [(0.02, 0.02, 20), (0.1, 0.05, 40), (0.0, 0.01, 16)])
def test_they_hold_the_truth_as_often_as_they_say(lost: float, gained: float, items: int) -> None:
    drawn = np.random.default_rng(0).multinomial(items, [lost, gained, 1 - lost - gained], size=2000)
    outcomes, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
    ends = [paired_difference(int(one[0]), int(one[1]), items) for one in outcomes]
    held = sum(count for (low, high), count in zip(ends, times, strict=True) if low <= gained - lost <= high)
    assert held / 2000 >= 0.93
