"""What is searched: the values that each parameter may take, as a command asks for them or as usual."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from labelloop.errors import SettingsError
from labelloop.run.parameters import train_settings, with_parameters
from labelloop.setting_values import READERS, names
from labelloop.settings import Settings
from labelloop.training_parameters import PARAMETERS, SEARCHED, Searched

if TYPE_CHECKING:
    import optuna


Values = tuple[str | float, ...]
"""What a parameter may be; of a range the lowest and the highest."""


@dataclass(frozen=True, slots=True)
class Space:
    """The values to choose from: a list by the option of ``labelloop search`` that gives it; ``recipes`` with a chance.

    What no list is of is not searched. A learning rate is that of a finetune from random weights, as in the settings.
    """

    lists: Mapping[str, Values]
    recipes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, how in self.searched.items():
            if how.is_range:
                _require_range(how, self.of(name))
            else:
                _require_values(how.option, self.of(name))
        _require_values("recipes", self.recipes)

    @property
    def searched(self) -> Mapping[str, Searched]:
        """The parameters that are searched."""
        return {name: how for name, how in SEARCHED.items() if how.option in self.lists}

    def of(self, name: str) -> Values:
        """Give the values of a parameter."""
        return self.lists[SEARCHED[name].option]

    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Map each parameter, by its name on the command line, to the values it may take, spelled as there."""
        return {"recipe": self.recipes} | {name: tuple(map(str, self.of(name))) for name in self.searched}

    def to_json(self) -> dict[str, Values]:
        """Give the lists by their options, and the recipes."""
        return {**self.lists, "recipes": self.recipes}

    @classmethod
    def from_json(cls, raw: Mapping[str, Sequence[Any]]) -> Self:
        """Read what ``to_json`` gave; raises KeyError, TypeError or ValueError for what it did not."""
        lists = {name: tuple(values) for name, values in raw.items()}
        recipes = lists.pop("recipes")
        if unknown := lists.keys() - {how.option for how in SEARCHED.values()}:
            raise KeyError(*unknown)
        return cls(lists, recipes)


def _require_values(name: str, values: Sequence[object]) -> None:
    if not values or len(set(values)) < len(values):
        raise SettingsError(f"{name}: give one value or more, each once, separated by commas")


def _require_range(how: Searched, ends: Values) -> None:
    low, high = map(float, ends)
    if not (0 < low <= high and math.isfinite(high)):
        raise SettingsError(f"{how.option}: {low:g},{high:g} is no range; give {how.expected}")


def space_of(settings: Settings) -> Space:
    """Give the usual space: the settings' own model and size, and a choice of the rest."""
    own = {name: (getattr(settings, PARAMETERS[name]),) for name in SEARCHED}
    return Space({how.option: how.usual or own[name] for name, how in SEARCHED.items()}, _with_a_chance(settings))


def _with_a_chance(settings: Settings) -> tuple[str, ...]:
    """From random weights there is no head where there is a finetune (docs/training.md)."""
    fresh = settings.weights == "none" and "finetune" in settings.recipes
    return tuple(name for name in settings.recipes if not (fresh and name == "head"))


def suggest(trial: "optuna.Trial", space: Space) -> dict[str, str]:
    """Choose a trial's parameters, named and spelled as on the command line.

    A head has neither optimizer nor learning rate nor augmentations: they are chosen for a finetune alone.
    """
    chosen: dict[str, object] = {"recipe": trial.suggest_categorical("recipe", space.recipes)}
    for name, how in space.searched.items():
        if how.recipe not in ("", chosen["recipe"]):
            continue
        if how.is_range:
            low, high = map(float, space.of(name))
            chosen[name] = trial.suggest_float(name, low, high, log=True)
        else:
            chosen[name] = trial.suggest_categorical(name, space.of(name))
    return spelled(chosen)


def spelled(values: Mapping[str, object]) -> dict[str, str]:
    """Spell values as on the command line."""
    return {name: str(value) for name, value in values.items()}


def present(space: Space, settings: Settings) -> dict[str, str | int | float]:
    """Give the settings' own values as far as the space holds them: the first trial, which all others have to beat."""
    own = {name: getattr(settings, PARAMETERS[name]) for name in space.searched}
    return {"recipe": space.recipes[-1]} | {name: value for name, value in own.items() if _holds(space, name, value)}


def _holds(space: Space, name: str, value: Any) -> bool:
    values = space.of(name)
    return min(values) <= value <= max(values) if SEARCHED[name].is_range else value in values


def asked_space(settings: Settings, given: Mapping[str, str], held: Space | None) -> Space:
    """Read the space from the lists of a command; what is not given is as in ``held``, or as usual.

    Raises SettingsError for what cannot be read.
    """
    base = space_of(settings) if held is None else held
    known = {how.option: (how, type(getattr(settings, PARAMETERS[name]))) for name, how in SEARCHED.items()}
    return replace(base, lists={**base.lists, **{name: _read(*known[name], text) for name, text in given.items()}})


def check_space(settings: Settings, space: Space) -> None:
    """Refuse values that cannot be, each by itself: raises SettingsError or TrainingError naming the allowed ones.

    Values that only do not go together, such as a network and a size, are the trials' matter.
    """
    from labelloop.train.backbone import build
    from labelloop.train.contest import check

    for name, values in space.values().items():
        for value in values:
            check(train_settings(with_parameters(settings, {name: value})))
    for model in map(str, space.of("model")):
        build(replace(train_settings(settings), backbone=model, image_size=0, weights="none", weights_hash=""), 2)


def _read(how: Searched, kind: type, text: str) -> tuple[Any, ...]:
    reader, _ = READERS[kind]
    try:
        values = tuple(reader(value) for value in names(text))
        if how.is_range:
            _low, _high = values
    except ValueError:
        raise SettingsError(f"{how.option}: {text!r} is not what is expected, {how.expected}") from None
    return values
