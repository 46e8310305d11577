"""Answers of the Open Inference Protocol are read as what their tensors hold."""

from typing import Any

import pytest

from labelloop.endpoints.failures import WrongAnswer
from labelloop.types import Failure, Findings, Input, Output, Text
from support.answered import PICTURE, answered, reason

TWO = (PICTURE, PICTURE)


def tensor(name: str, datatype: str, shape: list[int], *data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": list(data)}


def infer(*outputs: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": "cats", "model_version": "3", "outputs": list(outputs)}


@pytest.mark.parametrize("data", [[0.75, 0.25, 0.1, 0.9], [[0.75, 0.25], [0.1, 0.9]]])
def test_scores_are_of_the_models_classes(data: list[Any]) -> None:
    cat, dog = answered(infer(tensor("p", "FP32", [2, 2], *data)), *TWO, classes=("cat", "dog"))
    assert cat == Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "cats/3")
    assert dog == Output("dog", 0.9, {"cat": 0.1, "dog": 0.9}, "cats/3")


@pytest.mark.parametrize("shape", [[1, 2], [2]])
def test_one_input_may_have_no_dimension_of_its_own(shape: list[int]) -> None:
    (answer,) = answered(infer(tensor("p", "FP32", shape, 0.75, 0.25)), PICTURE, classes=("cat", "dog"))
    assert answer == Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "cats/3")


def test_scores_without_classes_say_what_to_set() -> None:
    assert "list of 2 numbers: set the 2 classes" in reason(infer(tensor("p", "FP32", [1, 2], 0.75, 0.25)), PICTURE)


def test_the_classification_extension_names_classes() -> None:
    output = tensor("p", "BYTES", [2, 2], "0.750000:2:cat", "0.250000:0:dog:big", "0.9:0:dog", "0.1:2:cat")
    cat, dog = answered(infer(output), *TWO)
    assert cat == Output("cat", 0.75, {"cat": 0.75, "dog:big": 0.25}, "cats/3")
    assert dog == Output("dog", 0.9, {"dog": 0.9, "cat": 0.1}, "cats/3")


def test_the_classification_extension_numbers_classes_without_names() -> None:
    output = tensor("p", "BYTES", [1, 2], "0.750000:1", "0.250000:0")
    (answer,) = answered(infer(output), PICTURE, classes=("dog", "cat"))
    assert answer == Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "cats/3")
    assert "class 1 by its number: set the names" in reason(infer(output), PICTURE)


def test_logits_are_refused() -> None:
    output = tensor("p", "BYTES", [1, 2], "7.500000:1:cat", "-2.000000:0:dog")
    assert "no score between 0 and 1" in reason(infer(output), PICTURE)


@pytest.mark.parametrize(("shape", "words"), [([1], "a cat"), ([1, 1], "a cat"), ([1], "0:30"), ([1], "10:2:30")])
def test_a_text_is_a_text(shape: list[int], words: str) -> None:
    (answer,) = answered(infer(tensor("out", "BYTES", shape, words)), PICTURE, response="text")
    assert isinstance(answer, Findings)
    assert [region.shape for region in answer.regions] == [Text(words)]


def test_several_tensors_are_an_object_by_their_names() -> None:
    boxes = tensor("boxes", "FP32", [1, 1, 4], 20, 10, 120, 60)
    named = [tensor("labels", "BYTES", [1, 1], "cat"), tensor("scores", "FP32", [1, 1], 0.75)]
    (answer,) = answered(infer(boxes, *named), PICTURE)
    assert isinstance(answer, Findings)
    assert [(region.label, region.score) for region in answer.regions] == [("cat", 0.75)]
    empty = [tensor("boxes", "FP32", [1, 0, 4]), tensor("labels", "BYTES", [1, 0]), tensor("scores", "FP32", [1, 0])]
    (nothing,) = answered(infer(*empty), PICTURE)
    assert isinstance(nothing, Findings)
    assert (nothing.regions, nothing.model_version) == ((), "cats/3")


def test_tensors_of_unknown_names_are_shown_as_they_came() -> None:
    with pytest.raises(
        WrongAnswer, match=r"keys model_name: text, .*outputs: a list of 2 objects with keys name: text"
    ):
        answered(infer(tensor("a", "INT64", [1, 1], 7), tensor("b", "INT64", [1, 1], 7)), PICTURE)


def test_a_wrong_value_fails_for_its_input_alone() -> None:
    wrong, right = answered(infer(tensor("p", "FP32", [2, 2], 0.5, None, 0.25, 0.75)), *TWO, classes=("cat", "dog"))
    assert isinstance(wrong, Failure)
    assert isinstance(right, Output)


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        (tensor("p", "FP32", [2, 2], 0.5, 0.5, 1.0), "tensor 'p' has 3 values, and the shape 2x2"),
        (tensor("p", "FP32", [3, 2], *[0.5] * 6), "2 inputs sent, 3 predictions came back"),
        (tensor("p", "FP32", [], 0.5), "2 inputs sent, 1 prediction came back"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(output: dict[str, Any], wrong: str) -> None:
    with pytest.raises(WrongAnswer, match=wrong):
        answered(infer(output), *TWO, classes=("cat", "dog"))


def test_a_mapping_sees_the_tensors_as_they_came() -> None:
    body = infer(tensor("p", "FP32", [1, 2], 0.75, 0.25))
    (answer,) = answered(body, PICTURE, mapping="outputs[0].data", classes=("cat", "dog"))
    assert not isinstance(answer, Failure)
    assert answer.model_version == "v1"


def test_outputs_that_are_no_tensors_are_a_wrapper_as_ever() -> None:
    (answer,) = answered({"outputs": [[0.75, 0.25]]}, Input(text="x"), classes=("cat", "dog"))
    assert isinstance(answer, Output)


def test_a_tensor_of_nothing_takes_no_memory_whatever_its_shape_says() -> None:
    (answer,) = answered(infer(tensor("p", "FP32", [10**12, 0])), PICTURE)
    assert isinstance(answer, Findings)
    assert answer.regions == ()
