"""What is searched: the values that each parameter may take, as a command asks for them or as usual."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from labelloop.errors import SettingsError
from labelloop.kinds.base import Kind
from labelloop.run.parameters import with_parameters
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


def searched_of(kind: Kind) -> Mapping[str, Searched]:
    """Give the parameters that a search of a kind chooses: those of its settings that can be searched."""
    return {name: how for name, how in SEARCHED.items() if PARAMETERS[name] in kind.settings}


def space_of(settings: Settings, kind: Kind) -> Space:
    """Give the usual space: the settings' own model, size or encoder, and a choice of the rest."""
    recipes, own = kind.competing(settings), {name: getattr(settings, PARAMETERS[name]) for name in SEARCHED}
    lists = {
        how.option: how.usual or (own[name],) for name, how in searched_of(kind).items() if how.recipe in ("", *recipes)
    }
    return Space(lists, recipes)


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


def asked_space(settings: Settings, given: Mapping[str, str], held: Space | None, kind: Kind) -> Space:
    """Read the space from the lists of a command; what is not given is as in ``held``, or as usual.

    Raises SettingsError for what cannot be read, is nothing to the kind, or lets nothing differ.
    """
    lists, options = read_lists(settings, given), {how.option: name for name, how in searched_of(kind).items()}
    if strange := lists.keys() - options.keys():
        raise SettingsError(
            f"--{min(strange).replace('_', '-')} says nothing to {kind.name}: there a search takes "
            f"{', '.join(f'--{name}'.replace('_', '-') for name in options) or 'no lists'}"
        )
    # Recipes compete by what is searched: an encoder that a list names lets a finetune of texts compete.
    first = {options[name]: str(*values[:1]) for name, values in lists.items() if not SEARCHED[options[name]].is_range}
    base = space_of(with_parameters(settings, first), kind) if held is None else held
    found = replace(base, lists={**base.lists, **lists})
    if not any(len(values) > 1 for values in (found.recipes, *found.lists.values())):
        raise SettingsError(
            f"there is nothing to choose from for {kind.name}: recipe {found.recipes[0]} and one value of everything. "
            f"Give lists ({', '.join(f'--{name}'.replace('_', '-') for name in options)})"
        )
    return found


def read_lists(settings: Settings, given: Mapping[str, str]) -> dict[str, Values]:
    """Read the lists of a command, by their options; raises SettingsError."""
    known = {how.option: (how, type(getattr(settings, PARAMETERS[name]))) for name, how in SEARCHED.items()}
    return {name: _read(*known[name], text) for name, text in given.items()}


def check_lists(settings: Settings, given: Mapping[str, str], kind: Kind) -> None:
    """Refuse values of a command's lists that cannot be, as far as they are settings of a kind's; see check_space."""
    lists = read_lists(settings, given)
    own = {how.option: lists[how.option] for how in searched_of(kind).values() if how.option in lists}
    check_space(settings, Space(own, kind.competing(settings)), kind)


def check_space(settings: Settings, space: Space, kind: Kind) -> None:
    """Refuse values that cannot be, each by itself: raises SettingsError or TrainingError naming the allowed ones.

    Values that only do not go together, such as a network and a size, are the trials' matter.
    """
    for name in space.searched:
        for value in map(str, space.of(name)):
            tried = with_parameters(settings, {name: value})
            # A network takes sizes of its own.
            alone = replace(tried, image_size=0) if name == "model" else tried
            kind.check_settings(alone, thorough=name in _MADE)


_MADE = ("model", "encoder")
"""What can be checked only by making it."""


def _read(how: Searched, kind: type, text: str) -> tuple[Any, ...]:
    reader, _ = READERS[kind]
    try:
        values = tuple(reader(value) for value in names(text))
        if how.is_range:
            _low, _high = values
    except ValueError:
        raise SettingsError(f"{how.option}: {text!r} is not what is expected, {how.expected}") from None
    return values
