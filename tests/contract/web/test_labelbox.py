"""Labelbox's service: who is answered, what its menu holds, and what its button asks for."""

import json
import logging
from dataclasses import replace
from typing import Literal

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from labelloop.labelbox.model_types import TYPES
from labelloop.labelbox.signing import SHA1, SHA256, VECTOR_BODY, VECTOR_SECRET, VECTORS, signature
from labelloop.loop.hub import Hub
from labelloop.models.model_runs import ModelRunJobs
from labelloop.types import ProjectKey
from support.examples import examples
from support.web import MakeHub, client_of

RUN = "9e3f331a-551b-0e24-6ab5-f69855df64ea"
BODY = {
    "modelType": "bounding_box",
    "modelRunId": RUN,
    "modelId": "9e3f51f8-5e62-0cab-360e-c0443dcc3008",
    "organizationId": "cjhfn5y6s0pk507024nz1ocys",
}
MENU: dict[str, object] = {one.name: {} for one in TYPES}


def served(make_hub: MakeHub, **given: object) -> Hub:
    return make_hub(**{"labelbox_secret": VECTOR_SECRET, **given})


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return served(make_hub)


def press(
    client: FlaskClient, body: object = None, *, raw: bytes | None = None, path: str = "/labelbox"
) -> TestResponse:
    """Send the button's request, rightly signed."""
    content = json.dumps(BODY if body is None else body).encode() if raw is None else raw
    headers = {SHA1: signature(VECTOR_SECRET, content)}
    return client.post(f"{path}/model_run", data=content, headers=headers)


def menu(client: FlaskClient, path: str = "/labelbox") -> TestResponse:
    return client.get(f"{path}/models", headers={SHA1: VECTORS[0][2]})


def error(answer: TestResponse) -> str:
    assert answer.json is not None
    return str(answer.json["error"])


def job(hub: Hub, number: int = 1, run: str = RUN) -> object:
    return ModelRunJobs(hub.store).read(ProjectKey.of_model_run(run, number))


@pytest.mark.parametrize(("header", "value"), [vector[1:] for vector in VECTORS[1:]])
def test_the_contracts_request_opens_a_job_and_is_answered_at_once(hub: Hub, header: str, value: str) -> None:
    client = client_of(hub)
    answer = client.post("/labelbox/model_run", data=VECTOR_BODY, headers={header: value})

    assert answer.status_code == 200
    assert answer.json == {"modelRunId": RUN, "modelType": "bounding_box", "state": "open", "attempt": 1}
    opened = ModelRunJobs(hub.store).read(ProjectKey.of_model_run(RUN, 1))
    assert opened is not None
    assert (opened.entry, opened.model, opened.organization) == (
        "bounding_box",
        BODY["modelId"],
        BODY["organizationId"],
    )


def test_the_menu_is_the_six_types_where_all_can_be_trained(hub: Hub) -> None:
    answer = menu(client_of(hub))

    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert list(json.loads(answer.text).items()) == list(MENU.items())


@pytest.mark.parametrize("header", [SHA1, SHA256])
@pytest.mark.parametrize(
    ("method", "path", "content"), [("GET", "/labelbox/models", b""), ("POST", "/labelbox/model_run", VECTOR_BODY)]
)
def test_a_signature_of_anything_else_is_401_with_a_reason(
    hub: Hub, method: str, path: str, content: bytes, header: str
) -> None:
    client = client_of(hub)
    right = signature(VECTOR_SECRET, content, header)
    wrong = {
        "of other bytes": signature(VECTOR_SECRET, content + b" ", header),
        "by another secret": signature("another", content, header),
        "cut": right[:-1],
        "bare": right.partition("=")[2],
        "upper": right.upper(),
        "twice": f"{right},{right}",
    }
    for value in wrong.values():
        answer = client.open(path, method=method, data=content, headers={header: value})
        assert answer.status_code == 401
        assert header in error(answer)
        assert right not in answer.text
    answer = client.open(path, method=method, data=content)
    assert (answer.status_code, "carries no X-Hub-Signature" in error(answer)) == (401, True)
    assert answer.headers["WWW-Authenticate"].lower().startswith("x-hub-signature")
    assert job(hub) is None


def test_a_right_signature_beside_a_wrong_one_is_refused(hub: Hub) -> None:
    client = client_of(hub)
    for right, wrong in ((SHA1, SHA256), (SHA256, SHA1)):
        headers = {right: signature(VECTOR_SECRET, VECTOR_BODY, right), wrong: "sha1=00"}
        answer = client.post("/labelbox/model_run", data=VECTOR_BODY, headers=headers)
        assert (answer.status_code, wrong in error(answer)) == (401, True)
    assert job(hub) is None


