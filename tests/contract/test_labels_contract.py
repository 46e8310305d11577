"""What LabelLoop predicts is what Label Studio's own checker accepts, whatever model meets whatever label config."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.errors import LabelConfigError, LabelMappingError
from labelloop.kinds.majority import Truth, settle
from labelloop.studio.label_config import parse_trained
from labelloop.studio.rendering import render
from labelloop.studio.votes import vote_reader
from labelloop.types import Choice, Output, Rendering
from support.captured import captured
from support.label_configs import NAMES, label_configs

SCORES = st.floats() | st.floats(0, 1)


@pytest.fixture(scope="module")
def label_interface() -> Any:
    from label_studio_sdk.label_interface.interface import LabelInterface

    return LabelInterface


@given(
    text=label_configs(),
    scores=st.dictionaries(NAMES, SCORES, min_size=1, max_size=5),
    choice=st.sampled_from(["single", "multiple"]),
)
def test_every_prediction_is_valid_for_its_label_config(
    label_interface: Any, text: str, scores: dict[str, float], choice: Choice
) -> None:
    try:
        config = parse_trained(text)
        prediction = render(config, Output("?", 0.0, scores, "v1", choice), Rendering())
    except LabelMappingError:
        # Any model that knows one label must do.
        scores = {config.tags[0].labels[0].name: 0.5}
        prediction = render(config, Output("?", 0.0, scores, "v1", choice), Rendering())
    except LabelConfigError:
        return

    assert label_interface(text).validate_prediction(prediction, return_errors=True) == []
    assert 0.0 <= prediction["score"] <= 1.0


OLD = '<View><Image name="image" value="$image"/><Choices name="scene" toName="image">{}</Choices></View>'
REPLACED = (
    '<View><Image name="photo" value="$url"/><Choices name="kind" toName="photo" choice="multiple">'
    '<Choice value="sea"/></Choices></View>'
)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (OLD.format('<Choice value="sea"/><Choice value="sky"/>'), ["sea"]),
        (OLD.format('<Choice value="sky"/><Choice value="new"/>'), ["sky"]),
        (OLD.format('<Choice value="ocean" predicted_values="sea"/><Choice value="sky"/>'), ["ocean"]),
        (OLD.format('<Choice value="Sea" alias="s"/><Choice value="sky"/>'), ["s"]),
        (REPLACED, ["sea"]),
    ],
    ids=["as trained", "removed", "renamed", "aliased", "control tag replaced"],
)
def test_a_model_goes_on_under_a_changed_label_config(label_interface: Any, text: str, chosen: list[str]) -> None:
    config = parse_trained(text)
    output = Output("sea", 0.7, {"sea": 0.7, "sky": 0.3}, "v1")

    prediction = render(config, output, Rendering())

    assert prediction["result"][0]["value"]["choices"] == chosen
    assert label_interface(text).validate_prediction(prediction, return_errors=True) == []


def test_the_annotations_of_an_export_are_read() -> None:
    body = captured("webhooks/ml-backend.START_TRAINING.1.json")["body"]
    config = parse_trained(body["project"]["label_config"])

    found = {
        task["id"]: settle(vote_reader(config)(task["annotations"]), config.tags[0].choice)
        for task in captured("export/JSON.json")
    }

    assert found == {
        1: Truth(("buildings",)),
        2: Truth(("sea",)),
        6: Truth(("forest",)),
        7: Truth(("glacier",)),
        8: Truth(("glacier",)),
        9: Truth(reason="skipped by its annotators"),
        11: Truth(("mountain",)),
        12: Truth(("mountain",)),
        13: Truth(("sea",)),
        14: Truth(("sea",)),
    }
