"""What of a search a project keeps, and how that goes together with the settings."""

from collections.abc import Mapping
from dataclasses import fields

from labelloop.errors import StoreError
from labelloop.models.records import now
from labelloop.models.runs import Defaults, ProjectDefaults
from labelloop.models.store import Store
from labelloop.run.parameters import with_parameters
from labelloop.settings import Settings
from labelloop.training_parameters import PARAMETERS, SEARCHED
from labelloop.types import Json, ProjectKey

_TOGETHER = ("optimizer", "learning_rate")


def lasting(parameters: Mapping[str, str]) -> dict[str, str]:
    """Give what of a winner's parameters makes sense on every machine and in every later run: no file names."""
    held = {name: parameters[name] for name in SEARCHED if name in parameters}
    return {name: value for name, value in held.items() if not _is_file(name, value)}


def keep_defaults(store: Store, project: ProjectKey, found: Json) -> Defaults:
    """Make a search's best values the project's defaults; raises StoreError."""
    best = found["best"]
    defaults = Defaults(
        parameters=lasting(best["parameters"]),
        manifest=found["manifest"],
        accuracy=best["accuracy"],
        log_loss=best["log_loss"],
        pictures=found["pictures"],
        trials=sum(found["counts"].values()),
        created=now(),
    )
    ProjectDefaults(store, project).write(defaults)
    return defaults


def with_defaults(settings: Settings, defaults: Mapping[str, str]) -> Settings:
    """Give the settings with a project's defaults in place of the built-in ones.

    What was set to something else than the built-in default stays: whoever runs LabelLoop has the last word. Optimizer
    and learning rate stay together, for one says nothing without the other. Raises StoreError for defaults that are
    none, for they come from the store.
    """
    unknown = sorted(set(defaults) - set(SEARCHED))
    if unknown:
        raise StoreError(
            f"defaults.json sets {', '.join(unknown)}; a project's defaults are {', '.join(SEARCHED)}: search again, "
            "or remove the file from the store"
        )
    held = kept(settings, defaults)
    return with_parameters(settings, {name: value for name, value in defaults.items() if name not in held})


def kept(settings: Settings, defaults: Mapping[str, str]) -> dict[str, str]:
    """Map each default that the settings go before to the variable that was set."""
    built_in = {entry.name: (entry.metadata["name"], entry.default) for entry in fields(Settings)}
    own = {name: built_in[PARAMETERS[name]] for name in SEARCHED}
    found = {
        name: variable for name, (variable, default) in own.items() if getattr(settings, PARAMETERS[name]) != default
    }
    for name, other in (_TOGETHER, _TOGETHER[::-1]):
        if other in found:
            found.setdefault(name, found[other])
    return {name: variable for name, variable in found.items() if name in defaults}


def _is_file(name: str, value: str) -> bool:
    return with_parameters(Settings(), {name: value}).file_of(PARAMETERS[name]) != ""
