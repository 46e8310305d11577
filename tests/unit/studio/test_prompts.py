"""What annotators draw with smart tools, as Label Studio's editor sends it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labelloop.studio.interface import prompts_of
from labelloop.studio.label_config import parse_label_config
from labelloop.types import Box, Point, Prompted

CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="mask" toName="image"><Label value="cat"/></BrushLabels>'
    '<KeyPointLabels name="point" toName="image" smart="true"><Label value="cat"/></KeyPointLabels></View>'
)


def drawn(type: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    dimensions = {"original_width": 800, "original_height": 600, "image_rotation": 0}
    return {"id": "x", "from_name": "point", "to_name": "image", "type": type, "value": value, **dimensions, **more}


def test_a_point_and_a_negative_point() -> None:
    value = {"x": 50, "y": 25.0, "width": 0.3, "keypointlabels": ["cat"], "labels": ["cat"]}
    context = {
        "result": [drawn("keypointlabels", value, is_positive=True), drawn("keypointlabels", value, is_positive=False)]
    }

    assert prompts_of(CONFIG, context) == (
        Prompted(Point(0.5, 0.25), "cat"),
        Prompted(Point(0.5, 0.25), "cat", positive=False),
    )


def test_a_rectangle_has_no_sign_and_is_positive() -> None:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 90, "rectanglelabels": ["cat"]}

    assert prompts_of(CONFIG, {"result": [drawn("rectanglelabels", value)]}) == (
        Prompted(Box(0.1, 0.2, 0.3, 0.4, 90.0), "cat"),
    )


def test_tools_without_labels() -> None:
    context = {
        "result": [drawn("keypoint", {"x": 1, "y": 2}), drawn("rectangle", {"x": 1, "y": 2, "width": 3, "height": 4})]
    }

    assert prompts_of(CONFIG, context) == (
        Prompted(Point(0.01, 0.02)),
        Prompted(Box(0.01, 0.02, 0.03, 0.04)),
    )


def test_a_label_may_stand_in_a_result_of_its_own() -> None:
    value = {"x": 10, "y": 20, "width": 30, "height": 40}
    context = {"result": [drawn("rectangle", value), drawn("labels", value | {"labels": ["cat"]}), drawn("labels", {})]}

    assert prompts_of(CONFIG, context) == (Prompted(Box(0.1, 0.2, 0.3, 0.4), "cat"),)


def test_what_is_no_prompt_is_left_out() -> None:
    good = {"x": 1, "y": 2, "keypointlabels": ["cat"]}
    wrong = [
        drawn("keypointlabels", good, to_name="another picture"),
        drawn("brushlabels", {"format": "rle", "rle": [1]}),
        drawn("keypointlabels", {"x": True, "y": 2}),
        drawn("keypointlabels", {"x": 10**400, "y": 2}),
        drawn("rectanglelabels", {"x": 1, "y": 2, "width": 0, "height": 4}),
        drawn("rectanglelabels", {"x": 1, "y": 2}),
    ]

    assert prompts_of(CONFIG, {"result": wrong}) == ()


WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "labels"]), inner),
    max_leaves=5,
)
REGIONS = st.fixed_dictionaries(
    {"type": st.sampled_from(["keypointlabels", "rectanglelabels"]) | WILD, "value": WILD},
    optional={"is_positive": WILD, "to_name": st.just("image") | WILD},
)


@given(WILD | st.fixed_dictionaries({"result": WILD | st.lists(REGIONS | WILD)}))
def test_nothing_wild_raises(context: object) -> None:
    assert isinstance(prompts_of(CONFIG, context), tuple)
