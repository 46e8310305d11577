"""The worker as a process: its timer, and its kills and its children's in the middle of a training."""

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from rq import Callback, Queue
from rq.job import Job
from rq.serializers import JSONSerializer

import labelloop.loop
from labelloop.children import start_child, stop_child
from labelloop.environment import environment_of
from labelloop.loop import jobs
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.moments import planned
from labelloop.loop.queue import NAMES, SHORT, count_workers, queue
from labelloop.loop.redis_client import SWEEP_JOB, key_of
from labelloop.loop.status import project_status
from labelloop.loop.worker import keep_sweeping, make_worker
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.versions import Versions
from labelloop.types import ProjectKey
from support.clients import SECONDS
from support.digit_pictures import write_digits
from support.servers import free_port
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import MakeHub


def test_the_sweeps_timer_survives_what_nobody_foresaw(make_hub: MakeHub, caplog: pytest.LogCaptureFixture) -> None:
    hub, stop = make_hub(sweep_seconds=0.05), threading.Event()
    hub.redis.set(SWEEP_JOB, b"\xff no text")
    timer = threading.Thread(target=keep_sweeping, args=(hub, stop))
    timer.start()
    try:
        wait_until(lambda: caplog.text.count("no sweep this time") > 1, "the failure is logged, more than once")
        assert "UnicodeDecodeError" in caplog.text
        hub.redis.delete(SWEEP_JOB)
        wait_until(lambda: queue(hub.redis, SHORT).count == 1, "a sweep is asked for")
        job, at = "labelloop.loop.jobs.consider", datetime.now(UTC) + timedelta(minutes=1)
        queue(hub.redis, SHORT).enqueue_at(at, job, str(hub.project(7)))
        wait_until(lambda: len(planned(hub.redis)) == 1, "what an earlier release had scheduled is taken over")
    finally:
        stop.set()
        timer.join(10)
    assert not timer.is_alive()


def perform(hub: Hub, **job: Any) -> Job:
    """Have a worker perform a job that somebody else has put into its queue."""
    connection = hub.redis
    made = Queue(SHORT, connection=connection, serializer=JSONSerializer).enqueue_call(**job)
    worker = make_worker(hub)
    worker.register_birth()
    try:
        found = worker.job_class.fetch(made.id, connection, JSONSerializer)
        worker.perform_job(found, worker.queues[0])
    finally:
        worker.register_death()  # type: ignore[no-untyped-call]
    return Job.fetch(made.id, connection=connection, serializer=JSONSerializer)


@pytest.mark.parametrize("name", ["os.mkdir", "labelloop.loop.jobs.Path.mkdir", "labelloop.loop.jobs.process_hub", ""])
def test_what_is_no_job_of_the_loop_is_not_run_whoever_asks_for_it(
    make_hub: MakeHub, tmp_path: Path, name: str
) -> None:
    done = perform(make_hub(), func=name, args=(str(tmp_path / "mine"),))
    assert done.get_status() == "failed"
    ended = done.latest_result()
    assert ended is not None
    assert "is no job of LabelLoop's" in str(ended.exc_string)
    assert not (tmp_path / "mine").exists()


