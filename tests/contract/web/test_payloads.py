"""Whatever anybody sends: never a 5xx, never HTML, never an answer of another length."""

import math
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelloop.loop.hub import Hub
from labelloop.types import Json
from support.examples import examples
from support.web import CONFIG, SECRET, announce

texts = st.text(st.characters(exclude_categories=()), max_size=12)
"""Halves of surrogate pairs too: JSON can spell them, and UTF-8 cannot."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
right = st.sampled_from(["7.1795187589", "7", 7])
projects = st.sampled_from(["7.1795187589", "7", 7, "", "x", None, 0, {"id": 7}, 1e308]) | json_values
configs = st.sampled_from(
    [CONFIG, CONFIG.replace("cat", "Cat"), CONFIG.replace("<Choices", '<Choices choice="multiple"'), "<View/>", ""]
)
urls = st.sampled_from(["/a.png", "/missing", "/a.png?x=1#y", "/\u0000", "/é.png", "/\ud800.png"])


def usually(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, now and then anything."""
    return st.integers(0, 4).flatmap(lambda die: strategy if die else json_values)


def bodies(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Objects with some of these fields, rightly or wrongly filled, and perhaps others."""
    named = st.fixed_dictionaries({}, optional={name: usually(strategy) for name, strategy in fields.items()})
    return st.builds(lambda more, right: {**more, **right}, st.dictionaries(texts, json_values, max_size=2), named)


tasks = bodies(
    id=st.integers(), data=bodies(image=urls), project=projects, annotations=json_values, predictions=json_values
)
annotations = bodies(
    id=st.integers(), was_cancelled=st.booleans(), task=st.integers(1, 9), project=projects, result=json_values
)
objects = bodies(id=st.integers(1, 9))
actions = st.sampled_from(
    [
        "START_TRAINING",
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "PROJECT_UPDATED",
    ]
)
ROUTES: dict[str, st.SearchStrategy[Json]] = {
    "/setup": bodies(project=projects, schema=configs, extra_params=json_values, hostname=texts, access_token=texts),
    "/train": bodies(project=projects, annotations=json_values, label_config=configs),
    "/webhook": bodies(
        action=actions,
        project=objects,
        annotation=annotations | st.lists(annotations, max_size=3),
        annotations=st.lists(objects, max_size=3),
        task=objects | st.lists(objects, max_size=3),
        tasks=st.lists(objects, max_size=3),
    ),
    "/versions": bodies(project=projects),
    "/job_status": bodies(job=texts),
    "/validate": bodies(config=configs | texts),
    "/delete": bodies(project=projects),
    "/duplicate_model": bodies(project_src=projects, project_dst=projects),
}

bounded = settings(
    derandomize=True,
    max_examples=examples(80),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_no_payload_brings_a_route_down(client: FlaskClient, route: str) -> None:
    @bounded
    @given(ROUTES[route] | json_values)
    def check(body: Any) -> None:
        answer = client.post(route, json=body, headers={"X-LabelLoop-Secret": SECRET})
        assert answer.status_code < 500, answer.text
        assert answer.content_type == "application/json"
        assert isinstance(answer.json, dict)
        assert ("error" in answer.json) == (answer.status_code >= 400)

    check()


def test_no_bytes_bring_a_route_down(client: FlaskClient) -> None:
    @bounded
    @given(st.sampled_from(["/predict", *sorted(ROUTES)]), st.binary(max_size=200))
    def check(route: str, content: bytes) -> None:
        answer = client.post(route, data=content, content_type="application/json")
        assert answer.status_code in (200, 400)
        assert isinstance(answer.json, dict)

    check()


good = st.fixed_dictionaries({"id": st.integers(), "data": st.just({"image": "/a.png"})})


def test_predict_answers_one_item_per_task_or_400(client: FlaskClient, hub: Hub, pictures: str) -> None:
    announce(hub, 7)

    @bounded
    @given(st.lists(usually(good) | tasks, max_size=5), usually(right), usually(configs), json_values)
    def check(given_tasks: list[Any], project: Any, config: Any, params: Any) -> None:
        body = {
            "tasks": [located(one, pictures) for one in given_tasks],
            "project": project,
            "label_config": config,
            "params": params,
        }
        answer = client.post("/predict", json=body)
        assert answer.status_code in (200, 400), answer.text
        assert isinstance(answer.json, dict)
        if answer.status_code == 200:
            assert len(answer.json["results"]) == len(given_tasks)
            assert all(item == [] or storable(item) for item in answer.json["results"])

    check()


def located(task: Any, pictures: str) -> Any:
    """Let a task's picture lie on the test's server, when it names one by its path."""
    match task:
        case {"data": {"image": str(image), **data}} if image.startswith("/"):
            return {**task, "data": {**data, "image": pictures + image}}
    return task


def storable(item: Any) -> bool:
    """Whether Label Studio would store this item as a prediction."""
    return (
        isinstance(item["model_version"], str)
        and item["model_version"] != ""
        and isinstance(item["score"], float)
        and math.isfinite(item["score"])
        and isinstance(item["result"], list)
    )
