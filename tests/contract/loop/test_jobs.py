"""The jobs as RQ runs them: how each ends, and what it leaves for the next look. Nothing is trained here."""

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import boto3
import pytest
from PIL import Image

from labelloop.data.split import splits
from labelloop.errors import (
    EndpointError,
    LabelConfigError,
    MediaError,
    NotAllowed,
    SettingsError,
    StoreAway,
    StudioError,
    TrainingError,
)
from labelloop.kinds.base import find
from labelloop.loop import jobs, later_predictions
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.process import process_hub
from labelloop.loop.project_labels import read_labels
from labelloop.loop.project_registry import known_projects, remember_project, site_of
from labelloop.loop.queue import LONG, SHORT
from labelloop.loop.redis_client import key_of
from labelloop.loop.speeds import Speeds
from labelloop.loop.standing import standing
from labelloop.loop.state import note_start
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs, run_key
from labelloop.run.parameters import methods_of, train_settings
from labelloop.types import IMAGES, ProjectKey
from support.moto_server import moto_at, moto_environment
from support.servers import free_port
from support.studio_api import StudioApi

from .test_consider import scheduled, waiting


@pytest.fixture
def project(job_hub: Hub) -> ProjectKey:
    return job_hub.project(7)


def champion(hub: Hub, version: str, *, announced: bool = True) -> None:
    pointer = ChampionPointer(hub.store, hub.project(7))
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    if announced:
        pointer.announce(version, fence)


def pictures() -> Iterator[bytes]:
    """Pictures that all differ."""
    for number in count():
        content = io.BytesIO()
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(content, "PNG")
        yield content.getvalue()


def label_enough(studio: StudioApi, hub: Hub) -> RunRecord:
    """Label until a first version could be trained; gives the record its run will look for."""
    project, made = hub.project(7), pictures()
    while True:
        studio.add_tasks(10)
        for task in list(studio.tasks)[-10:]:
            studio.pictures[studio.tasks[task]["data"]["image"]] = next(made)
            studio.annotate(task, "cat" if task % 2 else "dog")
        manifest = read_labels(hub, project, site_of(hub, project.id).labeling(), lambda *_: None).manifest
        if all(splits(manifest).values()):
            break
    settings = Speeds.of(find(IMAGES), hub.settings, project).running(hub.settings)
    fingerprint = train_settings(settings).fingerprint()
    key = run_key(manifest.hash, fingerprint, hub.settings.seed)
    methods = methods_of(settings.recipes, find(IMAGES).recipes)
    return RunRecord(key, str(project), manifest.hash, fingerprint, hub.settings.seed, methods=methods)


def changed(hub: Hub) -> None:
    """Let labels have changed that call for a run."""
    hub.state(hub.project(7)).changes.add(["a1", "a2", "a3"], time.time() - 60)


