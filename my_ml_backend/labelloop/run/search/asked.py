"""A search as a command asks for it: its values read from text, and refused before any work."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from labelloop.errors import SettingsError
from labelloop.run.parameters import train_settings, with_parameters
from labelloop.run.search.space import Space, space_of
from labelloop.setting_values import names
from labelloop.settings import Settings

LISTS = ("models", "sizes", "optimizers", "augmentations", "learning_rates")
"""What may be searched otherwise than usual, each a list of values separated by commas."""


def asked_space(settings: Settings, given: Mapping[str, str], held: Space | None) -> Space:
    """Read the space from the lists of a command; what is not given is as in ``held``, or as usual.

    Raises SettingsError for what cannot be read.
    """
    values: dict[str, Any] = {name: _read(name, text) for name, text in given.items()}
    return replace(space_of(settings) if held is None else held, **values)


def check_space(settings: Settings, space: Space) -> None:
    """Refuse values that cannot be, each by itself: raises SettingsError or TrainingError naming the allowed ones.

    Values that only do not go together, such as a network and a size, are the trials' matter.
    """
    from labelloop.train.backbone import build
    from labelloop.train.entrants import check

    for name, values in space.values().items():
        for value in values:
            check(train_settings(with_parameters(settings, {name: value})))
    for model in space.models:
        build(replace(train_settings(settings), backbone=model, image_size=0, weights="none", weights_hash=""), 2)


def _read(name: str, text: str) -> tuple[str, ...] | tuple[int, ...] | tuple[float, ...]:
    values = names(text)
    if name not in ("sizes", "learning_rates"):
        return values
    try:
        if name == "sizes":
            return tuple(int(value) for value in values)
        low, high = map(float, values)
    except ValueError:
        expected = "whole numbers of pixels: 128,160" if name == "sizes" else "the lowest and the highest: 2e-4,2e-2"
        raise SettingsError(f"{name}: {text!r} is not what is expected, {expected}") from None
    return low, high
