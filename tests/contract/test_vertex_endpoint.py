"""A Vertex AI endpoint on the wire: paths, tokens, versions, and what becomes of Google's errors."""

import json
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from labelloop.endpoints.breaker import Breaker
from labelloop.endpoints.caller import Caller, open_endpoint
from labelloop.endpoints.failures import Denied, TooSlow, Unwell, WrongAnswer
from labelloop.endpoints.features import Featured, open_features
from labelloop.endpoints.spec import EndpointSpec
from labelloop.endpoints.vertex import vertex_address, vertex_plan
from labelloop.errors import CircuitOpen, EndpointError, SettingsError
from labelloop.types import Failure, Input, Output, Target
from support.google_wire import account_key, certificate, google_error, service_account, token
from support.misbehaving import Misbehaving, Reply, answer, cat, good, misbehaving, raw, reset, stall, then_close
from support.tunnel import tunnel_to

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1")
ONE = [Input(b"a picture", "image/png")]
PATH = "/v1/projects/shop/locations/europe-west4/endpoints/42"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Google credentials but those of a test."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def opened(base: str, options: str = "", *, breaker: Breaker | None = None, **form: Any) -> Caller:
    spec = EndpointSpec(f"vertex://shop/europe-west4/42{options}", base=base, **{"timeout": 10.0} | form)
    return Caller(vertex_plan(spec), spec, breaker=breaker)


def deployed(content: object, identity: str = "", header: str = "") -> Reply:
    more = {"deployedModelId": identity, "model": "projects/1/models/2"} if identity else {}
    return answer({"predictions": content} | more, 200, f"{header}\r\n" if header else "")


# Where and how


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("vertex://shop/europe-west4/42", f"https://europe-west4-aiplatform.googleapis.com{PATH}"),
        ("vertex://shop/europe-west4/42?dedicated=42.prediction.vertexai.goog", f"https://42.prediction.vertexai.goog{PATH}"),
        ("vertex://example.com:shop/global/a", "https://aiplatform.googleapis.com/v1/projects/example.com:shop/locations/global/endpoints/a"),
    ],
)  # fmt: skip
def test_an_address_is_googles(address: str, url: str) -> None:
    assert vertex_address(address, "").url == url


def test_pictures_and_texts_go_to_predict() -> None:
    with misbehaving(good) as server:
        subject = opened(server.address, parameters='{"top_k": 2}', headers=(("X-Trace", "abc"),))
        assert subject.invoke([*ONE, Input(text="a purring")], Target()) == [CAT] * 2
        assert {request.line for request in server.requests} == {f"POST {PATH}:predict HTTP/1.1"}
        assert {request.headers["x-trace"] for request in server.requests} == {"abc"}
        bodies = sorted((json.loads(request.body) for request in server.requests), key=str)
    assert bodies == [
        {"instances": [{"b64": "YSBwaWN0dXJl"}], "parameters": {"top_k": 2}},
        {"instances": [{"text": "a purring"}], "parameters": {"top_k": 2}},
    ]


def test_features_come_with_the_deployed_model_as_their_version() -> None:
    with misbehaving(deployed([{"embedding": [0.5, -1.0]}, {"embedding": [1, 2]}], "991")) as server:
        spec = EndpointSpec(
            "vertex://shop/europe-west4/42", base=server.address, features="predictions[].embedding", batch=2
        )
        found = open_features(spec).invoke([*ONE, Input(text="a purring")], Target(features=True))
    told = [(one.row.tolist(), one.model_version) for one in found if isinstance(one, Featured)]
    assert told == [([0.5, -1.0], "991"), ([1.0, 2.0], "991")]


def test_raw_bytes_go_to_raw_predict() -> None:
    with misbehaving(good) as server:
        assert opened(server.address, request="raw").invoke(ONE, Target()) == [CAT]
        (request,) = server.requests
    assert request.line == f"POST {PATH}:rawPredict HTTP/1.1"
    assert (request.body, request.headers["content-type"]) == (b"a picture", "image/png")


