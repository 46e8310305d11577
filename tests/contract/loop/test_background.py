"""The process beside a worker: its queue, its niceness, its end, and what follows when it is killed."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rq import Worker
from rq.exceptions import StopRequested

from labelloop.children import on_end_signal
from labelloop.loop import background
from labelloop.loop.background import Background
from labelloop.loop.hub import Hub
from labelloop.loop.queue import BACKGROUND, count_jobs, count_workers, job_status, queue
from labelloop.loop.startup import workers
from labelloop.loop.worker import CountingFiles, make_worker
from support.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def beside(job_hub: Hub, eager_background: None) -> Iterator[Background]:
    """One that works on the queue, as beside a worker."""
    made = Background("background", lambda: make_worker(job_hub, (BACKGROUND,)).work(logging_level="WARNING"))
    yield made
    made.end()


def alive(hub: Hub) -> psutil.Process:
    """Wait until it is known to Redis, and give its process."""
    mine = queue(hub.redis, BACKGROUND)
    wait_until(lambda: bool(Worker.all(queue=mine)), "the background process is registered")
    [found] = Worker.all(queue=mine)
    assert found.pid is not None
    return psutil.Process(found.pid)


def test_it_gives_way_to_all_else(tmp_path: Path) -> None:
    told = tmp_path / "niceness"
    made = Background("background", lambda: told.write_text(str(os.nice(0))))
    made.tend()
    wait_until(lambda: told.exists() and told.read_text() != "", "it has begun")
    made.end()
    assert int(told.read_text()) == min(19, os.nice(0) + 15)


def test_it_works_on_its_queue_and_is_no_worker_that_runs_wait_for(job_hub: Hub, beside: Background) -> None:
    beside.tend()
    process = alive(job_hub)
    assert process.ppid() == os.getpid()
    assert (count_workers(job_hub.redis), workers(job_hub)) == (0, [])

    job = queue(job_hub.redis, BACKGROUND).enqueue_call("labelloop.loop.jobs.consider", args=("x/7",))
    wait_until(lambda: job_status(job_hub.redis, job.id) not in ("queued", "started"), "the job is done")
    assert count_jobs(job_hub.redis)[BACKGROUND, "waiting"] == 0

    beside.ask_to_end()
    beside.end()
    assert not process.is_running()
    assert not Worker.all(queue=queue(job_hub.redis, BACKGROUND)), "it took its leave"


def test_one_that_is_killed_is_started_again(
    job_hub: Hub, beside: Background, caplog: pytest.LogCaptureFixture
) -> None:
    beside.tend()
    first = alive(job_hub)
    beside.tend()
    assert len(Worker.all(queue=queue(job_hub.redis, BACKGROUND))) == 1, "one that lives is left alone"
    first.kill()
    job_hub.redis.delete(*job_hub.redis.keys("rq:worker*"))

    def again() -> bool:
        beside.tend()
        return "the background process ended (exit code -9): it is started again" in caplog.text

    wait_until(again, "it is seen to have ended")
    assert alive(job_hub).pid != first.pid


def test_one_that_does_not_end_in_time_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(background, "_END_SECONDS", 0.2)

    def deaf() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (tmp_path / "deaf").touch()
        time.sleep(60)

    made, before = Background("background", deaf), psutil.Process().children()
    made.tend()
    wait_until((tmp_path / "deaf").exists, "it is deaf")
    made.end()
    assert psutil.Process().children() == before


def test_one_that_is_asked_to_end_before_it_listens_takes_its_leave(
    job_hub: Hub, eager_background: None, tmp_path: Path
) -> None:
    def asked() -> None:
        worker = make_worker(job_hub, (BACKGROUND,))
        # RQ subscribes after it has registered, and before it hears signals.
        worker.subscribe = lambda: os.kill(os.getpid(), signal.SIGTERM)  # type: ignore[method-assign]
        with on_end_signal(worker.note_end):
            worker.work(logging_level="WARNING")
        (tmp_path / "came back").touch()

    made = Background("background", asked)
    made.tend()
    try:
        wait_until((tmp_path / "came back").exists, "it comes back")
        [known] = job_hub.redis.keys("rq:worker:*")
        assert job_hub.redis.hexists(known, "birth")
        assert not Worker.all(queue=queue(job_hub.redis, BACKGROUND))
    finally:
        made.end()


def test_a_signal_that_comes_while_one_is_forked_is_heard_afterwards(tmp_path: Path) -> None:
    pid = os.getpid()

    def ask_in_the_parent() -> None:
        if forking and os.getpid() == pid:
            os.kill(pid, signal.SIGTERM)

    def heard() -> None:
        raise StopRequested

    # What a handler raises in a hook of a fork is lost.
    forking = True
    os.register_at_fork(after_in_parent=ask_in_the_parent)
    made = Background("background", lambda: time.sleep(60))
    try:
        with on_end_signal(heard), pytest.raises(StopRequested):
            made.tend()
    finally:
        # The hook stays for as long as this process.
        forking = False
        made.end()
    logging.getLogger("lock").info("is free")


def test_no_two_processes_that_work_at_a_time_count_in_the_same_files() -> None:
    files = CountingFiles()
    assert files() == "worker"
    files.worker = 0
    assert files() == "jobs"
    files.of = "background-"
    assert files() == "background-jobs"
    files.worker = os.getpid()
    assert files() == "background-worker"