def test_the_signature_is_looked_at_before_anything_is_read(hub: Hub) -> None:
    answer = client_of(hub).post("/labelbox/model_run", data=b"{", headers={SHA1: "sha1=00"})

    assert answer.status_code == 401


def test_the_bytes_are_signed_and_not_what_they_say(hub: Hub) -> None:
    client = client_of(hub)
    spaced = json.dumps(BODY, indent=4).encode()
    assert press(client, raw=spaced).status_code == 200
    refused = client.post("/labelbox/model_run", data=spaced, headers={SHA1: signature(VECTOR_SECRET, VECTOR_BODY)})
    assert refused.status_code == 401


def test_a_menu_asked_for_with_a_body_is_signed_over_that_body(hub: Hub) -> None:
    client = client_of(hub)
    refused = client.get("/labelbox/models", data=b"{}", headers={SHA1: VECTORS[0][2]})
    taken = client.get("/labelbox/models", data=b"{}", headers={SHA1: signature(VECTOR_SECRET, b"{}")})

    assert (refused.status_code, taken.status_code) == (401, 200)


def test_basic_authentication_is_not_asked_of_labelbox_and_does_not_replace_a_signature(make_hub: MakeHub) -> None:
    client = client_of(served(make_hub, basic_auth_user="label", basic_auth_pass="studio"))

    assert menu(client).status_code == 200
    assert client.get("/labelbox/models", auth=("label", "studio")).status_code == 401
    assert client.get("/labelbox/elsewhere", headers={SHA1: VECTORS[0][2]}).status_code == 401


def test_the_same_request_again_is_the_same_job(hub: Hub) -> None:
    client = client_of(hub)
    first, again = press(client), press(client)

    assert first.json == again.json
    assert first.status_code == again.status_code == 200
    assert ModelRunJobs(hub.store).open() == [ProjectKey.of_model_run(RUN, 1)]


def test_another_type_or_run_is_another_job(hub: Hub) -> None:
    client, other = client_of(hub), RUN.replace("9", "8")
    for body in (BODY, {**BODY, "modelType": "ner"}, {**BODY, "modelRunId": other}):
        assert press(client, body).status_code == 200

    keys = [(RUN, 1), (RUN, 2), (other, 1)]
    assert ModelRunJobs(hub.store).open() == [ProjectKey.of_model_run(run, number) for run, number in keys]


@pytest.mark.parametrize("state", ["failed", "complete"])
def test_after_the_end_the_button_makes_a_new_attempt(hub: Hub, state: Literal["failed", "complete"]) -> None:
    client, project = client_of(hub), ProjectKey.of_model_run(RUN, 1)
    press(client)
    jobs = ModelRunJobs(hub.store)
    opened = jobs.read(project)
    assert opened is not None
    jobs.save(project, replace(opened, state=state, reason="it ended"))

    answer = press(client)
    assert answer.json is not None
    assert (answer.json["state"], answer.json["attempt"]) == ("open", 2)


@pytest.mark.parametrize(
    "asked", ["Text_multi_classification", "TEXT_MULTI_CLASSIFICATION", " text_multi_classification"]
)
def test_letter_case_of_a_type_does_not_count(hub: Hub, asked: str) -> None:
    answer = press(client_of(hub), {**BODY, "modelType": asked})

    assert answer.json is not None
    assert answer.json["modelType"] == "text_multi_classification"
    assert job(hub, 6) is not None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({**BODY, "modelType": "video"}, "'video' is not in the menu"),
        ({**BODY, "modelType": "inference: gone (01234567)"}, "open the menu anew"),
        ({**BODY, "modelType": ""}, "modelType"),
        ({**BODY, "modelType": "x" * 300}, "modelType"),
        ({**BODY, "modelType": ["ner"]}, "modelType must be text"),
        *(({name: value for name, value in BODY.items() if name != gone}, f"{gone} must be text") for gone in BODY),
        *(({**BODY, name: None}, f"{name} must be text") for name in BODY),
        *(({**BODY, name: 7}, f"{name} must be text") for name in BODY),
        *(
            ({**BODY, name: wrong}, f"{name} must be an id of Labelbox")
            for name in ("modelRunId", "modelId", "organizationId")
            for wrong in (
                "",
                "short",
                "../../../etc/passwd",
                "a" * 65,
                "-" + "a" * 20,
                "a" * 20 + "\n",
                "ä" * 9,
            )
        ),
        ({**BODY, "modelRunId": "A" * 20}, "modelRunId must be an id of Labelbox"),
        ([BODY], "must be a JSON object"),
        ("text", "must be a JSON object"),
        (None, "modelType"),
    ],
)
def test_a_body_of_another_form_is_400_and_says_what_is_wrong(hub: Hub, body: object, named: str) -> None:
    answer = press(client_of(hub), raw=json.dumps({} if body is None else body).encode())

    assert (answer.status_code, answer.content_type) == (400, "application/json")
    assert named in error(answer)
    assert ModelRunJobs(hub.store).open() == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 60_000, b"1" * 10_000, b'{"modelType": "\xe9"}', b"\0"]
)
def test_what_is_no_json_is_400(hub: Hub, content: bytes) -> None:
    answer = press(client_of(hub), raw=content)

    assert (answer.status_code, error(answer)) == (400, "the body is no JSON that can be read")


