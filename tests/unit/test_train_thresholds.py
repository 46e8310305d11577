"""From which score on classes are given."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.run.scoring import Scored, scores_of
from labelloop.run.verdict import Predictions
from labelloop.train.evaluation import measure
from labelloop.train.metrics import HeldOut, accuracy, given, sigmoid
from labelloop.train.thresholds import f1_thresholds, least_scores
from labelloop.types import Output

pytestmark = pytest.mark.train

Floats = npt.NDArray[np.float64]


def held_out(items: int, offsets: tuple[float, ...], sharpness: float = 2.0, seed: int = 0) -> HeldOut:
    """Draw calibrated logits, and truth by the scores that they stand for; a low offset makes a class rare."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(items, len(offsets))) * sharpness + np.array(offsets)
    return HeldOut(random.random(logits.shape) < sigmoid(logits), logits)


def f1(truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> float:
    return float((2 * (truth & found).sum(axis=0) / (truth.sum(axis=0) + found.sum(axis=0))).mean())


def test_rare_classes_are_given_from_a_lower_score_on_and_f1_rises() -> None:
    thresholds = f1_thresholds(held_out(300, (0.0, -3.0)))
    assert thresholds is not None
    assert thresholds[1] < thresholds[0] <= 0.5
    unseen = held_out(4000, (0.0, -3.0), seed=1)
    scores = sigmoid(unseen.logits.astype(np.float64))
    before, after = (given(scores, "multiple", one) for one in (None, thresholds))
    assert f1(unseen.truth, after) >= f1(unseen.truth, before) + 0.02
    assert accuracy(unseen.truth, after) >= accuracy(unseen.truth, before) - 0.02


def test_where_classes_are_hardly_recognised_exact_answers_are_not_given_up() -> None:
    blind = held_out(400, (-1.2,) * 8, 0.2)
    thresholds = f1_thresholds(blind)
    scores = sigmoid(blind.logits.astype(np.float64))
    before, after = (accuracy(blind.truth, given(scores, "multiple", one)) for one in (None, thresholds))
    assert after >= before - 0.01
    assert accuracy(blind.truth, given(scores, "multiple", np.full(8, 0.2))) < before - 0.05


def test_few_pictures_choose_nothing() -> None:
    assert f1_thresholds(held_out(49, (0.0, -3.0))) is None


OUTPUTS = [
    Output("cat", 0.4, {"cat": 0.4, "dog": 0.3}, "v1", "multiple", {"cat": 0.35}),
    Output("dog", 0.6, {"cat": 0.2, "dog": 0.6}, "v1", "multiple", {"cat": 0.35}),
]
TRUTH = np.eye(3, dtype=bool)[[0, 2]]


def test_a_versions_thresholds_decide_what_it_has_right_wherever_that_is_counted(tmp_path: Path) -> None:
    classes = ("lion", "new", "dog")
    found = scores_of(OUTPUTS, 2, classes, {"cat": "lion", "dog": "dog"}.get, "multiple")
    assert found.thresholds is not None
    assert found.thresholds.tolist() == [0.35, 0.5, 0.5]
    assert Predictions("v1", *found).right(TRUTH, "multiple").tolist() == [True, True]
    assert Predictions("v1", *found).only(np.array([True, False])).right(TRUTH[:1], "multiple").all()
    assert Predictions("v1", found.scores).right(TRUTH, "multiple").tolist() == [False, True]
    assert measure(TRUTH, found.scores, classes, "multiple", thresholds=found.thresholds)["accuracy"]["value"] == 1
    assert measure(TRUTH, found.scores, classes, "multiple")["accuracy"]["value"] == 0.5
    scored = Scored(classes, ("a", "b"), np.array([1, 2]), TRUTH, found.scores, found.thresholds)
    scored.write(tmp_path / "predictions.npz")
    again = Scored.read(tmp_path / "predictions.npz").thresholds
    assert again is not None
    assert again.tolist() == [0.35, 0.5, 0.5]


def test_predictions_of_earlier_releases_are_given_from_a_half_on(tmp_path: Path) -> None:
    Scored(("a",), ("x",), np.array([1]), TRUTH[:1, :1], np.array([[0.4]])).write(tmp_path / "predictions.npz")
    assert "thresholds" not in np.load(tmp_path / "predictions.npz")
    assert Scored.read(tmp_path / "predictions.npz").thresholds is None


def test_a_bundle_holds_them_by_class_and_older_ones_none() -> None:
    spec = PictureSpec(32, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    info = NetworkInfo(classes=("a", "b"), choice="multiple", recipe="head", backbone="x", picture=spec)
    assert "thresholds" not in info.to_json()
    assert least_scores(info) is None
    told = NetworkInfo.from_json(info.to_json().replace('"backbone"', '"thresholds": {"b": 0.3}, "backbone"'))
    assert NetworkInfo.from_json(told.to_json()) == told
    least = least_scores(told)
    assert least is not None
    assert least.tolist() == [0.5, 0.3]
