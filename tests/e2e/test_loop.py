"""The whole loop against a real Label Studio: webhooks, sweep, kills and wipes, end to end."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest
import requests
from click.testing import CliRunner

from labelloop.cli.explain import explain
from labelloop.cli.loop import status
from labelloop.cli.policy import pause, policy, resume
from labelloop.demo.examples import Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.layouts import LAYOUTS, label_config, upload
from labelloop.demo.pictures import digits
from labelloop.demo.rounds import Annotator
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.queue import job_status
from labelloop.loop.redis_client import SWEEP, SWEEP_JOB, as_text
from labelloop.loop.status import ProjectStatus
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from labelloop.studio.connect import connect
from labelloop.types import NO_VERSION
from support.loop_machine import LoopMachine, Project, loop_settings
from support.openapi import operations
from support.secrets import command_lines, files_below, in_redis, leaks
from support.waiting import wait_until

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.versions, pytest.mark.timeout(600)]

FIRST = 60
"""How many pictures are labeled for a first version: the least there have to be, so that none is made of fewer."""


SECRETS = {
    "basic_auth_pass": "the password of Label Studio",
    "basic_auth_pass_previous": "the password of before",
    "admin_pass": "the password of operators",
    "webhook_secret": "the-key-of-webhooks",
    "webhook_secret_previous": "the-key-of-webhooks-of-before",
    "label_studio_api_key_previous": "the-api-key-of-before",
    "labelbox_secret": "the secret of Labelbox",
    "labelbox_api_key": "the-api-key-of-labelbox",
    "endpoint_headers": "X-Key: the-key-of-the-endpoint",
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """120 digits to show."""
    return digits(tmp_path_factory.mktemp("digits"), seed=1, tasks=120)


@pytest.fixture(scope="module")
def machine(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopMachine]:
    """One LabelLoop for all tests here, with all its secrets, and logs of all that can be logged."""
    folder = tmp_path_factory.mktemp("loop")
    settings = loop_settings(
        label_studio,
        folder,
        min_labels=FIRST,
        basic_auth_user="studio",
        admin_user="night",
        log_level="DEBUG",
        **SECRETS,
    )
    with LoopMachine(label_studio, settings, folder / "labelloop.log") as made:
        yield made


Condition = Callable[[ProjectStatus], bool]


def announced(version: str) -> Condition:
    """The version is announced and nothing is under way."""
    return lambda status: status.announced == version and status.step is None


def settled_after(key: str) -> Condition:
    """A run other than ``key`` has ended, its outcome is announced, nothing is under way."""

    def condition(status: ProjectStatus) -> bool:
        run = status.run or {}
        ended = run.get("state") in ("promoted", "rejected") and run.get("key") != key
        return ended and status.step is None and status.champion == status.announced

    return condition


def in_stage(name: str) -> Condition:
    """A worker is in this stage."""
    return lambda status: status.step is not None and status.step.stage == name


def is_quiet(seconds: float) -> Condition:
    """Labels have changed, none for so many seconds, and no tasks are pre-annotated either."""
    return lambda status: status.outlook is not None and (status.outlook.quiet or 0.0) > seconds and status.step is None


@pytest.fixture(scope="module")
def trained(machine: LoopMachine, pictures: Examples) -> Project:
    """A project whose first version came by webhooks."""
    project = machine.project(pictures, "webhooks")
    before = machine.status(project)
    assert before.announced is None
    assert before.missing == f"{FIRST} more labels"
    project.annotator.annotate(project.tasks[:FIRST])
    machine.wait_for(project, announced("v1"), "webhooks lead to v1")
    return project


def test_the_first_version_pre_annotates_what_is_left_once(machine: LoopMachine, trained: Project) -> None:
    predictions = machine.predictions(trained)

    assert all(predictions[task] == ["v1"] for task in trained.tasks[FIRST:])
    assert all(predictions[task] == [] for task in trained.tasks[:FIRST])
    backend = machine.client.ml_backends(trained.key.id)[0]
    assert (backend.title, backend.state) == ("v1", "Connected")
    info = machine.client.project(trained.key.id)
    assert (info.model_version, info.sampling) == ("v1", "Uncertainty sampling")


def test_a_pre_annotation_is_traced_to_all_that_it_came_from(machine: LoopMachine, trained: Project) -> None:
    task, number = trained.tasks[FIRST], trained.key.id
    words = ["--project", str(number), "--task", str(task), "--top", "3"]
    told = CliRunner().invoke(explain, [*words, "--json"], obj=machine.hub)
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    record = Versions(machine.hub.store, trained.key).get("v1")
    assert found["prediction"]["model_version"] == found["version"]["version"] == "v1"
    assert found["run"]["key"] == record.run
    assert record.trained_by["torch"]
    assert [set(one["labels"]) for one in found["nearest"]] == [
        set(trained.answers[one["task"]].labels) for one in found["nearest"]
    ]
    assert {one["task"] for one in found["nearest"]} <= set(trained.tasks[:FIRST])
    assert [one["labeled_by"] for one in found["nearest"]] == [[machine.client.whoami()]] * 3
    alike = [one["similarity"] for one in found["nearest"]]
    assert alike == sorted(alike, reverse=True)
    lines = CliRunner().invoke(explain, words, obj=machine.hub).output
    assert f"task {task}: v1 says" in lines
    assert machine.client.whoami() in lines
    other = CliRunner().invoke(explain, [*words, "--version", "v9"], obj=machine.hub)
    assert "it has those of v1" in other.output


def test_label_studio_serves_the_least_certain_first(machine: LoopMachine, trained: Project) -> None:
    scores = {
        task["id"]: task["predictions"][0]["score"]
        for task in machine.client.tasks(trained.key.id, unlabeled=True, fields=("id", "predictions"))
        if task["predictions"]
    }
    served = machine.studio.request("GET", f"/api/projects/{trained.key.id}/next")

    assert scores[served["id"]] == min(scores.values())


def test_tasks_imported_later_are_pre_annotated(machine: LoopMachine, trained: Project, pictures: Examples) -> None:
    later = pictures.held_out[:5]
    machine.studio.import_pictures(
        trained.key.id, {f"later-{number}.png": picture.content for number, picture in enumerate(later)}
    )
    new = sorted({task["id"] for task in machine.client.tasks(trained.key.id)} - set(trained.tasks))
    trained.answers.update(zip(new, later, strict=True))
    wait_until(
        lambda: list(machine.predictions(trained).values())[-5:] == [["v1"]] * 5, "TASKS_CREATED leads to predictions"
    )


@pytest.fixture
def no_sweep(machine: LoopMachine) -> Iterator[None]:
    """Keep sweeps away: one that scans counts the changed labels anew, whatever the webhooks told before."""
    redis = machine.hub.redis
    wait_until(lambda: bool(redis.set(SWEEP, "1", nx=True)), "the next one is due")
    wait_until(
        lambda: job_status(redis, as_text(redis.get(SWEEP_JOB) or b"")) not in ("queued", "started"),
        "the last one is over",
    )
    yield
    redis.delete(SWEEP)


@pytest.mark.since("1.14")
def test_bulk_creation_and_deletion_of_annotations_are_changed_labels(
    machine: LoopMachine, trained: Project, no_sweep: None
) -> None:
    waiting = trained.tasks[-3:]
    machine.studio.request(
        "POST",
        f"/api/dm/actions?id=predictions_to_annotations&project={trained.key.id}",
        json={"selectedItems": {"all": False, "included": waiting}, "project": str(trained.key.id)},
    )
    wait_until(lambda: machine.hub.state(trained.key).changes.pending().changed == 3, "ANNOTATIONS_CREATED is noted")

    machine.studio.request(
        "POST",
        f"/api/dm/actions?id=delete_tasks_annotations&project={trained.key.id}",
        json={"selectedItems": {"all": False, "included": waiting[:2]}, "project": str(trained.key.id)},
    )
    wait_until(
        lambda: all(not machine.studio.request("GET", f"/api/tasks/{task}")["annotations"] for task in waiting[:2]),
        "the annotations are deleted",
    )
    assert machine.hub.state(trained.key).changes.pending().changed == 3


@contextmanager
def paused(machine: LoopMachine, project: Project, by: str) -> Iterator[None]:
    """Pause a project, and let it go on however a test ends: the tests after it train it again."""
    words = ["--project", str(project.key.id)]
    assert CliRunner().invoke(pause, [*words, "--by", by], obj=machine.hub).exit_code == 0
    try:
        yield
    finally:
        resumed = CliRunner().invoke(resume, words, obj=machine.hub)
    assert resumed.output.startswith(f"project {project.key.id} goes on; it was paused by {by}")


def test_corrections_lead_to_another_run_which_waits_while_the_project_is_paused(
    machine: LoopMachine, trained: Project
) -> None:
    first, words = Runs(machine.hub.store, trained.key).latest(), ["--project", str(trained.key.id)]
    assert first is not None
    with paused(machine, trained, "anna"):
        met = trained.annotator.annotate_next(20, "v1")
        assert met.served == 20
        quiet = is_quiet(2 * machine.settings.quiet_seconds)
        stands = machine.wait_for(trained, quiet, "a run would have begun by now")
        assert stands.outlook is not None
        assert (stands.outlook.next, stands.outlook.enough) == ("paused", True)
        assert stands.outlook.why.startswith("paused by anna since ")

    status = machine.wait_for(trained, settled_after(first.key), "20 corrections lead to a second run")

    assert status.run is not None
    assert status.run["version"] == "v2"
    assert status.run["verdict"].startswith(("v2 replaces v1: ", "v2 is rejected: "))
    unlabeled = [task["id"] for task in machine.client.tasks(trained.key.id, unlabeled=True)]
    predictions = machine.predictions(trained)
    expected = ["v1", "v2"] if status.announced == "v2" else ["v1"]
    assert all(sorted(predictions[task]) == expected for task in unlabeled)
    replayed = json.loads(CliRunner().invoke(policy, [*words, "--replay", "--json"], obj=machine.hub).output)
    assert [one["version"] for one in replayed["began"]][:2] == ["v1", "v2"]
    assert replayed["would_have_begun"][0]["labeled"] >= machine.settings.min_labels


def test_the_same_labels_never_train_twice(machine: LoopMachine, trained: Project) -> None:
    runs = Runs(machine.hub.store, trained.key)
    if machine.status(trained).changed:  # on a slow machine a second passes between two corrections, and the run begins
        machine.hub.queue(trained.key).retrain("the rest of the corrections")
        machine.wait_for(trained, lambda status: not status.changed and status.step is None, "they are learned as well")
    before = runs.latest()
    assert before is not None

    job = machine.hub.queue(trained.key).retrain("test")
    wait_until(lambda: job_status(machine.hub.redis, job) == "finished", "the second request is answered")
    after = runs.latest()
    assert after is not None
    assert (after.key, after.attempts, after.seconds) == (before.key, before.attempts, before.seconds)


def test_a_forced_run_trains_again_and_goes_on_where_its_worker_was_killed(
    machine: LoopMachine, trained: Project
) -> None:
    runs, versions = Runs(machine.hub.store, trained.key), Versions(machine.hub.store, trained.key)
    machine.wait_for(trained, lambda status: status.step is None, "the worker is free")
    before, names = runs.latest(), versions.names()
    assert before is not None

    machine.hub.queue(trained.key).retrain("test", force=True)
    machine.wait_for(trained, in_stage("train"), "the training begins")
    worker = machine.worker()
    children = worker.children(recursive=True)
    worker.kill()
    _gone, alive = psutil.wait_procs([worker, *children], timeout=20)
    assert not alive, "a job outlived its worker"

    machine.wait_for(trained, settled_after(before.key), "the run is taken up by the worker that replaces it")
    after = runs.latest()
    assert after is not None
    assert (after.manifest, after.forced, after.key) == (before.manifest, True, f"{before.key}.2")
    assert after.attempts == 2
    assert versions.names() == [*names, f"v{len(names) + 1}"]


def test_a_rollback_serves_the_earlier_version(machine: LoopMachine, trained: Project) -> None:
    machine.hub.queue(trained.key).deploy("v1")
    machine.wait_for(trained, announced("v1"), "v1 is announced again")

    assert machine.client.ml_backends(trained.key.id)[0].title == "v1"
    unlabeled = [task["id"] for task in machine.client.tasks(trained.key.id, unlabeled=True)]
    predictions = machine.predictions(trained)
    assert all(predictions[task].count("v1") == 1 for task in unlabeled)


def test_predictions_follow_a_label_config_that_changes(machine: LoopMachine, trained: Project) -> None:
    config = machine.client.project(trained.key.id).label_config
    changed = config.replace('<Choice value="7"/>', '<Choice value="seven" predicted_values="7"/>').replace(
        '<Choice value="0"/>', ""
    )
    tasks = list(machine.client.tasks(trained.key.id, unlabeled=True))[:30]
    uid = f"{trained.key.id}.{trained.key.instance}"  # as Label Studio names it: by its number and creation time
    answer = requests.post(
        f"{machine.url}/predict",
        json={"tasks": tasks, "project": uid, "label_config": changed, "params": {"context": None}},
        auth=("studio", SECRETS["basic_auth_pass"]),
        timeout=60,
    )

    results = answer.json()["results"]
    chosen = {choice for item in results for region in item["result"] for choice in region["value"]["choices"]}
    assert len(results) == len(tasks)
    assert chosen <= {*"12345689", "seven"}
    assert "seven" in chosen


@pytest.fixture(scope="module")
def swept(machine: LoopMachine, pictures: Examples) -> Project:
    """A project of several labels a picture, or none, whose first version came without any webhook."""
    config = label_config(replace(pictures, classes=("even", "big"), choice="multiple"))
    number = machine.studio.create_project("several labels, no webhooks", config)
    connect(machine.client, number, machine.url, machine.settings, NO_VERSION)
    digit = upload(machine.studio, machine.client, number, pictures)
    for webhook in machine.client.webhooks(number):
        machine.client.delete_webhook(webhook)
    for task in sorted(digit)[:FIRST]:
        given = [name for name, holds in (("even", "02468"), ("big", "56789")) if digit[task].labels[0] in holds]
        region = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": given}}
        machine.studio.request("POST", f"/api/tasks/{task}/annotations", json={"result": [region] if given else []})
    project = Project(
        confirmed_project(machine.hub, number)[0],
        digit,
        Annotator(machine.client, "", number, {}, LAYOUTS[pictures.kind]),
    )
    machine.wait_for(project, announced("v1"), "the sweep leads to v1")
    return project


def test_without_any_webhook_the_sweep_leads_to_the_same(machine: LoopMachine, swept: Project) -> None:
    assert not machine.client.webhooks(swept.key.id)
    predictions = machine.predictions(swept)
    assert {task: found for task in swept.tasks[FIRST:] if (found := predictions[task]) != ["v1"]} == {}


def test_several_labels_a_picture_and_none_are_answers_too(machine: LoopMachine, swept: Project) -> None:
    found = list(machine.client.tasks(swept.key.id, unlabeled=True, fields=("id", "predictions")))
    chosen = {
        tuple(choice for region in task["predictions"][0]["result"] for choice in region["value"]["choices"])
        for task in found
    }
    assert len(found) == len(swept.tasks) - FIRST
    assert chosen <= {(), ("even",), ("big",), ("even", "big")}
    assert len(chosen) >= 3


# Half a minute for what is rare: that a run keeps its lease, and labels and versions are found again, is told by the
# contract tests of lease, sweep and standalone with a wiped Redis.
@pytest.mark.slow
def test_a_redis_wiped_in_training_loses_nothing(machine: LoopMachine, pictures: Examples) -> None:
    project = machine.project(pictures, "wiped Redis")
    project.annotator.annotate(project.tasks[:FIRST])
    machine.wait_for(project, in_stage("train"), "the training begins")
    machine.hub.redis.flushall()

    machine.wait_for(project, announced("v1"), "the run ends well")
    assert all(machine.predictions(project)[task] == ["v1"] for task in project.tasks[FIRST:])


def test_no_secret_is_in_anything_that_was_written_or_is_shown(machine: LoopMachine, trained: Project) -> None:
    own = machine.client.webhooks(trained.key.id)[0].spec.headers["X-LabelLoop-Secret"]
    secrets = SECRETS | {
        "endpoint_headers": "the-key-of-the-endpoint",
        "the API key": machine.settings.label_studio_api_key,
        "the secret of the project's webhook": own.partition(".")[2],
    }
    info = machine.studio.request("GET", f"/api/projects/{trained.key.id}")
    if info.get("token"):
        secrets["the project's token"] = info["token"]
    held = files_below(machine.settings.directory, machine.log.parent)
    held |= in_redis(machine.hub.redis) | command_lines(psutil.Process(machine.worker().ppid()))
    for login in (None, ("studio", SECRETS["basic_auth_pass"]), ("night", SECRETS["admin_pass"])):
        for (method, path), said in operations().items():
            answer = requests.request(method, machine.url + path, json={"project": 0}, auth=login, timeout=60)
            known = login is not None and login[0] == (
                "night" if said["security"][:1] == [{"operator": []}] else "studio"
            )
            assert known or not said["security"] or answer.status_code in (400, 401, 429), path
            held[f"{method} {path} by {login and login[0]}"] = repr(answer.headers).encode() + answer.content
    held["status"] = CliRunner().invoke(status, ["--json"], obj=machine.hub).stdout_bytes

    assert sum(map(len, held.values())) > 1_000_000
    assert leaks(held, secrets) == []
    assert leaks({"a place": own.encode()}, secrets), "what there is would be found"
    assert "Traceback" not in machine.log.read_text()
