"""The other routes, and what holds for all of them: JSON errors with a reason, no traceback, limits."""

import json
from base64 import b64encode

import pytest
from flask.testing import FlaskClient

from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import known_projects
from labelloop.web.app import create_app
from model import LabelLoop
from support.web import CONFIG, SECRET, MakeHub, announce, client_of

POSTS = ["/setup", "/predict", "/webhook", "/train", "/job_status", "/validate", "/delete", "/duplicate_model"]
GETS = ["/versions", "/metrics", "/status"]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


LOGIN = basic("label", "studio")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the body is no JSON"),
        (b"{", "the body is no JSON"),
        (b"\xff\xfe\x00", "the body is no JSON"),
        (b'{"project": "\xe9"}', "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b"1" * 10_000, "the body is no JSON"),
        (b"[]", "the body must be a JSON object, not a list"),
        (b"null", "the body must be a JSON object, not null"),
        (b'"text"', "the body must be a JSON object, not text"),
        (b"NaN", "the body must be a JSON object, not a number"),
    ],
)
def test_a_body_that_is_no_json_object_is_400_with_the_reason(
    client: FlaskClient, path: str, content: bytes, reason: str
) -> None:
    answer = client.post(path, data=content, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"].startswith(reason)


def test_json_is_read_whatever_the_content_type_says(client: FlaskClient) -> None:
    answer = client.post("/setup", data=b'{"project": 7}', content_type="text/plain")
    assert answer.status_code == 200


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_the_limit_is_413_as_json(make_hub: MakeHub, path: str) -> None:
    client = client_of(make_hub(body_max_bytes=1000))
    body = json.dumps({"action": "x", "project": 7, "more": "x" * 1000})
    answer = client.post(path, data=body, content_type="application/json")
    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["error"]


@pytest.mark.parametrize("path", [*POSTS, *GETS])
def test_every_other_route_asks_for_basic_authentication(make_hub: MakeHub, path: str) -> None:
    client = client_of(make_hub(basic_auth_user="label", basic_auth_pass="studio"))
    ask = client.post if path in POSTS else client.get
    body = {"action": "START_TRAINING", "project": 7, "tasks": [], "label_config": CONFIG, "config": CONFIG, "job": "x"}
    more = {"project_src": 1, "project_dst": 2} | ({"project": {"id": 7}} if path == "/webhook" else {})
    for headers in ({}, {"Authorization": "Basic \x7f"}, {"Authorization": "Basic " + b64encode(b"label:x").decode()}):
        refused = ask(path, json={**body, **more}, headers=headers)
        assert refused.status_code == 401
        assert refused.json is not None
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="LabelLoop ML backend"'
    assert ask(path, json={**body, **more}, headers=LOGIN).status_code in (200, 201, 410)


def test_operators_routes_are_closed_to_label_studio_where_operators_have_a_login(make_hub: MakeHub) -> None:
    own = basic("ops", "night")
    client = client_of(
        make_hub(basic_auth_user="label", basic_auth_pass="studio", admin_user="ops", admin_pass="night")
    )
    body = {"action": "START_TRAINING", "project": 7, "tasks": [], "label_config": CONFIG, "config": CONFIG, "job": "x"}
    more = {"project_src": 1, "project_dst": 2}
    for path in [*POSTS, *GETS, "/try", "/status/below"]:
        ask = client.post if path in POSTS else client.get
        theirs = path in ("/delete", "/versions", "/metrics", "/status", "/try", "/status/below")
        project = {"project": {"id": 7}} if path == "/webhook" else {}
        opened, closed = (own, LOGIN) if theirs else (LOGIN, own)
        refused = ask(path, json=body | more | project, headers=closed)
        assert refused.status_code == 401, path
        assert (
            refused.headers["WWW-Authenticate"] == f'Basic realm="LabelLoop {"operators" if theirs else "ML backend"}"'
        )
        assert ask(path, json=body | more | project, headers=opened).status_code in (200, 201, 404, 410), path


def test_operators_may_have_a_login_where_label_studio_has_none(make_hub: MakeHub) -> None:
    client = client_of(make_hub(admin_user="ops", admin_pass="night"))
    assert client.get("/status").status_code == 401
    assert client.get("/status", headers=basic("ops", "night")).status_code == 200
    assert client.post("/setup", json={"project": 7}).status_code == 200


def test_ready_and_status_say_whether_redis_answers_and_health_does_not(make_hub: MakeHub) -> None:
    hub = make_hub(basic_auth_user="label", basic_auth_pass="studio")
    announce(hub, 7, "v1")
    client = client_of(hub)
    assert client.get("/ready").json == {"status": "READY"}
    stands = client.get("/status", headers=LOGIN).json
    assert stands is not None
    assert (stands["queue"], stands["trouble"], len(stands["projects"])) == (True, "", 1)

    gone = make_hub(redis_url="redis://127.0.0.1:1/0")
    client = client_of(gone)
    refused = client.get("/ready")
    assert (refused.status_code, client.get("/health").status_code) == (503, 200)
    stands = client.get("/status").json
    assert stands is not None
    assert not stands["queue"]
    assert "Start it, or correct LABELLOOP_REDIS_URL" in stands["trouble"]
    assert [project["champion"] for project in stands["projects"]] == ["v1"]
    empty = client_of(make_hub(redis_url="redis://127.0.0.1:1/0", store=f"file://{gone.settings.directory}/empty"))
    answer = empty.get("/status").json
    assert answer is not None
    assert (answer["queue"], answer["projects"]) == (False, [])


def test_one_damaged_version_or_champion_takes_no_others_along(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7, "v1")
    announce(hub, 8, "v2")
    hub.store.write(f"{hub.project(7)}/champion.json", b"no JSON")
    hub.store.write(f"{hub.project(8)}/versions/v1/version.json", b"[]")
    hub.redis.flushall()

    assert client.get("/versions").status_code == 200
    stands = client.get("/status").json
    assert stands is not None
    assert [(one["champion"], one["store"]) for one in stands["projects"]] == [(None, False), ("v2", True)]
    assert client.post("/setup", json={"project": 8}).json == {"model_version": "v2"}
    refused = client.post("/setup", json={"project": 7})
    assert refused.status_code == 503
    assert refused.json is not None
    assert "labelloop rollback --project 7" in refused.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/predict", 405),
        ("DELETE", "/webhook", 405),
        ("POST", "//predict", 404),
        ("POST", "/predict/", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/health", 405),
    ],
)
def test_unknown_paths_and_methods_are_json_too(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert answer.json is not None
    assert answer.json["error"]


def test_what_nobody_expected_is_500_without_a_traceback(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(LabelLoop):
        def __init__(self, *_: object, **__: object) -> None:
            raise ZeroDivisionError("the secret detail")

    answer = create_app(hub.settings, hub, Broken).test_client().post("/setup", json={"project": 7})
    assert answer.status_code == 500
    assert answer.json == {"error": "LabelLoop failed; the reason is in the log of its web process"}
    assert "the secret detail" in caplog.text


def test_validate_says_what_would_be_predicted(client: FlaskClient) -> None:
    answer = client.post("/validate", json={"config": CONFIG})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["controls"] == [{"name": "label", "tag": "Choices", "labels": ["cat", "dog"]}]


@pytest.mark.parametrize("config", ["", "<View/>", "<View", '<View><Text name="t" value="$t"/></View>'])
def test_validate_refuses_what_nothing_can_be_predicted_for(client: FlaskClient, config: str) -> None:
    answer = client.post("/validate", json={"config": config})
    assert answer.status_code == 400
    assert answer.json is not None
    assert "label config" in answer.json["error"]


@pytest.mark.parametrize("job", ["gone", "", "with spaces", "../x", "\u0000", "x" * 1000])
def test_a_job_nobody_knows_is_410(client: FlaskClient, job: str) -> None:
    answer = client.post("/job_status", json={"job": job})
    assert answer.status_code == 410
    assert answer.json is not None
    assert answer.json["error"]


def test_delete_forgets_the_queue_and_keeps_the_versions(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7, "v3")
    client.post("/setup", json={"project": 7})
    hub.state(hub.project(7)).changes.add(["a1"], 1.0)
    assert client.post("/delete", json={"project": "7.1"}).status_code == 200
    assert hub.state(hub.project(7)).changes.pending().changed == 0
    assert client.post("/setup", json={"project": "7.1"}).json == {"model_version": "v3"}


def test_duplicate_model_copies_nothing_and_says_so(client: FlaskClient, hub: Hub) -> None:
    announce(hub, 7)
    answer = client.post("/duplicate_model", json={"project_src": "7.1", "project_dst": "8.1"})
    assert answer.status_code == 200
    assert answer.json is not None
    assert "nothing was copied" in answer.json["detail"]
    assert client.post("/duplicate_model", json={"project_src": "7.1"}).status_code == 400


def test_status_tells_of_every_known_project(client: FlaskClient, hub: Hub) -> None:
    assert client.get("/status").json == {"projects": [], "queue": True, "trouble": ""}
    client.post("/setup", json={"project": 7})
    announce(hub, 8, "v2")
    answer = client.get("/status").json
    assert answer is not None
    assert [one["project"] for one in answer["projects"]] == [str(one) for one in known_projects(hub)]
    assert answer["projects"][0]["missing"]
    assert answer["projects"][1]["announced"] == "v2"


def test_metrics_count_requests_predictions_and_webhooks(make_hub: MakeHub) -> None:
    hub, other = make_hub(), client_of(make_hub())
    client = client_of(hub)
    announce(hub, 7)
    client.get("/health")
    client.get("/nothing")
    client.post("/predict", json={"project": 7, "label_config": CONFIG, "tasks": [{}, {}]})
    client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}})
    client.post("/webhook", json={"action": "anything a stranger sends"})
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    assert 'labelloop_requests_total{route="/health",status="200"} 1.0' in answer.text
    assert 'labelloop_requests_total{route="unknown",status="404"} 1.0' in answer.text
    assert 'labelloop_predictions_total{outcome="skipped"} 2.0' in answer.text
    assert 'labelloop_webhooks_total{action="START_TRAINING"} 1.0' in answer.text
    assert 'labelloop_webhooks_total{action="other"} 1.0' in answer.text
    assert "stranger" not in answer.text
    assert "/health" not in other.get("/metrics").text


