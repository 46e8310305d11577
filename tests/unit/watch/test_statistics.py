"""The statistics of drift against scipy's, and by what they promise: exact levels, however small the samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.watch.statistics import Numbers, holm, ks, mmd, principal, psi, typical
from support.examples import examples

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40).map(np.array)


@settings(max_examples=examples(200))
@given(numbers, numbers)
def test_ks_is_scipys_exact_test(one: Numbers, other: Numbers) -> None:
    from scipy import stats  # type: ignore[import-untyped]

    found = ks(one, other)
    if found.statistic <= 1.001 / max(len(one), len(other)):
        # Any two samples are so far apart; scipy's sum may come out above 1 there, and it gives an estimate instead.
        assert found.p == pytest.approx(1.0)
        return
    expected = stats.ks_2samp(one, other, method="exact")
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("m", "n"), [(500, 300), (300, 300), (100, 500)])
@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0, 5.0])
def test_ks_is_scipys_with_samples_as_large_as_those_of_a_look(m: int, n: int, shift: float) -> None:
    from scipy import stats

    rng = np.random.default_rng(m + n)
    one, other = rng.normal(size=m), rng.normal(shift, size=n)
    expected = stats.ks_2samp(one, other, method="exact")
    assert ks(one, other).p == pytest.approx(expected.pvalue, rel=1e-6)


def test_ks_keeps_the_digits_of_the_smallest_p_value() -> None:
    assert ks(np.arange(300), np.arange(1000, 1300)).p == pytest.approx(2 * np.exp(-_log_choose(600, 300)), rel=1e-9)


def _log_choose(n: int, k: int) -> float:
    return float(np.log(np.arange(n - k + 1, n + 1)).sum() - np.log(np.arange(1, k + 1)).sum())


def test_ks_with_ties_never_promises_too_much() -> None:
    rng = np.random.default_rng(1)
    ps = np.array([ks(rng.integers(0, 4, 60), rng.integers(0, 4, 50)).p for _ in range(400)])
    assert (ps <= 0.05).mean() <= 0.05
    assert (ps <= 0.5).mean() <= 0.5


def test_ks_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="both samples"):
        ks(np.array([]), np.array([1.0]))


@settings(max_examples=examples(100))
@given(numbers, numbers)
def test_psi_is_a_size_that_order_does_not_change(one: Numbers, other: Numbers) -> None:
    found = psi(one, other)
    assert found >= 0
    assert found == pytest.approx(psi(one[::-1], other[::-1]))
    assert psi(one, one) == 0


@pytest.mark.parametrize(("m", "n"), [(40, 30), (100, 300), (500, 300)])
def test_psi_of_one_distribution_is_small_whatever_the_sizes(m: int, n: int) -> None:
    rng = np.random.default_rng(2)
    found = [psi(rng.random(m), rng.random(n)) for _ in range(300)]
    assert np.mean(found) < 1.0 * (1 / m + 1 / n) * 9
    assert np.median(found) < 0.05


def test_psi_tells_a_large_shift_from_a_small_one() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(size=500)
    small, large = psi(before, rng.normal(0.2, size=300)), psi(before, rng.normal(1.0, size=300))
    assert small < 0.1
    assert large > 0.25


def test_what_is_typical_lies_where_the_share_has_grown() -> None:
    before = np.linspace(0, 1, 100)
    new = np.concatenate([np.linspace(0, 1, 50), np.full(50, 0.95)])
    found = typical(before, new)
    assert found.shape == (100,)
    assert set(np.argsort(-found, kind="stable")[:50]) <= {*range(45, 100)}


def test_mmd_has_the_level_that_it_promises() -> None:
    rng = np.random.default_rng(4)
    ps = [mmd(rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), seed, permutations=99).p for seed in range(200)]
    # Of 200 tests at 5 percent 10 are wrong, and more than 20 hardly ever (p < .001).
    assert sum(p <= 0.05 for p in ps) <= 20
    assert np.mean(ps) == pytest.approx(0.5, abs=0.08)


def test_mmd_sees_a_change_of_spread_that_leaves_every_mean() -> None:
    rng = np.random.default_rng(5)
    found = mmd(rng.normal(size=(100, 3)), 3 * rng.normal(size=(100, 3)), seed=0, permutations=999)
    assert found.p == 0.001


def test_mmd_is_the_distance_of_means_in_the_kernels_space() -> None:
    rng = np.random.default_rng(6)
    one, other = rng.normal(size=(7, 2)), rng.normal(1, size=(5, 2))
    rows = np.concatenate([one, other])
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-squares / np.median(squares[np.triu_indices(12, 1)]))
    expected = kernel[:7, :7].mean() + kernel[7:, 7:].mean() - 2 * kernel[:7, 7:].mean()
    assert mmd(one, other, seed=0, permutations=9).statistic == pytest.approx(expected)


def test_mmd_names_the_rows_that_are_new() -> None:
    rng = np.random.default_rng(7)
    new = np.concatenate([rng.normal(size=(40, 2)), rng.normal(6, 0.5, size=(20, 2))])
    found = mmd(rng.normal(size=(80, 2)), new, seed=0, permutations=99)
    assert set(np.argsort(-found.witness)[:20]) == {*range(40, 60)}


def test_mmd_of_rows_that_are_all_the_same_finds_nothing() -> None:
    assert mmd(np.ones((5, 2)), np.ones((4, 2)), seed=0, permutations=99).p == 1.0


def test_mmd_ends_early_where_chance_explains_it_and_its_p_value_is_that_of_the_permutations_made() -> None:
    rng = np.random.default_rng(9)
    one, other = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    of_all = [mmd(one, other, seed, permutations=9_999).p for seed in range(10)]
    short = [mmd(one, other, seed, permutations=49).p for seed in range(100)]  # never ends early
    assert np.std(of_all) > 0.001, "all permutations would agree better than that"
    assert np.mean(of_all) == pytest.approx(np.mean(short), abs=0.05)


def test_mmd_gives_the_same_for_the_same_seed() -> None:
    rng = np.random.default_rng(8)
    one, other = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    assert mmd(one, other, 1, 99).p == mmd(one, other, 1, 99).p


def test_principal_directions_are_those_in_which_both_samples_together_vary_most() -> None:
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(70, 5)) * [0.1, 5, 0.1, 2, 0.1]
    reference, new = principal(rows[:40], rows[40:], 2)
    assert (reference.shape, new.shape) == ((40, 2), (30, 2))
    turned = np.abs(np.corrcoef(np.concatenate([reference, new]), rows[:, [1, 3]], rowvar=False)[:2, 2:])
    assert np.diag(turned) == pytest.approx([1, 1], abs=0.01)
    assert principal(rows[:40, :1], rows[40:, :1], 2)[0].shape == (40, 1)


def test_holm_adjusts_as_in_its_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=examples(100))
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_lies_between_no_correction_and_bonferronis(ps: list[float]) -> None:
    for adjusted, p in zip(holm(ps), ps, strict=True):
        assert p <= adjusted <= min(1.0, len(ps) * p) or adjusted == p == 1.0
