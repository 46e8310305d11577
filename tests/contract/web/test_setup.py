"""``/``, ``/health``, ``/setup`` and ``/versions``: what Label Studio asks before it does anything else."""

import logging
import socket
import time

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import extra_params
from labelloop.loop.project_registry import backend_url, known_projects
from labelloop.models.versions import VersionRecord
from labelloop.types import NO_VERSION, Identity
from support.examples import examples
from support.web import CONFIG, MakeHub, announce, client_of

SETUP = {
    "project": "7.1795187589",
    "schema": CONFIG,
    "hostname": "http://wrong:8080",
    "access_token": "a full-power token",
    "extra_params": None,
}


@pytest.mark.parametrize("path", ["/", "/health"])
def test_health_is_open_and_json(make_hub: MakeHub, path: str) -> None:
    client = client_of(make_hub(basic_auth_user="a", basic_auth_pass="b", redis_url="redis://127.0.0.1:1", store="x:"))
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json == {"status": "UP", "model_class": "LabelLoop"}


def test_setup_answers_a_fixed_text_before_the_first_version(client: FlaskClient) -> None:
    assert client.post("/setup", json=SETUP).json == {"model_version": NO_VERSION}
    assert NO_VERSION


def test_setup_answers_the_announced_version(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7, "v4")
    assert client.post("/setup", json=SETUP).json == {"model_version": "v4"}
    announce(hub, 7, "v5")
    assert client.post("/setup", json=SETUP).json == {"model_version": "v5"}


def test_setup_is_instant_whatever_is_down(make_hub: MakeHub) -> None:
    # 192.0.2.0/24 swallows packets: anything that asks the endpoint or Label Studio would hang.
    hub = make_hub(
        endpoint="http://192.0.2.1:9", label_studio_url="http://192.0.2.1:8", redis_url="redis://127.0.0.1:1"
    )
    client = client_of(hub)
    begun = time.monotonic()
    assert client.post("/setup", json=SETUP).json == {"model_version": NO_VERSION}
    assert time.monotonic() - begun < 1


