"""`connect` against a real Label Studio: what it registers, what it mends, and that webhooks then arrive."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.demo.label_studio import LabelStudio
from labelloop.errors import StudioError
from labelloop.settings import Settings
from labelloop.studio.backends import ACTIONS, SECRET_HEADER, BackendLogin, WebhookSpec
from labelloop.studio.client import UNCERTAINTY, Studio
from labelloop.studio.connect import connect
from labelloop.types import NO_VERSION
from labelloop.webhook_secrets import WebhookSecrets
from support.annotating import LABEL_CONFIG, add_tasks, prediction, submit
from support.ml_backend import Backend, running_backend
from support.servers import free_port

pytestmark = [pytest.mark.studio, pytest.mark.versions]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as running:
        yield running


@pytest.fixture
def settings(label_studio: LabelStudio) -> Settings:
    return Settings(label_studio_url=label_studio.url, label_studio_api_key=label_studio.token)


def nothing_to_do(lines: list[str]) -> bool:
    return len(lines) == 1 and lines[0].startswith("Nothing to do")


def test_a_project_is_connected_and_repeating_does_nothing(
    studio: Studio, project: int, backend: Backend, settings: Settings
) -> None:
    lines = connect(studio, project, backend.url + "/", settings)
    assert [line.split()[0] for line in lines] == ["ML", "Webhook", "Sampling"]
    [registered] = studio.ml_backends(project)
    assert (registered.url, registered.title, registered.state) == (backend.url, NO_VERSION, "Connected")
    [webhook] = studio.webhooks(project)
    assert webhook.spec.url == backend.url + "/webhook"
    assert webhook.spec.headers == {SECRET_HEADER: WebhookSecrets(settings).of(project)}
    assert set(webhook.spec.actions) == set(ACTIONS)
    assert not webhook.spec.all_actions
    assert studio.project(project).sampling == UNCERTAINTY
    assert nothing_to_do(connect(studio, project, backend.url, settings))
    assert studio.webhooks(project) == [webhook]


def test_webhooks_then_arrive_with_the_secret(
    studio: Studio, label_studio: LabelStudio, project: int, backend: Backend, settings: Settings
) -> None:
    connect(studio, project, backend.url, settings)
    [task] = add_tasks(label_studio, project, 1)
    annotation = submit(label_studio, task, "cat")
    label_studio.request("PATCH", f"/api/annotations/{annotation}/", json={"was_cancelled": True})
    label_studio.request("DELETE", f"/api/annotations/{annotation}/")
    label_studio.request("PATCH", f"/api/projects/{project}", json={"title": "Another title"})
    for action in (
        "TASKS_CREATED",
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_DELETED",
        "PROJECT_UPDATED",
    ):
        received = backend.wait_for(action)
        assert received.headers[SECRET_HEADER.lower()] == WebhookSecrets(settings).of(project)
        assert received.body["project"]["id"] == project


WRONG: dict[str, Callable[[WebhookSpec], WebhookSpec]] = {
    "secret header": lambda spec: replace(spec, headers={}),
    "actions": lambda spec: replace(spec, actions=("ANNOTATION_CREATED",)),
    "switched on": lambda spec: replace(spec, active=False),
    "payload sent": lambda spec: replace(spec, payload=False),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_webhook_is_mended(studio: Studio, project: int, backend: Backend, settings: Settings, what: str) -> None:
    connect(studio, project, backend.url, settings)
    [right] = studio.webhooks(project)
    studio.update_webhook(right, WRONG[what](right.spec))
    assert connect(studio, project, backend.url, settings) == [f"Webhook {right.id} mended: {what}."]
    assert studio.webhooks(project) == [right]


def test_a_lost_webhook_is_made_anew_and_a_double_is_removed(
    studio: Studio, project: int, backend: Backend, settings: Settings
) -> None:
    connect(studio, project, backend.url, settings)
    [webhook] = studio.webhooks(project)
    studio.delete_webhook(webhook)
    assert connect(studio, project, backend.url, settings)[0].startswith("Webhook")
    [kept] = studio.webhooks(project)
    assert kept.spec == webhook.spec
    studio.create_webhook(project, kept.spec)
    assert "there twice" in connect(studio, project, backend.url, settings)[0]
    assert studio.webhooks(project) == [kept]


def test_a_backend_that_moved_is_followed(studio: Studio, project: int, backend: Backend, settings: Settings) -> None:
    with running_backend() as old:
        connect(studio, project, old.url, settings)
        [before] = studio.ml_backends(project)
    lines = connect(studio, project, backend.url, settings)
    assert lines[0] == f"ML backend {before.id} moved from {old.url} to {backend.url}."
    [after] = studio.ml_backends(project)
    assert (after.id, after.url, after.state) == (before.id, backend.url, "Connected")
    assert [webhook.spec.url for webhook in studio.webhooks(project)] == [backend.url + "/webhook"]
    assert nothing_to_do(connect(studio, project, backend.url, settings))


@pytest.mark.parametrize("same", [True, False], ids=["this one", "another one"])
def test_a_backend_that_still_answers_is_moved_only_if_it_was_this_one(
    studio: Studio, project: int, backend: Backend, settings: Settings, same: bool
) -> None:
    with running_backend() as old:
        connect(studio, project, old.url, settings if same else replace(settings, webhook_secret="another"))
        connect(studio, project, backend.url, settings)
        urls = [one.url for one in studio.ml_backends(project)]
        assert urls == ([backend.url] if same else [old.url, backend.url])
        assert {webhook.spec.url for webhook in studio.webhooks(project)} == {f"{url}/webhook" for url in urls}


def test_orphan_webhooks_of_ours_are_removed_and_others_reported(
    studio: Studio, project: int, backend: Backend, settings: Settings
) -> None:
    ours = studio.create_webhook(project, WebhookSpec("http://127.0.0.1:11/webhook", {SECRET_HEADER: "old"}))
    theirs = studio.create_webhook(project, WebhookSpec("http://127.0.0.1:12/webhook", {}))
    foreign = studio.create_webhook(project, WebhookSpec("http://127.0.0.1:13/chat", {}))
    lines = connect(studio, project, backend.url, settings)
    assert any(f"Webhook {ours.id} (http://127.0.0.1:11/webhook) removed" in line for line in lines)
    assert any(f"Webhook {theirs.id} (http://127.0.0.1:12/webhook) belongs to no ML backend" in line for line in lines)
    left = {webhook.id for webhook in studio.webhooks(project)}
    assert ours.id not in left
    assert {theirs.id, foreign.id} < left


def test_the_title_is_the_announced_version_and_orders_the_tasks(
    studio: Studio, label_studio: LabelStudio, project: int, backend: Backend, settings: Settings
) -> None:
    connect(studio, project, backend.url, settings)
    tasks = add_tasks(label_studio, project, 3)
    scores = dict(zip(tasks, (0.9, 0.2, 0.5), strict=True))
    studio.import_predictions(project, [prediction(task, "cat", "v1", score) for task, score in scores.items()])
    backend.version = "v1"
    lines = connect(studio, project, backend.url, settings, "v1")
    [registered] = studio.ml_backends(project)
    assert lines == [f"ML backend {registered.id} titled v1 (was {NO_VERSION})."]
    assert studio.project(project).model_version == "v1"
    served = []
    for _ in tasks:
        task = label_studio.request("GET", f"/api/projects/{project}/next")["id"]
        served.append(task)
        submit(label_studio, task, "cat")
    assert served == sorted(tasks, key=scores.__getitem__)
    assert nothing_to_do(connect(studio, project, backend.url, settings, "v1"))


def test_the_flip_holds_even_where_the_project_ordered_by_something_else(
    studio: Studio, label_studio: LabelStudio, project: int, backend: Backend, settings: Settings
) -> None:
    connect(studio, project, backend.url, settings)
    [task] = add_tasks(label_studio, project, 1)
    studio.import_predictions(project, [prediction(task, "cat", "someone's")])
    studio.set_model_version(project, "someone's")
    [registered] = studio.ml_backends(project)
    studio.set_title(registered, "v2")
    assert studio.project(project).model_version == "v2"
    assert studio.ml_backends(project)[0].title == "v2"


def test_basic_authentication_is_registered_and_survives_the_flip(
    label_studio: LabelStudio, project: int, settings: Settings
) -> None:
    with running_backend(auth="me:hush") as backend:
        without = Studio(label_studio.url, label_studio.token)
        with pytest.raises(StudioError, match=r"answered 400 to POST /api/ml.*start it first"):
            connect(without, project, backend.url, settings)
        without.close()
        studio = Studio(label_studio.url, label_studio.token, BackendLogin("me", "hush"))
        connect(studio, project, backend.url, settings)
        [registered] = studio.ml_backends(project)
        assert (registered.state, registered.basic_auth_user) == ("Connected", "me")
        studio.set_title(registered, "v1")
        [registered] = studio.ml_backends(project)
        assert (registered.state, registered.title) == ("Connected", "v1")
        backend.auth = ""
        studio.close()
        off = Studio(label_studio.url, label_studio.token)
        assert f"ML backend {registered.id}: Basic authentication off." in connect(
            off, project, backend.url, settings, "v1"
        )
        asked = len(backend.received)
        off.ml_backends(project)
        assert all("authorization" not in one.headers for one in backend.received[asked:])
        off.close()


def test_another_backend_that_comes_first_is_named(
    studio: Studio, project: int, backend: Backend, settings: Settings
) -> None:
    with running_backend() as first:
        studio.create_ml_backend(project, first.url, "somebody else's")
        lines = connect(studio, project, backend.url, settings)
        assert any("asks only a project's first ML backend" in line and first.url in line for line in lines)
        assert [one.url for one in studio.ml_backends(project)] == [first.url, backend.url]


def test_a_backend_that_is_down_says_what_to_do(studio: Studio, project: int, settings: Settings) -> None:
    with pytest.raises(StudioError, match=r"Can't connect to ML backend .* start it first"):
        connect(studio, project, "http://127.0.0.1:1", settings)
    with pytest.raises(StudioError, match="cannot be this backend's address"):
        connect(studio, project, "localhost:9090", settings)


@pytest.mark.since("1.23.1")
def test_a_label_studio_that_calls_no_private_address_names_the_switches(
    label_studio_command: Path, tmp_path: Path, backend: Backend
) -> None:
    half_open = {"USE_DEFAULT_BANNED_SUBNETS": "true", "ML_BLOCK_LOCAL_IP": "false"}
    with LabelStudio(label_studio_command, tmp_path, free_port(), half_open) as closed:
        settings = Settings(label_studio_url=closed.url, label_studio_api_key=closed.token)
        studio = Studio.of(settings)
        project = closed.create_project("Cats and dogs", LABEL_CONFIG)
        for _ in range(2):
            with pytest.raises(
                StudioError, match="USE_DEFAULT_BANNED_SUBNETS=false and USER_ADDITIONAL_BANNED_SUBNETS"
            ):
                connect(studio, project, backend.url, settings)
        # As Label Studio has it then: the backend looks well, and no webhook will ever come.
        assert studio.ml_backends(project)[0].state == "Connected"
        assert studio.webhooks(project) == []
        studio.close()