@pytest.mark.train
def test_labels_that_do_not_suffice_are_no_trouble(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    studio.add_tasks(3)
    studio.annotate(1, "cat")
    changed(job_hub)

    assert "cannot be trained yet: " in jobs.retrain(str(project), "test", False)
    stands = project_status(job_hub, project)
    assert (stands.trouble, stands.changed, stands.step) == ("", 0, None)
    assert stands.missing
    assert consider(job_hub, project) == "nothing has changed"


@pytest.mark.train
def test_a_killed_run_whose_labels_are_gone_is_not_taken_up_for_ever(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    studio.add_tasks(3)
    Runs(job_hub.store, project).save(RunRecord("k", str(project), "m", "s", 0, trigger="labels", attempts=1))
    assert consider(job_hub, project) == "run enqueued: labels"
    jobs.retrain(str(project), "labels", False)

    assert consider(job_hub, project) == "nothing has changed"


@pytest.mark.parametrize(
    ("broken", "error"),
    [("key", NotAllowed), ("request", StudioError), pytest.param("config", LabelConfigError, marks=pytest.mark.train)],
)
def test_a_run_that_cannot_even_begin_is_not_begun_again_at_once(
    studio: StudioApi, job_hub: Hub, project: ProjectKey, broken: str, error: type[Exception]
) -> None:
    studio.refusing = {"key": 403, "request": 400}.get(broken, 0)
    studio.config = "<View/>"
    changed(job_hub)
    with pytest.raises(error):
        jobs.retrain(str(project), "3 changed labels", False)

    assert consider(job_hub, project) == "the last attempt failed; it is left alone for a while"
    assert not waiting(job_hub, LONG)
    assert "consider" in scheduled(job_hub)
    stands = project_status(job_hub, project)
    assert stands.changed == 3
    assert stands.trouble


def test_what_is_away_is_asked_for_every_ten_minutes_at_least(job_hub: Hub, project: ProjectKey) -> None:
    begun_at = time.time()
    waits = [round(job_hub.state(project).backoff.note("the store") - time.time(), -1) for _ in range(7)]
    assert waits == [60, 120, 240, 480, 600, 600, 600]
    wait = job_hub.state(project).backoff.wait()
    assert wait is not None
    assert wait.since - begun_at < 5
    job_hub.state(project).backoff.note()
    later = job_hub.state(project).backoff.wait()
    assert later is not None
    assert (later.away, later.since > wait.since, later.until - time.time() > 3000) == ("", True, True)


@pytest.mark.train
def test_what_was_asked_for_while_the_store_is_away_is_begun_when_it_is_back(
    studio: StudioApi, job_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.add_tasks(1)
    address = f"http://127.0.0.1:{free_port()}"
    for name, value in moto_environment(address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LABELLOOP_STORE", "s3://bucket/labelloop")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    process_hub.cache_clear()
    hub = process_hub()
    remember_project(hub, project, None)
    with pytest.raises(StoreAway):
        jobs.retrain(str(project), "Start Training", True)
    status = "\n".join(standing(project_status(hub, project)))
    assert "waiting for the store since " in status
    assert "cannot be read in s3://bucket/labelloop" in status
    assert known_projects(hub) == [project]
    assert sweep(hub)[str(project)].startswith("failed: ")

    hub.redis.delete(key_of(project, "failures"))
    with moto_at(address):
        boto3.client("s3").create_bucket(Bucket="bucket")
        assert sweep(hub)[str(project)] == "run enqueued: Start Training"
        assert [job.args for job in waiting(hub, LONG)] == [[str(project), "Start Training", True]]
        assert "cannot be trained yet" in jobs.retrain(str(project), "Start Training", True)
        assert project_status(hub, project).wait is None


@pytest.mark.train
@pytest.mark.parametrize("setting", ["LABELLOOP_BACKBONE", "LABELLOOP_WEIGHTS"])
def test_settings_that_nothing_can_be_trained_with_are_said_at_once_and_tried_by_the_next_worker(
    job_hub: Hub, project: ProjectKey, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shows only where training is: a network that timm has not, a file that is gone since the worker's start."""
    changed(job_hub)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"there when the worker starts")
    monkeypatch.setenv(setting, {"LABELLOOP_WEIGHTS": str(weights)}.get(setting, "resnet5000"))
    process_hub.cache_clear()
    process_hub()
    weights.unlink()
    with pytest.raises(SettingsError, match=setting):
        jobs.retrain(str(project), "3 changed labels", False)

    assert consider(job_hub, project) == "the last attempt failed; it is left alone for a while"
    stands = project_status(job_hub, project)
    assert stands.wait is not None
    assert (stands.wait.settings, stands.wait.until > time.time() + 3000, stands.changed) == (True, True, 3)
    assert "waiting for a worker with other settings" in "\n".join(standing(stands))
    assert setting in stands.trouble
    assert list(job_hub.store.walk("")) == []

    note_start(job_hub.redis)
    assert consider(job_hub, project) == "run enqueued: 3 changed labels"


def test_start_training_does_not_wait_for_that(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    studio.refusing = 403
    with pytest.raises(NotAllowed):
        jobs.retrain(str(project), "labels", False)
    job_hub.queue(project).retrain("Start Training")

    assert len(waiting(job_hub, LONG)) == 1


def test_the_waits_double_and_end_with_a_success(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    def wait_after_failure() -> float:
        with pytest.raises(NotAllowed):
            jobs.retrain(str(project), "labels", False)
        return (wait.until if (wait := job_hub.state(project).backoff.wait()) else 0) - time.time()

    studio.refusing = 403
    assert [round(wait_after_failure(), -1) for _ in range(3)] == [60, 120, 240]
    champion(job_hub, "v1", announced=False)
    studio.refusing = 0
    studio.connect("v0")
    jobs.deploy(str(project), None)
    assert job_hub.state(project).backoff.wait() is None


@pytest.mark.train
def test_a_run_that_failed_too_often_says_so_once_and_forgets_what_called_for_it(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    record = replace(label_enough(studio, job_hub), state="failed", attempts=3, reason="no disk")
    Runs(job_hub.store, project).save(record)
    changed(job_hub)
    with pytest.raises(TrainingError, match=r"has failed 3 times, last because: no disk.*--force"):
        jobs.retrain(str(project), "labels", False)

    assert job_hub.state(project).changes.pending().changed == 0
    assert "failed for good, attempt 3. no disk" in "\n".join(standing(project_status(job_hub, project)))
    job_hub.redis.delete(key_of(project, "failures"))
    assert consider(job_hub, project) == "nothing has changed"


def labeled(studio: StudioApi, hub: Hub, count: int, *, missing: int) -> None:
    """Label so many tasks, the pictures of some of which are gone, and note it."""
    made = pictures()
    studio.add_tasks(count)
    for task in studio.tasks:
        studio.pictures[studio.tasks[task]["data"]["image"]] = next(made)
        studio.annotate(task, "cat" if task % 2 else "dog")
    for task in list(studio.tasks)[:missing]:
        del studio.pictures[studio.tasks[task]["data"]["image"]]
    changed(hub)


@pytest.mark.train
def test_pictures_that_are_gone_are_named_and_waited_for_where_they_may_be_enough(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    labeled(studio, job_hub, 5, missing=3)
    noted = job_hub.state(project).changes.pending()
    with pytest.raises(MediaError, match=r"trained yet: 2 more labels.*3 pictures of labeled tasks could not"):
        jobs.retrain(str(project), "labels", False)

    assert job_hub.state(project).changes.pending() == noted
    told = "\n".join(standing(project_status(job_hub, project)))
    assert "task 1: " in told
    assert "answered 404" in told
    assert "waiting for the pictures' server" in told
    assert consider(job_hub, project) == "the last attempt failed; it is left alone for a while"


@pytest.mark.train
def test_pictures_that_are_gone_are_named_where_labels_are_missing_anyway(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    labeled(studio, job_hub, 3, missing=1)
    told = jobs.retrain(str(project), "labels", False)

    assert "2 more labels" in told
    assert "1 picture of a labeled task could not be read: task 1: " in told
    assert job_hub.state(project).changes.pending().changed == 0
    studio.pictures[studio.tasks[1]["data"]["image"]] = next(pictures())
    assert "could not be read" not in jobs.retrain(str(project), "labels", False)
    assert "could not be read" not in "\n".join(standing(project_status(job_hub, project)))


@pytest.mark.train
def test_the_same_labels_give_the_verdict_they_got(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    runs = Runs(job_hub.store, project)
    ended = runs.save(
        replace(label_enough(studio, job_hub), state="rejected", verdict="v1 is rejected", seconds={"train": 9.0})
    )
    told = jobs.retrain(str(project), "labels", False)
    assert told.startswith(f"nothing has changed since run {ended.key} made ")
    assert "v1 is rejected" in told
    assert "--force" in told
    assert runs.latest() == ended

    # Killed at other labels, which were then taken back: the run of these is what the project did last.
    runs.save(RunRecord("other", str(project), "m", "s", 0, trigger="labels", attempts=1, fence=1))
    assert jobs.retrain(str(project), "labels", False) == "v1 is rejected"
    latest = runs.latest()
    assert latest is not None
    assert (latest.key, latest.state, latest.seconds) == (ended.key, "rejected", {"train": 9.0})
    assert consider(job_hub, project) == "nothing has changed"


def test_a_run_asked_for_during_a_run_follows_it_forced_as_it_was(job_hub: Hub, project: ProjectKey) -> None:
    with Lease(job_hub, project):
        jobs.retrain(str(project), "labelloop retrain", True)
        jobs.retrain(str(project), "3 changed labels", False)
        assert consider(job_hub, project) == "a run is in progress"

    assert consider(job_hub, project) == "run enqueued: labelloop retrain"
    assert [job.args for job in waiting(job_hub, LONG)] == [[str(project), "labelloop retrain", True]]


def test_a_paused_project_is_trained_when_it_is_resumed(job_hub: Hub, project: ProjectKey) -> None:
    job_hub.state(project).changes.add(["a1", "a2", "a3"], time.time() - 60)
    job_hub.pauses(project).begin("anna", "")

    assert consider(job_hub, project).startswith("paused by anna since ")
    assert not waiting(job_hub, LONG)
    # One that waited in the queue when the project was paused.
    assert jobs.retrain(str(project), "Start Training", False).startswith(f"project {project.id} is paused by anna")
    assert "trouble" not in job_hub.state(project).notes()
    assert job_hub.state(project).backoff.wait() is None
    job_hub.redis.flushall()
    assert consider(job_hub, project).startswith("paused by anna since ")
    job_hub.state(project).want_again("Start Training")
    job_hub.pauses(project).end()
    assert consider(job_hub, project) == "run enqueued: Start Training"


def test_a_run_that_was_cut_off_goes_on_in_a_paused_project(job_hub: Hub, project: ProjectKey) -> None:
    cut_off = RunRecord("k", str(project), "m", "s", 0, trigger="labels", attempts=1)
    job_hub.runs(project).save(cut_off)
    job_hub.pauses(project).begin("anna", "")

    assert consider(job_hub, project) == "run enqueued: labels"
    # These labels make no run: it is not refused before that is known.
    assert "cannot be trained yet" in jobs.retrain(str(project), "labels", False)


def test_a_worker_killed_before_the_record_is_there_loses_no_request(job_hub: Hub, project: ProjectKey) -> None:
    # What a killed worker leaves: the block that was never left.
    job_hub.state(project).begun("Start Training", False).__enter__()

    assert consider(job_hub, project) == "run enqueued: Start Training"
    waiting(job_hub, LONG)[0].delete()
    assert consider(job_hub, project) == "nothing has changed"


def test_deploying_pre_annotates_announces_and_flips(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    studio.add_tasks(3)
    studio.connect("v1")
    champion(job_hub, "v2", announced=False)

    assert jobs.deploy(str(project), None) == "v2 is announced"
    assert [studio.versions_of(task) for task in studio.tasks] == [["v2"]] * 3
    assert studio.backends[0]["title"] == studio.model_version == "v2"
    assert ChampionPointer(job_hub.store, project).read().announced == "v2"
    assert jobs.deploy(str(project), None) == "v2 is announced"
    assert len(studio.predictions) == 3


def test_a_rollback_takes_effect_at_once_and_is_announced_after_the_run_in_progress(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    studio.connect("v2")
    champion(job_hub, "v2")
    with Lease(job_hub, project):
        assert jobs.deploy(str(project), "v1").startswith("the champion is announced later")
        pointers = ChampionPointer(job_hub.store, project).read()
        assert (pointers.champion, pointers.announced) == ("v1", "v2")

    assert consider(job_hub, project) == "v1 is to be announced"
    consider(job_hub, project)
    assert [job.args for job in waiting(job_hub, SHORT)] == [[str(project), None]]
    assert jobs.deploy(str(project), None) == "v1 is announced"


def test_an_endpoint_that_is_down_is_not_asked_to_announce_all_the_time(
    studio: StudioApi, job_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.add_tasks(1)
    champion(job_hub, "v1", announced=False)
    monkeypatch.setenv("LABELLOOP_ENDPOINT", "fake://?classes=cat,dog&script=down*")
    monkeypatch.setenv("LABELLOOP_RETRY_SECONDS", "1")
    process_hub.cache_clear()
    with pytest.raises(EndpointError):
        jobs.deploy(str(project), None)

    assert ChampionPointer(job_hub.store, project).read().announced is None
    assert consider(job_hub, project) == "the last attempt failed; it is left alone for a while"
    assert not waiting(job_hub, SHORT)


def test_a_prelabel_that_fails_is_asked_for_again(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    studio.add_tasks(2)
    later_predictions.begin(job_hub, project)
    assert jobs.prelabel(str(project)) == "there is no version yet"
    assert not {"unpredicted", later_predictions.NOTE} & job_hub.state(project).notes().keys()

    champion(job_hub, "v1")
    job_hub.redis.delete(key_of(project, "announced"))
    studio.refusing = 403
    with pytest.raises(NotAllowed):
        jobs.prelabel(str(project))
    assert "unpredicted" in job_hub.state(project).notes()

    studio.refusing = 0
    assert jobs.prelabel(str(project)) == "2 tasks pre-annotated with v1, 0 left out"
    assert job_hub.state(project).notes() == {}


def test_a_prelabel_is_done_once_after_the_run_in_progress_and_asks_nobody_before(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    studio.add_tasks(2)
    champion(job_hub, "v1")
    with Lease(job_hub, project):
        for _ in range(5):
            assert jobs.prelabel(str(project)).startswith("a run is in progress")
            assert jobs.consider(str(project)) == "a run is in progress"
        assert studio.count("GET /api/ml") <= 1, "consider learns once what the project wants"
        assert not scheduled(job_hub)
        asked = len(studio.asked)
        jobs.prelabel(str(project))
        assert len(studio.asked) == asked

    for _ in range(3):
        jobs.consider(str(project))
    assert "prelabel" in scheduled(job_hub)
    assert jobs.prelabel(str(project)) == "2 tasks pre-annotated with v1, 0 left out"


def test_jobs_look_at_the_policy_and_sweep(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    job_hub.state(project).note("sweep", "left from earlier")
    assert jobs.sweep() == {}
    assert jobs.consider(str(project)) == "nothing has changed"
    job_hub.store.write(f"{project}/champion.json", b"{}")
    assert jobs.sweep() == {str(project): "nothing has changed"}
    assert job_hub.state(project).notes().keys() <= {"unpredicted", "missing", "learns"}
