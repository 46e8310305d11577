"""What LabelLoop asks of Label Studio and tells it, beside what Label Studio's own client, the SDK, does for that."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from labelloop.errors import StudioAway
from labelloop.studio.backends import MLBackend, Webhook, WebhookSpec
from labelloop.studio.client import UNCERTAINTY, Studio
from labelloop.studio.data_manager import put_tab, read_tasks
from support.access_tokens import PAT, Tokens
from support.misbehaving import Exchange, Request, answer, misbehaving
from support.studio_api import running_studio

if TYPE_CHECKING:  # it takes a second to import, in each process that collects tests
    from label_studio_sdk import LabelStudio

KEY = "0123456789"
TASK: Any = {"id": 1, "data": {"image": "http://pictures.example/1.png"}}
PREDICTIONS: Any = [{"task": task, "result": [], "score": 0.5, "model_version": "v1"} for task in (1, 2)]
BACKEND = MLBackend(3, 7, "http://labelloop:9090", "v1", "Connected", "", "", {"threshold": 0.5}, interactive=True)
HOOK = Webhook(3, WebhookSpec("http://labelloop:9090/webhook", {"X-LabelLoop-Secret": "hush"}))
REGISTERED = {"auth_method": "NONE", "basic_auth_user": "", "is_interactive": True, "extra_params": {"threshold": 0.5}}
TAB = {
    "title": "To look at",
    "filters": {
        "conjunction": "or",
        "items": [{"filter": "filter:tasks:id", "type": "Number", "operator": "in", "value": {"min": 1, "max": 2}}],
    },
    "type": "list",
    "target": "tasks",
}
QUERY = json.dumps(
    {
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": 0}],
        }
    }
)


def label_studio(exchange: Exchange) -> None:
    """Say to each request what it wants to hear."""
    method, target, _ = exchange.request.line.split()
    path = urlsplit(target).path
    if path == "/api/tasks/":
        beyond = "page=2" in target
        page = {"tasks": [TASK], "total": 1, "total_annotations": 0, "total_predictions": 0}
        answer({"detail": "Invalid page."} if beyond else page, 404 if beyond else 200)(exchange)
    elif path.endswith("/import/predictions"):
        answer({"created": 2}, 201)(exchange)
    elif method == "GET" and path != "/api/projects/7/" and not path.startswith("/api/current-user"):
        answer([])(exchange)
    else:
        answer({"id": 7, "project": 7, "title": "Cats", "url": "http://x", "email": "me"})(exchange)


@contextmanager
def clients(url: str, key: str = KEY) -> Iterator[tuple[Studio, "LabelStudio"]]:
    """Both clients of a Label Studio."""
    from label_studio_sdk import LabelStudio

    studio = Studio(url, key)
    with httpx.Client() as http:
        yield studio, LabelStudio(base_url=f"{url}/", api_key=key, httpx_client=http)  # type: ignore[no-untyped-call]
    studio.close()


def asked(request: Request) -> tuple[Any, ...]:
    """What Label Studio gets of a request."""
    method, target, _ = request.line.split()
    path = urlsplit(target)
    body = json.loads(request.body) if request.body else None
    kind, token = request.headers.get("content-type"), request.headers["authorization"]
    return method, path.path, parse_qs(path.query), body, kind, token


CASES: dict[str, tuple[Callable[[Studio], object], Callable[["LabelStudio"], object]]] = {
    "whose key it is": (lambda studio: studio.whoami(), lambda sdk: sdk.users.whoami()),
    "a project": (lambda studio: studio.project(7), lambda sdk: sdk.projects.get(7)),
    "the order of tasks": (
        lambda studio: studio.set_sampling(7),
        lambda sdk: sdk.projects.update(7, sampling=UNCERTAINTY),
    ),
    "the version to order by": (
        lambda studio: studio.set_model_version(7, "v1"),
        lambda sdk: sdk.projects.update(7, model_version="v1"),
    ),
    "an import of predictions": (
        lambda studio: studio.import_predictions(7, PREDICTIONS),
        lambda sdk: sdk.projects.import_predictions(7, request=PREDICTIONS),
    ),
    "the ML backends": (lambda studio: studio.ml_backends(7), lambda sdk: sdk.ml.list(project=7)),
    "an ML backend": (
        lambda studio: studio.create_ml_backend(
            7, BACKEND.url, "v1", extra_params=BACKEND.extra_params, interactive=True
        ),
        lambda sdk: sdk.ml.create(project=7, url=BACKEND.url, title="v1", **REGISTERED),
    ),
    "another title": (
        lambda studio: studio.update_ml_backend(BACKEND, BACKEND.url, "v2"),
        lambda sdk: sdk.ml.update(3, project=7, url=BACKEND.url, title="v2", **REGISTERED),
    ),
    "the webhooks": (lambda studio: studio.webhooks(7), lambda sdk: sdk.webhooks.list(project="7")),
    "a webhook": (
        lambda studio: studio.create_webhook(7, HOOK.spec),
        lambda sdk: sdk.webhooks.create(project=7, **HOOK.spec.fields()),
    ),
    "another webhook": (
        lambda studio: studio.update_webhook(HOOK, HOOK.spec),
        lambda sdk: sdk.webhooks.update(3, **HOOK.spec.fields()),
    ),
    "no webhook": (lambda studio: studio.delete_webhook(HOOK), lambda sdk: sdk.webhooks.delete(3)),
    "a tab": (
        lambda studio: put_tab(studio.api, 7, "To look at", [1, 2]),
        lambda sdk: (sdk.views.list(project=7), sdk.views.create(project=7, data=TAB)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_is_asked(case: str) -> None:
    ours, theirs = CASES[case]
    with misbehaving(label_studio) as server, clients(server.address) as (studio, sdk):
        ours(studio)
        asks = [asked(request) for request in server.requests]
        theirs(sdk)
        assert asks == [asked(request) for request in server.requests[len(asks) :]]
        assert {ask[-1] for ask in asks} == {f"Token {KEY}"}


@pytest.mark.parametrize("fields", [("id", "data"), ("id", "data", "predictions")])
def test_the_same_page_of_tasks_is_asked_for_and_no_page_behind_the_last(fields: tuple[str, ...]) -> None:
    heavy = "predictions" in fields
    with misbehaving(label_studio) as server, clients(server.address) as (studio, sdk):
        ours = [task["id"] for task in read_tasks(studio.api, 7, fields=fields, page=50)]
        page: Any = {"fields": "all" if heavy else None, "include": ",".join(fields), "page_size": 50}
        listed: Any = sdk.tasks.list(project=7, query=QUERY, resolve_uri=False, **page)
        theirs = [task.id for task in listed]
        first, second, third = map(asked, server.requests)
    assert ours == theirs == [TASK["id"]]
    assert first == second
    # The SDK counts pages, until there is none: it skips tasks where others are deleted meanwhile.
    assert (second[2] | {"page": ["2"]}) == third[2]


def test_the_same_is_read() -> None:
    with running_studio() as server, clients(server.url) as (studio, sdk):
        server.created_at = "2026-11-29T12:00:00Z"
        server.add_tasks(3)
        server.connect("v1", readable_state="Connected")
        project, theirs = studio.project(7), sdk.projects.get(7)
        assert (project.title, project.label_config, project.counters.tasks) == (
            "Cats",
            theirs.label_config,
            theirs.task_number,
        )
        assert [task["data"] for task in studio.tasks(7)] == [task.data for task in _pages(sdk)]
        backends = [(one.id, one.url, one.title, one.state) for one in studio.ml_backends(7)]
        assert backends == [(one.id, one.url, one.title, one.readable_state) for one in sdk.ml.list(project=7)]
        studio.create_webhook(7, HOOK.spec)
        [hook], [same] = studio.webhooks(7), sdk.webhooks.list(project="7")
        assert (hook.id, hook.spec.url, hook.spec.headers) == (same.id, same.url, same.headers)
        stored = sdk.projects.import_predictions(7, request=PREDICTIONS)
        assert studio.import_predictions(7, PREDICTIONS) == stored.created == 2


def _pages(sdk: "LabelStudio") -> list[Any]:
    first: Any = sdk.tasks.list(project=7, query=QUERY, page_size=500)
    return list(first.items)


def test_the_sdk_repeats_what_it_stores_and_labelloop_does_not() -> None:
    busy = answer({"detail": "busy"}, 503)
    with misbehaving(busy, busy, answer({"created": 2}, 201)) as server, clients(server.address) as (studio, sdk):
        with pytest.raises(StudioAway, match="busy"):
            studio.import_predictions(7, PREDICTIONS)
        assert len(server.requests) == 1
        assert sdk.projects.import_predictions(7, request=PREDICTIONS).created == 2
        assert len(server.requests) == 3


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated:DeprecationWarning")  # the SDK's own
def test_the_sdk_keeps_a_token_that_is_refused_and_labelloop_gets_another() -> None:
    from label_studio_sdk.core import ApiError

    tokens = Tokens(300)
    with misbehaving(tokens) as server, clients(f"{server.address}/prefix", PAT) as (studio, sdk):
        sdk.users.whoami()
        assert studio.whoami() == "unknown"
        tokens.given.append("another")
        with pytest.raises(ApiError, match="token not valid"):
            sdk.users.whoami()
        assert studio.whoami() == "unknown"
