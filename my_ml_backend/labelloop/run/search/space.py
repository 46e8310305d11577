"""What is searched: the values that each parameter may take, and which of them matter to which recipe."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelloop.errors import SettingsError
from labelloop.settings import Settings

if TYPE_CHECKING:
    import optuna

_OPTIMIZERS = ("adamw", "nadamw", "lamb", "sgd")
_AUGMENTATIONS = ("none", "auto", "realistic")
_LEARNING_RATES = (2e-4, 2e-2)


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