def test_who_fails_to_log_in_too_often_is_not_looked_at_and_label_studio_is(make_hub: MakeHub) -> None:
    client = client_of(make_hub(basic_auth_user="label", basic_auth_pass="studio", failed_logins=3))
    sent = {"json": {"project": 7}}
    assert client.post("/setup", headers=LOGIN, **sent).status_code == 200
    wrong = [client.post("/setup", headers=basic("label", str(guess)), **sent) for guess in range(5)]
    assert [one.status_code for one in wrong] == [401, 401, 401, 429, 429]
    assert int(wrong[-1].headers["Retry-After"]) in (20, 21)
    assert client.post("/setup", headers=LOGIN, **sent).status_code == 200, "it had been right before"

    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    for guess in range(3):
        client.post("/setup", headers=basic("label", str(guess)), **sent, **elsewhere)
    assert client.post("/setup", headers=LOGIN, **sent, **elsewhere).status_code == 429, "a guess that is right"
    assert client.get("/health", **elsewhere).status_code == 200

    told = client.get("/metrics", headers=LOGIN).text
    assert 'labelloop_failed_logins_total{limited="no",login="BASIC_AUTH_USER"} 6.0' in told
    assert 'labelloop_failed_logins_total{limited="yes",login="BASIC_AUTH_USER"} 3.0' in told


def test_right_webhooks_are_taken_however_many_wrong_ones_come(make_hub: MakeHub) -> None:
    client = client_of(make_hub(failed_logins=2))
    event = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "task": 5}, "project": {"id": 7}}
    wrong = [client.post("/webhook", json=event, headers={"X-LabelLoop-Secret": "no"}) for _ in range(4)]
    assert [one.status_code for one in wrong] == [401, 401, 429, 429]
    assert client.post("/webhook", json=event, headers={"X-LabelLoop-Secret": SECRET}).status_code == 200
