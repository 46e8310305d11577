"""The training config of a model run, which people write in Labelbox: what of it means something to LabelLoop.

It is a JSON object of any names. Those of a run's parameters (docs/training.md) set them for this model run, those of a
project's ``extra_params`` (docs/endpoints.md) say how answers are shown and how an endpoint is asked. Files of the
worker's machine are none of their business, nor is where anything is sent to: only settings say that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from labelloop.errors import SettingsError
from labelloop.settings import Settings
from labelloop.training_parameters import PARAMETERS
from labelloop.types import Json

_SHOWN_BY = ("threshold", "label_map", "uncertainty", "tag")
"""Options that say how answers become predictions."""

_OF_TRAINING = ("trainer", "learn", *_SHOWN_BY)
_OF_INFERENCE = ("request", "response", "mapping", "classes", "parameters", "version", "batch", *_SHOWN_BY)

_SHOWN, _LONGEST = 10, 40


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What a training config says: ``parameters`` of a run, as text, and options of a project.

    ``unknown`` are the names that mean nothing here, in alphabetical order.
    """

    parameters: Mapping[str, str]
    options: Json
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: object, settings: Settings, *, trains: bool) -> Self:
        """Read a training config; raises SettingsError naming the first value that is impossible.

        What belongs to a training is passed over where nothing ``trains``, and the other way round.
        """
        if config is None or config == "":
            return cls({}, {})
        if not isinstance(config, dict):
            raise SettingsError("the training config of the model run must be a JSON object: reset it in Labelbox")
        given = {str(name): value for name, value in config.items() if value is not None}
        known = {*PARAMETERS, *_OF_TRAINING, *_OF_INFERENCE}
        options = _OF_TRAINING if trains else _OF_INFERENCE
        parameters = {name: _text(name, value) for name, value in given.items() if trains and name in PARAMETERS}
        found = cls(
            {name: text for name, text in parameters.items() if text},
            {name: value for name, value in given.items() if name in options},
            tuple(sorted(given.keys() - known)),
        )
        found.applied(settings)
        return found

    def applied(self, settings: Settings) -> Settings:
        """Give the settings with these parameters in place of theirs; raises SettingsError for an impossible one."""
        for name, text in self.parameters.items():
            settings = _with(settings, name, text)
        return settings

    @property
    def told(self) -> str:
        """Say which names mean nothing here; empty where all do."""
        if not self.unknown:
            return ""
        names = ", ".join(ascii(name[:_LONGEST]) for name in self.unknown[:_SHOWN])
        more = f" and {len(self.unknown) - _SHOWN} more" if len(self.unknown) > _SHOWN else ""
        return f"these names of the training config mean nothing to LabelLoop: {names}{more}"


def _text(name: str, value: object) -> str:
    """Write a value as a command line would have it."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    raise SettingsError(f"the training config of the model run, {name!r}: expected a text or a number")


def _with(settings: Settings, name: str, text: str) -> Settings:
    field = PARAMETERS[name]
    try:
        changed = settings.changed({field: text})
    except SettingsError as error:
        told = str(error).partition(": ")[2] or str(error)
        raise SettingsError(f"the training config of the model run, {name!r}: {told}") from None
    # Whoever may edit a model run in Labelbox is not thereby one who may read this machine's files.
    leads_away = changed.file_of(field) or (name == "model" and ":" in text)
    if leads_away and getattr(changed, field) != getattr(settings, field):
        raise SettingsError(
            f"the training config of the model run, {name!r}: files and addresses are named by the settings of "
            f"LabelLoop alone. Take it out of the config"
        )
    return changed
