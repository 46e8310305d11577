"""Basic authentication and the webhook's secret, on requests as they come off the wire."""

from base64 import b64encode

import pytest
from flask import Flask, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.exceptions import Unauthorized
from werkzeug.test import EnvironBuilder

from labelloop.errors import SettingsError
from labelloop.settings import Settings
from labelloop.web.access import BasicAuth, Logins
from labelloop.web.webhook_secret import WebhookSecret
from labelloop.webhook_secrets import Carried, WebhookSecrets
from support.examples import examples


def asking(**headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Flask("test").request_class(EnvironBuilder(headers=Headers(named)).get_environ())


def secret(of: str) -> WebhookSecret:
    return WebhookSecret(WebhookSecrets(Settings(webhook_secret=of)))


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    return f"{scheme} {b64encode(f'{user}:{password}'.encode()).decode()}"


def test_the_right_user_and_password_pass() -> None:
    BasicAuth("label", "studio").check(asking(Authorization=basic("label", "studio")))
    BasicAuth("länge", "пароль:x").check(asking(Authorization=basic("länge", "пароль:x", "basic")))


def test_nothing_is_asked_without_settings() -> None:
    BasicAuth("", "").check(asking())
    BasicAuth("", "").check(asking(Authorization="Bearer something"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!not-base64!!!",
        "Basic " + b64encode(b"no colon").decode(),
        "Basic " + b64encode(b"\xff\xfe:\xff").decode(),
        "Bearer abc",
        "Digest username=label",
        "\x7f",
        basic("label", "wrong"),
        basic("wrong", "studio"),
        basic("label", "studio "),
        basic("label", ""),
        basic("", ""),
        basic("lábel", "studio"),
    ],
)
def test_everything_else_is_refused_and_told_how_to_ask(header: str) -> None:
    with pytest.raises(Unauthorized) as refusal:
        BasicAuth("label", "studio").check(asking(Authorization=header))
    assert ("WWW-Authenticate", 'Basic realm="LabelLoop ML backend"') in list(refusal.value.get_headers())


@settings(derandomize=True, max_examples=examples(200))
@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=80))
def test_no_header_whatever_is_more_than_refused(header: str) -> None:
    with pytest.raises(Unauthorized):
        BasicAuth("label", "studio").check(asking(Authorization=header))
    with pytest.raises(Unauthorized):
        secret("the secret").check(asking(X_LabelLoop_Secret=header))


@pytest.mark.parametrize(("user", "password", "missing"), [("a", "", "BASIC_AUTH_PASS"), ("", "b", "BASIC_AUTH_USER")])
def test_half_a_login_is_refused_at_construction(user: str, password: str, missing: str) -> None:
    with pytest.raises(SettingsError, match=f"{missing} is empty"):
        BasicAuth(user, password)


def test_half_a_login_of_operators_is_refused_too() -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_ADMIN_PASS is empty"):
        Logins.of(Settings(admin_user="ops"))
    with pytest.raises(SettingsError, match="LABELLOOP_ADMIN_USER is empty"):
        Logins.of(Settings(admin_pass="night"))


def test_the_right_secret_passes() -> None:
    assert secret("s3cret").check(asking(X_LabelLoop_Secret="s3cret")) == Carried(None, current=True)
    own = WebhookSecrets(Settings(webhook_secret="s3cret")).of(7)
    assert secret("s3cret").check(asking(X_LabelLoop_Secret=own)) == Carried(7, current=True)


@pytest.mark.parametrize(
    ("expected", "headers", "reason"),
    [
        ("s3cret", {}, "carries no X-LabelLoop-Secret"),
        ("s3cret", {"X_LabelLoop_Secret": "S3CRET"}, "is another one"),
        ("s3cret", {"X_LabelLoop_Secret": "s3cret\xe9"}, "is another one"),
        ("", {"X_LabelLoop_Secret": "anything"}, "set LABELLOOP_WEBHOOK_SECRET"),
        ("", {}, "set LABELLOOP_WEBHOOK_SECRET"),
    ],
)
def test_any_other_secret_is_refused_with_the_reason(expected: str, headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Unauthorized, match=reason):
        secret(expected).check(asking(**headers))
