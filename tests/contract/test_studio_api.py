"""How Label Studio is asked: what is repeated and what never, tokens, and what its failures become."""

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from labelloop.errors import NotAllowed, SettingsError, StudioAway, StudioError
from labelloop.settings import Settings
from labelloop.studio.api import Api
from labelloop.studio.client import Studio
from support.access_tokens import PAT, Tokens, jwt
from support.misbehaving import Exchange, Misbehaving, Reply, answer, misbehaving, reset, stall

Opened = Callable[..., Api]


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as closing:

        def make(url: str, key: str = "legacy", **kwargs: Any) -> Api:
            api = Api(url, key, pause=0.001, **kwargs)
            closing.callback(api.close)
            return api

        yield make


def lines(server: Misbehaving) -> list[str]:
    return [request.line.rpartition(" ")[0] for request in server.requests]


@pytest.mark.parametrize("bad", [reset, answer(b"", 500), answer(b"", 502), answer(b"", 503), answer(b"", 504)])
def test_reading_is_tried_again(opened: Opened, bad: Reply) -> None:
    with misbehaving(bad, bad, answer({"id": 7})) as server:
        assert opened(server.address).get("api/projects/7") == {"id": 7}
        assert lines(server) == ["GET /api/projects/7"] * 3


def test_reading_is_given_up_after_three_attempts(opened: Opened) -> None:
    with misbehaving(answer({"detail": "out of order"}, 503)) as server:
        with pytest.raises(StudioError, match=r"answered 503 to GET /api/x: out of order\. Label Studio's own log"):
            opened(server.address).get("api/x")
        assert len(server.requests) == 3


@pytest.mark.parametrize("bad", [reset, answer(b"", 500), answer(b"", 503), answer(b"", 429), answer(b"", 409)])
@pytest.mark.parametrize("method", ["post", "patch"])
def test_writing_is_never_repeated(opened: Opened, bad: Reply, method: str) -> None:
    with misbehaving(bad) as server:
        with pytest.raises(StudioError):
            getattr(opened(server.address), method)("api/x", {"a": 1})
        assert len(server.requests) == 1
        assert json.loads(server.requests[0].body) == {"a": 1}


def test_no_answer_in_time_is_an_error_and_not_repeated(opened: Opened) -> None:
    with misbehaving(stall) as server:
        with pytest.raises(StudioError, match="did not answer in time"):
            opened(server.address, timeout=0.2).get("api/x")
        assert len(server.requests) == 1


def test_an_unreachable_label_studio_names_the_setting(opened: Opened) -> None:
    with pytest.raises(StudioError, match=r"http://127\.0\.0\.1:1 could not be reached .* LABEL_STUDIO_URL"):
        opened("http://me:hush@127.0.0.1:1/").get("api/x")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_allowed_and_says_what_to_do(opened: Opened, status: int) -> None:
    refusal = pytest.raises(NotAllowed, match=r"Invalid token.*LABEL_STUDIO_API_KEY")
    with misbehaving(answer({"detail": "Invalid token."}, status)) as server, refusal:
        opened(server.address).get("api/x")


def test_reasons_are_read_from_json_and_html(opened: Opened) -> None:
    validation = {
        "detail": "Validation error",
        "validation_errors": {"url": ["<b>Can't</b> connect. <a href='x'>y</a>"]},
    }
    html = b"<html><head><style>body {}</style></head><body><h1>Bad   gateway</h1></body></html>"
    with misbehaving(answer(validation, 400), answer(html, 400), answer(b"", 400)) as server:
        api = opened(server.address)
        for reason in ("Can't connect", "to POST /api/x: Bad gateway", "no reason given"):
            with pytest.raises(StudioError, match=reason):
                api.post("api/x", {})


def test_something_else_than_label_studio_is_noticed(opened: Opened) -> None:
    with misbehaving(answer(b"<html>Welcome to nginx!</html>")) as server:
        for key in ("legacy", PAT):
            with pytest.raises(StudioError, match="LABEL_STUDIO_URL"):
                opened(server.address, key).get("api/x")


