"""Metrics agree with scikit-learn's, whatever was predicted; intervals hold what they should."""

import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.train import intervals
from labelloop.train.evaluation import answers_of, measure
from labelloop.train.intervals import rates
from labelloop.train.metrics import accuracy
from labelloop.types import Choice
from support.examples import examples

pytestmark = pytest.mark.train

Matrix = npt.NDArray[np.float64]
Indicators = npt.NDArray[np.bool_]
SURE = (-800.0, -3.0, -1.0, 0.0, 1.0, 3.0, 800.0)  # ties, and scores of exactly 0 and 1


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Indicators, Matrix, Choice]:
    """Draw truth and probabilities: any, with ties, certainty, absent classes and failed pictures."""
    choice: Choice = draw(st.sampled_from(["single", "multiple"]))
    items, classes = draw(st.integers(1, 20)), draw(st.integers(2, 5))
    logits = np.array(draw(st.lists(st.sampled_from(SURE), min_size=items * classes, max_size=items * classes)))
    logits = logits.reshape(items, classes)
    if choice == "single":
        shown = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=items, max_size=items)))
        truth, scores = np.eye(classes, dtype=bool)[shown], softmax(logits)
    else:
        truth = np.array(draw(st.lists(st.booleans(), min_size=items * classes, max_size=items * classes)))
        truth, scores = truth.reshape(items, classes), 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    failed = draw(st.lists(st.integers(0, items - 1), max_size=2))
    scores[failed] = draw(st.sampled_from([0.0, np.nan]))
    return truth, scores, choice


def softmax(logits: Matrix) -> Matrix:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Matrix = powers / powers.sum(axis=1, keepdims=True)
    return shares


@given(predictions())
@settings(max_examples=examples(40))
def test_metrics_agree_with_scikit_learn(drawn: tuple[Indicators, Matrix, Choice]) -> None:
    from sklearn import metrics as oracle

    truth, scores, choice = drawn
    classes = [f"class {at}" for at in range(truth.shape[1])]
    found = measure(truth, scores, classes, choice, resamples=5)
    json.dumps(found, allow_nan=False)
    known = np.nan_to_num(scores)
    predicted = answers_of(known, choice)
    assert found["accuracy"]["value"] == pytest.approx(np.mean((truth == predicted).all(axis=1)), abs=2e-6)
    present = np.flatnonzero(truth.any(axis=0))
    for average in ("macro", "weighted"):
        for name, score in (
            ("f1", oracle.f1_score),
            ("precision", oracle.precision_score),
            ("recall", oracle.recall_score),
        ):
            if len(present):
                expected = score(truth, predicted, labels=present, average=average, zero_division=0)
                assert found[average][name]["value"] == pytest.approx(expected, abs=2e-6), (average, name)
            else:
                assert found[average][name]["value"] is None
    for at, name in enumerate(classes):
        area = found["per_class"][name]["auroc"]
        if truth[:, at].any() and not truth[:, at].all():
            assert area == pytest.approx(oracle.roc_auc_score(truth[:, at], known[:, at]), abs=2e-6)
        else:
            assert area is None
        assert found["per_class"][name]["support"] == truth[:, at].sum()


@given(predictions())
@settings(max_examples=examples(40))
def test_everything_lies_where_it_can(drawn: tuple[Indicators, Matrix, Choice]) -> None:
    truth, scores, choice = drawn
    found = measure(truth, scores, [str(at) for at in range(truth.shape[1])], choice, resamples=20)
    for entry in (found["accuracy"], found["calibration_error"], *found["macro"].values(), *found["weighted"].values()):
        numbers = [entry[end] for end in ("value", "low", "high")]
        assert all(number is None or 0 <= number <= 1 for number in numbers)
        if entry["value"] is not None and entry["low"] is not None:
            assert entry["low"] <= entry["high"]
    assert np.sum(found["confusion"]) == (truth.astype(int).T @ answers_of(np.nan_to_num(scores), choice)).sum()
    answered = len(truth) - found["failed"]
    counted = answered * (truth.shape[1] if choice == "multiple" else 1)
    assert sum(entry["count"] for entry in found["reliability"]) == counted
    if answered:
        gaps = [entry["count"] * abs(entry["confidence"] - entry["accuracy"]) for entry in found["reliability"]]
        assert found["calibration_error"]["value"] == pytest.approx(sum(gaps) / counted, abs=1e-5)
        assert found["log_loss"] >= 0


def by_torchmetrics(truth: Indicators, predicted: Indicators, scores: Matrix) -> dict[str, Matrix]:
    """Give each class's rates against the rest: what torchmetrics calls a label, whatever the choice."""
    import torch
    from torchmetrics.functional import classification as by

    shown, given = torch.from_numpy(truth.astype(np.int64)), torch.from_numpy(predicted.astype(np.int64))
    how: dict[str, Any] = {"num_labels": truth.shape[1], "average": "none"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets", category=UserWarning)
        found = {
            "f1": by.multilabel_f1_score(given, shown, **how),
            "precision": by.multilabel_precision(given, shown, **how),
            "recall": by.multilabel_recall(given, shown, **how),
            "auroc": by.multilabel_auroc(torch.from_numpy(scores), shown, **how),
        }
    counts = truth.sum(axis=0)
    defined = {rate: (counts > 0) & ((counts < len(truth)) | (rate != "auroc")) for rate in found}
    return {rate: np.where(defined[rate], value.double().numpy(), np.nan) for rate, value in found.items()}


@given(predictions())
@settings(max_examples=examples(40))
def test_a_resample_that_draws_each_item_once_gives_the_metric_itself(drawn: tuple[Indicators, Matrix, Choice]) -> None:
    import torch
    from torchmetrics.functional.classification import multilabel_exact_match

    truth, scores, choice = drawn
    scores = np.nan_to_num(scores)
    predicted, once = answers_of(scores, choice), np.ones((1, len(truth)))
    expected = by_torchmetrics(truth, predicted, scores)
    for name, values in rates(truth, predicted, scores).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-6, err_msg=name)
    given, shown = (torch.from_numpy(one.astype(np.int64)) for one in (predicted, truth))
    match = float(multilabel_exact_match(given, shown, num_labels=truth.shape[1]))
    assert accuracy(truth, predicted) == pytest.approx(match, abs=1e-6)
    found = dict(intervals.shares(once, truth, predicted)) | {"auroc": intervals.areas(once, truth, scores)}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][0], values, atol=1e-6, err_msg=name)