@pytest.mark.parametrize(("request_format", "way"), [("json:instances[].data.b64", "predict"), ("json", "rawPredict")])
def test_a_path_to_instances_goes_to_predict(request_format: str, way: str) -> None:
    with misbehaving(answer({"predictions": [cat()]})) as server:
        subject = opened(server.address, request=request_format, parameters='{"parameters": {"top_k": 2}}')
        assert subject.invoke(ONE, Target()) == [CAT]
        assert server.requests[0].line == f"POST {PATH}:{way} HTTP/1.1"


def test_automl_is_asked_and_read() -> None:
    found = {"ids": ["7"], "displayNames": ["cat"], "confidences": [0.75]}
    with misbehaving(deployed([found], "991")) as server:
        (answered,) = opened(server.address, request="automl").invoke(ONE, Target())
        assert json.loads(server.requests[0].body)["instances"][0]["mimeType"] == "image/png"
    assert isinstance(answered, Output)
    assert (answered.label, answered.model_version) == ("cat", "991")


def test_the_deployed_model_is_the_version_where_the_model_names_none() -> None:
    form: dict[str, Any] = {"classes": ("cat", "dog"), "response": "probabilities"}
    header = "X-Vertex-AI-Deployed-Model-Id: 992"
    scores = [[0.75, 0.25]]
    replies = [deployed(scores, "991"), deployed(scores, "", header), deployed(scores), deployed(scores, "991"), good]
    with misbehaving(*replies) as server:
        versions = [
            _version(opened(server.address, **form)),
            _version(opened(server.address, **form, request="raw")),
            _version(opened(server.address, **form)),
            _version(opened(server.address, **form, version="2026-11")),
            _version(opened(server.address)),
        ]
    assert versions == ["991", "992", "42", "2026-11", "v1"]


def _version(subject: Caller) -> str:
    (found,) = subject.invoke(ONE, Target(version="v77"))
    assert isinstance(found, Output)
    return found.model_version


@pytest.mark.parametrize(
    ("options", "most"),
    [("", 1_500_000), ("?dedicated=42.prediction.vertexai.goog", 10_000_000), ("?dedicated=yes", 10_000_000)],
)
def test_both_limits_hold(options: str, most: int) -> None:
    with misbehaving(good) as server:
        subject = opened(server.address, options, request="raw")
        first, second = subject.invoke([Input(bytes(most)), Input(bytes(most + 1))], Target())
        assert len(server.requests) == 1
    assert first == CAT
    assert isinstance(second, Failure)
    assert f"takes at most {most}" in second.reason


def test_calls_go_over_connections_that_stay_open() -> None:
    with misbehaving(good) as server:
        subject = opened(server.address, concurrency=3)
        for _ in range(3):
            assert subject.invoke(ONE * 12, Target()) == [CAT] * 12
        assert {request.connection for request in server.requests} <= {1, 2, 3}


# Tokens


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext, str]:
    """A certificate, as a client and as a server needs it, and a service account's private key."""
    return *certificate(tmp_path_factory.mktemp("keys")), account_key()


@pytest.fixture
def google(
    tmp_path: Path, keys: tuple[Path, ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Misbehaving, Misbehaving]]:
    """A server of tokens, the endpoint over TLS, and a service account."""
    trusted, tls, key = keys
    with misbehaving(token("one")) as tokens, misbehaving(good, tls=tls) as server:
        account = service_account(tmp_path, key, f"{tokens.address}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        yield tokens, server


def test_one_token_serves_all_calls(google: tuple[Misbehaving, Misbehaving]) -> None:
    tokens, server = google
    subject = opened(server.address, concurrency=4)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(subject.invoke, ONE, Target()) for _ in range(20)]
        assert all(call.result() == [CAT] for call in asked)
    assert len(tokens.requests) == 1
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer one"}
    assert {request.connection for request in server.requests} <= {1, 2, 3, 4}


