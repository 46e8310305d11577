"""What is foretold of more labels, against curves whose end is known."""

from collections.abc import Callable

import numpy as np
import pytest

from labelloop.train.learning_curve import Reached, forecast

Curve = Callable[[float], float]

LABELS = (40, 60, 80, 100, 120, 160, 200, 240, 280, 320, 360, 400)


def versions(curve: Curve, seed: int) -> list[Reached]:
    """Versions of a loop: a tenth of the labels are test items, most of which the version before it met as well."""
    chance = np.random.default_rng(seed)
    hardness, found = chance.random(max(LABELS)), []
    for labels in LABELS:
        items = max(4, labels // 10)
        met = np.where(chance.random(items) < 0.8, hardness[:items], chance.random(items))
        found.append(Reached(labels * 9 // 10, int((met < curve(labels)).sum()), items))
    return found


@pytest.mark.parametrize(
    ("curve", "error"),
    [
        (lambda labels: 0.95 - 0.12 * (labels / 100) ** -0.5, 0.015),
        (lambda labels: 0.90 - 0.05 * (labels / 100) ** -1.2, 0.015),
        (lambda labels: 1.00 - 0.25 * (labels / 100) ** -0.3, 0.02),
        (lambda labels: 0.92 - 0.40 * np.exp(-labels / 120), 0.015),
        (lambda _: 0.88, 0.015),
    ],
    ids=["power", "soon at its end", "slow", "exponential", "flat"],
)
def test_the_interval_of_twice_the_labels_holds_what_comes(curve: Curve, error: float) -> None:
    truth, held, errors = curve(800) - curve(400), 0, []
    for seed in range(20):
        found = forecast(versions(curve, seed))
        assert found is not None
        gain = found.doubled
        held += gain.low - 0.001 <= truth <= gain.high + 0.001
        errors.append(gain.value - truth)
    assert held >= 17
    assert abs(np.mean(errors)) <= error


def test_the_labels_for_a_point_are_told_where_much_is_known() -> None:
    def curve(labels: float) -> float:
        return float(0.96 - 0.10 * (labels / 100) ** -0.5)

    met = [Reached(labels, round(20_000 * curve(labels)), 20_000) for labels in (50, 100, 200, 400)]
    found = forecast(met)
    assert found is not None
    # .96 - .1 * (n / 100) ** -.5 is a point above its value at 400 where n = 100 * (.1 / .04) ** 2 = 625.
    likely, soonest, latest = found.for_a_point
    assert likely == pytest.approx(225, abs=60)
    assert soonest is not None
    assert latest is not None
    assert soonest <= 225 <= latest
    assert f"about {likely} more labels for +1 point" in found.sentence()
    flat = forecast([Reached(labels, 18_000, 20_000) for labels in (50, 100, 200, 400)])
    assert flat is not None
    assert flat.for_a_point[0] is None
    assert "less than 1 point" in flat.sentence()


@pytest.mark.parametrize(
    "met",
    [
        [],
        [Reached(40, 3, 4), Reached(200, 15, 20)],
        [Reached(100, 8, 10), Reached(110, 9, 11), Reached(120, 9, 12)],
        [Reached(100, 8, 10)] * 5,
        [Reached(0, 0, 0), Reached(100, 0, 0), Reached(300, 1, 2)],
    ],
    ids=["none", "two", "close together", "the same labels", "nothing measured"],
)
def test_nothing_is_foretold_of_too_little(met: list[Reached]) -> None:
    assert forecast(met) is None
