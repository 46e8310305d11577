"""Tasks pre-annotated by an LLM: what it is asked follows the label config, in /predict and in bulk."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from labelloop.loop.hub import Hub
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.loop.prelabel import prelabel
from labelloop.loop.serving import announced_version
from support.containers.chat import ENTITIES, MODEL, OPENAI, completion
from support.label_configs import interface
from support.misbehaving import Misbehaving, answer, misbehaving
from support.studio_api import StudioApi

from .conftest import MakeHub

TASK = {"id": 1, "data": {"text": "Ada flew to Paris"}}
SAID = {
    "who": [{"text": "Ada", "label": "PER"}, {"text": "Bob", "label": "PER"}, {"text": "Paris", "label": "LOC"}],
    "about": "Travel",
    "stars": 4,
    "gist": "A flight.",
}


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving(answer(completion(json.dumps(SAID)))) as running:
        yield running


@pytest.fixture
def hub(server: Misbehaving, studio: StudioApi, make_hub: MakeHub) -> Hub:
    studio.config = ENTITIES
    return make_hub(endpoint=f"{server.address}{OPENAI}")


def predict(hub: Hub, config: str = ENTITIES) -> Prediction:
    (found,) = predict_tasks(hub, 7, interface(hub, config), [TASK])
    return found


def told(prediction: Any) -> list[tuple[str, Any]]:
    return [(region["from_name"], region["value"]) for region in prediction["result"]]


def enum_of(server: Misbehaving) -> Any:
    body = json.loads(server.requests[-1].body)
    return body["response_format"]["json_schema"]["schema"]["properties"]["about"]["enum"]


def test_every_tag_of_the_label_config_is_answered_in_one_call(
    hub: Hub, server: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    assert announced_version(hub, hub.project(7)) == MODEL
    with caplog.at_level(logging.WARNING):
        found: Any = predict(hub)

    assert sorted(told(found), key=str) == [
        ("about", {"choices": ["travel"]}),
        ("gist", {"text": ["A flight."]}),
        ("stars", {"rating": 4}),
        ("who", {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}),
        ("who", {"start": 12, "end": 17, "text": "Paris", "labels": ["LOC"]}),
    ]
    assert (found["score"], found["model_version"]) == (0.5, "a-model-2026-11-01")
    assert announced_version(hub, hub.project(7)) == "a-model-2026-11-01"
    assert "1 of 3 parts that it quotes do not stand in the text" in caplog.text
    assert "Bob" not in caplog.text
    assert len(server.requests) == 1


def test_what_was_asked_once_is_asked_again_only_for_other_labels(hub: Hub, server: Misbehaving) -> None:
    predict(hub)
    predict(hub)
    assert predict(hub) != []
    before = len(server.requests)
    assert enum_of(server) == ["travel", "food"]
    predict(hub, ENTITIES.replace("food", "sports"))
    assert len(server.requests) == before + 1
    assert enum_of(server) == ["travel", "sports"]


def test_a_label_of_its_own_making_is_no_prediction(
    hub: Hub, server: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    server.replies = [answer(completion(json.dumps(SAID | {"about": "aviation"})))]
    assert predict(hub) == []
    assert "'aviation'" in caplog.text


def test_in_bulk_it_is_asked_the_same(hub: Hub, server: Misbehaving, studio: StudioApi) -> None:
    studio.tasks.update({number: TASK | {"id": number, "annotations": []} for number in (1, 2)})
    version = announced_version(hub, hub.project(7))
    done = prelabel(hub, hub.project(7), version, lambda *_: None)
    assert (done.predicted, done.left_out) == (2, 0)
    assert [("about", {"choices": ["travel"]}) in told(one) for one in studio.predictions] == [True, True]
    assert enum_of(server) == ["travel", "food"]
