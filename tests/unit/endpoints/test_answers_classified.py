"""Classifications: lists of probabilities, Hugging Face labels, Vertex AutoML."""

from collections.abc import Mapping

import pytest

from labelloop.types import Findings, Input, Number, Output, Region
from support.answered import answered, reason

ABC = ("ant", "bee", "cat")
TWO = (Input(text="one"), Input(text="two"))
SENTIMENT = [{"label": "POSITIVE", "score": 0.75}, {"label": "NEGATIVE", "score": 0.25}]


def single(scores: Mapping[str, float], version: str = "v1") -> Output:
    label = max(scores, key=scores.__getitem__)
    return Output(label, scores[label], scores, version, "single")


def multiple(scores: Mapping[str, float]) -> Output:
    label = max(scores, key=scores.__getitem__)
    return Output(label, scores[label], scores, "v1", "multiple")


POSITIVE = single({"POSITIVE": 0.75, "NEGATIVE": 0.25})
CAT = single({"ant": 0.125, "bee": 0.25, "cat": 0.625})


# A list of probabilities


@pytest.mark.parametrize(
    "body",
    [
        [0.125, 0.25, 0.625],
        [[0.125, 0.25, 0.625]],
        {"predictions": [[0.125, 0.25, 0.625]]},
        {"outputs": [[0.125, 0.25, 0.625]]},
        {"predictions": {"outputs": {"output": [[0.125, 0.25, 0.625]]}}},
    ],
)
@pytest.mark.parametrize("response", ["auto", "probabilities"])
def test_probabilities_get_the_names_of_the_classes(body: object, response: str) -> None:
    assert answered(body, classes=ABC, response=response) == [CAT]


def test_each_input_has_its_own_probabilities() -> None:
    body = {"predictions": [[0.125, 0.25, 0.625], [1, 0, 0]]}
    assert answered(body, *TWO, classes=ABC) == [CAT, single({"ant": 1.0, "bee": 0.0, "cat": 0.0})]


def test_probabilities_that_are_rounded_are_brought_back() -> None:
    assert answered([1.0000001192092896, -1e-7, 0], classes=ABC) == [single({"ant": 1.0, "bee": 0.0, "cat": 0.0})]


def test_probabilities_that_do_not_sum_to_one_stand_for_themselves() -> None:
    assert answered([0.75, 0.75, 0], classes=ABC) == [multiple({"ant": 0.75, "bee": 0.75, "cat": 0.0})]


def test_without_classes_it_says_how_to_give_them() -> None:
    said = reason([0.125, 0.25, 0.625])
    assert "a list of 3 numbers" in said
    assert "set the 3 classes that they are for, in the model's order, with LABELLOOP_CLASSES" in said


def test_classes_must_be_as_many_as_the_numbers() -> None:
    assert "a list of 2 numbers, and classes lists 3" in reason([0.5, 0.5], classes=ABC)


def test_logits_are_not_guessed_at() -> None:
    assert "probabilities, not logits" in reason([-2.5, 7.25, 0.5], classes=ABC)


# Hugging Face classification


@pytest.mark.parametrize("body", [SENTIMENT, [SENTIMENT], {"predictions": [SENTIMENT]}])
@pytest.mark.parametrize("response", ["auto", "labels"])
def test_labels_and_scores(body: object, response: str) -> None:
    assert answered(body, response=response) == [POSITIVE]


def test_several_inputs_have_a_list_each_or_their_best_label() -> None:
    assert answered([SENTIMENT, SENTIMENT], *TWO) == [POSITIVE, POSITIVE]
    assert answered(SENTIMENT, *TWO) == [multiple({"POSITIVE": 0.75}), multiple({"NEGATIVE": 0.25})]


def test_the_first_few_of_many_classes_are_left_as_they_are() -> None:
    body = [{"label": "tabby", "score": 0.5}, {"label": "tiger", "score": 0.25}]
    assert answered(body) == [multiple({"tabby": 0.5, "tiger": 0.25})]
    assert answered(body[0]) == [multiple({"tabby": 0.5})]


def test_default_names_of_hugging_face_are_indices_of_the_classes() -> None:
    body = [{"label": "LABEL_2", "score": 0.625}, {"label": "LABEL_1", "score": 0.25}, {"label": 0, "score": 0.125}]
    assert answered(body, classes=ABC) == [CAT]
    assert answered([{"label": "LABEL_2", "score": 1}]) == [single({"LABEL_2": 1.0})]
    assert "names class 7, counted from 0; classes lists only 3" in reason({"label": 7, "score": 1}, classes=ABC)
    assert "set the names, counted from 0, with LABELLOOP_CLASSES" in reason({"label": 7, "score": 1})


WRONG: list[tuple[object, str]] = [
    ([{"label": "cat", "score": 1.5}], "no score between 0 and 1"),
    ([{"label": "cat", "score": True}], "no score between 0 and 1"),
    ([{"label": "cat", "score": None}], "no score between 0 and 1"),
    ([{"label": "cat", "score": 0.5}, {"label": "cat", "score": 0.5}], "a class comes twice"),
    ([{"label": "", "score": 0.5}], "a label is missing"),
    ([{"label": None, "score": 0.5}], "a label is missing"),
    ([{"label": "\ud800", "score": 0.5}], "not valid Unicode"),
]


@pytest.mark.parametrize(("body", "said"), WRONG)
def test_a_label_that_is_wrong_is_a_failure(body: object, said: str) -> None:
    assert said in reason(body)


# Vertex AutoML


def test_automl_classification_names_its_version() -> None:
    body = {
        "predictions": [
            {"ids": ["1", "2"], "displayNames": ["daisy", "rose"], "confidences": [0.75, 0.25]},
            {"ids": [], "displayNames": [], "confidences": []},
        ],
        "deployedModelId": "4242",
        "model": "projects/1/locations/us-central1/models/9",
    }
    first, second = answered(body, *TWO)
    assert first == single({"daisy": 0.75, "rose": 0.25})
    assert second == Findings((), "v1")


# One number


@pytest.mark.parametrize(
    "body", [3.5, [3.5], {"value": 3.5}, {"predictions": [{"score": 3.5}]}, {"predictions": [3.5]}]
)
@pytest.mark.parametrize("response", ["auto", "numbers"])
def test_a_number(body: object, response: str) -> None:
    assert answered(body, response=response) == [Findings((Region("", Number(3.5)),), "v1")]


def test_as_many_numbers_as_inputs_are_one_each() -> None:
    assert answered([0.25, 4], *TWO, classes=("a", "b")) == [
        Findings((Region("", Number(value)),), "v1") for value in (0.25, 4.0)
    ]
