"""A real Redis for the loop's tests, hubs on it, and a stand-in of each cloud."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rq.executions import Execution
from rq.job import Job

import support.google
from labelloop.environment import environment_of
from labelloop.kinds import base
from labelloop.kinds.base import find
from labelloop.loop import background, jobs
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub, process_hub
from labelloop.loop.queue import SHORT, queue
from labelloop.loop.redis_server import RedisServer
from labelloop.models.runs import RunRecord
from labelloop.run import parameters
from labelloop.settings import Settings
from labelloop.types import IMAGES, ProjectKey
from support import two_speeds_kind
from support.aws import StandIn, aws_stand_in
from support.google import google_stand_in
from support.number_tasks import NUMBERS, add_numbers, label_numbers
from support.studio_api import StudioApi, running_studio

PROJECT = ProjectKey("localhost-8080", 7)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One embedded Redis for all tests of this folder."""
    server = RedisServer(tmp_path_factory.mktemp("model") / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hub(redis_server: RedisServer, tmp_path: Path) -> Iterator[Hub]:
    """A hub on an empty Redis and an empty store."""
    made = open_hub(
        Settings(
            redis_url=redis_server.url,
            model_dir=str(tmp_path),
            retrain_after=3,
            quiet_seconds=5,
            head_retrain_after=3,
            head_quiet_seconds=5,
        )
    )
    made.redis.flushall()
    yield made
    made.redis.close()


@pytest.fixture
def studio() -> Iterator[StudioApi]:
    """A server that answers as Label Studio does; its project is number 7."""
    with running_studio() as api:
        yield api


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A stand-in of AWS for a file of tests; ``reset`` makes it as new."""
    with aws_stand_in(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture(scope="module")
def google_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.google.StandIn]:
    """A stand-in of Google Cloud for a file of tests; ``reset`` makes it as new."""
    with google_stand_in(tmp_path_factory.mktemp("google")) as google:
        yield google


@pytest.fixture
def first_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes and gate as they were at first: nothing has improved since a record of an early release."""
    monkeypatch.setattr(type(find(IMAGES)), "recipes", dict.fromkeys(find(IMAGES).recipes, 1))
    monkeypatch.setattr(parameters, "GATE", dict.fromkeys(parameters.GATE, 1))


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for exported networks, each of which takes seconds to make."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def kept_networks(networks: Path, tmp_path: Path) -> None:
    """Let the machine of a test have the networks that other tests have exported."""
    train = tmp_path / "cache" / "train"
    train.mkdir(parents=True)
    (train / "backbones").symlink_to(networks)


@pytest.fixture
def eager_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes beside a worker begin again at once, and not give way: a busy machine leaves them nothing."""
    monkeypatch.setattr(background, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(background, "_NICENESS", 0)


MakeHub = Callable[..., Hub]


@pytest.fixture
def make_hub(hub: Hub, studio: StudioApi) -> Iterator[MakeHub]:
    """Make hubs that ask that server, with other settings."""
    made: list[Hub] = []

    def make(**given: object) -> Hub:
        usual: dict[str, object] = {
            "label_studio_url": studio.url,
            "label_studio_api_key": "legacy",
            "endpoint": "fake://?classes=cat,dog",
            "min_labels": 4,
            "weights": "none",
            "first_labels": False,
        }
        made.append(open_hub(replace(hub.settings, **{**usual, **given})))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.redis.close()
        one.tool.close()
        one.media.close()


@pytest.fixture
def studio_hub(make_hub: MakeHub) -> Hub:
    """A hub that asks that server, with a fake endpoint."""
    return make_hub()


@pytest.fixture
def job_hub(studio_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that jobs make of the environment when they are run in this process."""
    yield from of_this_process(studio_hub, monkeypatch)


@pytest.fixture
def numbers_loop(make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub whose project asks about numbers, sixty of them labeled: a run takes no time, and has a slower recipe."""
    monkeypatch.setattr(base, "KINDS", {two_speeds_kind.NAME: two_speeds_kind.__name__, **base.KINDS})
    studio.config = NUMBERS
    studio.connect("labelloop")
    add_numbers(studio, range(1, 201))
    label_numbers(studio, range(1, 61))
    made = make_hub(endpoint="fake://?classes=low,high", retrain_after=4, quiet_seconds=0.0, retry_seconds=0.0)
    yield from of_this_process(made, monkeypatch)


def run_once(hub: Hub, trigger: str = "4 changed labels") -> RunRecord:
    """Make a run of project 7, as a worker does."""
    jobs.retrain(str(hub.project(7)), trigger, False)
    found = hub.runs(hub.project(7)).latest()
    assert found is not None
    return found


def begin_job(hub: Hub, name: str, *, within: str = SHORT, stage: str = "", project: ProjectKey = PROJECT) -> Job:
    """Have a job at work, as a worker that takes it from its queue notes that."""
    job = queue(hub.redis, within).create_job(f"labelloop.loop.jobs.{name}", args=(str(project),))
    job.meta |= {"progress": {"stage": stage}} if stage else {}
    job.save()
    with hub.redis.pipeline() as pipe:
        Execution.create(job, 60, pipe)
        pipe.execute()
    return job


def end_job(job: Job) -> None:
    """Note that a job is over, as its worker does."""
    for execution in job.get_executions():
        job.started_job_registry.remove_execution(execution)


def of_this_process(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Let commands and jobs in this process work by the settings of a hub."""
    for name, value in environment_of(hub.settings).items():
        monkeypatch.setenv(name, value)
    process_hub.cache_clear()
    yield process_hub()
    process_hub().redis.close()
    process_hub().tool.close()
    process_hub().media.close()
    process_hub.cache_clear()
