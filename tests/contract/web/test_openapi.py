"""docs/openapi.yaml is what the web process answers: paths, methods, and each status with an answer that has it."""

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from labelloop.labelbox.signing import SHA1, VECTOR_BODY, VECTOR_SECRET, VECTORS, signature
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import remember_project
from labelloop.web.app import create_app
from labelloop.web.backend import LabelLoop
from support.bundles import picture, publish_bundle
from support.openapi import description, operations, statuses
from support.web import CONFIG, SECRET, MakeHub, announce, client_of

LOGIN = {"basic_auth_user": "label", "basic_auth_pass": "studio"}
LABELBOX = {"labelbox_secret": VECTOR_SECRET}
NO_REDIS = {"redis_url": "redis://127.0.0.1:1"}
NO_STORE = {"store": "file:///proc/none"}
ELSEWHERE = {"endpoint": "http://127.0.0.1:1/predict"}
ALONE_ON_CLOUD_RUN = {"cloud_run": "backend", "endpoint": "http://127.0.0.1:9091", "labelbox_secret": "", **NO_REDIS}
PROJECT = {"project": "7.1795187589"}
HEADER = {"headers": {"X-LabelLoop-Secret": SECRET}}
TRAIN = {"action": "START_TRAINING", "project": {"id": 7}}
CREATED = {
    "action": "ANNOTATION_CREATED",
    "annotation": {"id": 31, "was_cancelled": False, "task": 5},
    "task": {"id": 5},
    "project": {"id": 7},
}
BUTTON = {"data": VECTOR_BODY, "headers": {SHA1: signature(VECTOR_SECRET, VECTOR_BODY)}}
PROJECT_PAGE = ("GET", "/dashboard/{instance}/{number}")
REPORT_PAGE = ("GET", "/dashboard/{instance}/{number}/versions/{version}/report")
PICTURE = "data:image/png;base64," + b64encode(picture("red")).decode()
UNNAMED = {"data": b"{}", "headers": {SHA1: signature(VECTOR_SECRET, b"{}")}}


def nothing(_hub: Hub, _client: FlaskClient) -> dict[str, Any]:
    """Prepare nothing."""
    return {}


def announced(hub: Hub, _client: FlaskClient) -> dict[str, Any]:
    """Let the project have a version."""
    announce(hub, 7)
    return {}


def unreadable(hub: Hub, _client: FlaskClient) -> dict[str, Any]:
    """Let what the store has of projects be damaged."""
    hub.store.write("_projects/7.json", b"half of")
    return {}


def queued(_hub: Hub, client: FlaskClient) -> dict[str, Any]:
    """Ask for a training, and give a body that names its job."""
    answer = client.post("/webhook", json=TRAIN).get_json()
    return {"json": {"job": answer["job"]}}


@dataclass(frozen=True)
class Case:
    """A request that is answered by one status: what is sent, the settings, and what is done before."""

    sent: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    before: Callable[[Hub, FlaskClient], dict[str, Any]] = nothing


PLACE = {"instance": "localhost-8080", "number": "7", "version": "v1"}
"""What stands for the parameters of paths."""


def reported(hub: Hub, _client: FlaskClient) -> dict[str, Any]:
    """Let the project have a version with a report."""
    remember_project(hub, hub.project(7), None)
    with TemporaryDirectory() as folder:
        publish_bundle(hub.store, hub.project(7), Path(folder), run="r1")
    hub.versions(hub.project(7)).write_report("v1", b"<!DOCTYPE html>a report")
    return {}


def tried_in_vain(_hub: Hub, client: FlaskClient) -> dict[str, Any]:
    """Fail to log in as often as one may."""
    for path in ("/setup", "/webhook", "/labelbox/model_run"):
        assert client.post(path, json=CREATED).status_code == 401
    return {}


OF_ALL = {
    200: Case(),
    400: Case({"data": b"[]"}),
    401: Case({"json": CREATED}, LOGIN),
    429: Case({"json": CREATED}, {**LOGIN, "failed_logins": 1}, tried_in_vain),
    413: Case({"data": b"x" * 64_001}, {"body_max_bytes": 64_000}),
    503: Case({"json": PROJECT}, NO_REDIS),
}
"""By status: what brings any operation to it that has no case of its own."""

