"""The parameters of a run: what a command line, a cloud's hyperparameters and a run's record call its settings."""

import difflib
import re
from collections.abc import Collection, Mapping

from labelloop.errors import SettingsError
from labelloop.settings import Settings

PARAMETERS: Mapping[str, str] = {
    "model": "backbone",
    "weights": "weights",
    "recipe": "recipes",
    "image_size": "image_size",
    "epochs": "epochs",
    "batch_size": "batch_size",
    "optimizer": "optimizer",
    "learning_rate": "learning_rate",
    "augmentations": "augmentations",
    "mixup": "mixup",
    "balance": "balance",
    "seed": "seed",
}
"""Each parameter's name and the field of the settings that it sets."""

LOCATIONS = ("train_location", "validation_location", "test_location", "format", "label_attribute", "project_key")
"""Where the data are and how they are read: parameters of the fetch stage alone."""

_HIDDEN = "***"
_ADDRESS = re.compile(r"((?!file:)[a-z][a-z0-9+.-]*://)([^/?#]*@)?([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)
"""Scheme, user information, host and path, what follows them."""


def with_parameters(settings: Settings, given: Mapping[str, str]) -> Settings:
    """Give the settings with these parameters in place of theirs; raises SettingsError naming the first wrong one."""
    check_names(given)
    wanted = {field: given[name] for name, field in PARAMETERS.items() if given.get(name, "") != ""}
    return settings.changed(wanted)


def parameters_of(settings: Settings, own: Collection[str]) -> dict[str, str]:
    """Spell out the parameters of a kind whose settings are ``own``, so that ``with_parameters`` gives them back."""
    counting = {name: field for name, field in PARAMETERS.items() if field in own or field == "seed"}
    values = {name: getattr(settings, field) for name, field in counting.items()}
    return {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()}


def recorded(location: str) -> str:
    """Spell a location for a run's record and report: user, password, query and fragment of an address are hidden.

    Any of them may be a secret, such as a link's signature. Names of files and objects stay as they are.
    """
    match = _ADDRESS.fullmatch(location)
    if match is None:
        return location
    scheme, user, place, secret = match.groups()
    hidden = f"?{_HIDDEN}" if secret and scheme.lower().startswith("http") else secret
    return f"{scheme}{f'{_HIDDEN}@' if user else ''}{place}{hidden}"


def is_hidden(location: str) -> bool:
    """Whether ``recorded`` has taken something out of an address, so that it cannot be read as it stands."""
    match = _ADDRESS.fullmatch(location)
    return match is not None and (match[2] == f"{_HIDDEN}@" or match[4] == f"?{_HIDDEN}")


def check_names(given: Mapping[str, str]) -> None:
    """Raise SettingsError for a parameter that there is not, naming those there are."""
    allowed = (*PARAMETERS, *LOCATIONS)
    for name in given:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SettingsError(f"there is no parameter {name!r}{hint}; a run takes {', '.join(allowed)}")
