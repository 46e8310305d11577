"""Which network a finetune hands back."""

import numpy as np
import pytest

pytestmark = pytest.mark.train


def course(losses: list[float], validation: int) -> tuple[list[bool], float]:
    """Give what ``Best`` answers after each epoch, and the mark of the network that it kept."""
    import torch
    from torch import nn

    from labelloop.train.stopping import Best

    best, model, answers = Best(epochs=8), nn.Linear(1, 1), []
    for epoch, loss in enumerate(losses):
        with torch.no_grad():
            model.weight.fill_(epoch)
        answers.append(best.note(model, np.full((validation, 2), epoch, dtype=np.float32), loss))
    weight = float(best.model.weight.item())  # type: ignore[operator]
    assert best.logits[0, 0] == weight
    return answers, weight


def test_the_lowest_loss_is_kept_and_half_of_the_epochs_without_a_lower_one_end_it() -> None:
    assert course([3, 2, 1, 2, 2, 2, 2], validation=50) == ([False] * 6 + [True], 2)


def test_few_validation_pictures_decide_nothing() -> None:
    assert course([1, 2, 3, 4, 5, 6, 7], validation=49) == ([False] * 7, 6)
