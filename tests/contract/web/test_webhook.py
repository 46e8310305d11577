"""``/webhook`` and ``/train``: who may tell what, and what comes of it."""

import logging
from base64 import b64encode

import pytest
from flask.testing import FlaskClient

from labelloop.loop.hub import Hub
from labelloop.types import Json
from labelloop.webhook_secrets import WebhookSecrets
from support.web import SECRET, MakeHub, client_of

HEADER = {"X-LabelLoop-Secret": SECRET}
LOGIN = {"Authorization": "Basic " + b64encode(b"label:studio").decode()}
CREATED: Json = {
    "action": "ANNOTATION_CREATED",
    "annotation": {"id": 31, "was_cancelled": False, "task": 5},
    "task": {"id": 5},
    "project": {"id": 7, "token": "the project's token"},
}
TRAIN: Json = {"action": "START_TRAINING", "project": {"id": 7}}


def test_an_annotation_is_noted(client: FlaskClient, hub: Hub) -> None:
    answer = client.post("/webhook", json=CREATED, headers=HEADER)
    assert answer.status_code == 200
    assert answer.json == {"status": "noted"}
    assert hub.state(hub.project(7)).changes.pending().changed == 1


@pytest.mark.parametrize("headers", [{}, {"X-LabelLoop-Secret": "another"}, LOGIN])
def test_an_annotation_without_the_secret_is_refused_with_the_remedy(
    make_hub: MakeHub, headers: dict[str, str]
) -> None:
    hub = make_hub(basic_auth_user="label", basic_auth_pass="studio")
    answer = client_of(hub).post("/webhook", json=CREATED, headers=headers)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers
    assert answer.json is not None
    assert "labelloop connect" in answer.json["error"]
    assert hub.state(hub.project(7)).changes.pending().changed == 0


def test_without_any_secret_no_annotation_is_taken(make_hub: MakeHub) -> None:
    client = client_of(make_hub(webhook_secret="", label_studio_api_key=""))
    for headers in ({}, {"X-LabelLoop-Secret": ""}, HEADER):
        answer = client.post("/webhook", json=CREATED, headers=headers)
        assert answer.status_code == 401
        assert answer.json is not None
        assert "LABELLOOP_WEBHOOK_SECRET" in answer.json["error"]


def test_without_a_setting_the_secret_is_the_one_connect_gives(make_hub: MakeHub) -> None:
    hub = make_hub(webhook_secret="", label_studio_api_key="an API key")
    headers = {"X-LabelLoop-Secret": WebhookSecrets(hub.settings).of(7)}
    assert client_of(hub).post("/webhook", json=CREATED, headers=headers).status_code == 200
    assert client_of(hub).post("/webhook", json=CREATED, headers=HEADER).status_code == 401


def test_basic_authentication_is_not_asked_of_annotations(make_hub: MakeHub) -> None:
    hub = make_hub(basic_auth_user="label", basic_auth_pass="studio")
    assert client_of(hub).post("/webhook", json=CREATED, headers=HEADER).status_code == 200


def test_start_training_answers_an_object_with_the_job(client: FlaskClient) -> None:
    answer = client.post("/webhook", json=TRAIN)
    assert answer.status_code == 201
    assert answer.json is not None
    job = answer.json["job"]
    assert client.post("/job_status", json={"job": job}).json == {"job_status": "queued"}


def test_start_training_twice_is_one_job(client: FlaskClient) -> None:
    first, second = (client.post("/webhook", json=TRAIN).json for _ in range(2))
    assert first == second


@pytest.mark.parametrize("path", ["/webhook", "/train"])
def test_training_asks_for_basic_authentication_when_it_is_set(make_hub: MakeHub, path: str) -> None:
    client = client_of(make_hub(basic_auth_user="label", basic_auth_pass="studio"))
    body = TRAIN if path == "/webhook" else {"project": "7.1", "annotations": []}
    for headers in ({}, HEADER, {"Authorization": "Basic broken"}):
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert client.post(path, json=body, headers=LOGIN).status_code == 201


def test_train_starts_a_job_as_older_label_studio_asks_for_it(client: FlaskClient) -> None:
    body = {"annotations": [{"id": 1}], "project": "7.1795187589", "label_config": "<View/>", "params": {"login": None}}
    answer = client.post("/train", json=body)
    assert answer.status_code == 201
    assert answer.json is not None
    assert client.post("/job_status", json={"job": answer.json["job"]}).json == {"job_status": "queued"}


@pytest.mark.parametrize(
    "action", ["LABEL_LINK_CREATED", "TASKS_DELETED", "SOMETHING_OF_TOMORROW", "", "\u0000\U0001f600"]
)
def test_actions_without_use_are_200_for_anybody(client: FlaskClient, action: str) -> None:
    answer = client.post("/webhook", json={"action": action, "project": {"id": 7}})
    assert answer.status_code == 200
    assert answer.json == {"status": "ignored"}


@pytest.mark.parametrize("body", [{}, {"action": None}, {"action": 7}, {"action": ["START_TRAINING"]}])
def test_a_body_that_names_no_action_is_400(client: FlaskClient, body: Json) -> None:
    answer = client.post("/webhook", json=body, headers=HEADER)
    assert answer.status_code == 400
    assert answer.json is not None
    assert "action must be text" in answer.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "START_TRAINING"},
        {"action": "START_TRAINING", "project": {"id": "seven"}},
        {**CREATED, "project": {}, "annotation": {"id": 3}},
        {**CREATED, "annotation": 7},
        {"action": "TASKS_CREATED", "tasks": [1], "project": {"id": 7}},
    ],
)
def test_a_payload_of_the_wrong_shape_is_400_with_the_reason(client: FlaskClient, body: Json) -> None:
    answer = client.post("/webhook", json=body, headers=HEADER)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"]


def test_without_redis_the_answer_says_so(make_hub: MakeHub) -> None:
    client = client_of(make_hub(redis_url="redis://127.0.0.1:1"))
    answer = client.post("/webhook", json=CREATED, headers=HEADER)
    assert answer.status_code == 503
    assert answer.json is not None
    assert "Redis" in answer.json["error"]


def test_nothing_of_a_body_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.post("/webhook", json=CREATED, headers=HEADER)
        client.post("/webhook", json=CREATED)
        client.post("/webhook", json={**CREATED, "annotation": "the project's token"}, headers=HEADER)
    assert "the project's token" not in caplog.text
    assert SECRET not in caplog.text
