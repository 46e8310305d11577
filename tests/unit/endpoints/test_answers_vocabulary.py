"""Which fields of an answer name a class and say how sure the model is, whatever they are called."""

from collections.abc import Mapping

import pytest

from labelloop.endpoints.answers.vocabulary import (
    CHOSEN,
    IDS,
    LABELS,
    PLACES,
    SCORES,
    folded,
    has_place,
    is_numeric,
    is_reserved,
    label_column,
    label_key,
    numeric,
    score_column,
    score_key,
)

RECORDS: list[tuple[Mapping[str, object], str | None, str | None]] = [
    ({"label": "cat", "score": 0.9}, "label", "score"),
    ({"class_id": 0, "class": "cat", "x": 0.5, "confidence": 0.9}, "class", "confidence"),
    ({"probability": 0.9, "tagId": "3f1a", "tagName": "cat"}, "tagName", "probability"),
    ({"name": "cat", "class": 15, "confidence": 0.9}, "name", "confidence"),
    ({"class": "15", "className": "cat", "prob": "0.9"}, "className", "prob"),
    ({"id": 7, "conf": 0.9}, "id", "conf"),
    ({"Name": "Cat", "Confidence": 98.1}, "Name", "Confidence"),
    ({"tagId": "3f1a", "score": None}, "tagId", None),
    ({"x": 0.5, "class_id": 1}, "class_id", None),
    ({"label": 1.5, "score": True}, None, None),
    ({"displayName": "", "score": "high"}, None, None),
    ({}, None, None),
]


@pytest.mark.parametrize(("record", "label", "score"), RECORDS)
def test_a_record_has_a_class_and_a_score(record: Mapping[str, object], label: str | None, score: str | None) -> None:
    assert (label_key(record), score_key(record)) == (label, score)


COLUMNS: list[tuple[Mapping[str, object], str | None, str | None]] = [
    ({"probabilities": [0.1, 0.9], "labels": ["cat", "dog"], "predicted_label": "dog"}, "labels", "probabilities"),
    ({"ids": ["1"], "displayNames": ["cat"], "confidences": [0.9]}, "displayNames", "confidences"),
    ({"label": ["__label__dog"], "prob": [0.9]}, "label", "prob"),
    ({"classes": [1, 2], "class_names": ["cat", "dog"], "scores": ["0.1", "0.9"]}, "class_names", "scores"),
    ({"detection_classes": [1.0], "detection_scores": [0.5]}, "detection_classes", "detection_scores"),
    ({"labels": [["cat"]], "scores": [[0.5]]}, None, None),
    ({"labels": "cat", "scores": 0.5}, None, None),
]


@pytest.mark.parametrize(("item", "labels", "scores"), COLUMNS)
def test_parallel_lists_hold_classes_and_scores(
    item: Mapping[str, object], labels: str | None, scores: str | None
) -> None:
    assert (label_column(item), score_column(item)) == (labels, scores)


def test_a_column_has_the_length_that_is_asked_for() -> None:
    item = {"labels": ["cat"], "names": ["cat", "dog"], "scores": [0.5]}
    assert label_column(item, 2) == "names"
    assert score_column(item, 2) is None


@pytest.mark.parametrize(
    ("name", "is_one_with"),
    [("Class_Names", "className"), ("probabilities", "probability"), ("boxes", "box"), ("class-indices", "classIndex")],
)
def test_names_are_the_same_however_they_are_spelled(name: str, is_one_with: str) -> None:
    assert folded(name) == folded(is_one_with)


@pytest.mark.parametrize("word", ["class", "classes", "address"])
def test_what_ends_in_two_s_is_no_plural(word: str) -> None:
    assert folded(word).endswith("ss")


@pytest.mark.parametrize("name", [*LABELS, *CHOSEN, *IDS, *SCORES, *sorted(PLACES)])
def test_the_vocabulary_is_spelled_as_it_is_compared(name: str) -> None:
    assert folded(name) == name


def test_what_is_measured_is_no_class() -> None:
    assert all(map(is_reserved, ("ms", "seconds", "inference_time", "took_ms", "total")))


@pytest.mark.parametrize(
    "place",
    [
        [20, 10, 120, 60],
        ["20", "10", "120", "60"],
        [70, 35, 100, 50, 0.3],
        [[20, 10, 120, 60]],
        [[20, 10], [120, 10], [120, 60]],
        [{"x": 20, "y": 10}, {"x": 120, "y": 60}],
        {"x": 20, "y": 10, "width": 100, "height": 50},
        {"originX": 20, "originY": 10},
    ],
)
def test_coordinates_are_a_place_whatever_they_are_called(place: object) -> None:
    assert has_place({"name": "cat", "confidence": 0.9, "anything": place})
    assert has_place({"class_name": ["cat"], "confidence": [0.9], "anything": [place]})


@pytest.mark.parametrize(
    "item",
    [
        {"labels": ["a", "b", "c", "d"], "scores": [0.1, 0.2, 0.3, 0.4], "counts": [4, 3, 2, 1]},
        {"label": ["a"], "probabilities": [[0.1, 0.2, 0.3, 0.4]], "raw": [[1, 2, 3, 4]]},
        {"label": "a", "probabilities": [0.1, 0.2, 0.3, 0.4], "logits": [1, 2, 3, 4]},
        {"label": "a", "score": 0.9, "shape": [100, 200], "timings": {"took": 1, "x": 2}},
        {"label": "a", "score": 0.9, "confidences": [{"label": "a", "confidence": 0.9}]},
    ],
)
def test_numbers_beside_a_classification_are_no_place(item: Mapping[str, object]) -> None:
    assert not has_place(item)


def test_what_says_where_it_is_is_no_classification() -> None:
    assert has_place({"label": "cat", "x": 0.5})
    assert has_place({"label": "cat", "boundingBox": {}})
    assert has_place({"label": "cat", "top": 20})
    assert not has_place({"predictions": [], "top": "cat", "box": None})


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.93", 0.93), (" 1e-3 ", 0.001), ("-2", -2.0), ("0x1", None), ("nan", None), ("infinity", None), ("", None)],
)
def test_numbers_written_as_text(text: str, number: float | None) -> None:
    assert numeric(text) == number
    assert is_numeric(text) is (number is not None)


def test_of_a_long_name_the_beginning_counts() -> None:
    assert folded("Status" * 100_000) == folded(("Status" * 100)[:80])
    assert folded("Status") == "status"
