"""From a task to what an endpoint is given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelloop.loop.predict import Unpredicted, resolve_all
from labelloop.loop.process import open_hub
from labelloop.loop.serving import PredictionPlan, prediction_plan, serving
from labelloop.settings import Settings
from labelloop.types import Input
from support.examples import examples
from support.label_configs import interface
from support.web import serving_pictures

IMAGE = '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="cat"/></Choices></View>'
TEXT = IMAGE.replace("Image", "Text").replace("$image", "$text")


def plan(folder: Path, config: str = IMAGE, **more: Any) -> PredictionPlan:
    usual = {
        "endpoint": "http://here/predict",
        "model_dir": str(folder),
        "redis_url": "redis://127.0.0.1:1",
        "buckets": ("*",),
    }
    hub = open_hub(Settings(**usual | more))
    key = hub.project(7)
    by = serving(hub, key, "v1")
    return prediction_plan(hub, key, by, interface(hub, config)(key, by.subject))


def one(asked: PredictionPlan, data: object) -> Input | Unpredicted:
    (found,) = resolve_all(asked, [{"id": 1, "data": data}], None)
    return found


def test_a_text_is_given_as_it_is(tmp_path: Path) -> None:
    found = one(plan(tmp_path, TEXT), {"text": "s3://no address\n"})
    assert isinstance(found, Input)
    assert replace(found, assignment=None) == Input(text="s3://no address\n")


def test_pictures_are_read_in_order_and_one_that_is_missing_costs_no_other(tmp_path: Path) -> None:
    with serving_pictures() as url:
        names = ["1.png", "2.gone", "33.png"]
        tasks = [{"id": number, "data": {"image": f"{url}/{name}"}} for number, name in enumerate(names)]
        first, second, third = resolve_all(plan(tmp_path, allow_private_addresses=True), tasks, None)

    assert isinstance(first, Input)
    assert isinstance(third, Input)
    assert first.content != third.content
    assert first.media_type == "image/png"
    assert isinstance(second, Unpredicted)
    assert "2.gone could not be read" in second.reason
    assert not second.endpoint


@pytest.mark.parametrize(
    "path",
    ["data/local-files/?d=dir/red.png", "img?id=5.png", "photo.jpg/download?as=.png", "a.jfif?x.png", "a.jpg?.png"],
)
def test_a_pictures_type_is_that_of_its_bytes_wherever_it_lies(tmp_path: Path, path: str) -> None:
    with serving_pictures() as url:
        found = one(plan(tmp_path, allow_private_addresses=True), {"image": f"{url}/{path}"})
    assert isinstance(found, Input)
    assert found.media_type == "image/png"


@pytest.mark.parametrize(
    ("address", "goes"),
    [
        ("s3://bucket/a.png", True),
        ("https://pictures.corp/a.png?sig=x", True),
        ("https://user:hush@pictures.corp/a.png", False),
        ("/data/upload/1/a.png", False),
        ("http://localhost:8080/data/upload/1/a.png", False),
        ("data:image/png;base64,aaaa", False),
    ],
)
def test_only_what_another_machine_can_read_goes_by_reference(tmp_path: Path, address: str, goes: bool) -> None:
    asked = plan(tmp_path, request_format="reference", label_studio_api_key="legacy", media_timeout=0.2)
    found = one(asked, {"image": address})

    assert (isinstance(found, Input) and found.uri == address) == goes
    assert "hush" not in repr(found)


def test_an_address_that_is_none_costs_no_other_its_reference(tmp_path: Path) -> None:
    asked = plan(tmp_path, request_format="reference", label_studio_api_key="legacy")
    tasks = [{"id": 1, "data": {"image": "http://host:port/a.png"}}, {"id": 2, "data": {"image": "s3://bucket/a.png"}}]
    wrong, right = resolve_all(asked, tasks, None)

    assert isinstance(wrong, Unpredicted)
    assert isinstance(right, Input)
    assert right.uri == "s3://bucket/a.png"


@pytest.mark.parametrize("data", [None, {}, [], {"image": 7}, {"image": ""}, {"other": "x"}])
def test_a_task_without_it_says_so(tmp_path: Path, data: object) -> None:
    found = one(plan(tmp_path), data)
    assert isinstance(found, Unpredicted)
    assert "has no 'image' in its data" in found.reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=examples(25))
@given(st.text(max_size=40), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2))
def test_no_address_and_no_id_raises(tmp_path: Path, address: str, number: object) -> None:
    asked = plan(tmp_path, media_timeout=0.1)
    for value in (address, f"http://127.0.0.1:1/{address}", f"//{address}", f"/{address}"):
        (found,) = resolve_all(asked, [{"id": number, "data": {"image": value}}], None)
        assert isinstance(found, Unpredicted)


def test_an_address_goes_by_reference_as_browsers_read_it(tmp_path: Path) -> None:
    asked = plan(tmp_path, request_format="reference")
    first, second = (
        one(asked, {"image": address}) for address in (" HTTPS://pictures.corp/a.png\n", "https://pictures.corp/a.png")
    )
    assert isinstance(first, Input)
    assert isinstance(second, Input)
    assert first.uri == second.uri == "https://pictures.corp/a.png"
    assert asked.key(first, b"") == asked.key(second, b"")


def test_a_picture_in_its_address_is_sent_by_the_type_of_its_bytes(tmp_path: Path) -> None:
    asked = plan(tmp_path, media_max_bytes=20)
    for head in ("data:image/jpeg;base64", " Data:;base64"):
        found = one(asked, {"image": f"{head},iVBORw0KGgo="})
        assert isinstance(found, Input)
        assert (found.content, found.media_type) == (b"\x89PNG\r\n\x1a\n", "image/png")
    found = one(asked, {"image": "data:image/x-own;base64,AAAB"})
    assert isinstance(found, Input)
    assert found.media_type == "image/x-own"
    for data in ("x" * 40, "<html>", "%7B%7D"):
        refused = one(asked, {"image": f"data:,{data}"})
        assert isinstance(refused, Unpredicted)
        assert data not in refused.reason
