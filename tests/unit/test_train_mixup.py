"""Blended pictures."""

from typing import Any

import pytest

from labelloop.types import Choice

pytestmark = pytest.mark.train


def blend(alpha: float = 0.2, pictures: int = 64) -> Any:
    import torch

    from labelloop.train.losses import Mixup

    torch.manual_seed(0)
    return Mixup(alpha, pictures, torch.device("cpu"))


def test_shares_are_a_beta_s() -> None:
    small, large = blend(0.2, 20_000).shares, blend(5.0, 20_000).shares
    for shares, alpha in ((small, 0.2), (large, 5.0)):
        assert 0 <= float(shares.min()) <= float(shares.max()) <= 1
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(shares.var()) == pytest.approx(0.25 / (2 * alpha + 1), rel=0.05)


def test_a_picture_is_blended_with_its_neighbour() -> None:
    import torch

    made = blend(pictures=3)
    images = torch.tensor([0.0, 1.0, 10.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    first, second, third = made.shares.tolist()
    expected = [10 * (1 - first), second, 10 * third + 1 - third]
    assert made.images(images)[:, 0, 0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_the_loss_is_that_of_the_blended_truth(choice: Choice) -> None:
    import torch

    from labelloop.train.losses import losses

    made, generator = blend(), torch.Generator().manual_seed(1)
    logits = torch.randn(64, 4, generator=generator)
    truth = torch.eye(4)[torch.randint(4, (64,), generator=generator)]
    share = made.shares.view(-1, 1)
    blended = share * truth + (1 - share) * truth.roll(1, 0)
    found = made.loss(logits, truth, torch.ones(64, 4), choice)
    assert float(found) == pytest.approx(float(losses(logits, blended, torch.ones(64, 4), choice).mean()), rel=1e-5)


def test_each_answer_keeps_its_weight() -> None:
    import torch

    from labelloop.train.losses import losses

    made = blend(pictures=2)
    logits, truth = torch.tensor([[2.0, 0.0], [0.5, 0.0]]), torch.eye(2)
    weights = torch.tensor([[3.0, 3.0], [0.5, 0.5]])
    plain = [losses(logits, shown, torch.ones(2, 2), "single").tolist() for shown in (truth, truth.roll(1, 0))]
    first, second = made.shares.tolist()
    expected = first * 3 * plain[0][0] + (1 - first) * 0.5 * plain[1][0]
    expected += second * 0.5 * plain[0][1] + (1 - second) * 3 * plain[1][1]
    assert float(made.loss(logits, truth, weights, "single")) == pytest.approx(expected / 2, rel=1e-5)
