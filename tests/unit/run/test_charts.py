"""Charts as coordinates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.run.report.charts import HEIGHT, LEFT, TOP, UNIT, WIDTH, Series, line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 12, [5, 10]),
        (0, 0.03, [0, 0.01, 0.02, 0.03]),
        (-2, 3, [-2, -1, 0, 1, 2, 3]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=40))
def test_every_point_lies_in_the_plot(points: list[tuple[float, float]]) -> None:
    chart = line_chart("loss", [Series("training", points)], "epoch")

    assert chart is not None
    for place in chart.lines[0].points.split():
        x, y = map(float, place.split(","))
        assert LEFT <= x <= LEFT + WIDTH
        assert TOP <= y <= TOP + HEIGHT
    assert 1 <= len(chart.up) <= 11


def test_a_dot_is_as_large_as_what_it_stands_for() -> None:
    chart = line_chart("bins", [Series("served", [(0.2, 0.1), (0.9, 1.0)], [1, 100])], "score", UNIT, diagonal=True)

    assert chart is not None
    assert chart.lines[0].points == "110.0,165.0 334.0,12.0"
    assert [radius for _, _, radius in chart.lines[0].dots] == [1.5, 9.0]
    assert chart.summary == "served from 0.1 to 1"


def test_nothing_is_no_chart() -> None:
    assert line_chart("loss", [Series("training", [])], "epoch") is None