def test_more_than_is_asked_for_is_passed_over(hub: Hub) -> None:
    assert press(client_of(hub), {**BODY, "webhookVersion": 2, "more": {"a": [1]}}).status_code == 200


def test_a_body_over_the_limit_is_413_as_json(hub: Hub) -> None:
    answer = press(client_of(hub), raw=b" " * 64_001)

    assert (answer.status_code, answer.content_type) == (413, "application/json")
    assert "larger than 64000 bytes" in error(answer)


def test_without_a_secret_nothing_is_served(make_hub: MakeHub) -> None:
    hub = make_hub(labelbox_at_root=True)
    client = client_of(hub)
    for path in ("/labelbox", ""):
        assert (menu(client, path).status_code, press(client, path=path).status_code) == (404, 404)
    assert job(hub) is None


def test_a_setting_allows_to_do_without_a_secret_and_the_log_says_so(
    make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        client = client_of(make_hub(labelbox_allow_unsigned=True))

    assert "LABELLOOP_LABELBOX_ALLOW_UNSIGNED is set" in caplog.text
    assert client.get("/labelbox/models").json == MENU
    assert client.post("/labelbox/model_run", json=BODY).status_code == 200


def test_where_there_is_a_secret_no_setting_lets_an_unsigned_request_in(
    make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        client = client_of(served(make_hub, labelbox_allow_unsigned=True))

    assert client.get("/labelbox/models").status_code == 401
    assert "ALLOW_UNSIGNED" not in caplog.text


def test_at_the_root_it_is_served_where_that_is_set(make_hub: MakeHub) -> None:
    client = client_of(served(make_hub, labelbox_at_root=True))
    assert (menu(client, "").status_code, press(client, path="").status_code) == (200, 200)
    assert menu(client).status_code == 200
    assert client.get("/models").status_code == 401

    beside = client_of(served(make_hub))
    assert menu(beside, "").status_code == 404


def test_without_redis_a_job_is_opened_for_the_sweep_and_without_a_store_none(make_hub: MakeHub) -> None:
    alone = served(make_hub, redis_url="redis://127.0.0.1:1/0")
    assert press(client_of(alone)).status_code == 200
    assert job(alone) is not None

    lost = served(make_hub, store="file:///proc/none")
    answer = press(client_of(lost))
    assert (answer.status_code, answer.content_type) == (503, "application/json")


def test_nothing_secret_is_answered_or_logged(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(hub)
    with caplog.at_level(logging.DEBUG):
        told = [menu(client).text, press(client).text, press(client, {**BODY, "modelType": "x"}).text]
        told.append(client.get("/labelbox/models", headers={SHA1: "sha1=00"}).text)
    for text in (*told, caplog.text):
        assert VECTOR_SECRET not in text
        assert VECTORS[0][2].partition("=")[2] not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.fixed_dictionaries({}, optional=dict.fromkeys(BODY, JSON)).map(json.dumps))
def test_whatever_is_signed_is_answered_200_or_400_and_what_is_not_401(hub: Hub, content: str | bytes) -> None:
    client, raw = client_of(hub), content if isinstance(content, bytes) else content.encode()

    assert press(client, raw=raw).status_code in (200, 400)
    for wrong in (raw + b" ", raw[1:]):
        if wrong != raw:
            refused = client.post("/labelbox/model_run", data=raw, headers={SHA1: signature(VECTOR_SECRET, wrong)})
            assert refused.status_code == 401
    assert ModelRunJobs(hub.store).open() == []
