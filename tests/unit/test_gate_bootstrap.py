"""The paired bootstrap of calibration errors."""

import numpy as np
import pytest

from labelloop.run.paired import gap_interval


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
