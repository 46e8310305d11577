"""The loop trains in Vertex AI: one execution a run, whoever is killed; whatever breaks there, the champion stays."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from labelloop.cli.cloud_deploy import status
from labelloop.cli.loop import cancel
from labelloop.cloud.google.client import Google
from labelloop.kinds import base
from labelloop.loop.redis_client import key_of
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from labelloop.types import Json
from support import numbers_kind
from support.crash_store import Killed
from support.google import LOCATION, PROJECT, StandIn
from support.google.kills import dying_at
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import MakeHub
from .test_training import Factory, Machine

BUCKET = "team"
ADDRESS = f"vertex-pipeline://{PROJECT}/{LOCATION}"
THEIRS = (
    f"{ADDRESS}?template=gs://{BUCKET}/theirs.yaml&manifest=labels&manifest_format=labelloop&test_manifest=asked"
    "&output=folder"
)
NAMES = ("labels", "asked", "folder")
SPECIFICATION = {
    "pipelineInfo": {"name": "theirs"},
    "schemaVersion": "2.1.0",
    "root": {
        "dag": {
            "tasks": {
                "learn": {
                    "componentRef": {"name": "comp-learn"},
                    "inputs": {"parameters": {one: {"componentInputParameter": one} for one in NAMES}},
                }
            }
        },
        "inputDefinitions": {"parameters": {one: {"parameterType": "STRING"} for one in NAMES}},
    },
    "components": {"comp-learn": {"executorLabel": "exec-learn"}},
    "deploymentSpec": {"executors": {"exec-learn": {"container": {"image": "theirs:1"}}}},
}


@pytest.fixture
def google(google_session: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A project with a pipeline of somebody's that learns nothing, and knows that a number below 4 is low."""
    google_session.reset()
    google_session.use(monkeypatch)
    monkeypatch.setitem(Google.__init__.__kwdefaults__ or {}, "wait", lambda _: None)
    google_session.bucket(BUCKET)
    google_session.storage.put(BUCKET, "theirs.yaml", yaml.safe_dump(SPECIFICATION).encode())

    def learn(given: Json, _: Json) -> None:
        place = given["folder"].removeprefix(f"gs://{BUCKET}/")
        asked = google_session.storage.read(BUCKET, given["asked"].removeprefix(f"gs://{BUCKET}/"))
        answers = []
        for row in map(json.loads, asked.splitlines()):
            low = float(row["text"]) < 4
            answer = [{"label": "low", "score": 0.9 if low else 0.1}, {"label": "high", "score": 0.1 if low else 0.9}]
            answers.append(json.dumps({"content": row["content"], "answer": answer}))
        google_session.storage.put(BUCKET, f"{place}/answers.jsonl", "\n".join(answers).encode())
        google_session.storage.put(BUCKET, f"{place}/result.json", b'{"model": "theirs"}')

    google_session.pipelines.tasks["learn"] = learn
    return google_session


@pytest.fixture
def make(
    make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Machine]:
    """Make machines whose runs are trained there."""
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    factory = Factory(make_hub, studio, monkeypatch, tmp_path)

    def made(**given: Any) -> Machine:
        usual = {"trainer": THEIRS, "google_folder": f"gs://{BUCKET}/labelloop", "poll_seconds": 0.1}
        return factory(**{**usual, **given})

    return made


def executions(google: StandIn) -> list[str]:
    """Say of each execution there ever was what became of it, the oldest first."""
    return [one.state for one in google.pipelines.jobs.values()]


def settle(google: StandIn) -> None:
    """Wait until all executions are over."""
    over = ("SUCCEEDED", "FAILED", "CANCELLED")
    wait_until(lambda: all(one in over for one in executions(google)), lambda: str(executions(google)))


def finish(one: Machine, google: StandIn) -> None:
    """Let nothing go wrong any more, until nothing is left to do."""
    for _ in range(20):
        settle(google)
        one.pass_time()
        said = one.work()
        if said in (["nothing has changed"], ["1 changed labels wait for their moment"]):
            return
    raise AssertionError(f"it does not come to an end: {said}")


def champion(one: Machine) -> str | None:
    return ChampionPointer(one.hub.store, one.project).read().champion


def told(one: Machine) -> str:
    return "\n".join(standing(project_status(one.hub, one.project)))


def training(one: Machine) -> str:
    """Ask what `labelloop google status` says of the training."""
    done = CliRunner().invoke(status, ["--project", "7", "--json"], obj=one.hub)
    return str(json.loads(done.stdout)["training"])


