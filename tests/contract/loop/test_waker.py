"""Jobs begin at their moment: a real Redis, and the thread that each worker has."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labelloop.errors import QueueError
from labelloop.loop.clock import note_time
from labelloop.loop.hub import Hub
from labelloop.loop.moments import MOMENTS, PUSHED, Planned, first, plan, planned, take_due
from labelloop.loop.queue import SHORT, enqueue_due, queue
from labelloop.loop.redis_client import RedisClient
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.waker import keep_waking, make_due, take_over_scheduled
from labelloop.settings import Settings
from labelloop.types import ProjectKey
from support.waiting import wait_until

from .conftest import PROJECT
from .test_consider import scheduled, waiting

OTHER = ProjectKey("localhost-8080", 8)
LATE = 10.0
"""Seconds by which a job may be late here, where much else may run: some milliseconds alone, 15 where no push came."""


@contextmanager
def wakers(redis: RedisClient, count: int = 1) -> Iterator[None]:
    """Run the threads of so many workers."""
    stop = threading.Event()
    threads = [threading.Thread(target=keep_waking, args=(redis, stop)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        redis.publish(PUSHED, "")
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)


def jobs_of(hub: Hub) -> list[tuple[str, str]]:
    return [(str(job.func_name).rpartition(".")[2], job.args[0]) for job in waiting(hub, SHORT)]


def begun(hub: Hub, count: int = 1) -> float:
    """Wait for so many jobs, and say when there were."""
    while queue(hub.redis, SHORT).count < count:
        time.sleep(0.002)
    return time.time()


@pytest.mark.timeout(30)
def test_a_job_begins_at_its_moment_and_one_that_comes_before_it_is_pushed(hub: Hub) -> None:
    with wakers(hub.redis):
        hub.queue(OTHER).consider(time.time() + 60)
        sooner = time.time() + 0.2
        hub.queue(PROJECT).consider(sooner)
        assert sooner <= begun(hub) < sooner + LATE
        assert jobs_of(hub) == [("consider", str(PROJECT))]
        now_sooner = time.time() + 0.2
        hub.queue(OTHER).consider(now_sooner)
        assert now_sooner <= begun(hub, 2) < now_sooner + LATE
        at_once = time.time()
        hub.queue(PROJECT).prelabel(0.0)
        assert begun(hub, 3) < at_once + LATE
    assert jobs_of(hub)[1:] == [("consider", str(OTHER)), ("prelabel", str(PROJECT))]


@pytest.mark.timeout(30)
def test_of_several_workers_one_makes_the_job(hub: Hub) -> None:
    with wakers(hub.redis, 4):
        for number in range(20):
            hub.queue(ProjectKey("localhost-8080", number)).consider(time.time() + 0.01)
        begun(hub, 20)
    assert sorted(jobs_of(hub)) == sorted(("consider", f"localhost-8080/{number}") for number in range(20))


def test_the_earliest_moment_counts_and_a_job_that_waits_is_enough(hub: Hub) -> None:
    now = time.time()
    for at in (now + 50, now - 1, now + 70):
        hub.queue(PROJECT).consider(at)
    assert first(hub.redis) == now - 1
    hub.redis.zadd(MOMENTS, {"what somebody else has put there": now - 5})
    assert make_due(hub.redis) is None
    hub.queue(PROJECT).consider(now)
    assert make_due(hub.redis) is None
    assert jobs_of(hub) == [("consider", str(PROJECT))]

    waiting(hub, SHORT)[0].delete()
    hub.queue(PROJECT).consider(now)
    make_due(hub.redis)
    assert jobs_of(hub) == [("consider", str(PROJECT))], "the one that waited is being done"


def test_what_a_killed_worker_had_in_hand_is_done_by_the_next(hub: Hub) -> None:
    hub.queue(PROJECT).consider(time.time())
    with hub.redis.pipeline() as pipe:
        # It ends before it has said that this is all.
        enqueue_due(hub.redis, take_due(pipe, time.time()), pipe)
    assert (scheduled(hub), jobs_of(hub)) == (["consider"], [])
    make_due(hub.redis)
    assert (scheduled(hub), jobs_of(hub)) == ([], [("consider", str(PROJECT))])


def test_a_project_that_is_forgotten_has_no_moment(hub: Hub) -> None:
    for project in (PROJECT, OTHER):
        hub.queue(project).consider(time.time() + 50)
        hub.queue(project).notify({"id": "drift v1"})
    hub.state(PROJECT).forget()
    assert {job.project for job in planned(hub.redis)} == {OTHER}


def test_what_an_earlier_release_has_scheduled_is_planned(hub: Hub) -> None:
    now, message = time.time(), {"id": "drift v1"}
    later, earlier = now + 50, now - 5
    short = queue(hub.redis, SHORT)
    for at, name, *args in (
        (later, "labelloop.loop.jobs.consider", str(PROJECT)),
        (earlier, "labelloop.loop.jobs.consider", str(PROJECT)),
        (later, "labelloop.loop.jobs.prelabel", str(OTHER)),
        (later, "labelloop.loop.jobs.notify", str(PROJECT), message),
        (later, "labelloop.loop.jobs.consider", "no project"),
        (later, "os.mkdir", "of somebody else"),
    ):
        short.enqueue_at(datetime.fromtimestamp(at, UTC), name, *args)
    hub.redis.zadd(short.scheduled_job_registry.key, {"a job that is gone": now})
    for _ in range(2):
        take_over_scheduled(hub.redis)
        assert first(hub.redis) == pytest.approx(earlier, abs=1)
        assert sorted(planned(hub.redis), key=lambda job: job.name) == [
            Planned("consider", PROJECT),
            Planned("notify", PROJECT, (message,)),
            Planned("prelabel", OTHER),
        ]
    left = short.scheduled_job_registry.get_job_ids()
    assert len(left) == 2
    assert len(hub.redis.keys("rq:job:*")) == 1, "of somebody else"


def test_a_clock_that_was_set_back_keeps_no_moment(hub: Hub) -> None:
    note_time(hub.redis, time.time() + 3600)
    hub.queue(PROJECT).consider(time.time() + 3605)
    note_time(hub.redis, time.time())
    assert scheduled(hub) == [], "the sweep, which is not waited for either, plans it anew"


@pytest.mark.timeout(60)
def test_a_redis_that_was_away_and_comes_back_empty_is_listened_to_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    redis = RedisClient(Settings(redis_url=server.url))
    with wakers(redis):
        plan(redis, Planned("consider", PROJECT), time.time() + 0.1)
        wait_until(lambda: queue(redis, SHORT).count == 1, "it is done")
        server.stop()
        wait_until(lambda: "while Redis is away" in caplog.text, "that is noticed")
        with pytest.raises(QueueError):
            plan(redis, Planned("consider", OTHER), time.time())
        server.start()
        redis.flushall()
        plan(redis, Planned("consider", OTHER), time.time())
        wait_until(lambda: queue(redis, SHORT).count == 1, "it is done again")
        server_ends = server.stop
    redis.close()
    server_ends()
