"""Optimizers by name."""

from typing import Any

import pytest

from labelloop.errors import TrainingError

pytestmark = pytest.mark.train


def network() -> Any:
    import timm

    return timm.create_model("test_resnet", num_classes=2)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "lamb", "nadamw", "adafactor", "rmsprop", "muon"])
def test_an_optimizer_lowers_the_loss(name: str) -> None:
    import torch
    from torch.nn import functional

    from labelloop.train.optimizers import check_optimizer, make_optimizer, make_schedule

    check_optimizer(name)
    torch.manual_seed(0)
    model, images, truth = network().eval(), torch.randn(8, 3, 32, 32), torch.tensor([0, 1] * 4)
    optimizer = make_optimizer(model, name, 0.001, 0.9)
    schedule = make_schedule(optimizer, 12)
    losses: list[float] = []
    for _ in range(12):
        loss = functional.cross_entropy(model(images), truth)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    assert losses[-1] < losses[0]


def test_unknown_optimizers_are_refused_naming_near_ones() -> None:
    from labelloop.train.optimizers import check_optimizer

    with pytest.raises(TrainingError, match=r"no optimizer named 'adamv'; near: .*adamw.*LABELLOOP_OPTIMIZER"):
        check_optimizer("adamv")
    for unfit in ("lbfgs", "adahessian", "bnbadam"):
        with pytest.raises(TrainingError, match="no optimizer"):
            check_optimizer(unfit)


def test_deeper_layers_learn_more_slowly_and_only_matrices_decay() -> None:
    from labelloop.train.optimizers import make_optimizer, make_schedule

    model = network()
    optimizer = make_optimizer(model, "adamw", 0.01, 0.5)
    schedule = make_schedule(optimizer, 8)
    optimizer.step()
    schedule.step()
    rates = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            rates[id(parameter)] = group["lr"]
            assert (group["weight_decay"] > 0) == (parameter.ndim > 1)
    first, last = model.conv1[0].weight, model.get_classifier().weight
    assert rates[id(last)] == pytest.approx(0.01)
    assert rates[id(first)] < rates[id(last)] / 8


def test_a_level_rate_rises_soon_and_stays() -> None:
    from labelloop.train.optimizers import make_optimizer, make_schedule

    optimizer = make_optimizer(network(), "adamw", 0.01, None)
    schedule = make_schedule(optimizer, 40, level=True)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert rates[5:] == pytest.approx([0.01] * 35)


def test_the_lowest_layers_rest_and_the_rest_learns() -> None:
    from labelloop.train.optimizers import make_optimizer, rest

    model = network()
    rest(model, 1 / 3)
    held = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert held
    assert all(name.startswith(("conv1", "bn1", "layer1", "layer2")) for name in held), held
    assert model.conv1[0].weight.requires_grad is False
    assert model.get_classifier().weight.requires_grad
    taught = sum(len(group["params"]) for group in make_optimizer(model, "adamw", 0.01, 0.9).param_groups)
    assert taught == len(list(model.parameters())) - len(held)
    untouched = network()
    rest(untouched, 0.0)
    assert all(parameter.requires_grad for parameter in untouched.parameters())
