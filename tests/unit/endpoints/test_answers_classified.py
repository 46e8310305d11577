"""Classifications: lists of probabilities, Hugging Face labels, Vertex AutoML."""

from collections.abc import Mapping

import pytest

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.failures import WrongAnswer
from labelloop.types import Answer, Findings, Input, Number, Output, Region, Text
from support.answered import answered, reason, regions

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


def test_the_number_of_a_class_may_be_written_as_text() -> None:
    body = {"classes": ["1", "0"], "scores": [0.75, 0.25]}
    assert answered(body, classes=("cat", "dog")) == [single({"dog": 0.75, "cat": 0.25})]
    assert answered(body, classes=("1", "0")) == [single({"1": 0.75, "0": 0.25})]
    assert answered(body) == [single({"1": 0.75, "0": 0.25})]
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


# Records, by the usual names


RECORDS: list[object] = [
    {"predictions": [{"class": "cat", "class_id": 0, "confidence": 0.75}, {"class": "dog", "confidence": 0.25}]},
    {"predictions": [{"probability": 0.75, "tagId": "a", "tagName": "cat"}, {"probability": 0.25, "tagName": "dog"}]},
    [{"Class_Name": "cat", "PROB": "0.75"}, {"class-name": "dog", "prob": " 2.5e-1 "}],
    {"results": [[{"name": "cat", "class": 1, "conf": 0.75, "bbox": None}, {"name": "dog", "class": 0, "conf": 0.25}]]},
    {
        "predictions": [{"class": "cat", "confidence": 0.75}, {"class": "dog", "confidence": 0.25}],
        "top": "cat",
        "confidence": 0.75,
        "image": {"width": 4, "height": 2},
    },
    {"statusCode": 200, "body": '[{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]'},
    {"predictions": ['[{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]']},
    '{"cat": 0.75, "dog": 0.25}',
]


@pytest.mark.parametrize("body", RECORDS)
def test_classes_and_scores_by_the_usual_names(body: object) -> None:
    assert answered(body) == [single({"cat": 0.75, "dog": 0.25})]


def test_records_of_several_inputs() -> None:
    body = [{"predictions": [{"tagName": name, "probability": 1}]} for name in ("cat", "dog")]
    assert answered(body, *TWO) == [single({"cat": 1.0}), single({"dog": 1.0})]
    assert answered({"responses": [{"labelAnnotations": entry["predictions"]} for entry in body]}, *TWO) == [
        single({"cat": 1.0}),
        single({"dog": 1.0}),
    ]


@pytest.mark.parametrize(
    "body",
    [
        [{"label": "cat", "score": 0.9, "x": 20, "y": 10}],
        [{"class": "cat", "confidence": 0.9, "top": 20, "left": 10}],
        [{"label": "cat", "score": 0.9, "start": 0, "end": 3}],
        {"name": "resnet", "version": 3},
    ],
)
def test_what_has_a_place_or_no_score_is_no_classification(body: object) -> None:
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered(body)


def test_a_wrapper_within_a_list_says_its_version() -> None:
    body = [{"predictions": [{"label": "cat", "score": 1}], "model_version": "v7"}]
    assert answered(body) == [single({"cat": 1.0}, "v7")]
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered(body * 2, *TWO)


@pytest.mark.parametrize(
    "body", [{"result": "success", "animal": "cat"}, {"response": "ok", "took": 3}, {"body": "none", "statusCode": 204}]
)
def test_a_word_beside_other_fields_is_no_answer(body: dict[str, object]) -> None:
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered(body)
    name, word = next(iter(body.items()))
    assert regions({name: word}) == [Region("", Text(str(word)))]


# Parallel lists


def test_lists_of_scores_and_classes() -> None:
    verbose = {"probabilities": [0.25, 0.75], "labels": ["dog", "cat"], "predicted_label": "cat"}
    expected = single({"dog": 0.25, "cat": 0.75})
    for body in (
        verbose,
        [verbose],
        {"predictions": [verbose]},
        {"probabilities": [["0.25", "0.75"]], "labels": [["dog", "cat"]], "predicted_label": ["cat"]},
        {"scores": [0.25, 0.75], "class_names": ["dog", "cat"], "classes": [0, 1], "predicted_class": 1},
    ):
        assert answered(body) == [expected]
        assert answered(body, response="columns") == [expected]
    assert answered([verbose, verbose], *TWO) == [expected, expected]


def test_lists_of_scores_alone_are_those_of_the_classes() -> None:
    assert answered({"probabilities": [0.125, 0.25, 0.625]}, classes=ABC) == [CAT]
    assert answered({"score": [0.125, 0.25, 0.625], "predicted_label": 2}, classes=ABC) == [CAT]
    assert "set the 3 classes" in reason({"probabilities": [0.125, 0.25, 0.625]})
    assert answered({"label": "cat", "probs": [0.125, 0.25, 0.625]}) == [multiple({"cat": 0.625})]


