"""Our own containers' answers, read strictly; and which version an answer is of."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.labelloop import read_item, write_item
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.failures import WrongAnswer
from labelloop.errors import EndpointError
from labelloop.types import (
    Answer,
    Box,
    Failure,
    Findings,
    Input,
    Mask,
    Number,
    Output,
    Point,
    Polygon,
    Region,
    Span,
    Text,
    Whole,
)

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1")
PICTURE = Input(b"a picture", "image/png")


def cat(**changes: object) -> dict[str, object]:
    return {
        "label": "cat",
        "score": 0.75,
        "scores": {"cat": 0.75, "dog": 0.25},
        "model_version": "v1",
        "kind": "single",
    } | changes


def strictly(content: object, count: int = 1) -> list[Answer | Failure]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_answer(body, Asked([PICTURE] * count), response="labelloop")


def version_of(body: object, asked: Asked) -> str:
    (answer,) = read_answer(json.dumps(body).encode(), asked)
    return "" if isinstance(answer, Failure) else answer.model_version


WRONG_ITEMS: list[object] = [
    "cat",
    None,
    [],
    {},
    cat(label=""),
    cat(label=None),
    cat(label=7),
    cat(label="owl"),
    cat(label="dog", score=0.25),
    cat(label="\ud800", scores={"\ud800": 1.0}, score=1.0),
    cat(score=None),
    cat(score="0.75"),
    cat(score=True),
    cat(score=0.5),
    cat(score=True, scores={"cat": True, "dog": False}),
    cat(score=-1),
    cat(score=10**400),
    cat(scores=None),
    cat(scores={}),
    cat(scores=[0.75, 0.25]),
    cat(scores={"cat": 0.75, "dog": "much"}),
    cat(scores={"cat": 0.75, "dog": 0.75}),
    cat(scores={"cat": 0.75}),
    cat(scores={"cat": 0.75, "": 0.25}),
    cat(model_version=None),
    cat(model_version=""),
    cat(model_version=3),
    cat(kind="both"),
    cat(kind=[]),
    {"regions": None, "model_version": "v1"},
    {"regions": []},
    {"regions": [{"label": "cat", "whole": "cat"}], "model_version": "v1"},
    {"regions": [{"whole": True}], "model_version": "v1"},
    {"regions": [{"label": "cat", "whole": True, "tag": 7}], "model_version": "v1"},
    {"regions": [], "tags": "animal", "model_version": "v1"},
    {"regions": [], "score": 1.5, "model_version": "v1"},
]


@pytest.mark.parametrize("item", WRONG_ITEMS, ids=repr)
def test_a_wrong_prediction_fails_alone(item: object) -> None:
    first, second = strictly({"predictions": [item, cat()]}, 2)
    assert isinstance(first, Failure)
    assert first.reason
    assert second == CAT


def test_an_error_in_place_of_a_prediction_is_its_reason() -> None:
    items = [{"error": "not a picture"}, {"error": None}, {"error": "two\nlines\x1b[31m"}]
    assert strictly({"predictions": items}, 3) == [
        Failure("not a picture"),
        Failure("the endpoint gave no reason"),
        Failure("two lines [31m"),
    ]


def test_the_kind_may_be_left_out() -> None:
    plain = cat()
    del plain["kind"]
    assert strictly({"predictions": [plain]}) == [CAT]


def test_multiple_scores_need_not_sum_to_one() -> None:
    scores = {"cat": 0.75, "dog": 0.7}
    item = cat(kind="multiple", scores=scores)
    assert strictly({"predictions": [item]}) == [Output("cat", 0.75, scores, "v1", "multiple")]


def test_thresholds_say_which_of_several_classes_are_given() -> None:
    scores, least = {"cat": 0.75, "dog": 0.3}, {"dog": 0.25}
    told = Output("cat", 0.75, scores, "v1", "multiple", least)
    assert strictly({"predictions": [write_item(told)]}) == [told]
    assert "thresholds" not in write_item(CAT)
    for wrong in ([0.5], {"bird": 0.5}, {"dog": 1.5}, {"dog": "low"}):
        (answer,) = strictly({"predictions": [cat(kind="multiple", scores=scores, thresholds=wrong)]})
        assert isinstance(answer, Failure)


def test_regions_go_strictly_too() -> None:
    item = {"regions": [{"label": "nose", "point": [0.5, 0.5]}], "model_version": "v2", "width": 40, "height": 30}
    assert strictly({"predictions": [item, cat()]}, 2) == [
        Findings((Region("nose", Point(0.5, 0.5)),), "v2", (40, 30)),
        CAT,
    ]


WRONG_ANSWERS: list[tuple[object, str]] = [
    (b"", "not valid JSON"),
    (b"<html>", "not valid JSON"),
    (b"\xff\xfe", "not valid JSON"),
    (b'{"predictions": [', "not valid JSON"),
    (b"[" * 100_000, "not valid JSON"),
    (json.dumps({"predictions": [cat(score=math.nan)]}).encode(), "not valid JSON"),
    (json.dumps({"predictions": [cat(score=-math.inf)]}).encode(), "not valid JSON"),
    (b'{"predictions": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ([cat()], "expected a JSON object"),
    ({"predictions": {"0": cat()}}, "expected a JSON object"),
    ({}, "expected a JSON object"),
    (None, "expected a JSON object"),
    ({"predictions": []}, "1 input sent, 0 predictions came back"),
    ({"predictions": [cat(), cat()]}, "1 input sent, 2 predictions came back"),
]


@pytest.mark.parametrize(("content", "reason"), WRONG_ANSWERS, ids=lambda value: str(value)[:40])
def test_an_answer_of_the_wrong_shape_is_an_error(content: object, reason: str) -> None:
    with pytest.raises(WrongAnswer, match=reason):
        strictly(content)


@pytest.mark.parametrize("body", [{"predictions": [cat()]}, [cat()], cat()])
def test_others_may_speak_our_language_less_strictly(body: object) -> None:
    assert read_answer(json.dumps(body).encode(), Asked([PICTURE])) == [CAT]


def test_the_version_is_what_the_answer_says_then_what_the_settings_say_then_the_cloud() -> None:
    labels = {"label": "cat", "score": 1}
    known = Asked([PICTURE], version="set", name="scenes")
    assert version_of([labels | {"model_version": "own"}], known) == "own"
    assert version_of({"predictions": [labels | {"model_version": "own"}], "model_version": "of all"}, known) == "own"
    assert version_of({"predictions": [labels], "model_version": "of all", "deployedModelId": "77"}, known) == "of all"
    assert version_of({"predictions": [labels], "deployedModelId": "77"}, known) == "set"
    unset = Asked([PICTURE], name="scenes")
    assert version_of({"predictions": [labels], "deployedModelId": "77"}, unset) == "77"
    assert version_of({"predictions": [labels]}, unset) == "scenes"
    assert version_of({"predictions": [labels]}, Asked([PICTURE])) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["cat", "v1", "single"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["predictions", "label", "score", "scores", "model_version", "kind", "error", "cat"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values, st.integers(0, 3))
def test_no_json_makes_a_prediction_that_is_not_sound(content: object, count: int) -> None:
    try:
        asked = Asked([Input(b"x")] * count, name="x")
        answers = read_answer(json.dumps(content).encode(), asked, response="labelloop")
    except EndpointError:
        return
    assert len(answers) == count
    for item in answers:
        assert isinstance(item, Failure) or (
            isinstance(item, Output) and item.model_version and 0 <= item.score <= 1 and item.label in item.scores
        )


@given(st.binary(max_size=60))
def test_no_bytes_break_the_decoder(content: bytes) -> None:
    with pytest.raises(EndpointError):
        read_answer(content, Asked([Input(b"x")], name="x"), response="labelloop")


MASK = Mask(3, 2, bytes((255, 255, 0, 0, 255, 0)))


@pytest.mark.parametrize(
    "answer",
    [
        CAT,
        Output("cat", 0.75, {"cat": 0.75, "dog": 0.75}, "v1", "multiple"),
        Failure("it is no picture"),
        Findings((), "v1"),
        Findings((), "v1", (640, 480)),
        Findings(
            (
                Region("cat", Box(0.25, 0.5, 0.5, 0.25), 0.5),
                Region("cat", Box(0.25, 0.5, 0.5, 0.25, 30.0)),
                Region("dog", Point(0.25, 0.5), 1.0),
                Region("dog", Polygon((Point(0.0, 0.0), Point(0.0, 1.0), Point(1.0, 1.0)))),
                Region("", MASK, 0.25),
                Region("", Mask(3, 2, bytes(6))),
                Region("", Mask(3, 2, b"\xff" * 6)),
                Region("dog", Span(3, 9)),
                Region("", Text("a cat"), 0.5),
                Region("", Number(4.5)),
            ),
            "v1",
        ),
        Findings((Region("cat", Whole(), 0.5, "animal"), Region("", Text("a cat"), tag="words")), "v1"),
        Findings((), "v1", tags=("animal", "words")),
        Findings((Region("cat", Span(0, 1), 0.9),), "v1", score=0.25),
    ],
)
def test_what_is_written_of_an_answer_is_read_back(answer: Answer | Failure) -> None:
    item = json.loads(json.dumps(write_item(answer)))
    assert read_item(item, PICTURE, "v1", ("cat", "dog")) == answer
    assert read_answer(json.dumps({"predictions": [item]}).encode(), Asked([PICTURE], "v1", ("cat", "dog"))) == [answer]


def test_an_answer_that_was_spoilt_since_is_a_failure() -> None:
    assert read_item({"label": "cat"}, PICTURE, "v1", ()) == Failure(
        'the answer is wrong: "scores" is not a map from class to score'
    )
