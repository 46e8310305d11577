"""Secrets are changed without one request of Label Studio's being refused; a webhook that was forgotten is mended."""

from base64 import b64encode
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient

from labelloop.errors import StudioError
from labelloop.labelbox.signing import SHA1, VECTOR_BODY, signature
from labelloop.loop import webhooks
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import remember_project
from labelloop.loop.redis_client import key_of
from labelloop.loop.status import project_status
from labelloop.loop.webhooks import tend_webhook, web_agrees
from labelloop.studio.backends import SECRET_HEADER
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from labelloop.webhook_secrets import WebhookSecrets
from support.studio_api import StudioApi
from support.web import client_of

from .conftest import MakeHub

URL = "http://labelloop.internal:9090"
LOGIN = {"basic_auth_user": "label"}


def event(project: int = 7) -> dict[str, Any]:
    return {"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "task": 5}, "project": {"id": project}}


def register(hub: Hub) -> list[str]:
    with closing(Studio.of(hub.settings)) as client:
        return connect(client, 7, URL, hub.settings)


def header(studio: StudioApi) -> dict[str, str]:
    return {SECRET_HEADER: studio.webhooks[0]["headers"][SECRET_HEADER]}


def answers(web: FlaskClient, studio: StudioApi) -> tuple[int, int]:
    """Send what Label Studio would, by all that it has been told: a webhook, and ``/setup``."""
    backend = studio.backends[0]
    login = b64encode(f"{backend.get('basic_auth_user')}:{backend.get('basic_auth_pass')}".encode()).decode()
    setup = web.post("/setup", json={"project": 7}, headers={"Authorization": f"Basic {login}"})
    return web.post("/webhook", json=event(), headers=header(studio)).status_code, setup.status_code


PROCEDURES = {
    "webhook secret": (
        {"webhook_secret": "old"},
        {"webhook_secret": "new", "webhook_secret_previous": "old"},
    ),
    "API key, of which the secret is made": (
        {"label_studio_api_key": "legacy"},
        {"label_studio_api_key": "renewed", "label_studio_api_key_previous": "legacy"},
    ),
    "the first webhook secret of one's own": (
        {"label_studio_api_key": "legacy"},
        {"webhook_secret": "new", "label_studio_api_key_previous": "legacy"},
    ),
    "API key beside a webhook secret": (
        {"webhook_secret": "kept"},
        {"webhook_secret": "kept", "label_studio_api_key": "renewed"},
    ),
    "Basic password": (
        {**LOGIN, "basic_auth_pass": "old"},
        {**LOGIN, "basic_auth_pass": "new", "basic_auth_pass_previous": "old"},
    ),
}
"""By secret: the settings before, and those while it is changed. Afterwards there is nothing previous."""


@pytest.mark.parametrize("what", PROCEDURES)
def test_no_request_is_refused_while_a_secret_is_changed(make_hub: MakeHub, studio: StudioApi, what: str) -> None:
    before, meanwhile = PROCEDURES[what]
    after = {name: value for name, value in meanwhile.items() if not name.endswith("_previous")}
    register(make_hub(**before))
    assert answers(client_of(make_hub(**before)), studio) == (200, 200)

    web = client_of(make_hub(**meanwhile))
    assert answers(web, studio) == (200, 200), "web is restarted, nothing else is done yet"
    register(make_hub(**meanwhile))
    assert answers(web, studio) == (200, 200), "the project is connected again"

    assert answers(client_of(make_hub(**after)), studio) == (200, 200), "nothing of before is taken any more"


@pytest.mark.parametrize("what", [name for name in PROCEDURES if "beside" not in name])
def test_without_the_previous_secret_label_studio_would_have_been_refused(
    make_hub: MakeHub, studio: StudioApi, what: str
) -> None:
    before, meanwhile = PROCEDURES[what]
    after = {name: value for name, value in meanwhile.items() if not name.endswith("_previous")}
    register(make_hub(**before))
    assert 401 in answers(client_of(make_hub(**after)), studio)


def test_labelbox_signs_by_the_old_secret_until_it_has_the_new_one(make_hub: MakeHub) -> None:
    def signed(secret: str, **settings: str) -> int:
        sent = {SHA1: signature(secret, VECTOR_BODY)}
        return client_of(make_hub(**settings)).post("/labelbox/model_run", data=VECTOR_BODY, headers=sent).status_code

    both = {"labelbox_secret": "the new one", "labelbox_secret_previous": "the old one"}
    assert signed("the old one", **both) != 401
    assert signed("the new one", **both) != 401
    assert signed("the old one", labelbox_secret="the new one") == 401


def test_connect_sends_the_password_again_for_nobody_can_see_which_one_is_there(
    make_hub: MakeHub, studio: StudioApi
) -> None:
    register(make_hub(**LOGIN, basic_auth_pass="old"))
    told = register(make_hub(**LOGIN, basic_auth_pass="new"))
    assert studio.backends[0]["basic_auth_pass"] == "new"
    assert any("user and password again" in line for line in told)


def test_one_projects_secret_is_none_for_another(make_hub: MakeHub) -> None:
    hub = make_hub(webhook_secret="hush")
    web, secrets = client_of(hub), WebhookSecrets(hub.settings)
    refused = web.post("/webhook", json=event(8), headers={SECRET_HEADER: secrets.of(7)})
    assert refused.status_code == 401
    assert "secret of project 7, and tells of project 8" in refused.json["error"]  # type: ignore[index]
    assert web.post("/webhook", json=event(8), headers={SECRET_HEADER: secrets.of(8)}).status_code == 200


def test_the_common_secret_is_right_until_a_project_has_its_own(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub(webhook_secret="hush")
    common, own = {SECRET_HEADER: "hush"}, {SECRET_HEADER: WebhookSecrets(hub.settings).of(7)}
    web, another = client_of(hub), client_of(make_hub(webhook_secret="hush"))

    assert web.post("/webhook", json=event(), headers=common).status_code == 200
    assert web.post("/webhook", json=event(), headers=own).status_code == 200
    assert web.post("/webhook", json=event(), headers=common).status_code == 200, "it may have been on its way"
    monkeypatch.setattr(webhooks, "_GRACE_SECONDS", 0.0)
    for one in (web, another):
        assert one.post("/webhook", json=event(), headers=common).status_code == 401
        assert one.post("/webhook", json=event(8), headers=common).status_code == 200


def test_a_webhook_that_was_forgotten_gets_the_new_secret_by_the_sweep(make_hub: MakeHub, studio: StudioApi) -> None:
    register(make_hub(webhook_secret="old"))
    studio.webhooks[0] |= {"is_active": False}
    new = make_hub(webhook_secret="new")
    project, web = new.project(7), client_of(new)
    remember_project(new, project, URL)

    assert web_agrees(new) is None
    tend_webhook(new, project)
    assert answers(web, studio)[0] == 401, "whether web has that secret, too, is not known"

    assert web_agrees(new)
    assert web_agrees(make_hub(webhook_secret="of another shell")) is False
    new.redis.delete(key_of(project, "webhook"))
    tend_webhook(new, project)
    assert answers(web, studio)[0] == 200
    assert studio.webhooks[0]["is_active"] is False, "nobody's choice is undone"
    assert project_status(new, project).trouble == ""


def test_what_the_sweep_cannot_mend_is_said_in_status(make_hub: MakeHub, studio: StudioApi) -> None:
    hub = make_hub()
    project = hub.project(7)
    studio.connect("m1")
    tend_webhook(hub, project)
    assert "has no webhook to http://labelloop-1:9090" in project_status(hub, project).trouble

    studio.webhooks.append({"id": 1, "url": "http://labelloop-1:9090/webhook"})
    tend_webhook(hub, project)
    assert "has no webhook" in project_status(hub, project).trouble, "it is not looked at each time"
    hub.redis.delete(key_of(project, "webhook"))
    tend_webhook(hub, project)
    assert "carries no secret" in project_status(hub, project).trouble


def test_a_label_studio_that_refuses_takes_nothing_from_a_sweep(make_hub: MakeHub, studio: StudioApi) -> None:
    hub = make_hub()
    studio.refusing = 500
    with pytest.raises(StudioError):
        hub.tool.site(7, hub.media, lambda: None).mend_webhook(lambda: True)
    tend_webhook(hub, hub.project(7))


def test_a_login_that_is_refused_is_sent_again_by_the_sweep(make_hub: MakeHub, studio: StudioApi) -> None:
    register(make_hub(**LOGIN, basic_auth_pass="old"))
    studio.backends[0] |= {"readable_state": "Error", "error_message": "401 Client Error: UNAUTHORIZED"}
    hub = make_hub(**LOGIN, basic_auth_pass="new")
    tend_webhook(hub, hub.project(7))
    assert studio.backends[0]["basic_auth_pass"] == "new"