def test_a_redirect_is_not_followed(opened: Opened) -> None:
    with misbehaving(answer(b"", 301, "Location: https://elsewhere.example/api/x\r\n")) as server:
        with pytest.raises(StudioError, match=r"a redirect\. Set LABEL_STUDIO_URL"):
            opened(server.address).post("api/x", {"a": 1})
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("server", "connections"), [("nginx", [1, 1, 1]), ("WSGIServer/0.2 CPython/3.11.7", [1, 1, 2])]
)
def test_no_connection_is_kept_to_a_server_that_answers_in_pieces(
    opened: Opened, server: str, connections: list[int]
) -> None:
    def reply(exchange: Exchange) -> None:
        answer({}, headers=f"Server: {server}\r\n")(exchange)
        if exchange.request.headers["connection"] == "close":
            exchange.connection.shutdown(socket.SHUT_RDWR)

    with misbehaving(reply) as studio:
        api = opened(studio.address)
        for _ in range(3):
            api.get("api/x")
        assert [request.connection for request in studio.requests] == connections


def test_an_empty_answer_is_none(opened: Opened) -> None:
    with misbehaving(answer(b"", 204)) as server:
        api = opened(server.address)
        api.delete("api/x")
        assert api.post("api/x", {}) is None


def test_numbers_that_json_does_not_have_are_not_sent(opened: Opened) -> None:
    with misbehaving(answer({})) as server:
        with pytest.raises(ValueError, match="JSON"):
            opened(server.address).post("api/x", {"score": float("nan")})
        assert server.requests == []


def test_a_legacy_token_is_sent_as_it_is(opened: Opened) -> None:
    with misbehaving(answer({})) as server:
        api = opened(server.address, "0123456789")
        api.get("api/x")
        assert api.token_kind == "legacy token"
        assert server.requests[0].headers["authorization"] == "Token 0123456789"
        assert api.auth_headers() == {"Authorization": "Token 0123456789"}


def test_a_personal_access_token_is_exchanged_once(opened: Opened) -> None:
    tokens = Tokens(300)
    with misbehaving(tokens) as server:
        api = opened(server.address + "/prefix", PAT)
        assert api.token_kind == "personal access token"
        for _ in range(3):
            assert api.get("api/x") == {"ok": True}
        assert api.auth_headers() == {"Authorization": f"Bearer {tokens.given[-1]}"}
        assert len(tokens.given) == 1


def test_an_access_token_is_renewed_before_it_dies_on_the_way(opened: Opened) -> None:
    tokens = Tokens(40)
    with misbehaving(tokens) as server:
        api = opened(server.address + "/prefix", PAT)
        first, second = api.auth_headers(), api.auth_headers()
        assert first != second
        assert second == {"Authorization": f"Bearer {tokens.given[1]}"}


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_access_token_that_was_revoked_is_replaced(opened: Opened, method: str) -> None:
    tokens = Tokens(300)
    with misbehaving(tokens) as server:
        api = opened(server.address + "/prefix", PAT)
        api.get("api/x")
        tokens.given.append("another")
        arguments: tuple[Any, ...] = ("api/x", {}) if method == "post" else ("api/x",)
        assert getattr(api, method)(*arguments) == {"ok": True}


def test_threads_that_renew_at_once_all_get_a_token(opened: Opened) -> None:
    tokens = Tokens(40)
    with misbehaving(tokens) as server:
        api = opened(server.address + "/prefix", PAT)
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(api.auth_headers()["Authorization"])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {header.removeprefix("Bearer ") for header in found} <= set(tokens.given)
        assert len(found) == 8


@pytest.mark.parametrize("revoked", [False, True])
def test_of_threads_that_need_a_token_at_once_one_renews_it(opened: Opened, revoked: bool) -> None:
    tokens = Tokens(300)
    with misbehaving(tokens) as server:
        api = opened(server.address + "/prefix", PAT)
        if revoked:
            api.get("api/x")
            tokens.given.append("another")
        before = len(tokens.given)
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(api.get("api/x"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [{"ok": True}] * 8
        assert len(tokens.given) == before + 1


def test_the_exchange_carries_the_key_in_its_body_alone_and_no_log_has_a_token(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "httpx", "httpcore", "label_studio_sdk"):
        caplog.set_level(logging.DEBUG, name or None)
    tokens = Tokens(300)
    with misbehaving(tokens) as server:
        opened(server.address + "/prefix", PAT).post("api/x", {})
        exchange, request = server.requests
    assert (exchange.headers["authorization"], request.headers["authorization"]) == ("", f"Bearer {tokens.given[0]}")
    assert "/prefix/api/x" in caplog.text
    assert not any(token in caplog.text for token in (PAT, *tokens.given))


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (answer(b"<html>Welcome to nginx!</html>"), r"answered 502 .*is not JSON; is LABEL_STUDIO_URL"),
        (answer(b"<html>Not found</html>", 404), r"answered 502 .*is not JSON; is LABEL_STUDIO_URL"),
        (answer({"access": None}), r"answered 502 .*is not JSON; is LABEL_STUDIO_URL"),
        (answer([]), r"answered 502 .*is not JSON; is LABEL_STUDIO_URL"),
        (answer({"detail": "out of order"}, 503), r"answered 503 .*out of order"),
        (answer({"detail": "slow down"}, 429), r"answered 429 .*slow down"),
        (reset, "could not be reached"),
    ],
)
def test_a_token_that_cannot_be_had_is_explained_and_asked_for_once_by_what_is_not_repeated(
    opened: Opened, gives: Reply, words: str
) -> None:
    with misbehaving(gives) as server:
        api = opened(server.address, PAT)
        with pytest.raises(StudioAway, match=words):
            api.post("api/x", {})
        assert lines(server) == ["POST /api/token/refresh/"]