def test_nothing_is_called_back(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr(labelloop.loop, "_called", lambda *given: called.append(given), raising=False)
    back = Callback("labelloop.loop._called")
    job = {"func": "labelloop.loop.jobs.consider", "args": ("no key",), "on_failure": back, "on_success": back}
    assert perform(make_hub(), **job).get_status() == "failed"
    assert not called


def test_the_functions_that_are_jobs_are_all_those_of_their_module() -> None:
    assert {
        name
        for name, one in vars(jobs).items()
        if inspect.isfunction(one) and one.__module__ == jobs.__name__ and not name.startswith("_")
    } == NAMES


COUNTED = """
import gc, sys
from rq import Worker
Worker.work = lambda self, **_: print(gc.get_freeze_count()) if self.queue_names()[0] == "labelloop" else None
from labelloop.cli import main
sys.argv[1:] = ["worker"]
main()
"""


@pytest.mark.train
def test_no_job_looks_through_what_its_worker_loaded(make_hub: MakeHub) -> None:
    # Jobs are forked from where this worker ends: the function of another module is no job that it would run.
    environment = {**os.environ, **environment_of(make_hub(sweep_seconds=3600.0).settings)}
    done = subprocess.run(
        [sys.executable, "-c", COUNTED], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000


@pytest.fixture
def training(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Hub:
    """A hub whose project has eighty labeled digits."""
    write_digits(tmp_path / "digits", range(80), classes=2)
    studio.add_tasks(80)
    studio.connect("v0")
    for task, path in zip(studio.tasks, sorted(tmp_path.glob("digits/*/*.png")), strict=True):
        studio.pictures[studio.tasks[task]["data"]["image"]] = path.read_bytes()
        studio.annotate(task, "cat" if path.parent.name == "0" else "dog")
    network = {"backbone": "test_resnet", "image_size": 32, "epochs": 10, "recipes": ("finetune",)}
    listens = f"127.0.0.1:{free_port()}"
    return make_hub(**network, retry_seconds=0.0, sweep_seconds=3600.0, metrics_listen=listens)


@contextmanager
def working(hub: Hub, log: Path) -> Iterator[psutil.Process]:
    """Run a worker with the hub's settings."""
    environment = {**os.environ, **environment_of(hub.settings)}
    child = start_child([sys.executable, "-m", "labelloop", "worker"], log=log, environment=environment)
    try:
        wait_until(lambda: count_workers(hub.redis) > 0, log.read_text, 120)
        yield psutil.Process(child.pid)
    finally:
        stop_child(child, 10)


def wait_for_training(hub: Hub, project: ProjectKey, log: Path) -> None:
    """Wait until a worker is in the train stage."""

    def trains() -> bool:
        step = hub.state(project).progress().step()
        return step is not None and step.stage == "train"

    wait_until(trains, lambda: f"it trains:\n{log.read_text()[-3000:]}", 120)


def go_on(hub: Hub, project: ProjectKey) -> None:
    """Take the run up as the next look does, when the lease of who was killed has run out."""
    hub.redis.delete(key_of(project, "lease"), key_of(project, "progress"))
    wait_until(lambda: consider(hub, project).startswith("run enqueued"), "the run is taken up")


def latest(hub: Hub, project: ProjectKey) -> RunRecord:
    found = Runs(hub.store, project).latest()
    assert found is not None
    return found


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.train
@pytest.mark.process
def test_a_run_whose_process_is_killed_in_the_same_place_three_times_has_failed(training: Hub, tmp_path: Path) -> None:
    hub, log = training, tmp_path / "worker.log"
    project = hub.project(7)
    with working(hub, log) as worker:
        hub.queue(project).retrain("test")
        for kill in (1, 2, 3):
            wait_for_training(hub, project, log)
            # As if no checkpoint were ever reached: too little memory shows in the first steps.
            checkpoints = hub.settings.directory / "runs" / str(project) / latest(hub, project).key / "checkpoints"
            # The elder one is RQ's scheduler.
            run = max(worker.children(), key=lambda child: child.create_time())
            assert run.nice() == min(19, worker.nice() + hub.settings.run_niceness), "it gives way to others"
            run.kill()
            wait_until(lambda: hub.redis.exists(key_of(project, "died")) == 1, log.read_text)
            assert "ended by signal SIGKILL; was there too little memory?" in project_status(hub, project).trouble
            for file in checkpoints.glob("*.ckpt*"):
                file.unlink()
            assert latest(hub, project).state == "running", f"kill {kill}"
            go_on(hub, project)
        wait_until(lambda: latest(hub, project).state == "failed", lambda: log.read_text()[-3000:])
        assert worker.is_running()
        told = 'labelloop_jobs_total{function="retrain",outcome="failed"} 4.0'
        address = f"http://{hub.settings.metrics_listen}/metrics"
        wait_until(lambda: told in requests.get(address, timeout=SECONDS).text, "three were killed, one has failed")
    record = latest(hub, project)
    assert (record.deaths, record.final, record.own_failures) == (3, True, 0)
    assert "3 times without getting any further, last by signal SIGKILL in stage train" in record.reason
    assert "LABELLOOP_BATCH_SIZE" in record.reason
    hub.redis.delete(key_of(project, "failures"))
    assert consider(hub, project) == "nothing has changed"


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.train
@pytest.mark.process
def test_a_worker_that_is_asked_to_end_gives_its_run_back_in_time(training: Hub, tmp_path: Path) -> None:
    hub, log = training, tmp_path / "worker.log"
    project = hub.project(7)
    hub.queue(project).retrain("test")
    with working(hub, log) as worker:
        wait_for_training(hub, project, log)
        folder = hub.settings.directory / "runs" / str(project) / latest(hub, project).key / "checkpoints"
        wait_until(lambda: any(folder.glob("*.ckpt")), lambda: f"there is a checkpoint:\n{log.read_text()[-3000:]}")
        family = [worker, *worker.children(recursive=True)]
        worker.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, log.read_text()[-3000:]
    assert f"project {project} is given back" in log.read_text()
    assert any(folder.glob("*.ckpt"))
    record = latest(hub, project)
    assert (record.state, record.own_failures, record.attempts) == ("running", 0, 1)
    # Nobody waits for a lease: who looks next takes the run up.
    assert not hub.state(project).is_held()
    assert consider(hub, project) == "run enqueued: test"


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.train
@pytest.mark.process
def test_a_training_whose_worker_is_killed_again_and_again_ends_in_its_version(training: Hub, tmp_path: Path) -> None:
    hub, log = training, tmp_path / "worker.log"
    project = hub.project(7)
    hub.queue(project).retrain("test")
    for _ in range(hub.settings.run_attempts):
        with working(hub, log) as worker:
            wait_for_training(hub, project, log)
            worker.kill()
        hub.redis.delete(*hub.redis.keys("rq:worker*"))
        assert latest(hub, project).own_failures == 0
        go_on(hub, project)
    with working(hub, log):
        wait_until(lambda: latest(hub, project).state == "promoted", lambda: log.read_text()[-3000:], 400)
    record = latest(hub, project)
    assert (record.version, record.own_failures, record.attempts) == ("v1", 0, 4)
    assert Versions(hub.store, project).names() == ["v1"]