def made(items: int, skill: float, seed: int = 0) -> tuple[Indicators, Matrix]:
    """Make predictions over three classes that are the better, the more ``skill``."""
    chance = np.random.default_rng(seed)
    truth = np.eye(3, dtype=bool)[chance.integers(3, size=items)]
    return truth, softmax(chance.normal(size=truth.shape) + skill * truth)


def test_the_interval_is_as_wide_as_theory_has_it() -> None:
    truth, scores = made(400, 2.0)
    found = measure(truth, scores, list("abc"), "single")["accuracy"]
    half = 1.96 * np.sqrt(found["value"] * (1 - found["value"]) / 400)
    assert found["low"] == pytest.approx(found["value"] - half, abs=0.01)
    assert found["high"] == pytest.approx(found["value"] + half, abs=0.01)


@pytest.mark.parametrize("items", [1, 4, 40, 400])
def test_what_is_all_right_has_an_honest_interval_or_none(items: int) -> None:
    truth = np.eye(2, dtype=bool)[np.arange(items) % 2]
    found = measure(truth, np.where(truth, 0.9, 0.1), ["a", "b"], "single")
    low = items / (items + 1.959964**2)
    for figure in (found["accuracy"], found["weighted"]["recall"]):
        assert figure == pytest.approx({"value": 1.0, "low": low, "high": 1.0}, abs=1e-6)
    bootstrapped = [found["macro"]["f1"], found["macro"]["auroc"], found["weighted"]["f1"], found["calibration_error"]]
    assert [(one["low"], one["high"]) for one in bootstrapped] == [(None, None)] * 4
    with_class = (items + 1) // 2
    recall = found["per_class"]["a"]["intervals"]["recall"]
    assert recall == pytest.approx({"low": with_class / (with_class + 1.959964**2), "high": 1.0}, abs=1e-6)
    assert found["few"] is (items < 20)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 60 test sides, 95 % of the intervals should hold the accuracy on a very large one."""
    truth, scores = made(200_000, 1.5, seed=1)
    expected = np.mean((truth == answers_of(scores, "single")).all(axis=1))
    held = 0
    for seed in range(60):
        found = measure(*made(150, 1.5, seed + 10), list("abc"), "single", resamples=200)["accuracy"]
        held += found["low"] <= expected <= found["high"]
    assert held >= 52


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_the_calibration_error_is_that_of_torchmetrics(choice: Choice) -> None:
    import torch
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    truth, scores = made(300, 1.0)
    found = measure(truth, scores, list("abc"), choice, resamples=5)["calibration_error"]["value"]
    given_scores, shown = torch.from_numpy(scores), torch.from_numpy(truth.astype(np.int64))
    if choice == "multiple":
        expected = binary_calibration_error(given_scores.ravel(), shown.ravel(), n_bins=15)
    else:
        expected = multiclass_calibration_error(given_scores, shown.argmax(dim=1), 3, n_bins=15)
    assert found == pytest.approx(float(expected), abs=2e-6)


def test_the_same_seed_gives_the_same_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, scores = made(50, 1.0)
    one, other = (measure(truth, scores, list("abc"), "single", seed=7) for _ in range(2))
    assert one == other
    other = measure(truth, scores, list("abc"), "single", seed=8)
    assert one["macro"]["f1"] != other["macro"]["f1"]
    assert one["accuracy"] == other["accuracy"], "no draw has a part in it"
    monkeypatch.setattr(intervals, "_BLOCK", 170)
    assert measure(truth, scores, list("abc"), "single", seed=7) == one


def test_a_failed_picture_counts_as_wrong_and_is_left_out_of_calibration() -> None:
    truth = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
    scores = np.array([[0.9, 0.1], [0.0, 0.0], [np.nan, np.nan], [0.2, 0.8]])
    found = measure(truth, scores, ["a", "b"], "single")
    assert found["failed"] == 2
    assert found["accuracy"]["value"] == 0.5
    assert found["confusion"] == [[1, 0], [0, 1]]
    assert found["calibration_error"]["value"] == pytest.approx(0.15)
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.8])), abs=1e-6)


def test_when_everything_failed_there_is_no_calibration() -> None:
    found = measure(np.eye(2, dtype=bool), np.zeros((2, 2)), ["a", "b"], "single")
    assert found["accuracy"] == pytest.approx({"value": 0.0, "low": 0.0, "high": 0.657620}, abs=1e-6)
    assert found["few"] is True
    assert found["calibration_error"] == {"value": None, "low": None, "high": None}
    assert found["log_loss"] is None


@pytest.mark.parametrize(
    ("truth", "scores"),
    [(np.zeros((0, 2), bool), np.zeros((0, 2))), (np.zeros((3, 2), bool), np.zeros((2, 2)))],
)
def test_what_cannot_be_measured_is_refused(truth: Any, scores: Any) -> None:
    with pytest.raises(ValueError, match=r"no items|must be"):
        measure(truth, scores, ["a", "b"], "single")
