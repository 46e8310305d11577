"""What /predict is given for tasks of any shape: one item each, never an exception."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelloop.loop.hub import Hub
from labelloop.loop.predict import Prediction, predict_tasks
from support.examples import examples
from support.label_configs import interface
from support.studio_api import CONFIG, StudioApi

from .conftest import MakeHub

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ADDRESSES = st.sampled_from(
    [
        "/data/upload/7/1.png",
        "/data/upload/none.png",
        "//x",
        "http://[",
        "http://127.0.0.1:1/a.png",
        "s3://",
        "\x00",
        "",
    ]
)
TASKS = st.lists(
    st.dictionaries(st.text(max_size=5), JSON, max_size=3)
    | st.fixed_dictionaries({"id": JSON, "data": JSON})
    | st.fixed_dictionaries({"id": st.just(1), "data": st.fixed_dictionaries({"image": ADDRESSES | st.text()})}),
    max_size=20,
)


def predict(hub: Hub, tasks: Sequence[object], config: str = CONFIG) -> list[Prediction]:
    return predict_tasks(hub, 7, interface(hub, config), tasks, version="v1")


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tasks=TASKS)
def test_one_item_per_task_whatever_the_tasks_are(studio: StudioApi, studio_hub: Hub, tasks: list[object]) -> None:
    studio.pictures["/data/upload/7/1.png"] = b"a picture"
    found = predict(studio_hub, tasks)

    assert len(found) == len(tasks)
    for item in found:
        assert item == [] or (isinstance(item, dict) and item["model_version"] == "v1" and math.isfinite(item["score"]))


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(config=st.text(max_size=40) | st.sampled_from(["<View/>", CONFIG.replace("cat", "eel").replace("dog", "owl")]))
def test_a_label_config_that_offers_nothing_gives_empty_items(studio_hub: Hub, config: str) -> None:
    tasks = [{"id": 1, "data": {"image": "/data/upload/7/1.png"}}] * 9
    found = predict(studio_hub, tasks, config)

    assert found == [[]] * 9


ODD = ["gs://b/\ud800.png", "s3://b/\ud800.png", "/data/upload/7/\ud800.png", "http://127.0.0.1:1/\ud800"]


@pytest.mark.parametrize("address", ODD)
def test_an_odd_task_costs_no_other_its_prediction(studio: StudioApi, studio_hub: Hub, address: str) -> None:
    studio.add_tasks(8)
    good = list(studio.tasks.values())
    tasks = [*good[:4], {"id": 99, "data": {"image": address}}, *good[4:]]
    found = predict(studio_hub, tasks)

    assert [item == [] for item in found] == [task["id"] == 99 for task in tasks]


@pytest.mark.parametrize("content", [b"", b" \r\n", b"<!doctype html><p>Log in</p>", b'{"detail": "Not found."}'])
def test_what_is_no_picture_is_not_sent(studio: StudioApi, studio_hub: Hub, content: bytes) -> None:
    studio.add_tasks(3)
    studio.pictures["/data/upload/7/2.png"] = content
    tasks = list(studio.tasks.values())
    found = predict(studio_hub, tasks)

    assert [item == [] for item in found] == [False, True, False]


def test_order_is_kept_and_a_failing_task_fails_alone(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(40)
    del studio.pictures["/data/upload/7/11.png"]
    tasks = list(studio.tasks.values())

    together = predict(studio_hub, tasks)
    alone = [predict(studio_hub, [task])[0] for task in tasks]

    assert [chosen(item) for item in together] == [chosen(item) for item in alone]
    assert [number for number, item in enumerate(together, 1) if item == []] == [11]


def test_without_time_or_endpoint_there_are_empty_items(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(9)
    tasks = list(studio.tasks.values())
    for endpoint, seconds in (
        ("fake://?classes=cat,dog&script=down*", 30),
        ("fake://?classes=cat,dog", -1),
        ("http://127.0.0.1:1", 30),
        ("gopher://x", 30),
    ):
        hub = make_hub(endpoint=endpoint, predict_deadline=seconds)
        assert predict(hub, tasks) == [[]] * 9


def test_without_an_api_key_pictures_of_label_studio_give_empty_items(studio: StudioApi, hub: Hub) -> None:
    studio.add_tasks(1)
    found = predict(hub, list(studio.tasks.values()))

    assert found == [[]]
    hub.media.close()


def chosen(item: object) -> object:
    """The labels of a prediction; regions have random ids."""
    return [region["value"] for region in item["result"]] if isinstance(item, dict) else item