def test_a_best_class_that_is_not_the_best_is_refused() -> None:
    said = "it names the class 'dog', and by its scores 'cat' is the best"
    assert said in reason({"probabilities": [0.25, 0.75], "labels": ["dog", "cat"], "predicted_label": "dog"})
    assert said in reason({"label": "dog", "probabilities": {"dog": 0.25, "cat": 0.75}})
    assert "names the class 'ant'" in reason({"score": [0.125, 0.25, 0.625], "predicted_label": 0}, classes=ABC)
    assert "names class 7" in reason({"scores": [0.25, 0.75], "labels": ["dog", "cat"], "predicted_class": 7})


@pytest.mark.parametrize(
    "body",
    [
        {"labels": [], "scores": []},
        {"predictions": [{"displayNames": [], "confidences": [], "ids": []}]},
        {"CustomLabels": []},
        [],
    ],
)
def test_no_class_above_the_endpoints_threshold_is_nothing(body: object) -> None:
    assert answered(body) == [Findings((), "v1")]


# A class that comes twice, as ImageNet's cranes do


def test_a_name_that_two_classes_share_gets_the_scores_of_both() -> None:
    birds = ("heron", "crane", "egret", "crane")
    cranes = single({"heron": 0.125, "crane": 0.75, "egret": 0.125})
    assert answered([0.125, 0.25, 0.125, 0.5], classes=birds) == [cranes]
    assert answered({"probabilities": [0.125, 0.25, 0.125, 0.5], "labels": birds}) == [cranes]


def test_of_scores_that_stand_for_themselves_the_larger_counts() -> None:
    independent = multiple({"heron": 0.5, "crane": 0.75})
    assert answered([0.5, 0.25, 0.75], classes=("heron", "crane", "crane")) == [independent]


def test_a_name_that_comes_twice_among_a_few_is_named() -> None:
    assert "a class comes twice: 'cat'" in reason([{"label": "cat", "score": 0.5}, {"label": "cat", "score": 0.25}])


# A map from class to score


@pytest.mark.parametrize("response", ["auto", "scores"])
def test_a_map_from_class_to_score(response: str) -> None:
    expected = single({"dog": 0.75, "cat": 0.25})
    for body in (
        {"dog": 0.75, "cat": 0.25},
        {"predictions": [{"dog": 0.75, "cat": 0.25}]},
        {"predictions": {"dog": {"confidence": 0.75, "class_id": 0}, "cat": {"confidence": 0.25, "class_id": 1}}},
        {"predicted_class": "dog", "confidence": 0.75, "probabilities": {"dog": 0.75, "cat": 0.25}},
        [{"animal": "dog", "dog_proba": 0.75, "cat_proba": "0.25"}],
        {"animal": {"0": "dog"}, "dog_proba": {"0": 0.75}, "cat_proba": {"0": 0.25}},
    ):
        assert answered(body, response=response) == [expected]
    assert answered([{"dog": 0.75, "cat": 0.25}] * 2, *TWO, response=response) == [expected] * 2
    assert answered({"dog": 0.75, "cat": 0.125}) == [multiple({"dog": 0.75, "cat": 0.125})]


@pytest.mark.parametrize(
    "body",
    [
        {"x": 0.25, "y": 0.75},
        {"latency_ms": 0.25, "cat": 0.75},
        {"threshold": 0.5, "cat": 0.5},
        {"cat": 3.5, "dog": 1},
        {"cat": 1.0},
        {"cat": True, "dog": False},
    ],
)
def test_other_maps_of_numbers_are_not_guessed_at(body: object) -> None:
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered(body)


def test_the_keys_of_a_map_are_the_classes_where_they_are_known() -> None:
    assert answered({"x": 0.25, "y": 0.75}, classes=("x", "y")) == [single({"x": 0.25, "y": 0.75})]
    assert answered({"2": 0.75, "0": 0.25}, classes=ABC) == [single({"cat": 0.75, "ant": 0.25})]
    assert answered({"2": 0.75, "0": 0.25}, classes=("0", "2")) == [single({"2": 0.75, "0": 0.25})]
    assert "set the names, counted from 0" in reason({"2": 0.75, "0": 0.25})
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered({"owl": 0.75, "ant": 0.25}, classes=ABC)


# Two classes


def test_the_score_of_the_second_of_two_classes() -> None:
    no, yes = single({"no": 0.75, "yes": 0.25}), single({"no": 0.25, "yes": 0.75})
    both = ("no", "yes")
    assert answered({"predictions": [{"score": 0.25, "predicted_label": 0}]}, classes=both) == [no]
    assert answered({"predictions": [{"score": 0.75, "predicted_label": 1}]}, classes=both) == [yes]
    for body in (0.75, [0.75], {"score": 0.75}, {"predictions": [0.75]}):
        assert answered(body, classes=both, response="binary") == [yes]
    assert "classes lists 0: set both, the negative one first" in reason({"score": 0.25, "predicted_label": 0})
    assert "'yes' is the best" in reason({"score": 0.75, "predicted_label": 0}, classes=both)


# In percent


