"""The version of each recipe and of the gate: raised on purpose, where a change is a reason to train anew."""

from collections.abc import Iterable, Mapping

from labelloop.models.runs import RunRecord

METHODS: Mapping[str, int] = {"head": 1, "finetune": 1, "gate": 1}
"""Raise a number where the same labels now give a better model, or another verdict.

Every project is then trained once with the new one, whatever its labels do: "head improved". A first version is part of
no run's key, so that a recipe may be added without another name for every run there is.
"""

_GATE = "gate"


def methods_of(recipes: Iterable[str], methods: Mapping[str, int] = METHODS) -> dict[str, int]:
    """Give the versions that a run with these recipes is made with."""
    return {name: methods.get(name, 1) for name in sorted({*recipes, _GATE})}


def raised(recipes: Iterable[str], methods: Mapping[str, int] = METHODS) -> tuple[str, ...]:
    """Name those of a run's methods that have another version than their first: ``head 2``; part of the run's key."""
    return tuple(f"{name} {number}" for name, number in methods_of(recipes, methods).items() if number != 1)


def improvement(last: RunRecord, recipes: Iterable[str], methods: Mapping[str, int] = METHODS) -> str:
    """Say what has improved since a project's last run, ``head and gate improved``; empty where nothing has.

    A recipe that the run was not made with is news of the settings, and no improvement. Records of 0.1 name no methods:
    they were made with the first versions.
    """
    made_with = last.methods or dict.fromkeys((*recipes, _GATE), 1)
    newer = [name for name, number in methods_of(recipes, methods).items() if number > made_with.get(name, number)]
    return f"{' and '.join(newer)} improved" if newer else ""