_ASKS = """
import sys
from labelloop.studio.client import Studio
from labelloop.web.app import create_app
assert not any(name.startswith("label_studio_sdk") for name in sys.modules), "loaded at start"
for url, key in zip(sys.argv[1::2], sys.argv[2::2]):
    assert Studio(url, key).whoami() == "me"
    print(*sorted({"label_studio_sdk.base_client", "label_studio_sdk.client", "pandas"} & set(sys.modules)))
"""


@pytest.mark.process
def test_the_sdk_is_loaded_for_a_personal_access_token_alone_and_never_all_of_it() -> None:
    def reply(exchange: Exchange) -> None:
        answer({"access": jwt(300)} if exchange.request.line.startswith("POST") else {"email": "me"})(exchange)

    with misbehaving(reply) as server:
        asked = [sys.executable, "-c", _ASKS, server.address, "legacy", server.address, PAT]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["", "label_studio_sdk.base_client"], done.stderr


def test_a_dead_key_does_not_hide_the_version() -> None:
    def reply(exchange: Exchange) -> None:
        good = exchange.request.line.startswith("GET /api/version ")
        answer({"release": "1.23.2"} if good else {"detail": "dead"}, 200 if good else 401)(exchange)

    with misbehaving(reply) as server:
        studio = Studio(server.address, PAT)
        assert studio.version() == "1.23.2"
        with pytest.raises(NotAllowed):
            studio.whoami()
        studio.close()


def test_a_revoked_personal_access_token_is_not_allowed(opened: Opened) -> None:
    with misbehaving(answer({"detail": "Token is blacklisted"}, 401)) as server:
        api = opened(server.address, PAT)
        for call in (lambda: api.get("api/x"), api.auth_headers):
            with pytest.raises(NotAllowed, match=r"Token is blacklisted.*Personal Access Token"):
                call()


def test_an_expired_personal_access_token_is_not_allowed(opened: Opened) -> None:
    with pytest.raises(NotAllowed, match=r"expired.*Personal Access Token"):
        opened("http://127.0.0.1:1", jwt(-60, "refresh")).auth_headers()


def test_pages_go_on_until_the_last_even_when_they_are_shorter_than_asked_for() -> None:
    def page(exchange: Exchange) -> None:
        line = exchange.request.line
        after = next(number for number in (40, 20, 0) if f"%22value%22%3A+{number}%7D" in line or number == 0)
        ids = [after + 10, after + 20] if after < 40 else [50]
        answer({"tasks": [{"id": task} for task in ids], "total": (50 - after) // 10})(exchange)

    with misbehaving(page) as server:
        studio = Studio(server.address, "legacy")
        assert [task["id"] for task in studio.tasks(7, page=500)] == [10, 20, 30, 40, 50]
        assert len(server.requests) == 3
        studio.close()


def test_fewer_stored_predictions_than_given_are_an_error() -> None:
    with misbehaving(answer({"created": 1}, 201)) as server:
        studio = Studio(server.address, "legacy")
        with pytest.raises(StudioError, match="stored 1 of 2 predictions for project 7"):
            studio.import_predictions(7, [{"task": 1}, {"task": 2}])
        assert studio.import_predictions(7, []) == 0
        assert len(server.requests) == 1
        studio.close()


def test_no_api_key_is_a_missing_setting() -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_API_KEY is not set"):
        Studio.of(Settings())


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "http://[::1", "ftp://me:hush@ls"])
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_URL") as error:
        Studio(url, "key")
    assert "hush" not in str(error.value)


def test_settings_make_a_client() -> None:
    settings = Settings(label_studio_url="http://ls:8080/", label_studio_api_key="k", basic_auth_user="u")
    studio = Studio.of(settings)
    assert (studio.api.url, studio.auth.user) == ("http://ls:8080", "u")
    studio.close()
