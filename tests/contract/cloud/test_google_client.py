"""The client of Google's services over real HTTP: tokens, repetitions, pages, operations, and what refusals mean."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from labelloop.cloud.google.client import Google, failed, finished
from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing, SettingsError
from support.google_wire import account_key, certificate, google_error, service_account, token
from support.misbehaving import Misbehaving, Reply, answer, misbehaving, raw, reset, stall, then_close
from support.servers import free_port

JOB = "projects/shop/locations/europe-west4/customJobs/7"
BROKEN_OFF = [reset, then_close(raw(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{")), google_error(500, "INTERNAL")]
BROKEN_OFF += [google_error(502, ""), google_error(503, "UNAVAILABLE"), google_error(504, "DEADLINE_EXCEEDED")]


@contextmanager
def google(*replies: Reply) -> Iterator[tuple[Google, Misbehaving]]:
    """Give the client of a server that answers so, without pauses between two tries."""
    with misbehaving(*replies) as server:
        yield at(server.address), server


def at(base: str) -> Google:
    environment = {"LABELLOOP_VERTEX_BASE_URL": base, "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING": f"{base}/"}
    return Google("shop", "europe-west4", environment=environment, wait=lambda _: None)


def refusal(code: int, status: str, message: str, reason: str = "") -> Reply:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    return answer({"error": {"code": code, "status": status, "message": message, "details": details}}, code)


def test_a_resource_is_made_and_asked_for_by_its_name() -> None:
    with google(answer({"name": JOB})) as (client, server):
        assert client.ask("POST", f"{client.parent}/customJobs", {"displayName": "a ü"}) == {"name": JOB}
        assert client.ask("GET", JOB, query={"filter": "labels.a=b c"}) == {"name": JOB}
        client.ask("POST", f"{JOB}:cancel")
        lines = [request.line.split()[:2] for request in server.requests]
        assert lines == [
            ["POST", "/v1/projects/shop/locations/europe-west4/customJobs"],
            ["GET", f"/v1/{JOB}?filter=labels.a%3Db+c"],
            ["POST", f"/v1/{JOB}:cancel"],
        ]
        assert json.loads(server.requests[0].body) == {"displayName": "a ü"}
        assert "authorization" not in server.requests[0].headers  # plain HTTP
        client.ask("POST", "projects/shop/timeSeries", {}, service="monitoring")
        assert server.requests[-1].line.split()[1] == "/v3/projects/shop/timeSeries"


def test_a_service_is_google_s_own_where_the_environment_names_no_other() -> None:
    client = Google("shop", "europe-west4", environment={"STORAGE_EMULATOR_HOST": "localhost:9"})
    places = {name: client.place(name) for name in ("aiplatform", "monitoring", "storage")}
    assert places == {
        "aiplatform": "https://europe-west4-aiplatform.googleapis.com",
        "monitoring": "https://monitoring.googleapis.com",
        "storage": "http://localhost:9",
    }
    assert Google("shop", "global", environment={}).place("aiplatform") == "https://aiplatform.googleapis.com"
    with pytest.raises(SettingsError, match=r"of no known form: .ftp://x"):
        at("ftp://x").ask("GET", JOB)


def test_a_listing_is_given_page_by_page() -> None:
    pages = answer({"customJobs": [{"name": "1"}, {"name": "2"}], "nextPageToken": "n&2"}), answer({})
    with google(*pages) as (client, server):
        found = client.listing(f"{client.parent}/customJobs", "customJobs", query={"filter": "x"})
        assert [job["name"] for job in found] == ["1", "2"]
        asked = [parse_qs(urlsplit(request.line.split()[1]).query) for request in server.requests]
        assert asked == [{"filter": ["x"]}, {"filter": ["x"], "pageToken": ["n&2"]}]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_refused_undone_is_asked_again(method: str) -> None:
    trouble = google_error(429, "RESOURCE_EXHAUSTED")
    with google(trouble, trouble, trouble, answer({"name": JOB})) as (client, server):
        assert client.ask(method, JOB) == {"name": JOB}
        assert len(server.requests) == 4


@pytest.mark.parametrize("trouble", BROKEN_OFF)
def test_what_may_have_been_done_is_only_asked_again_where_that_does_no_harm(trouble: Reply) -> None:
    with google(trouble, answer({"name": JOB})) as (client, server):
        assert client.ask("GET", JOB) == {"name": JOB}
        server.replies[:] = [trouble, answer({"name": JOB})]
        with pytest.raises(CloudAway):
            client.ask("POST", f"{client.parent}/customJobs", {})
        assert len(server.requests) == 3


def test_an_answer_that_does_not_come_is_waited_for_a_while_and_a_post_not_repeated() -> None:
    with google(stall) as (client, server):
        with pytest.raises(CloudAway, match=r"job a: Google did not answer within 0.05 s"):
            client.ask("POST", JOB, {}, what="job a", seconds=0.05)
        assert len(server.requests) == 1


def test_a_service_that_is_down_stays_away_after_some_tries() -> None:
    waits: list[float] = []
    environment = {"LABELLOOP_VERTEX_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    client = Google("shop", "europe-west4", environment=environment, wait=waits.append)
    with pytest.raises(CloudAway, match="job a: Google could not be reached"):
        client.ask("POST", JOB, {}, what="job a")
    assert len(waits) == 3
    assert waits[0] < 0.5 < 2 * waits[2]


@pytest.mark.parametrize(
    ("trouble", "kind", "told"),
    [
        (refusal(404, "NOT_FOUND", "no such job"), CloudMissing, r"job a: Google answered 404 NOT_FOUND \(no such job"),
        (refusal(400, "INVALID_ARGUMENT", "bad"), CloudError, r"Google answered 400 INVALID_ARGUMENT \(bad\)"),
        (
            refusal(403, "PERMISSION_DENIED", "Permission 'aiplatform.customJobs.create' denied on resource '//x'"),
            CloudDenied,
            "give this machine's identity a role with aiplatform.customJobs.create",
        ),
        (
            refusal(403, "PERMISSION_DENIED", "Vertex AI API has not been used", "SERVICE_DISABLED"),
            CloudDenied,
            "enable that API in the project",
        ),
        (
            refusal(403, "PERMISSION_DENIED", "You do not have permission to act as service_account: a@b.iam.com."),
            CloudDenied,
            r"roles/iam\.serviceAccountUser on a@b\.iam\.com$",
        ),
        (
            refusal(429, "RESOURCE_EXHAUSTED", "exceed quota limits: aiplatform.googleapis.com/custom_model_gpus"),
            CloudAway,
            "the quota aiplatform.googleapis.com/custom_model_gpus is used up",
        ),
        (google_error(503, "UNAVAILABLE"), CloudAway, "Google answered 503 UNAVAILABLE"),
        (answer(b"<html>Error 404</html>", 404), CloudMissing, "job a: Google answered 404$"),
        (refusal(400, "X", "see https://a/b?sig=hush now\n"), CloudError, r"\(see https://a/b now\)"),
        (answer([]), CloudError, "job a: Google's answer is no JSON object"),
        (answer(b"<"), CloudError, "job a: Google's answer is no JSON object"),
    ],
)
def test_a_refusal_says_what_to_do(trouble: Reply, kind: type[CloudError], told: str) -> None:
    with google(trouble) as (client, _), pytest.raises(CloudError, match=told) as caught:
        client.ask("GET", JOB, what="job a")
    assert type(caught.value) is kind


def test_a_forked_process_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with google(answer({"a": 1})) as (client, server):
        for process in (1, 1, 2, 2):
            monkeypatch.setattr("labelloop.sources.google_api.os.getpid", lambda process=process: process)
            client.ask("GET", JOB)
        ours = [request.connection for request in server.requests]
        assert ours[0] == ours[1] != ours[2] == ours[3]


def test_an_operation_is_waited_for() -> None:
    running, done = {"name": "o/1"}, {"name": "o/1", "done": True, "response": {"model": "m"}}
    with google(answer(running), answer(done)) as (client, server):
        assert client.wait(running, 60) == {"model": "m"}
        assert [request.line.split()[1] for request in server.requests] == ["/v1/o/1"] * 2
        assert client.wait({**done, "response": {"a": 1}}, 0) == {"a": 1}
        server.replies[:] = [answer(running)]
        with pytest.raises(CloudAway, match="model a: the operation o/1 has not ended after 0 s"):
            client.wait(running, 0, "model a")


@pytest.mark.parametrize(
    ("code", "kind"), [(7, CloudDenied), (5, CloudMissing), (8, CloudAway), (14, CloudAway), (13, CloudError)]
)
def test_an_operation_that_failed_says_why(code: int, kind: type[CloudError]) -> None:
    operation = {"name": "o/1", "done": True, "error": {"code": code, "message": "it broke"}}
    with pytest.raises(CloudError, match=r"model a failed: [A-Z_]+ \(it broke\)") as caught:
        finished(operation, "model a")
    assert type(caught.value) is kind
    assert type(failed("x", {"code": 99})) is CloudError


@pytest.fixture(scope="module")
def key() -> str:
    return account_key()


class TestIdentity:
    """Over TLS, as Google is asked: there are tokens."""

    @contextmanager
    def encrypted(
        self, folder: Path, key: str, monkeypatch: pytest.MonkeyPatch, tokens: list[Reply], *replies: Reply
    ) -> Iterator[tuple[Google, Misbehaving, Misbehaving]]:
        trusted, context = certificate(folder)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        with misbehaving(*tokens) as giver, misbehaving(*replies, tls=context) as server:
            account = service_account(folder, key, giver.address)
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
            yield at(server.address), server, giver

    def test_a_token_that_is_not_accepted_is_replaced_once(
        self, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokens = [token("stale-secret"), token("fresh-secret")]
        no = google_error(401, "UNAUTHENTICATED")
        with self.encrypted(tmp_path, key, monkeypatch, tokens, no, answer({"a": 1}), no) as (client, server, giver):
            assert client.ask("POST", JOB, {}) == {"a": 1}
            sent = [request.headers["authorization"] for request in server.requests]
            assert sent == ["Bearer stale-secret", "Bearer fresh-secret"]
            with pytest.raises(CloudDenied, match="not accepted: log in with `gcloud auth") as caught:
                client.ask("GET", JOB)
            assert "secret" not in str(caught.value)
            assert (len(server.requests), len(giver.requests)) == (4, 3)

    def test_a_service_account_that_was_revoked_is_told(
        self, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        revoked = answer({"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, 400)
        with (
            self.encrypted(tmp_path, key, monkeypatch, [revoked], answer({})) as (client, server, _),
            pytest.raises(CloudDenied, match=r"job a: Google gave no access token \(RefreshError\): .* renew the serv"),
        ):
            client.ask("GET", JOB, what="job a")
        assert server.requests == []

    def test_without_credentials_it_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
        with pytest.raises(CloudDenied, match="no Google credentials were found: run `gcloud auth"):
            at("https://127.0.0.1:1").ask("GET", JOB)
