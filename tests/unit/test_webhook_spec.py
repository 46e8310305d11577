"""How the webhook should be, and what is wrong with one."""

from dataclasses import replace

import pytest

from labelloop.errors import StudioError
from labelloop.settings import Settings
from labelloop.studio.backends import (
    ACTIONS,
    SECRET_HEADER,
    BackendLogin,
    MLBackend,
    Webhook,
    WebhookSpec,
    differences,
    orphan_webhooks,
    own_webhooks,
    wanted_webhook,
)
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect

URL = "http://backend:9090"
WANTED = wanted_webhook(URL, "hush")


def webhook(id: int, url: str, headers: dict[str, str] | None = None) -> Webhook:
    return Webhook(id, WebhookSpec(url, headers or {}))


def backend(url: str) -> MLBackend:
    return MLBackend(1, 7, url, "v1", "Connected", "", "")


def test_the_webhook_listens_to_what_changes_labels_and_tasks() -> None:
    assert set(WANTED.actions) == set(ACTIONS)
    assert {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED"} < set(ACTIONS)
    assert WANTED.headers == {SECRET_HEADER: "hush"}
    assert WANTED.url == "http://backend:9090/webhook"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"headers": {}}, ["secret header"]),
        ({"headers": {SECRET_HEADER: "old"}}, ["secret header"]),
        ({"headers": {SECRET_HEADER.lower(): "hush"}}, []),
        ({"all_actions": True}, ["actions"]),
        ({"actions": ("ANNOTATION_CREATED",)}, ["actions"]),
        ({"actions": tuple(sorted(ACTIONS, reverse=True))}, []),
        ({"active": False}, ["switched on"]),
        ({"payload": False}, ["payload sent"]),
        ({"url": "http://backend:9090/webhook/"}, ["address"]),
    ],
)
def test_what_is_wrong_with_a_webhook_is_named(change: dict[str, object], words: list[str]) -> None:
    assert differences(replace(WANTED, **change), WANTED) == words  # type: ignore[arg-type]


def test_other_headers_of_a_webhook_are_kept() -> None:
    found = replace(WANTED, headers={"X-Proxy": "pass", SECRET_HEADER: "old"})
    assert wanted_webhook(URL, "hush", found).headers == {"X-Proxy": "pass", SECRET_HEADER: "hush"}


def test_own_webhooks_are_known_by_address() -> None:
    hooks = [webhook(1, "http://backend:9090/webhook"), webhook(2, "http://other:9090/webhook")]
    assert own_webhooks(hooks, URL + "/") == hooks[:1]


def test_orphans_are_webhooks_of_backends_that_are_no_more() -> None:
    alive = webhook(1, "http://backend:9090/webhook", {SECRET_HEADER: "hush"})
    old = webhook(2, "http://old:9090/webhook")
    moved = webhook(3, "http://old:9090/hook", {SECRET_HEADER: "hush"})
    foreign = webhook(4, "https://chat.example/hooks/1")
    assert orphan_webhooks([alive, old, moved, foreign], [backend(URL)]) == [old, moved]


def test_without_a_user_no_password_is_sent() -> None:
    assert BackendLogin().fields() == {"auth_method": "NONE", "basic_auth_user": ""}
    assert BackendLogin("u", "p").fields() == {
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "u",
        "basic_auth_pass": "p",
    }


@pytest.mark.parametrize("url", ["http://web:9090", "http://labelloop"])
def test_a_host_name_without_a_dot_is_refused_with_the_remedy(url: str) -> None:
    nowhere = Studio("http://127.0.0.1:1", "key")
    with pytest.raises(StudioError, match="no webhook to a host name without a dot"):
        connect(nowhere, 7, url, Settings())
    nowhere.close()
