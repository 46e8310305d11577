"""The mean of weights that a finetune hands back."""

import pytest

pytestmark = pytest.mark.train


def course(weights: list[float], *, fresh: bool) -> list[float]:
    """Follow a weight that begins at 1; give the average after each step."""
    from torch import nn

    from labelloop.train.averages import Average

    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 1.0)
    average, found = Average(model, len(weights), fresh=fresh), []
    for weight in weights:
        nn.init.constant_(model.weight, weight)
        average.update(model)
        found.append(float(average.model.state_dict()["weight"]))
    assert average.steps == len(weights)
    return found


@pytest.mark.parametrize("steps", [1, 2, 300])
def test_from_learned_weights_half_of_the_first_remain_after_all_steps(steps: int) -> None:
    assert course([3.0] * steps, fresh=False)[-1] == pytest.approx((1.0 + 3.0) / 2, abs=1e-4)


def test_of_the_later_weights_none_decides_alone() -> None:
    usual, odd = course([3.0] * 100, fresh=False)[-1], course([3.0] * 99 + [53.0], fresh=False)[-1]
    assert 0 < odd - usual < 50 / 100


def test_from_random_weights_the_first_fade_at_once_and_the_last_fifty_count() -> None:
    found = course([2.0] * 500 + [3.0] * 50, fresh=True)
    assert found[8] == pytest.approx(2.0, abs=0.01)
    assert found[499] == pytest.approx(2.0, abs=1e-6)
    assert found[549] == pytest.approx(3.0 - 0.98**50, abs=1e-3)


def test_counts_are_those_of_the_last_step() -> None:
    import torch
    from torch import nn

    from labelloop.train.averages import Average

    model = nn.BatchNorm1d(2)
    average = Average(model, 1, fresh=False)
    model(torch.ones(4, 2))
    average.update(model)
    assert int(average.model.state_dict()["num_batches_tracked"]) == 1
    assert float(average.model.state_dict()["running_mean"][0]) == pytest.approx(0.05)
