"""How far one prediction travels: the files it enters and its round trips to Redis, as docs/performance.md promises."""

import re
from pathlib import Path

import pytest

from benchmarks import bench_paths
from benchmarks.trace import side_by_side, tracing
from labelloop.types import Identity, ProjectKey

PAGE = (Path(__file__).parents[3] / "docs/performance.md").read_text()


@pytest.fixture(scope="module")
def journeys() -> tuple[bench_paths.Journey, bench_paths.Journey]:
    return bench_paths.journeys()


def test_a_prediction_enters_no_more_files_than_it_needs(
    journeys: tuple[bench_paths.Journey, bench_paths.Journey],
) -> None:
    own, foreign = journeys
    assert len(own.trace.files) <= bench_paths.FILES, own.trace.files
    assert len(foreign.trace.files) <= bench_paths.FOREIGN_FILES, foreign.trace.files
    assert own.prediction["result"][0]["value"]["choices"]
    assert foreign.prediction["result"][0]["value"]["rectanglelabels"] == ["cat"]


def test_a_prediction_asks_redis_once(journeys: tuple[bench_paths.Journey, bench_paths.Journey]) -> None:
    for journey in journeys:
        assert len(journey.redis) == bench_paths.ROUND_TRIPS, journey.redis
        assert len(journey.redis[0]) > 1, "what is asked for goes in one pipeline"


def test_the_page_promises_no_less(journeys: tuple[bench_paths.Journey, bench_paths.Journey]) -> None:
    told = re.findall(r"^\| .+ \| (\d+) \(goal \d+\) \| (\d+) \(goal 1\) \|$", PAGE, re.MULTILINE)
    assert len(told) == len(journeys)
    for (files, trips), journey in zip(told, journeys, strict=True):
        assert len(journey.trace.files) <= int(files)
        assert len(journey.redis) <= int(trips)


def test_a_trace_has_each_file_once_in_the_order_of_entering() -> None:
    with tracing() as trace:
        first = str(Identity.parse("7.1795187589"))
        second = ProjectKey.of("http://ls:8080", 7)
    assert (first, str(second)) == ("7.1795187589", "ls-8080/7")
    assert trace.files == ["labelloop/types.py"]
    assert trace.figures() == {"files": 1, "hops": 0, "functions": 3, "calls": 3}


def test_traces_stand_side_by_side() -> None:
    with tracing() as one:
        Identity.parse("7")
    with tracing() as none:
        pass
    head, line = side_by_side([("loop", one), ("command", none)])
    assert head.split() == ["loop", "command"]
    assert line.split() == ["labelloop/types.py", "1", "-"]