CASES = {
    ("POST", "/setup", 200): Case({"json": {**PROJECT, "schema": CONFIG}}, {}, announced),
    ("POST", "/setup", 503): Case({"json": PROJECT}, ALONE_ON_CLOUD_RUN),
    ("POST", "/predict", 200): Case(
        {"json": {**PROJECT, "label_config": CONFIG, "tasks": [{"id": 1, "data": {"image": PICTURE}}, 7]}},
        {},
        announced,
    ),
    ("POST", "/webhook", 200): Case({"json": CREATED, **HEADER}),
    ("POST", "/webhook", 201): Case({"json": TRAIN}),
    ("POST", "/webhook", 503): Case({"json": CREATED, **HEADER}, NO_REDIS),
    ("POST", "/train", 200): Case({"json": PROJECT}, ELSEWHERE),
    ("POST", "/train", 201): Case({"json": PROJECT}),
    ("POST", "/job_status", 200): Case({}, {}, queued),
    ("POST", "/job_status", 410): Case({"json": {"job": "gone"}}),
    ("POST", "/job_status", 503): Case({"json": {"job": "any"}}, NO_REDIS),
    ("POST", "/validate", 200): Case({"json": {"config": CONFIG}}),
    ("POST", "/delete", 200): Case({"json": PROJECT}),
    ("POST", "/duplicate_model", 200): Case({"json": {"project_src": 7, "project_dst": "8.1"}}),
    ("GET", "/", 302): Case({"headers": {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}}),
    ("GET", "/status", 200): Case({}, {}, announced),
    (*PROJECT_PAGE, 200): Case({}, {}, reported),
    (*PROJECT_PAGE, 404): Case(),
    (*PROJECT_PAGE, 503): Case({}, {}, unreadable),
    (*REPORT_PAGE, 200): Case({}, {}, reported),
    (*REPORT_PAGE, 404): Case(),
    (*REPORT_PAGE, 503): Case({}, {}, unreadable),
    ("POST", "/try", 200): Case({"data": picture("red"), "query_string": {"project": 7}}, {}, announced),
    ("POST", "/try", 404): Case(
        {"data": picture("red"), "query_string": {"project": 8}}, {"endpoint": "http://127.0.0.1:1"}
    ),
    ("POST", "/try", 503): Case({"data": picture("red"), "query_string": {"project": 7}}, ELSEWHERE),
    ("GET", "/labelbox/models", 200): Case({"headers": {SHA1: VECTORS[0][2]}}),
    ("GET", "/labelbox/models", 404): Case({}, {"labelbox_secret": ""}),
    ("POST", "/labelbox/model_run", 200): Case(BUTTON),
    ("POST", "/labelbox/model_run", 400): Case(UNNAMED),
    ("POST", "/labelbox/model_run", 404): Case({}, {"labelbox_secret": ""}),
    ("POST", "/labelbox/model_run", 503): Case(BUTTON, NO_STORE),
}


def app_of(hub: Hub) -> Flask:
    return create_app(hub.settings, hub, LabelLoop)


def routes(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_it_is_openapi() -> None:
    OpenAPIV31SpecValidator(description()).validate()


def test_it_has_the_routes_of_the_app_with_their_methods_and_no_others(make_hub: MakeHub) -> None:
    assert set(operations()) == routes(app_of(make_hub(**LABELBOX)))


def test_at_the_root_are_labelboxs_routes_again_and_no_others(make_hub: MakeHub) -> None:
    again = routes(app_of(make_hub(**LABELBOX, labelbox_at_root=True))) - set(operations())
    prefix = "/labelbox"
    assert again == {
        (method, path.removeprefix(prefix)) for method, path in operations() if path.startswith(f"{prefix}/")
    }


@pytest.mark.parametrize(("method", "path", "status"), sorted(statuses()))
def test_each_status_that_it_has_is_one_that_is_answered(
    make_hub: MakeHub, method: str, path: str, status: int
) -> None:
    case = CASES.get((method, path, status)) or OF_ALL[status]
    hub = make_hub(**LABELBOX | case.settings)
    client = client_of(hub)  # it holds the answer to what is described, its body too
    sent = case.sent | case.before(hub, client)

    assert client.open(path.format(**PLACE), method=method, **sent).status_code == status


def test_who_is_asked_for_a_login_is_said(make_hub: MakeHub) -> None:
    client = client_of(make_hub(**LABELBOX, **LOGIN, failed_logins=0))
    for (method, path), said in operations().items():
        refused = client.open(path.format(**PLACE), method=method, json=CREATED).status_code == 401
        assert refused == bool(said["security"]), path
