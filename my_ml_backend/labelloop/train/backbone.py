"""The timm network a run trains: made from the backbone's name, checked, and described to the rest."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import parse_qsl

import timm
import torch
from torch import nn

from labelloop.bundle_info import PictureSpec
from labelloop.errors import TrainingError
from labelloop.train.oriented_gradients import oriented_gradients
from labelloop.train.weights import difference, first_weights
from labelloop.types import TrainSettings

FIXED = oriented_gradients.__name__
"""The network that gives features where none has learned weights."""

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}


def build(settings: TrainSettings, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
    """Make the network of ``settings.backbone`` with its first weights and ``classes`` logits: CPU, eval mode.

    It takes pictures of ``size`` (height, width), else of the settings' size. The backbone is a timm name, optionally
    with arguments of that network: ``mobilenetv2_100?pad_type=same``. Weights that are not loaded are drawn from
    torch's global generator. Raises TrainingError.
    """
    name, arguments = _parse(settings.backbone)
    if (size or settings.image_size) and _fixed_size(name):
        arguments["img_size"] = size or settings.image_size
    model = _create(settings.backbone, name, classes, arguments)
    weights = first_weights(settings.weights, model, settings.backbone)
    if weights is not None:
        overlay = {"state_dict": weights, "num_classes": classes, "label_offset": 0}
        try:
            model = _create(settings.backbone, name, classes, arguments, pretrained_cfg_overlay=overlay)
        except (RuntimeError, KeyError) as error:
            raise TrainingError(
                f"weights {settings.weights!r} are not those of backbone {settings.backbone!r} "
                f"({difference(weights, model)}); set LABELLOOP_WEIGHTS or LABELLOOP_BACKBONE"
            ) from error
        _made_for(model).pop("state_dict")
    _check(model.eval(), settings, size)
    return model


def check_backbone(backbone: str) -> None:
    """Raise TrainingError when timm has no network of this name, or its arguments cannot be read."""
    _parse(backbone)


def _parse(backbone: str) -> tuple[str, dict[str, Any]]:
    name, _, query = backbone.partition("?")
    if not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise TrainingError(
            f"timm has no network named {name!r}; "
            + (f"near: {', '.join(near)}" if near else "timm.list_models() lists all")
            + ". Set LABELLOOP_BACKBONE"
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise TrainingError(f"backbone {backbone!r}: expected NAME?argument=value&argument=value") from None
    return name, {key: _value(text) for key, text in pairs}


def _fixed_size(name: str) -> bool:
    made_for = timm.get_pretrained_cfg(name)
    return made_for is not None and bool(made_for.fixed_input_size)


def _made_for(model: nn.Module) -> dict[str, Any]:
    facts: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    return facts


def _value(text: str) -> Any:
    for reader in (int, float):
        try:
            return reader(text)
        except ValueError:
            continue
    return _WORDS.get(text.lower(), text)


def _create(backbone: str, name: str, classes: int, arguments: dict[str, Any], **more: Any) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, pretrained=bool(more), num_classes=classes, **arguments, **more)
    except (TypeError, ValueError, AssertionError) as error:
        raise TrainingError(f"timm could not make backbone {backbone!r}: {error}") from error
    return model


def _check(model: nn.Module, settings: TrainSettings, size: tuple[int, int] | None) -> None:
    spec = picture_spec(model, settings.image_size)
    height, width = size or (spec.height, spec.width)
    try:
        with torch.inference_mode():
            features = pre_logits(model, torch.zeros(1, 3, height, width))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise TrainingError(
            f"backbone {settings.backbone!r} takes no picture of {width} x {height} pixels ({error}); "
            "set LABELLOOP_IMAGE_SIZE to another size, or 0 for the network's own"
        ) from error
    if features.ndim != 2 or features.shape[1] != classifier(model).in_features:
        raise TrainingError(f"backbone {settings.backbone!r} does not end in one linear layer; choose another backbone")


def picture_spec(model: nn.Module, image_size: int) -> PictureSpec:
    """Say what pictures the network was made for, at ``image_size`` pixels a side (0: its own size)."""
    return _spec(_made_for(model), image_size)


def spec_of(settings: TrainSettings) -> PictureSpec:
    """Say the same of the network that ``build`` would make of these settings, without making it where timm knows it.

    Raises TrainingError.
    """
    name, _ = _parse(settings.backbone)
    made_for = timm.get_pretrained_cfg(name)
    if made_for is None:
        return picture_spec(build(replace(settings, weights="none"), 2), settings.image_size)
    return _spec(asdict(made_for), settings.image_size)


def _spec(made_for: Mapping[str, Any], image_size: int) -> PictureSpec:
    _, height, width = made_for["input_size"]
    mean, std = ((tuple(made_for[key]) * 3)[:3] for key in ("mean", "std"))
    return PictureSpec(
        height=image_size or height,
        width=image_size or width,
        mean=mean,
        std=std,
        interpolation="bilinear" if made_for["interpolation"] == "bilinear" else "bicubic",
    )


def for_features(settings: TrainSettings) -> TrainSettings:
    """Give the settings of the network whose features a head learns from, which no label of the project has touched.

    Without learned weights it is the fixed one, for pictures of the same size: features of random weights say little.
    Raises TrainingError.
    """
    if settings.weights != "none":
        return settings
    spec = spec_of(settings)
    return replace(settings, backbone=FIXED, image_size=min(spec.height, spec.width))


def classifier(model: nn.Module) -> nn.Linear:
    """Give the network's last layer; raises TrainingError where that is not one linear layer."""
    layer = model.get_classifier()  # type: ignore[operator]
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise TrainingError(
            f"backbone {type(model).__name__} ends in {type(layer).__name__}, not in one linear layer with a bias; "
            "choose another backbone"
        )
    return layer


def pre_logits(model: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Give what the last layer sees: (pictures, features)."""
    features: torch.Tensor = model.forward_head(model.forward_features(pictures), pre_logits=True)  # type: ignore[operator]
    return features


def divide_logits(model: nn.Module, value: float) -> None:
    """Divide what a network answers by ``value``, in its last layer."""
    last = classifier(model)
    with torch.no_grad():
        last.weight.div_(value)
        last.bias.div_(value)
