"""Which network a finetune hands back."""

import numpy as np
import pytest

pytestmark = pytest.mark.train


def course(logits: list[float], validation: int) -> tuple[list[bool], int]:
    """Give what ``Best`` answers after each epoch, from 0 on, and the epoch that it kept.

    Every picture shows the second class, and has ``logits`` there: the higher, the lower is the loss.
    """
    from torch import nn

    from labelloop.train.stopping import Best

    truth = np.tile([False, True], (validation, 1))
    best, model, answers = Best(truth, "single", epochs=8), nn.Linear(1, 1), []
    for epoch, logit in enumerate(logits):
        nn.init.constant_(model.weight, epoch)
        given = np.tile(np.array([0.0, logit], dtype=np.float32), (validation, 1))
        answers.append(best.note(model, given, epoch))
    assert best.logits[0, 1] == logits[best.epoch]
    assert float(best.state["weight"]) == best.epoch
    return answers, best.epoch


def test_the_lowest_loss_is_kept_and_half_of_the_epochs_without_a_lower_one_end_it() -> None:
    assert course([1, 2, 3, 2, 2, 2, 2], validation=50) == ([False] * 6 + [True], 2)


def test_few_validation_pictures_decide_nothing() -> None:
    assert course([7, 6, 5, 4, 3, 2, 1], validation=49) == ([False] * 7, 6)


def test_a_lower_loss_does_not_make_up_for_less_accuracy_than_at_first() -> None:
    from torch import nn

    from labelloop.train.stopping import Best

    truth = np.tile([False, True], (50, 1))
    best = Best(truth, "single", epochs=8)
    right_but_unsure = np.tile(np.array([0.0, 0.1], dtype=np.float32), (50, 1))
    sure_but_once_wrong = np.tile(np.array([0.0, 3.0], dtype=np.float32), (50, 1))
    sure_but_once_wrong[0, 1] = -1.0
    for epoch, logits in enumerate((right_but_unsure, sure_but_once_wrong)):
        best.note(nn.Linear(1, 1), logits, epoch)
    assert best.epoch == 0


def test_a_network_that_is_right_more_often_does_not_lose_for_being_too_sure() -> None:
    from torch import nn

    from labelloop.train.stopping import Best

    truth = np.tile([False, True], (50, 1))
    best = Best(truth, "single", epochs=8)
    for epoch, (sure, wrong) in enumerate(((0.5, 10), (10.0, 5))):
        logits = np.tile(np.array([0.0, sure], dtype=np.float32), (50, 1))
        logits[:wrong, 1] *= -1
        best.note(nn.Linear(1, 1), logits, epoch)
    assert best.epoch == 1
