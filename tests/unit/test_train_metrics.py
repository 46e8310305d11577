"""What the numbers of an evaluation mean."""

import json

import numpy as np
import pytest

from labelloop.train import metrics
from labelloop.train.evaluation import measure
from labelloop.train.intervals import rates

CLASSES = ("cat", "dog", "owl")


def rows(*labels: tuple[str, ...]) -> metrics.Indicators:
    return np.array([[name in row for name in CLASSES] for row in labels], dtype=bool).reshape(-1, len(CLASSES))


def test_accuracy_counts_items_with_exactly_the_right_classes() -> None:
    truth = rows(("cat",), ("dog",), ("cat", "dog"), ())
    assert metrics.accuracy(truth, truth) == 1.0
    assert metrics.accuracy(truth, rows(("cat",), ("owl",), ("cat",), ())) == 0.5


def test_a_failed_prediction_is_a_wrong_one() -> None:
    assert metrics.accuracy(rows(("cat",), ("dog",)), rows(("cat",), ())) == 0.5


def test_no_items_have_no_accuracy() -> None:
    with pytest.raises(ValueError, match="no items"):
        metrics.accuracy(rows(), rows())


def test_recall_is_of_each_class_and_unknown_without_items() -> None:
    truth, given = rows(("cat",), ("cat",), ("dog",)), rows(("cat",), ("dog",), ("dog",))
    np.testing.assert_array_equal(rates(truth, given, given.astype(float))["recall"], [0.5, 1.0, np.nan])
    assert metrics.support(truth).tolist() == [2, 1, 0]


def test_confusion_has_the_truth_in_rows() -> None:
    truth, given = rows(("cat",), ("cat",), ("dog",), ("owl",)), rows(("cat",), ("dog",), ("dog",), ())
    assert metrics.confusion(truth, given).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_what_was_measured_is_json() -> None:
    found = measure(rows(("cat",), ("dog",)), rows(("cat",), ("cat",)).astype(float), CLASSES, "single")
    told = json.loads(json.dumps(found))
    assert (told["items"], told["accuracy"]["value"]) == (2, 0.5)
    assert {name: one["recall"] for name, one in told["per_class"].items()} == {"cat": 1.0, "dog": 0.0, "owl": None}
    assert {name: one["support"] for name, one in told["per_class"].items()} == {"cat": 1, "dog": 1, "owl": 0}
    assert told["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_of_multiple_labels_all_have_to_be_right() -> None:
    given = rows(("cat",), ("owl",)).astype(float)
    assert measure(rows(("cat", "dog"), ()), given, CLASSES, "multiple")["accuracy"]["value"] == 0.0


def test_the_largest_logit_is_chosen_or_all_at_zero_and_above() -> None:
    logits = np.array([[2.0, 3.0, -1.0], [-2.0, -1.0, -3.0]])
    assert metrics.predictions(logits, "single").tolist() == [[False, True, False], [False, True, False]]
    assert metrics.predictions(logits, "multiple").tolist() == [[True, True, False], [False, False, False]]


def test_log_loss_is_the_mean_negative_log_likelihood() -> None:
    truth = rows(("cat",), ("owl",))
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    assert metrics.log_loss(truth, logits, "single") == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert metrics.log_loss(truth, np.zeros((2, 3)), "multiple") == pytest.approx(np.log(2))


def test_log_loss_survives_huge_logits() -> None:
    logits = np.array([[1e4, -1e4, 0.0]], dtype=np.float32)
    assert metrics.log_loss(rows(("cat",)), logits, "single") == pytest.approx(0)
    assert metrics.log_loss(rows(("dog",)), logits, "single") == pytest.approx(2e4)
