"""What a trial is worth: accuracy first, then log-loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.run.search.trial import trial_value


@given(
    pictures=st.integers(1, 500),
    right=st.integers(0, 500),
    losses=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
)
def test_one_picture_more_beats_any_log_loss(pictures: int, right: int, losses: tuple[float, float]) -> None:
    right = min(right, pictures - 1)
    assert (
        trial_value((right + 1) / pictures, losses[0], pictures)
        > trial_value(right / pictures, losses[1], pictures) - 1e-12
    )


def test_of_equal_accuracies_the_lower_log_loss_is_better() -> None:
    assert (
        trial_value(0.9, 0.2, 10)
        > trial_value(0.9, 0.3, 10)
        > trial_value(0.9, float("inf"), 10)
        == trial_value(0.9, None, 10)
    )


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), None])
def test_a_log_loss_that_is_none_is_the_worst(loss: float | None) -> None:
    assert trial_value(0.9, loss, 10) == pytest.approx(0.8)
