"""How ``benchmarks seconds`` tells a round, from what the worker was seen to do."""

import pytest

from benchmarks.seconds_round import Watched, told

RUN = [("fetch", 102.0), ("train", 103.0), ("evaluate", 105.0), ("judge", 105.5), ("prelabel", 106.0), ("flip", 108.0)]


@pytest.mark.parametrize(
    ("stages", "last", "expected"),
    [
        (RUN, 100.0, "all 8.50 s: noticed 2.00 fetched 1.00 trained 2.00 judged 1.00 imported 2.00 flipped 0.50; 9 MB"),
        pytest.param(
            [("prelabel", 95.0), ("", 101.5), *RUN],
            100.0,
            "all 8.50 s: noticed 0.50 other work 1.50 "
            "fetched 1.00 trained 2.00 judged 1.00 imported 2.00 flipped 0.50; 9 MB",
            id="an import of the version before counts for itself",
        ),
        pytest.param(
            RUN,
            102.5,
            "all 6.00 s (begun 0.50 s before the last label): "
            "fetched 1.00 trained 2.00 judged 1.00 imported 2.00 flipped 0.50; 9 MB",
            id="a run that had begun",
        ),
        pytest.param(
            [*RUN, ("prelabel", 108.6), ("", 120.0)],
            100.0,
            "all 8.50 s: noticed 2.00 fetched 1.00 trained 2.00 judged 1.00 imported 2.00 flipped 0.50; 9 MB",
            id="what follows the flip does not count",
        ),
        ([("prelabel", 95.0)], 100.0, "all 8.50 s; no stage of its run was seen"),
    ],
)
def test_a_round_is_told_by_the_stages_of_its_run(stages: list[tuple[str, float]], last: float, expected: str) -> None:
    assert told(last, 108.5, Watched(stages, memory=9.0)) == expected