def test_a_token_is_renewed_before_it_runs_out(google: tuple[Misbehaving, Misbehaving]) -> None:
    tokens, server = google
    tokens.replies[:] = [token("short", seconds=60), token("long")]
    subject = opened(server.address)
    for _ in range(3):
        subject.invoke(ONE, Target())
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer short", "Bearer long", "Bearer long"]


def test_no_token_goes_over_plain_http(google: tuple[Misbehaving, Misbehaving]) -> None:
    tokens, _ = google
    with misbehaving(good) as plain:
        subject = opened(plain.address)
        assert subject.invoke(ONE, Target()) == [CAT]
        assert "no token is sent over plain HTTP" in subject.check()
        assert all("authorization" not in request.headers for request in plain.requests)
    assert tokens.requests == []


def test_a_refused_token_says_what_to_do_and_shows_nothing(google: tuple[Misbehaving, Misbehaving]) -> None:
    tokens, server = google
    tokens.replies[:] = [answer({"error": "invalid_grant", "error_description": "Invalid JWT hush-hush"}, 400)]
    with pytest.raises(Denied, match=r"Google gave no access token .RefreshError.*gcloud auth") as denied:
        opened(server.address).invoke(ONE, Target())
    assert "hush" not in str(denied.value)
    assert server.requests == []