def test_a_run_is_one_execution_and_what_it_leaves_the_next_version(
    make: Callable[..., Machine], google: StandIn
) -> None:
    one = make()
    assert training(one) == f"{ADDRESS} has trained no run yet"
    google.pipelines.hanging.add("learn")
    one.label(0)
    assert one.work()[-1].endswith("is being trained elsewhere")
    opened = one.open_run()
    assert opened is not None
    assert opened.handle.startswith(f"projects/{PROJECT}/locations/{LOCATION}/pipelineJobs/labelloop-")
    assert one.work() == [f"run {opened.key} is being trained by {ADDRESS}"]
    assert "now: train:" in told(one)
    assert len(executions(google)) == 1
    assert training(one).startswith(f"run {opened.key}, {opened.handle}: running, task")

    assert CliRunner().invoke(cancel, ["--project", "7"], obj=one.hub).exit_code == 0
    assert "it was cancelled by `labelloop cancel`" in one.work()
    settle(google)
    assert executions(google) == ["CANCELLED"]
    assert training(one) == f"run {opened.key}, {opened.handle}: failed: it was stopped"
    google.pipelines.hanging.clear()
    one.label(4)
    finish(one, google)
    assert champion(one) == "v1"
    assert executions(google) == ["CANCELLED", "SUCCEEDED"]
    assert Versions(one.hub.store, one.project).get("v1").recipe == "vertex-pipeline"
    assert training(one).endswith(": done")
    google.revoke()
    assert training(one).startswith("cannot be asked: ")


def test_killed_at_any_call_of_google_there_is_one_execution_per_run(
    make: Callable[..., Machine], google: StandIn
) -> None:
    at, cut = 0, True
    while cut:
        google.pipelines.jobs.clear()
        one = make()
        one.label(0)
        done: list[str] = []
        for _ in range(4):
            with suppress(Killed), dying_at(at - len(done), after=at % 2 == 1) as calls:
                one.work()
            one.hub.redis.delete(key_of(one.project, "lease"))
            done += calls
            settle(google)
            if len(done) >= at:
                break
        cut = len(done) >= at
        finish(one, google)
        assert executions(google) == ["SUCCEEDED"]
        assert champion(one) == "v1"
        at += 5
    assert at > 10


Breaks = Callable[[StandIn], None]

BROKEN: list[tuple[str, Breaks, str]] = [
    (
        "throttled",
        lambda google: google.exhaust("aiplatform:POST pipelineJobs", "aiplatform.googleapis.com/pipelines", None),
        "the quota aiplatform.googleapis.com/pipelines is used up",
    ),
    ("revoked", lambda google: google.revoke(), "the credentials are not accepted"),
    (
        "denied",
        lambda google: google.deny("aiplatform.pipelineJobs.create"),
        "a role with aiplatform.pipelineJobs.create",
    ),
    (
        "a task",
        lambda google: google.pipelines.fail("learn", "RESOURCE_EXHAUSTED", "no machine in europe-west4"),
        f"its training by {ADDRESS} failed: task learn: no machine in europe-west4",
    ),
]


def test_whatever_breaks_is_said_in_status_the_champion_stays_and_later_it_goes_on(
    make: Callable[..., Machine], google: StandIn
) -> None:
    one = make(run_attempts=9, retry_seconds=0.0)
    one.label(0)
    finish(one, google)
    assert champion(one) == "v1"
    for number, (name, breaks, says) in enumerate(BROKEN, 2):
        one.label(4)
        breaks(google)

        for _ in range(3):
            one.pass_time()
            one.work()
            if says in told(one):
                break
            settle(google)

        assert says in told(one), f"{name}: {told(one)}"
        assert champion(one) == "v1", name
        google.mend()
        finish(one, google)
        # Too few items are answered by both for the gate to judge by, which it says.
        assert f"v{number} cannot be judged" in Versions(one.hub.store, one.project).get(f"v{number}").verdict, name


def test_an_execution_that_cannot_be_asked_about_is_waited_for(make: Callable[..., Machine], google: StandIn) -> None:
    one = make()
    google.pipelines.hanging.add("learn")
    one.label(0)
    one.work()
    google.revoke()
    assert one.work() == ["the trainer is away: it is asked again later"]
    assert "cannot be asked for now: job projects/" in told(one)
    assert one.open_run() is not None


def test_an_execution_that_hangs_is_stopped_at_the_limit(make: Callable[..., Machine], google: StandIn) -> None:
    one = make()
    google.pipelines.hanging.add("learn")
    one.label(0)
    one.work()
    # A day later.
    one.hub.open_runs(one.project)._change(lambda stands: stands and replace(stands, until=1.0))
    said = one.work()
    assert any("LABELLOOP_TRAINING_SECONDS" in sentence for sentence in said)
    settle(google)
    assert executions(google) == ["CANCELLED"]
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, "took longer than LABELLOOP_TRAINING_SECONDS" in record.reason) == ("failed", True)
    assert one.open_run() is None


def test_a_custom_job_outlives_the_worker_that_began_it(make: Callable[..., Machine], google: StandIn) -> None:
    address = f"vertex-job://{PROJECT}/{LOCATION}"
    image = "europe-west4-docker.pkg.dev/shop-1/labelloop/worker:1"
    one = make(trainer=address, google_training_image=image)
    google.jobs.hold()
    one.label(0)
    for at in range(12):
        with suppress(Killed), dying_at(at, after=at % 2 == 1):
            one.work()
        one.hub.redis.delete(key_of(one.project, "lease"))
    one.pass_time()
    one.work()
    opened = one.open_run()
    assert opened is not None
    assert [opened.handle] == list(google.jobs.jobs)
    assert one.work() == [f"run {opened.key} is being trained by {address}"]
    assert "now: train: waits for a machine of Vertex AI" in told(one)