def test_setup_answers_before_label_studio_gives_up_on_a_redis_that_hangs(make_hub: MakeHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = client_of(make_hub(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}"))
        begun = time.monotonic()
        assert client.post("/setup", json=SETUP).json == {"model_version": NO_VERSION}
    assert time.monotonic() - begun < 3


def test_setup_remembers_the_project_and_the_address_it_was_asked_at(client: FlaskClient, hub: Hub) -> None:
    client.post("/setup", json=SETUP, base_url="http://ml-backend:9090/labelloop/")
    assert known_projects(hub) == [hub.project(7)]
    assert backend_url(hub, 7) == "http://ml-backend:9090/labelloop"


def test_setup_keeps_no_token_and_no_hostname(client: FlaskClient, hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.post("/setup", json=SETUP)
    kept = [hub.redis.dump(key) or b"" for key in hub.redis.keys("*")]
    assert kept
    for secret in ("a full-power token", "wrong:8080"):
        assert secret not in caplog.text
        assert not any(secret.encode() in value for value in kept)


@pytest.mark.parametrize("body", [{}, {"project": ""}, {"project": None, "schema": CONFIG}])
def test_setup_without_a_project_is_400(client: FlaskClient, body: object) -> None:
    assert client.post("/setup", json=body).status_code == 400


def test_versions_lists_every_projects_versions_newest_first_and_once(client: FlaskClient, hub: Hub) -> None:
    assert client.get("/versions").json == {"versions": []}
    publish(hub, 7, "v1", "2026-01-01")
    publish(hub, 7, "v2", "2026-01-03")
    publish(hub, 8, "v1", "2026-01-02")
    assert client.get("/versions").json == {"versions": ["v2", "v1"]}
    assert client.post("/versions", json={"project": "7.1"}).json == {"versions": ["v2", "v1"]}


def publish(hub: Hub, project: int, version: str, created: str) -> None:
    """Store a version's record as publishing does, without a bundle."""
    from labelloop.models.records import to_bytes

    record = VersionRecord(version, "run", "head", None, created, promoted=True, verdict="first")
    hub.store.write(f"{hub.project(project)}/versions/{version}/version.json", to_bytes(record))


def test_setup_refuses_impossible_extra_params_and_keeps_those_it_had(make_hub: MakeHub) -> None:
    hub = make_hub(endpoint="http://127.0.0.1:1")
    client = client_of(hub)
    assert client.post("/setup", json=SETUP | {"extra_params": {"threshold": 0.25}}).status_code == 200
    for wrong in ({"treshold": 0.5}, "{", {"request": "smoke signals"}, {"endpoint": "http://169.254.169.254/x"}):
        answer = client.post("/setup", json=SETUP | {"extra_params": wrong})
        assert answer.status_code == 400
        assert "extra_params" in answer.status, "of a failure Label Studio shows the reason phrase alone"
        assert extra_params(hub, hub.project(7)) == {"threshold": 0.25}


def test_setup_refuses_a_control_tag_that_is_not_there_and_lists_those_that_are(make_hub: MakeHub) -> None:
    hub = make_hub(endpoint="http://127.0.0.1:1/predict", allowed_endpoints=("http://models.corp/*",))
    client = client_of(hub)
    bootstrap = {"endpoint": "http://models.corp/", "bootstrap": {"endpoint": "http://models.corp/x", "tag": "wrong"}}
    for wrong in ({"tag": "wrong"}, bootstrap):
        answer = client.post("/setup", json=SETUP | {"extra_params": wrong})
        assert answer.status_code == 400
        assert "'wrong', and those that LabelLoop predicts for are called 'label'" in answer.status
        assert extra_params(hub, hub.project(7)) is None
    assert client.post("/setup", json=SETUP | {"extra_params": {"tag": "label"}}).status_code == 200
    unlearned = client.post("/setup", json=SETUP | {"extra_params": {"learn": "sky"}})
    assert unlearned.status_code == 400
    assert "names the control tag 'sky', and nothing of that name can be learned here" in unlearned.status
    assert "name one of 'label', or leave it out" in unlearned.status
    assert client.post("/setup", json=SETUP | {"extra_params": {"learn": "label"}}).status_code == 200


def test_setup_answers_the_version_of_the_endpoint_that_is_named_now(make_hub: MakeHub) -> None:
    hub = make_hub(allowed_endpoints=("http://models.corp/*",))
    client = client_of(hub)
    client.post("/setup", json=SETUP)
    given = {"endpoint": "http://models.corp/scenes", "version": "7"}
    assert client.post("/setup", json=SETUP | {"extra_params": given}).json == {"model_version": "7"}
    assert client.post("/setup", json=SETUP).json == {"model_version": NO_VERSION}


def test_nothing_that_is_wrong_gets_into_the_head_of_an_answer(client: FlaskClient) -> None:
    given = {"a\r\nSet-Cookie: evil=1\u2028é": 1}
    answer = client.post("/setup", json=SETUP | {"extra_params": given})
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers
    assert answer.status.isprintable()
    assert answer.status.isascii()


def test_one_project_has_its_version_at_every_address_of_its_label_studio(make_hub: MakeHub) -> None:
    hub = make_hub(label_studio_url="http://localhost:8080")
    announce(hub, 7, "v4")
    assert client_of(hub).post("/setup", json=SETUP).json == {"model_version": "v4"}
    hub.claim(Identity(7, 1795187589))
    for url in ("http://127.0.0.1:8080", "https://studio.corp/annotate"):
        moved = make_hub(label_studio_url=url)
        assert client_of(moved).post("/setup", json=SETUP).json == {"model_version": "v4"}


@pytest.mark.parametrize("claimed", [True, False])
def test_another_creation_time_has_no_version_of_the_project_before(make_hub: MakeHub, claimed: bool) -> None:
    hub = make_hub()
    announce(hub, 7, "v4")
    if claimed:
        hub.claim(Identity(7, 1795187589))
    other = SETUP | {"project": "7.4102444800"}
    client = client_of(hub)
    assert client.post("/setup", json=other).json == {"model_version": NO_VERSION}
    assert client.post("/setup", json=SETUP).json == {"model_version": "v4"}
    results = client.post("/predict", json={"tasks": [{"id": 1}], "project": other["project"], "label_config": CONFIG})
    assert results.json == {"results": [[]]}


def test_setup_alone_leaves_nothing_in_the_store(client: FlaskClient, hub: Hub) -> None:
    for created in ("1795187589", "1795187590", "9" * 11):
        client.post("/setup", json=SETUP | {"project": f"7.{created}"})
    assert list(hub.store.walk("")) == []


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=30) | st.from_regex(r"[0-9]{0,20}[./][0-9./-]{0,30}", fullmatch=True))
def test_a_wild_project_is_answered_or_refused_and_reaches_no_other_path(
    client: FlaskClient, hub: Hub, wild: str
) -> None:
    hub.store.write("secret/champion.json", b"no JSON")
    assert client.post("/setup", json=SETUP | {"project": wild}).status_code in (200, 400)
    predicted = client.post("/predict", json={"tasks": [{}], "project": wild, "label_config": CONFIG})
    assert predicted.status_code in (200, 400)
    assert list(hub.store.walk("")) == ["secret/champion.json"]