def test_without_credentials_nothing_is_sent(
    google: tuple[Misbehaving, Misbehaving], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server = google
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    subject = opened(server.address)
    with pytest.raises(Denied, match="no Google credentials were found: run `gcloud auth application-default login`"):
        subject.invoke(ONE, Target())
    with pytest.raises(Denied, match="no Google credentials"):
        subject.check()
    assert server.requests == []


def test_a_refusal_of_a_token_is_not_asked_for_again_at_once(google: tuple[Misbehaving, Misbehaving]) -> None:
    tokens, server = google
    tokens.replies[:] = [answer({"error": "invalid_grant"}, 400)]
    subject = opened(server.address)
    for _ in range(3):
        with pytest.raises(Denied, match="Google gave no access token"):
            subject.invoke(ONE, Target())
    assert len(tokens.requests) == 1


def test_a_token_that_is_not_accepted_is_replaced(google: tuple[Misbehaving, Misbehaving]) -> None:
    tokens, server = google
    tokens.replies[:] = [token("revoked"), token("new")]
    server.replies[:] = [google_error(401, "UNAUTHENTICATED"), good]
    subject = opened(server.address)
    with pytest.raises(Denied, match="log in again"):
        subject.invoke(ONE, Target())
    assert subject.invoke(ONE, Target()) == [CAT]
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer revoked", "Bearer new"]


def test_a_key_file_that_cannot_be_read_is_an_error(
    google: tuple[Misbehaving, Misbehaving], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, server = google
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    with pytest.raises(Denied, match="GOOGLE_APPLICATION_CREDENTIALS to a key file"):
        opened(server.address).invoke(ONE, Target())


def test_check_says_what_was_found(google: tuple[Misbehaving, Misbehaving]) -> None:
    _, server = google
    assert "vertex://shop/europe-west4/42: a token was given, the service answered in" in opened(server.address).check()
    assert "authorization" not in server.requests[0].headers


# Dedicated endpoints

SERVICE, DEDICATED = "europe-west4-aiplatform.googleapis.com", "42.europe-west4-7.prediction.vertexai.goog"


@pytest.fixture
def cloud(
    tmp_path: Path, keys: tuple[Path, ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Misbehaving, Misbehaving]]:
    """A server that is all of Google's hosts, and the proxy by which they are reached."""
    trusted, tls = certificate(tmp_path, SERVICE, DEDICATED)
    with misbehaving(token("one")) as tokens, misbehaving(good, tls=tls) as server:
        account = service_account(tmp_path, keys[2], f"{tokens.address}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        with misbehaving(tunnel_to(server.port)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.address)
            yield server, proxy


def described(**more: object) -> Reply:
    return answer({"name": PATH.removeprefix("/v1/"), **more})


def hosts(proxy: Misbehaving) -> list[str]:
    return [request.line.split()[1].partition(":")[0] for request in proxy.requests]


@pytest.mark.parametrize("options", ["", "?dedicated=yes"])
@pytest.mark.parametrize("scheme", ["", "https://"])
def test_a_dedicated_endpoint_is_asked_at_its_own_name_which_is_looked_up_once(
    cloud: tuple[Misbehaving, Misbehaving], options: str, scheme: str
) -> None:
    server, proxy = cloud
    server.replies[:] = [described(dedicatedEndpointEnabled=True, dedicatedEndpointDns=scheme + DEDICATED), good]
    subject = opened("", options, concurrency=1)
    for _ in range(3):
        assert subject.invoke(ONE, Target()) == [CAT]
    assert [request.line for request in server.requests] == [
        f"GET {PATH} HTTP/1.1",
        *[f"POST {PATH}:predict HTTP/1.1"] * 3,
    ]
    assert hosts(proxy) == [SERVICE, DEDICATED]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer one"}


@pytest.mark.parametrize("told", [described(), google_error(403, "PERMISSION_DENIED")], ids=["shared", "may not look"])
def test_a_shared_endpoint_or_one_that_we_may_not_look_at_is_asked_at_the_service(
    cloud: tuple[Misbehaving, Misbehaving], told: Reply
) -> None:
    server, proxy = cloud
    server.replies[:] = [told, good]
    subject = opened("", concurrency=1)
    for _ in range(2):
        assert subject.invoke(ONE, Target()) == [CAT]
    assert [request.line.split()[0] for request in server.requests] == ["GET", "POST", "POST"]
    assert hosts(proxy) == [SERVICE]


def test_who_may_look_later_finds_the_dedicated_endpoint(
    cloud: tuple[Misbehaving, Misbehaving], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = cloud
    monkeypatch.setattr("labelloop.endpoints.vertex._DENIED_SECONDS", 0.0)
    denied = google_error(403, "PERMISSION_DENIED")
    server.replies[:] = [denied, good, described(dedicatedEndpointDns=DEDICATED), good]
    subject = opened("", concurrency=1)
    for _ in range(3):
        assert subject.invoke(ONE, Target()) == [CAT]
    assert [request.line.split()[0] for request in server.requests] == ["GET", "POST", "GET", "POST", "POST"]
    assert hosts(proxy) == [SERVICE, DEDICATED]


def test_what_hinders_the_look_is_tried_again_and_told(cloud: tuple[Misbehaving, Misbehaving]) -> None:
    server, proxy = cloud
    busy = google_error(503, "UNAVAILABLE")
    server.replies[:] = [busy, described(dedicatedEndpointDns=DEDICATED), good]
    assert opened("").invoke(ONE, Target()) == [CAT]
    server.replies[:] = [google_error(404, "NOT_FOUND")]
    with pytest.raises(Denied, match="there is no such endpoint"):
        opened("").invoke(ONE, Target())
    server.replies[:] = [described(dedicatedEndpointDns="evil.example.com")]
    with pytest.raises(Unwell, match=r"said to be at 'evil\.example\.com', which is no host of Google's"):
        opened("").invoke(ONE, Target())
    assert "evil.example.com" not in hosts(proxy)


# When it fails

BUSY = [(429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")]


@pytest.mark.parametrize(("code", "status"), BUSY)
def test_what_may_pass_is_tried_three_times(code: int, status: str) -> None:
    busy = google_error(code, status, "try again")
    with misbehaving(busy, busy, good, busy) as server:
        subject = opened(server.address)
        assert subject.invoke(ONE, Target()) == [CAT]
        with pytest.raises(Unwell, match=f"vertex://shop/europe-west4/42 answered {code} {status}: try again"):
            subject.invoke(ONE, Target())
        assert len(server.requests) == 6


DENIED = [
    (google_error(401, "UNAUTHENTICATED"), "log in again"),
    (google_error(403, "PERMISSION_DENIED"), "aiplatform.endpoints.predict"),
    (google_error(404, "NOT_FOUND"), r"or \?dedicated= with its DNS name"),
]


@pytest.mark.parametrize(("reply", "remedy"), DENIED, ids=["401", "403", "404"])
def test_what_a_person_must_mend_says_how_and_is_left_alone(reply: Reply, remedy: str) -> None:
    with misbehaving(reply) as server:
        subject = opened(server.address, breaker=Breaker("x", limit=2))
        for _ in range(2):
            with pytest.raises(Denied, match=remedy):
                subject.invoke(ONE, Target())
        with pytest.raises(CircuitOpen, match=remedy):
            subject.invoke(ONE, Target())
        assert len(server.requests) == 2


@pytest.mark.parametrize("code", [400, 413])
def test_a_refused_input_fails_alone(code: int) -> None:
    with misbehaving(google_error(code, "INVALID_ARGUMENT", "not a picture"), good) as server:
        assert opened(server.address, concurrency=1).invoke(ONE * 2, Target()) == [Failure("not a picture"), CAT]


BROKEN: list[tuple[int, Reply, type[EndpointError]]] = [
    (2, reset, Unwell),
    (2, then_close(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")), Unwell),
    (1, answer(b"{nonsense"), WrongAnswer),
    (1, answer(b'{"predictions": [[NaN, 1]]}'), WrongAnswer),
    (1, answer({"strange": True}), WrongAnswer),
    (1, answer(b"<html>", 502), Unwell),
    (1, answer(b"", 301), Unwell),
]


@pytest.mark.parametrize(("times", "reply", "kind"), BROKEN, ids=range(len(BROKEN)))
def test_broken_answers_are_endpoint_errors_and_it_recovers(
    times: int, reply: Reply, kind: type[EndpointError]
) -> None:
    with misbehaving(*[reply] * times, good) as server:
        subject = opened(server.address)
        with pytest.raises(kind, match="vertex://shop/europe-west4/42"):
            subject.invoke(ONE, Target())
        assert subject.invoke(ONE, Target()) == [CAT]


def test_a_wrong_count_is_an_error() -> None:
    three = answer({"predictions": [cat()] * 3})
    with misbehaving(three) as server, pytest.raises(WrongAnswer, match="2 inputs sent, 3 predictions came back"):
        opened(server.address, batch=2).invoke(ONE * 2, Target())


def test_a_stall_ends_by_the_timeout_or_the_deadline() -> None:
    with misbehaving(stall) as server:
        with pytest.raises(TooSlow, match="did not answer in time"):
            opened(server.address, timeout=0.15).invoke(ONE, Target())
        answers = opened(server.address).invoke(ONE * 2, Target(), time.monotonic() + 0.15)
    assert answers == [Failure("deadline")] * 2


WRONG_ADDRESSES = [
    "vertex://",
    "vertex://shop",
    "vertex://shop/europe-west4",
    "vertex://shop/europe-west4/42/x",
    "vertex://key:hunter2@shop/europe-west4/42",
    "vertex://shop/europe west4/42",
    "vertex://shop/europe-west4/42?region=x",
    "vertex://shop/europe-west4/42?dedicated=https://x",
    "vertex://shop/europe-west4/42?dedicated=",
    "vertex://shop/europe-west4/42?dedicated=tokens.example.com",
    "vertex://shop/europe-west4/42?dedicated=42.prediction.vertexai.goog.example.com",
]


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_wrong_addresses_are_refused_with_a_remedy(address: str) -> None:
    with pytest.raises(SettingsError, match=r"vertex://PROJECT/LOCATION/ENDPOINT|needs one value") as refused:
        open_endpoint(EndpointSpec(address))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("base", ["ftp://host", "host", "https://me:hunter2@host", "https://host?x=1"])
def test_a_wrong_base_is_refused(base: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_VERTEX_BASE_URL: expected https://host") as refused:
        open_endpoint(EndpointSpec("vertex://shop/europe-west4/42", base=base))
    assert "hunter2" not in str(refused.value)
