"""Class imbalance."""

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.errors import TrainingError
from labelloop.train import balance


def eye(counts: list[int]) -> npt.NDArray[np.bool_]:
    return np.eye(len(counts), dtype=bool)[np.repeat(np.arange(len(counts)), counts)]


def test_each_class_weighs_the_same_and_the_mean_is_one() -> None:
    shown = eye([60, 30, 10])
    weights = balance.class_weights(shown, "single")
    assert weights.mean() == pytest.approx(1)
    totals = (weights * shown).sum(axis=0)
    np.testing.assert_allclose(totals, totals.mean())


def test_with_several_labels_each_column_weighs_its_yes_as_its_no() -> None:
    shown = np.zeros((40, 2), dtype=bool)
    shown[:10, 0] = shown[:20, 1] = True
    weights = balance.class_weights(shown, "multiple")
    assert (weights * shown).sum(axis=0) == pytest.approx((weights * ~shown).sum(axis=0))
    np.testing.assert_allclose(weights[:, 1], 1)


def test_no_single_picture_decides_a_fit() -> None:
    weights = balance.class_weights(eye([999, 1]), "single")
    assert weights.max() / weights.min() < 21


@pytest.mark.parametrize(("counts", "rare"), [([10, 10, 10], False), ([10, 8, 6], False), ([30, 30, 4], True)])
def test_a_class_with_less_than_half_of_the_mean_is_rare(counts: list[int], rare: bool) -> None:
    assert balance.imbalanced(eye(counts)) is rare


def test_a_class_that_is_never_shown_is_not_rare() -> None:
    assert not balance.imbalanced(eye([10, 10, 0]))


def test_it_is_worth_it_unless_more_than_a_point_of_accuracy_is_lost() -> None:
    truth = eye([180, 20])
    plain, better, worse = (np.where(truth, 1.0, 0.0) for _ in range(3))
    plain[180:] = [1.0, 0.0]  # the rare class is never found
    worse[:23] = worse[180:] = [0.0, 1.0]  # found, but for more than is found the frequent class is lost
    assert balance.worth_it(truth, plain, better, "single")
    assert balance.worth_it(truth, plain, plain, "single")
    assert not balance.worth_it(truth, plain, worse, "single")
    assert not balance.worth_it(truth, plain, better, "multiple")


def test_a_way_to_balance_that_there_is_not_is_refused() -> None:
    with pytest.raises(TrainingError, match="LABELLOOP_BALANCE takes auto, none, loss, sampler"):
        balance.check_balance("oversample")
