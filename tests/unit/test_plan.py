"""What a request is planned with, and what decides whether two requests ask for the same."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labelloop.errors import LabelConfigError, OptionsError
from labelloop.loop.process import open_hub
from labelloop.loop.project_endpoint import hear
from labelloop.loop.serving import PredictionPlan, prediction_plan, serving
from labelloop.settings import Settings
from labelloop.types import Input, ProjectKey
from support.label_configs import interface

CONFIG = (
    '<View><Image name="i" value="$image"/><KeyPointLabels name="k" toName="i" smart="true"><Label value="cat"/>'
    "</KeyPointLabels></View>"
)
CLICK = {
    "result": [
        {"type": "keypointlabels", "to_name": "i", "value": {"x": 50, "y": 50, "width": 1, "keypointlabels": ["cat"]}}
    ]
}
PICTURE = Input(b"picture", "image/png")

MakePlan = Callable[..., PredictionPlan]


@pytest.fixture
def plan(tmp_path: Path) -> MakePlan:
    def make(
        project: int = 7, config: str = CONFIG, context: object = None, extra_params: Any = None, **settings: Any
    ) -> PredictionPlan:
        usual = {"endpoint": "http://here/predict", "model_dir": str(tmp_path), "redis_url": "redis://127.0.0.1:1"}
        hub = open_hub(Settings(**usual | settings))
        key = hub.project(project)
        hear(hub, key, extra_params)
        by = serving(hub, key, "v1")
        return prediction_plan(hub, key, by, interface(hub, config)(key, by.subject), context)

    return make


def name(plan: PredictionPlan, asked: Input) -> bytes:
    return plan.key(asked, hashlib.sha256(asked.content).digest())


def test_the_same_question_has_the_same_name(plan: MakePlan) -> None:
    assert name(plan(), PICTURE) == name(plan(), Input(b"picture", "image/png"))


@pytest.mark.parametrize(
    "other",
    [
        {"project": 8},
        {"config": CONFIG.replace("cat", "dog")},
        {"config": CONFIG.replace("<KeyPointLabels ", '<KeyPointLabels model_score_threshold="0.5" ')},
        {"context": CLICK},
        {"endpoint": "http://here/other"},
        {"request_format": "instances"},
        {"response_format": "boxes"},
        {"response_mapping": "predictions"},
        {"classes": ("cat",)},
        {"parameters": '{"top": 1}'},
        {"model_version": "7"},
        {"threshold": 0.5},
        {"label_map": ("cat=Cat",)},
        {"uncertainty": "entropy"},
        {"extra_params": {"threshold": 0.5}},
        {"extra_params": {"tag": "mask"}},
        {"extra_params": {"parameters": {"top": 1}}},
    ],
    ids=str,
)
def test_whatever_changes_a_prediction_is_in_the_name(plan: MakePlan, other: dict[str, Any]) -> None:
    assert name(plan(), PICTURE) != name(plan(**other), PICTURE)


@pytest.mark.parametrize(
    "other",
    [
        Input(b"pictures", "image/png"),
        Input(b"picture", "image/jpeg"),
        Input(text="picture"),
        Input(uri="picture"),
        Input(text="\ud800"),
        Input(uri="\ud800"),
    ],
    ids=repr,
)
def test_whatever_is_sent_is_in_the_name(plan: MakePlan, other: Input) -> None:
    assert name(plan(), PICTURE) != name(plan(), other)


def test_what_was_drawn_is_the_prompt(plan: MakePlan) -> None:
    (prompted,) = plan(context=CLICK).prompt
    assert prompted.label == "cat"
    assert plan(context={"result": 7}).prompt == ()


def test_only_an_endpoint_that_serves_the_store_is_asked_for_a_version(plan: MakePlan) -> None:
    assert (plan().serves, plan().target.version) == ("alone", None)
    brought = plan(deployer="command:./deploy.sh")
    assert (brought.serves, brought.target.version) == ("deployed", None)
    choices = (
        '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="cat"/></Choices></View>'
    )
    target = plan(endpoint="http://here:9091", config=choices).target
    assert (target.project, target.version) == (ProjectKey("localhost-8080", 7), "v1")
    assert plan(endpoint="http://here:9091", config=choices, deployer="command:./deploy.sh").serves == "deployed"
    with pytest.raises(LabelConfigError):
        plan(endpoint="http://here:9091")


def test_impossible_extra_params_are_named_as_such(plan: MakePlan) -> None:
    for wrong in ({"threshold": 7}, {"request": "smoke signals"}, {"response": "tea leaves"}, {"mapping": "a["}):
        with pytest.raises(OptionsError, match="extra_params"):
            plan(extra_params=wrong)
