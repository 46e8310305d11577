"""Optimizers by the names of timm's factory, set up for a finetune: which layers learn, how fast, and when."""

import difflib
import math
from functools import partial
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, list_optimizers  # type: ignore[attr-defined]
from torch import nn

from labelloop.errors import TrainingError

Schedule = torch.optim.lr_scheduler.LRScheduler

_DECAY = 0.05
_WARM_UP = 0.25
_SOON = 0.1
_UNFIT = ("adahessian", "lbfgs", "bnb", "fused")
"""Beginnings of names: what needs more of a step than slopes, or packages that LabelLoop does not bring."""


def optimizer_names() -> list[str]:
    """List the optimizers that a finetune takes."""
    return [str(name) for name in list_optimizers() if not str(name).startswith(_UNFIT)]


def check_optimizer(name: str) -> None:
    """Raise TrainingError unless timm's factory has an optimizer of this name."""
    known = optimizer_names()
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    raise TrainingError(
        f"timm has no optimizer named {name!r}; "
        + (f"near: {', '.join(near)}" if near else "common ones: adamw, sgd, lion, lamb, nadamw")
        + ". Set LABELLOOP_OPTIMIZER"
    )


def make_optimizer(model: nn.Module, name: str, rate: float, layer_decay: float | None) -> torch.optim.Optimizer:
    """Make the optimizer of this name; biases and norms are not pulled to zero.

    With ``layer_decay`` each layer's rate is that many times the rate of the layer above it (timm's groups of layers).
    Raises TrainingError when torch cannot make it, for some need packages of their own.
    """
    decay = layer_decay if hasattr(model, "group_matcher") else None
    try:
        return create_optimizer_v2(model, name, lr=rate, weight_decay=_DECAY, layer_decay=decay)
    except (TypeError, ValueError, ImportError, AssertionError) as error:
        raise TrainingError(f"optimizer {name!r} could not be made: {error}. Set LABELLOOP_OPTIMIZER") from error


def rest(model: nn.Module, share: float) -> None:
    """Take the lowest layers, ``share`` of timm's groups of layers, out of the training; none where timm knows none.

    They hold few of the weights and most of the work, for they see the picture at its full size.
    """
    if not share or not hasattr(model, "group_matcher"):
        return
    matcher: Any = model.group_matcher
    layers = group_parameters(model, matcher(coarse=False), reverse=True)
    lowest = math.ceil(share * (max(layers.values()) + 1))
    for name, parameter in model.named_parameters():
        if layers[name] < lowest:
            parameter.requires_grad_(False)


def make_schedule(optimizer: torch.optim.Optimizer, steps: int, *, level: bool = False) -> Schedule:
    """Raise each group's rate to its own over the first quarter of ``steps``, then let it fall to nearly zero.

    With ``level`` it rises over a tenth and stays: for weights that are averaged over the later steps, which then are
    apart. Each group's own rate is ``lr`` times what timm noted as its layer's share. Where it falls, momentum goes the
    other way, if the optimizer has one (Smith and Topin, 2018, "Super-Convergence").
    """
    rates = [group["lr"] * group.get("lr_scale", 1.0) for group in optimizer.param_groups]
    total = max(steps, 2)
    if level:
        return _level(optimizer, rates, _SOON * total)
    momentum = "momentum" in optimizer.defaults or "betas" in optimizer.defaults
    warm_up = max(_WARM_UP, 1.5 / total)  # torch divides by what is over one step
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=total, pct_start=warm_up, cycle_momentum=momentum
    )


def _level(optimizer: torch.optim.Optimizer, rates: list[float], warm_up: float) -> Schedule:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rising, warm_up))


def _rising(warm_up: float, step: int) -> float:
    return min(1.0, (step + 1) / (warm_up + 1))