def test_rekognition_is_in_percent_where_that_is_certain() -> None:
    assert answered({"Labels": [{"Name": "Cat", "Confidence": 75.0}, {"Name": "Pet", "Confidence": 25}]}) == [
        multiple({"Cat": 0.75, "Pet": 0.25})
    ]
    faint = {"Name": "Cat", "Confidence": 0.5}
    assert answered({"Labels": [faint | {"Parents": []}]}) == [multiple({"Cat": 0.005})]
    assert answered({"CustomLabels": [faint]}) == [multiple({"Cat": 0.005})]
    assert "in percent cannot be told" in reason({"Labels": [faint]})
    assert "'Confidence' has no score between 0 and 1" in reason([{"Name": "Cat", "Confidence": 98.1}])


# A label alone


@pytest.mark.parametrize(
    ("body", "score"),
    [
        ("cat", None),
        (["cat"], None),
        ({"predictions": ["cat"]}, None),
        ({"label": "cat"}, None),
        ({"predicted_class": "cat", "took": 3}, None),
        ({"prediction": "cat"}, None),
        ({"prediction": "cat", "confidence": 0.75}, 0.75),
        ({"prediction": "cat", "confidence": 75}, None),
    ],
)
def test_a_label_alone_is_a_word(body: object, score: float | None) -> None:
    assert answered(body) == [Findings((Region("", Text("cat"), score),), "v1")]


def test_the_number_of_a_class_has_its_name() -> None:
    for body in ({"predictions": [{"predicted_label": 2.0}]}, {"predictions": [2]}, 2, {"class": 2}):
        assert answered(body, classes=ABC) == [Findings((Region("cat", Number(2.0)),), "v1")]
        assert answered(body) == [Findings((Region("", Number(2.0)),), "v1")]
    for other in (2.5, 3, -1, {"value": 2}, {"score": 1.0}):
        (answer,) = answered(other, classes=ABC)
        assert isinstance(answer, Findings)
        assert answer.regions[0].label == ""


# text/csv


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"0.25,0.75\n", single({"dog": 0.25, "cat": 0.75})),
        (b"[0.25, 0.75]", single({"dog": 0.25, "cat": 0.75})),
        (b"animal,cat_proba,dog_proba\r\ncat,0.75,0.25\r\n", single({"cat": 0.75, "dog": 0.25})),
        (b"cat", Findings((Region("", Text("cat")),), "v1")),
    ],
)
def test_text_csv(body: bytes, expected: Answer) -> None:
    asked = Asked((Input(text="a text"),), "v1", ("dog", "cat"), media_type="text/csv; charset=utf-8")
    assert read_answer(body, asked) == [expected]


def test_text_csv_of_several_inputs() -> None:
    asked = Asked(TWO, "v1", ("dog", "cat"), media_type="text/csv")
    both = [single({"dog": 0.25, "cat": 0.75}), single({"dog": 1.0, "cat": 0.0})]
    assert read_answer(b"0.25,0.75\n1,0\n", asked) == both
    assert read_answer(b"[0.25, 0.75],[1.0, 0.0]", asked) == both
    assert read_answer(b"cat\ndog\n", asked) == [Findings((Region("", Text(word)),), "v1") for word in ("cat", "dog")]


# JSON inside a text


def test_json_inside_a_text_counts_only_where_it_makes_sense() -> None:
    assert regions({"predictions": ['{"a": 1}']}) == [Region("", Text('{"a": 1}'))]
    assert regions({"predictions": ["[inaudible]"]}) == [Region("", Text("[inaudible]"))]
    assert regions('{"cat": 0.75, "dog": 0.25}', response="text") == [Region("", Text('{"cat": 0.75, "dog": 0.25}'))]


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


# Numbers that may mean something else


@pytest.mark.parametrize(
    "body",
    [
        {"probabilities": [0.9, 0.1], "predictions": [1, 0]},
        {"probabilities": [0.2, 0.1, 0.7], "predicted_labels": [0, 0, 1]},
        {"scores": [0.2, 0.1, 0.7], "labels": [0, 0, 1]},
    ],
)
def test_numbers_that_may_say_which_classes_were_chosen_name_none(body: object) -> None:
    assert "cannot be told" in reason(body, classes=("a", "b", "c"))


def test_numbers_of_the_best_classes_name_them() -> None:
    body = {"scores": [0.75, 0.125], "labels": [2, 0]}
    assert answered(body, classes=("a", "b", "c")) == [multiple({"c": 0.75, "a": 0.125})]


@pytest.mark.parametrize("beside", ["entropy", "uncertainty", "status", "code", "mean_iou", "f1_score"])
def test_what_measures_a_model_is_no_class(beside: str) -> None:
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered({"cat": 0.1, "dog": 0.3, beside: 0.9})
    known = {"cat": 0.25, beside: 0.75}
    assert answered(known, classes=tuple(known)) == [single(known)]


def test_a_row_of_six_probabilities_is_no_box() -> None:
    shares = [0.0625, 0.0625, 0.125, 0.125, 0.125, 0.5]
    assert answered({"prediction": [shares]}, classes=tuple("abcdef")) == [
        single(dict(zip("abcdef", shares, strict=True)))
    ]


def test_a_confidence_that_no_float_holds_fails_alone() -> None:
    assert "not a finite number" in reason({"Labels": [{"Name": "Cat", "Confidence": 10**400, "Instances": []}]})
