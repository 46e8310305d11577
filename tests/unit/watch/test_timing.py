"""How much time pre-annotations save: against what is known of drawn times."""

import numpy as np
import pytest

from labelloop.watch.timing import ENOUGH, LEFT_OPEN, MOST, Saved, attended, time_saved


def test_a_constant_difference_is_found_with_an_interval_without_width() -> None:
    found = time_saved([4.0] * 20, [10.0] * 10, 90)
    assert found == Saved(20, 10, 90, (6.0, 6.0, 6.0), (9.0, 9.0, 9.0))


@pytest.mark.parametrize(("shown", "control"), [(ENOUGH - 1, 50), (50, ENOUGH - 1), (0, 0)])
def test_nothing_is_said_of_few_times(shown: int, control: int) -> None:
    assert time_saved([4.0] * shown, [9.0] * control, 100) == Saved(shown, control, 100)


def test_a_task_left_open_over_lunch_counts_for_nothing() -> None:
    usual = [3.0, 4.0, 5.0] * 5, [8.0, 10.0, 12.0] * 5
    with_lunch = [*usual[0], 3600.0], [*usual[1], 5400.0, LEFT_OPEN * 10.0 + 1]
    assert time_saved(*with_lunch, 60).seconds == time_saved(*usual, 60).seconds
    assert list(attended([1.0, 1.0, 10.0, 10.1])) == [1.0, 1.0, 10.0, 10.1], "a median of 5.5"


def test_time_that_was_lost_is_below_zero() -> None:
    seconds = time_saved([9.0, 10.0, 11.0] * 20, [3.0, 4.0, 5.0] * 20, 60).seconds
    assert seconds is not None
    assert seconds[0] == pytest.approx(-6.0)
    assert seconds[1] < seconds[0] < seconds[2] < 0


def test_the_same_times_tell_the_same_and_any_number_of_them_can_be_told() -> None:
    chance = np.random.default_rng(1)
    shown, control = chance.gamma(2, 2, 30 * MOST).tolist(), chance.gamma(2, 5, 40).tolist()
    assert time_saved(shown, control, 10) == time_saved(shown, control, 10)
    assert len(attended(shown)) <= MOST


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    """150 draws of long-tailed times, of which one in fifty was left open; measured over 2,000: see docs/loop.md."""
    chance, covered = np.random.default_rng(5), 0
    for _ in range(150):
        shown, control = (mean * np.exp(chance.normal(-0.18, 0.6, count)) for mean, count in ((4, 60), (10, 30)))
        for times in (shown, control):
            times[chance.random(len(times)) < 0.02] = 1800
        found = time_saved(shown.tolist(), control.tolist(), 60).seconds
        assert found is not None
        covered += found[1] <= 6 <= found[2]
    assert covered >= 0.87 * 150
