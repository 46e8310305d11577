"""One id from a webhook through its jobs to the record of the version, and in every line that is logged on the way."""

import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq import SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from labelloop.logs import JsonFormatter
from labelloop.loop.hub import Hub
from labelloop.loop.model_runs import request as press
from labelloop.loop.moments import take_due
from labelloop.loop.queue import LONG, SHORT, LoopJob, queue
from labelloop.loop.waker import make_due
from labelloop.models.model_runs import Entry, ModelRunJobs
from labelloop.studio.backends import SECRET_HEADER
from labelloop.tracing import DOING, HEADER, Doing, is_trace
from labelloop.types import Json
from support.digit_pictures import write_digits
from support.studio_api import StudioApi
from support.web import client_of

from .conftest import MakeHub, of_this_process

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SECRET = "the-webhooks-secret"


@pytest.fixture
def loop(make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of jobs that train at the first label that changes."""
    studio.connect("none")
    network: Json = {"backbone": "test_resnet", "image_size": 32, "epochs": 1, "recipes": ("head",)}
    made = make_hub(**network, retrain_after=1, quiet_seconds=0.0, webhook_secret=SECRET)
    yield from of_this_process(made, monkeypatch)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged meanwhile, as JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level, token = root.level, DOING.set(Doing())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)
    DOING.reset(token)


class _Worker(SimpleWorker):
    """RQ's worker, without the thread by which it takes commands."""

    death_penalty_class = TimerDeathPenalty

    def subscribe(self) -> None: ...

    def unsubscribe(self) -> None: ...


def work(hub: Hub, *names: str) -> None:
    """Let RQ's own worker do what waits in queues, in this process, as jobs of the loop."""
    make_due(hub.redis)
    queues = [queue(hub.redis, name) for name in names]
    worker = _Worker(queues, connection=hub.redis, serializer=JSONSerializer, job_class=LoopJob)
    worker.work(burst=True, logging_level="WARNING")


def tell(hub: Hub, annotation: int, **headers: str) -> str:
    """Send the webhook of an annotation; gives the id that the answer names."""
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 7}, "annotation": {"id": annotation, "task": annotation}}
    answer = client_of(hub).post("/webhook", json=body, headers={SECRET_HEADER: SECRET, **headers})
    assert answer.status_code == 200, answer.text
    return answer.headers[HEADER]


def test_of_many_webhooks_that_lead_to_one_run_it_is_the_last_ones(loop: Hub) -> None:
    assert tell(loop, 1) != TRACE
    assert tell(loop, 2, traceparent=PARENT) == TRACE
    work(loop, SHORT)
    [run] = queue(loop.redis, LONG).jobs
    assert (run.args[1], run.meta["trace"]) == ("2 changed labels", TRACE)

    loop.state(loop.project(7)).changes.settle(time.time())
    loop.state(loop.project(7)).changes.add(["t3"], time.time())
    assert loop.state(loop.project(7)).trace(loop.state(loop.project(7)).changes.pending().first) == ""


@pytest.mark.slow
@pytest.mark.train
def test_one_id_leads_from_the_webhook_to_the_version(
    loop: Hub, studio: StudioApi, tmp_path: Path, lines: io.StringIO
) -> None:
    write_digits(tmp_path / "digits", range(20), classes=2)
    studio.add_tasks(20)
    for task, path in zip(studio.tasks, sorted(tmp_path.glob("digits/*/*.png")), strict=True):
        studio.pictures[studio.tasks[task]["data"]["image"]] = path.read_bytes()
        studio.annotate(task, "cat" if path.parent.name == "0" else "dog")
    project = loop.project(7)

    tell(loop, 1, traceparent=PARENT)
    work(loop, SHORT, LONG)

    run = loop.runs(project).latest()
    assert run is not None
    assert run.trace == TRACE
    assert run.version is not None, run
    assert loop.versions(project).get(run.version).trace == TRACE
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    verdict = next(one for one in told if one["message"].endswith(run.verdict))
    assert (verdict["trace"], verdict["project"], verdict["version"]) == (TRACE, str(project), run.version)
    assert verdict["job"]
    # The look that follows the run is of its id, too, and so is what comes of it.
    with loop.redis.pipeline() as pipe:
        assert TRACE in [job.trace for job in take_due(pipe, time.time())]


def test_who_presses_start_training_is_followed(loop: Hub) -> None:
    answer = client_of(loop).post(
        "/webhook", json={"action": "START_TRAINING", "project": {"id": 7}}, headers={HEADER: "press-1-of-today"}
    )
    job = Job.fetch(answer.get_json()["job"], connection=loop.redis, serializer=JSONSerializer)
    assert answer.headers[HEADER] == job.meta["trace"] == "press-1-of-today"


def test_the_button_of_labelbox_is_followed_even_where_redis_is_wiped(loop: Hub) -> None:
    token = DOING.set(Doing(trace=TRACE))
    job = press(loop, "8bb7a1ca-0000-4000-8000-000000000001", Entry("image_classification", 1))
    DOING.reset(token)
    [waiting] = queue(loop.redis, LONG).jobs
    assert waiting.meta["trace"] == job.trace == TRACE
    loop.redis.flushall()
    [project] = ModelRunJobs(loop.store).open()
    kept = ModelRunJobs(loop.store).read(project)
    assert kept is not None
    assert kept.trace == TRACE


@pytest.mark.parametrize("sent", ['id"} {"level": "x', "short", "x" * 100])
def test_what_is_no_id_is_not_repeated(loop: Hub, sent: str) -> None:
    answer = client_of(loop).get("/health", headers={HEADER: sent})
    assert answer.headers[HEADER] != sent
    assert is_trace(answer.headers[HEADER])


def test_what_is_refused_has_an_id_too(loop: Hub) -> None:
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 7}}
    answer = client_of(loop).post("/webhook", json=body, headers={HEADER: "stranger-1"})
    assert (answer.status_code, answer.headers[HEADER]) == (401, "stranger-1")
