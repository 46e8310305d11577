"""What people wait for asks the tool first: while it is near, files are read one at a time, a tenth of the time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from labelloop.errors import WorkerEnds
from labelloop.loop import right_of_way
from labelloop.loop.hub import Hub
from labelloop.loop.moments import Planned, forget, plan
from labelloop.loop.queue import LONG, SHORT
from labelloop.loop.right_of_way import RightOfWay, people_wait
from labelloop.types import ProjectKey

from .conftest import PROJECT, begin_job, end_job

OTHER = ProjectKey(PROJECT.instance, 8)


class Asked:
    """A tool that takes a moment for each file, and sees how many it is asked for at a time.

    With ``together`` it gives none before so many are asked for.
    """

    def __init__(self, seconds: float = 0.01, together: int = 1) -> None:
        self._seconds, self._lock, self._now = seconds, threading.Lock(), 0
        self._all = threading.Barrier(together)
        self.times: list[float] = []
        self.most = 0

    def __call__(self) -> bytes:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.times.append(time.monotonic())
        self._all.wait(10)
        time.sleep(self._seconds)
        with self._lock:
            self._now -= 1
        return b"a file"


def read_all(way: RightOfWay, tool: Callable[[], bytes], count: int) -> None:
    """Read so many files, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(lambda _: way.read(tool), range(count))} == {b"a file"}


@pytest.fixture
def told() -> list[bool]:
    return []


@pytest.fixture
def way(hub: Hub, told: list[bool], monkeypatch: pytest.MonkeyPatch) -> RightOfWay:
    monkeypatch.setattr(right_of_way, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(right_of_way, "_LINGERING_SECONDS", 0.05)
    made = RightOfWay(hub.redis, lambda: None, lambda: told.append(made.gives_way))
    return made


def test_files_take_a_tenth_of_the_tools_time_while_a_run_asks_it(hub: Hub, way: RightOfWay, told: list[bool]) -> None:
    begin_job(hub, "retrain", within=LONG, stage="fetch", project=OTHER)
    tool = Asked()
    read_all(way, tool, 4)
    assert tool.most == 1
    assert all(later - before > 0.099 for before, later in zip(tool.times, tool.times[1:], strict=False))
    assert told == [True]


def test_a_few_are_read_together_before_and_as_soon_as_it_is_over(
    hub: Hub, way: RightOfWay, told: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(right_of_way, "PAUSE", 1e6)
    tool = Asked(together=4)
    read_all(way, tool, 8)
    assert (tool.most, told) == (4, [])
    job = begin_job(hub, "deploy")
    time.sleep(0.03)

    def ends_it() -> bytes:
        end_job(job)
        return tool()

    tool = Asked()
    read_all(way, ends_it, 5)
    assert told == [True, False]


def test_a_run_that_is_about_to_be_decided_is_near(hub: Hub) -> None:
    for name, seconds, near in (
        ("consider", 30.0, False),
        ("prelabel", 0.0, False),
        ("consider", 0.2, True),
        ("consider", -1.0, True),
    ):
        plan(hub.redis, Planned(name, OTHER), time.time() + seconds)
        assert people_wait(hub.redis) == near, (name, seconds)
        forget(hub.redis, OTHER)


def test_what_nobody_waits_for_and_a_training_hold_nothing_up(hub: Hub) -> None:
    for name, within in (("prelabel", SHORT), ("sweep", SHORT), ("compare", LONG)):
        begin_job(hub, name, within=within)
    run = begin_job(hub, "retrain", within=LONG, stage="train")
    gone = begin_job(hub, "deploy")
    gone.delete(remove_from_queue=False, delete_dependents=False)
    assert not people_wait(hub.redis)
    run.meta["progress"] = {"stage": "prelabel"}
    run.save()
    assert people_wait(hub.redis)


def test_who_is_to_end_does_not_wait_for_its_turn(hub: Hub) -> None:
    def ends() -> None:
        raise WorkerEnds("this worker was asked to end")

    way = RightOfWay(hub.redis, ends, lambda: None)
    begin_job(hub, "consider")
    way.read(Asked(0.05))
    with pytest.raises(WorkerEnds):
        way.read(Asked())


def test_without_redis_files_are_read(hub: Hub) -> None:
    away = Hub(replace(hub.settings, redis_url="redis://127.0.0.1:1"), hub.tool)
    assert RightOfWay(away.redis, lambda: None, lambda: None).read(Asked()) == b"a file"
