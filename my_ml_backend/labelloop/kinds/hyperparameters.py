"""Hyperparameters of a kind that has no class of its own for them: its settings, its recipes and the seed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from labelloop.run.parameters import content_hash, raised
from labelloop.settings import Settings
from labelloop.types import Json, canonical

if TYPE_CHECKING:
    from labelloop.kinds.base import Kind

_BUILT_IN = {row.name: row.default for row in fields(Settings)}


@dataclass(frozen=True, slots=True)
class OwnParameters:
    """The values of a kind's own settings, by their names as fields; ``recipes`` are those that compete.

    ``raised`` names recipes, and the gate, that have improved since their first version. ``hashes`` are of the files
    and folders that settings name, by the settings' names.
    """

    kind: str
    values: Mapping[str, Any]
    recipes: tuple[str, ...]
    seed: int
    raised: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: "Kind", settings: Settings) -> Self:
        """Take them from the settings; raises TrainingError where a file they name cannot be read."""
        hashes = {name: found for name in kind.settings if (found := content_hash(settings, name))}
        recipes = kind.competing(settings)
        values = {name: getattr(settings, name) for name in kind.settings if name != "recipes"}
        return cls(kind.name, values, recipes, settings.seed, raised(recipes, kind.recipes), hashes)

    def to_json(self) -> Json:
        """Give the values themselves, which a version's record keeps."""
        hashes = {f"{name}_hash": found for name, found in self.hashes.items()}
        return {**self.values, "recipes": self.recipes, "seed": self.seed, "raised": self.raised, **hashes}

    def fingerprint(self) -> str:
        """Hash all that matters to the result: where a file lies does not, its content does.

        A value counts only where it is not the built-in one, so that a release may add a setting, and runs keep their
        names. One that changes a built-in value raises the recipes that it is for.
        """
        set_otherwise = {name: value for name, value in self.values.items() if value != _BUILT_IN[name]}
        told = {"kind": self.kind, "recipes": self.recipes, "seed": self.seed, "raised": self.raised}
        return hashlib.sha256(canonical({**told, "set": {**set_otherwise, **self.hashes}}).encode()).hexdigest()
