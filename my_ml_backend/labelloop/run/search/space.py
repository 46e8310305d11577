"""What is searched: the values that each parameter may take, as a command asks for them or as usual."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labelloop.errors import SettingsError
from labelloop.run.parameters import train_settings, with_parameters
from labelloop.setting_values import names
from labelloop.settings import Settings

if TYPE_CHECKING:
    import optuna

_OPTIMIZERS = ("adamw", "nadamw", "lamb", "sgd")

_AUGMENTATIONS = ("none", "auto", "realistic")

_LEARNING_RATES = (2e-4, 2e-2)

LISTS = ("models", "sizes", "optimizers", "augmentations", "learning_rates")
"""What may be searched otherwise than usual, each a list of values separated by commas."""


@dataclass(frozen=True, slots=True)
class Space:
    """The values to choose from; of ``learning_rates`` the lowest and the highest, searched by their logarithm.

    ``recipes`` are those with a chance. A learning rate is that of a finetune from random weights, as in the settings.
    """

    models: tuple[str, ...]
    sizes: tuple[int, ...]
    optimizers: tuple[str, ...]
    augmentations: tuple[str, ...]
    learning_rates: tuple[float, float]
    recipes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("models", "sizes", "optimizers", "augmentations", "recipes"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise SettingsError(f"{name}: give one value or more, each once, separated by commas")
        low, high = self.learning_rates
        if not (0 < low <= high and math.isfinite(high)):
            raise SettingsError(
                f"learning_rates: {low:g},{high:g} is no range; give the lowest and the highest: 2e-4,2e-2"
            )

    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Map each parameter, by its name on the command line, to the values it may take, spelled as there."""
        return {
            "recipe": self.recipes,
            "model": self.models,
            "image_size": tuple(str(size) for size in self.sizes),
            "optimizer": self.optimizers,
            "augmentations": self.augmentations,
            "learning_rate": tuple(repr(rate) for rate in self.learning_rates),
        }


def space_of(settings: Settings) -> Space:
    """Give the usual space: the settings' own model and size, and a choice of the rest."""
    return Space(
        models=(settings.backbone,),
        sizes=(settings.image_size,),
        optimizers=_OPTIMIZERS,
        augmentations=_AUGMENTATIONS,
        learning_rates=_LEARNING_RATES,
        recipes=_with_a_chance(settings),
    )


def _with_a_chance(settings: Settings) -> tuple[str, ...]:
    """From random weights there is no head where there is a finetune (docs/training.md)."""
    fresh = settings.weights == "none" and "finetune" in settings.recipes
    return tuple(name for name in settings.recipes if not (fresh and name == "head"))


def suggest(trial: "optuna.Trial", space: Space) -> dict[str, str]:
    """Choose a trial's parameters, named and spelled as on the command line.

    A head has neither optimizer nor learning rate nor augmentations: they are chosen for a finetune alone.
    """
    chosen = {
        "recipe": trial.suggest_categorical("recipe", space.recipes),
        "model": trial.suggest_categorical("model", space.models),
        "image_size": trial.suggest_categorical("image_size", space.sizes),
    }
    if chosen["recipe"] == "finetune":
        chosen |= {
            "optimizer": trial.suggest_categorical("optimizer", space.optimizers),
            "augmentations": trial.suggest_categorical("augmentations", space.augmentations),
            "learning_rate": trial.suggest_float("learning_rate", *space.learning_rates, log=True),
        }
    return spelled(chosen)


def spelled(values: Mapping[str, object]) -> dict[str, str]:
    """Spell values as on the command line."""
    return {name: str(value) for name, value in values.items()}


def present(space: Space, settings: Settings) -> dict[str, str | int | float]:
    """Give the settings' own values as far as the space holds them: the first trial, which all others have to beat."""
    low, high = space.learning_rates
    own: dict[str, tuple[str | int | float, bool]] = {
        "recipe": (space.recipes[-1], True),
        "model": (settings.backbone, settings.backbone in space.models),
        "image_size": (settings.image_size, settings.image_size in space.sizes),
        "optimizer": (settings.optimizer, settings.optimizer in space.optimizers),
        "augmentations": (settings.augmentations, settings.augmentations in space.augmentations),
        "learning_rate": (settings.learning_rate, low <= settings.learning_rate <= high),
    }
    return {name: value for name, (value, inside) in own.items() if inside}


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
    from labelloop.train.contest import check

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
