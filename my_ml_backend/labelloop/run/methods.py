"""The versions of recipes and of the gate: raised on purpose, where a change is a reason to train anew.

A kind names the versions of its recipes. A first version is part of no run's key, so that a recipe may be added without
another name for every run there is.
"""

from collections.abc import Iterable, Mapping

from labelloop.models.runs import RunRecord

_GATE = "gate"

GATE: Mapping[str, int] = {_GATE: 1}
"""Raise it where the gate now gives another verdict: every project is trained and judged once more."""


def methods_of(recipes: Iterable[str], versions: Mapping[str, int]) -> dict[str, int]:
    """Give the versions that a run with these recipes is made with; ``versions`` are those of its kind."""
    known = {**GATE, **versions}
    return {name: known.get(name, 1) for name in sorted({*recipes, _GATE})}


def raised(recipes: Iterable[str], versions: Mapping[str, int]) -> tuple[str, ...]:
    """Name those of a run's methods that have another version than their first: ``head 2``; part of the run's key."""
    return tuple(f"{name} {number}" for name, number in methods_of(recipes, versions).items() if number != 1)


def improvement(last: RunRecord, recipes: Iterable[str], versions: Mapping[str, int]) -> str:
    """Say what has improved since a project's last run, ``head and gate improved``; empty where nothing has.

    A recipe that the run was not made with is news of the settings, and no improvement. Records of 0.1 name no methods:
    they were made with the first versions.
    """
    made_with = last.methods or dict.fromkeys((*recipes, _GATE), 1)
    newer = [name for name, number in methods_of(recipes, versions).items() if number > made_with.get(name, number)]
    return f"{' and '.join(newer)} improved" if newer else ""
